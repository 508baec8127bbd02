//! Public keys and fingerprints as a directory writes them, one type for each purpose.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::id::{hex_decode, hex_encode};
use ring::digest;
use ring::signature::{self, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use tlog::note::is_key_name;

/// Signature type of a timestamped Ed25519 cosignature (C2SP tlog-cosignature).
const COSIGNATURE_ED25519: u8 = 0x04;

/// Longest text of a witness key we look at: a name of 255 bytes, eight hex digits, 33 bytes in base64, two plus signs.
const MAX_WITNESS_TEXT_BYTES: usize = 255 + 8 + 44 + 2;

/// Why a text is no key or fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not 32 bytes in padded base64.
    #[error("a public key here is 32 bytes in base64 with padding; copy it again from its owner")]
    Base64,
    /// All bytes are zero: the neutral element, which hides nothing.
    #[error("this public key is the neutral element; its owner makes a new one")]
    Neutral,
    /// Not 64 lower-case hexadecimal digits.
    #[error("a fingerprint is a SHA-256 digest in 64 lower-case hexadecimal digits")]
    Fingerprint,
    /// Not `name+id+base64` of type 0x04.
    #[error(
        "a witness key is written name+id+base64 with signature type 0x04; copy it again from its owner"
    )]
    Witness,
}

macro_rules! key32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// From raw bytes.
            ///
            /// # Errors
            /// [`InvalidKey::Neutral`] if every byte is zero.
            pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
                if bytes == [0; 32] { Err(InvalidKey::Neutral) } else { Ok(Self(bytes)) }
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidKey;
            fn try_from(text: String) -> Result<Self, InvalidKey> {
                Self::from_bytes(decode32(&text).ok_or(InvalidKey::Base64)?)
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                STANDARD.encode(key.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), STANDARD.encode(self.0))
            }
        }
    };
}

key32!(
    /// The Ed25519 key (RFC 8032) a member signs receipts and requests with.
    ReceiptPublicKey
);
key32!(
    /// The public key of a member's verifiable OPRF (RFC 9497, ristretto255): proves which key evaluated.
    OprfPublicKey
);

impl ReceiptPublicKey {
    /// Whether `signature` (64 bytes) is this key's over `label ‖ 0x00 ‖ message`; `label` has no zero byte.
    #[must_use]
    pub fn verify(&self, label: &str, message: &[u8], signature: &[u8]) -> bool {
        let signed = labelled(label, message);
        UnparsedPublicKey::new(&signature::ED25519, &self.0)
            .verify(&signed, signature)
            .is_ok()
    }
}

/// The SHA-256 digest of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes
            .iter_mut()
            .zip(digest::digest(&digest::SHA256, der).as_ref())
        {
            *to = *from;
        }
        Self(bytes)
    }

    /// Parses 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`InvalidKey::Fingerprint`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let mut bytes = [0; 32];
        hex_decode(text, &mut bytes).ok_or(InvalidKey::Fingerprint)?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        hex_encode(&fingerprint.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_encode(&self.0))
    }
}

/// The key a member cosigns its peers' checkpoints with, written as a vkey of type 0x04 (C2SP tlog-cosignature).
///
/// A type of its own, because a key of type 0x01 signs whole texts and must never serve as a witness.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WitnessKey {
    name: String,
    key_id: u32,
    public: [u8; 32],
}

impl WitnessKey {
    /// A key from its name (C2SP signed-note rules) and Ed25519 public key.
    ///
    /// # Errors
    /// [`InvalidKey::Witness`] for a name the format forbids.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, InvalidKey> {
        if !is_key_name(name) {
            return Err(InvalidKey::Witness);
        }
        Ok(Self {
            name: name.to_owned(),
            key_id: cosignature_key_id(name, &public),
            public,
        })
    }

    /// Parses `name+hex8(id)+base64(0x04 ‖ key)`; the id must belong to name and key.
    ///
    /// # Errors
    /// [`InvalidKey::Witness`] for anything else, including other spellings of the same key.
    pub fn parse(vkey: &str) -> Result<Self, InvalidKey> {
        if vkey.len() > MAX_WITNESS_TEXT_BYTES {
            return Err(InvalidKey::Witness);
        }
        let (name, rest) = vkey.split_once('+').ok_or(InvalidKey::Witness)?;
        let (_id, payload) = rest.split_once('+').ok_or(InvalidKey::Witness)?;
        let payload = STANDARD
            .decode(payload)
            .map_err(|_base64| InvalidKey::Witness)?;
        let Some((&COSIGNATURE_ED25519, public)) = payload.split_first() else {
            return Err(InvalidKey::Witness);
        };
        let key = Self::new(
            name,
            public.try_into().map_err(|_length| InvalidKey::Witness)?,
        )?;
        // The id and the spelling are right if the key prints as it was read.
        if key.to_string() == vkey {
            Ok(key)
        } else {
            Err(InvalidKey::Witness)
        }
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of `SHA-256(name ‖ 0x0A ‖ 0x04 ‖ key)`, big-endian.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = vec![COSIGNATURE_ED25519];
        payload.extend_from_slice(&self.public);
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.key_id,
            STANDARD.encode(payload)
        )
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessKey({self})")
    }
}

impl TryFrom<String> for WitnessKey {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<WitnessKey> for String {
    fn from(key: WitnessKey) -> Self {
        key.to_string()
    }
}

/// `label ‖ 0x00 ‖ message`: what was signed for one purpose cannot serve another.
pub(crate) fn labelled(label: &str, message: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(label.len() + 1 + message.len());
    signed.extend_from_slice(label.as_bytes());
    signed.push(0);
    signed.extend_from_slice(message);
    signed
}

fn cosignature_key_id(name: &str, public: &[u8; 32]) -> u32 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(name.as_bytes());
    context.update(&[b'\n', COSIGNATURE_ED25519]);
    context.update(public);
    context
        .finish()
        .as_ref()
        .first_chunk()
        .map_or(0, |head| u32::from_be_bytes(*head))
}

fn decode32(text: &str) -> Option<[u8; 32]> {
    // The length first: base64 of 32 bytes has 44 characters, and nothing longer is worth decoding.
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_both_ways() {
        let key = ReceiptPublicKey::from_bytes([9; 32]).unwrap();
        assert_eq!(ReceiptPublicKey::try_from(String::from(key)), Ok(key));
        assert_eq!(OprfPublicKey::from_bytes([0; 32]), Err(InvalidKey::Neutral));
        for bad in [
            "",
            "AAAA",
            &"A".repeat(44),
            &"=".repeat(44),
            &"A".repeat(400),
        ] {
            assert!(OprfPublicKey::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        let print = Fingerprint::of(b"abc");
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        assert_eq!(
            print.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Fingerprint::parse(&print.to_string()), Ok(print));
        assert!(Fingerprint::parse(&print.to_string().to_uppercase()).is_err());
    }

    #[test]
    fn a_witness_key_has_type_four_and_one_spelling() {
        let key = WitnessKey::new("node.example/witness", [7; 32]).unwrap();
        let text = key.to_string();
        assert_eq!(WitnessKey::parse(&text), Ok(key));
        let plain = tlog::note::VerifierKey::new("node.example/witness", [7; 32])
            .unwrap()
            .to_string();
        assert_eq!(
            WitnessKey::parse(&plain),
            Err(InvalidKey::Witness),
            "type 0x01 is no witness"
        );
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(tampered) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(WitnessKey::parse(&tampered).is_err(), "{tampered}");
        }
    }
}
