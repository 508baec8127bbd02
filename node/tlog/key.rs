//! The two halves of a note key: the verifier key for everyone, the signer for its owner.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest key name in bytes: log origins are limited to 255, and a log's key name is its origin.
pub const MAX_KEY_NAME_BYTES: usize = 255;

/// Signature type of a plain Ed25519 signature over the note's text (C2SP signed-note, "Signature
/// types").
pub const ED25519: u8 = 0x01;

/// How the private text form begins, by the convention of Go's `sumdb/note`.
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Longest text of a key we look at: a name, eight hex digits, 33 bytes in base64 and the fixed
/// parts.
const MAX_KEY_TEXT_BYTES: usize = MAX_KEY_NAME_BYTES + 80;

/// Where RFC 8410 puts the 32 seed bytes in a PKCS#8 file, in version 1 and version 2 alike: behind
/// the outer sequence (2), the version (3), the algorithm (7), and the two nested octet-string
/// heads (4).
const PKCS8_SEED_AT: usize = 16;

/// Why a key was refused. The fault lies with whoever wrote the key or its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name is empty, too long, or holds a space, a plus sign or a control character.
    #[error(
        "key name is empty, longer than 255 bytes, or holds a space, plus or control character: choose a name like example.org/log"
    )]
    Name,
    /// The text does not have the form of a key.
    #[error("key is not of the form name+id+base64: copy it again from its owner")]
    Malformed,
    /// The key is of a signature type this room does not handle.
    #[error(
        "key has signature type {0:#04x}, only 0x01 (Ed25519) is supported here: ask its owner for an Ed25519 key"
    )]
    UnsupportedType(u8),
    /// The id in the text is not the id of name and key: a typing error or a tampered line.
    #[error("key id does not belong to this name and key: copy the key again from its owner")]
    IdMismatch,
    /// The bytes are not an Ed25519 private key.
    #[error("private key is not an Ed25519 seed or PKCS#8 document: make a new key")]
    Private,
}

/// A public note key: name, type 0x01, and 32 bytes of Ed25519 public key. Printed and parsed as a
/// *vkey*, `name+hex8(id)+base64(type ‖ key)` (C2SP signed-note; text form by Go's `sumdb/note`).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_id: u32,
    public: [u8; 32],
}

impl VerifierKey {
    /// A key from its parts. `name` follows [`is_key_name`], `public` is an RFC 8032 public key.
    ///
    /// # Errors
    /// [`KeyError::Name`] for a name the format forbids.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self {
            name: name.to_owned(),
            key_id: key_id(name, ED25519, &public),
            public,
        })
    }

    /// Reads a vkey. Only the form that [`fmt::Display`] prints is accepted (lower-case id, padded
    /// base64), so that a key has one spelling and lists of keys can be compared as text.
    ///
    /// # Errors
    /// Any [`KeyError`] except `Private`; the id in the text must match name and key.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let (name, id, payload) = split_key_text(vkey)?;
        let public = payload_of(&payload)?;
        let key = Self::new(name, public)?;
        if key.key_id == id {
            Ok(key)
        } else {
            Err(KeyError::IdMismatch)
        }
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: first four bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)`, big-endian. An index,
    /// not a fingerprint: anyone can make a key with the same id, and gains only signatures that
    /// fail.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The Ed25519 public key (RFC 8032, 32 bytes).
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether `signature` (64 bytes, without the key id) is this key's over `text`.
    #[must_use]
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ED25519, &self.public)
            .verify(text, signature)
            .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = Vec::with_capacity(33);
        payload.push(ED25519);
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

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        Self::parse(vkey)
    }
}

/// A private note key. Its seed is wiped on drop; it is not `Clone`, and `Debug` shows the public
/// half only. (The expanded key inside the cryptography library is not wiped: its type offers no
/// way to.)
pub struct Signer {
    verifier: VerifierKey,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A signer from the 32-byte Ed25519 seed (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Name`] for a name the format forbids.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_rejected| KeyError::Private)?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_length| KeyError::Private)?;
        Ok(Self {
            verifier: VerifierKey::new(name, public)?,
            seed: Zeroizing::new(*seed),
            pair,
        })
    }

    /// A signer from a PKCS#8 document in DER, version 1 or 2 (RFC 8410), such as `openssl genpkey
    /// -algorithm ed25519 -outform DER` writes. A public key inside must belong to the private one.
    ///
    /// # Errors
    /// [`KeyError::Private`] for anything else, [`KeyError::Name`] for a bad name.
    pub fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, KeyError> {
        let checked = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_rejected| KeyError::Private)?;
        let seed = der
            .get(PKCS8_SEED_AT..PKCS8_SEED_AT + 32)
            .ok_or(KeyError::Private)?;
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(seed.try_into().map_err(|_length| KeyError::Private)?);
        let signer = Self::from_seed(name, &seed)?;
        // The document was parsed by the library and the seed cut out by position: they must agree.
        if checked.public_key().as_ref() == signer.verifier.public {
            Ok(signer)
        } else {
            Err(KeyError::Private)
        }
    }

    /// Reads the private text form `PRIVATE+KEY+name+hex8(id)+base64(type ‖ seed)` of Go's
    /// `sumdb/note`.
    ///
    /// # Errors
    /// Any [`KeyError`]; the id must match the name and the public half of the seed.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        let rest = skey
            .strip_prefix(PRIVATE_PREFIX)
            .ok_or(KeyError::Malformed)?;
        let (name, id, payload) = split_key_text(rest)?;
        let seed = Zeroizing::new(payload_of(&payload)?);
        let signer = Self::from_seed(name, &seed)?;
        if signer.verifier.key_id == id {
            Ok(signer)
        } else {
            Err(KeyError::IdMismatch)
        }
    }

    /// The private text form that [`Signer::parse`] reads. Secret: seal it before it touches a
    /// disk.
    #[must_use]
    pub fn to_skey(&self) -> Zeroizing<String> {
        let mut payload = Zeroizing::new([0; 33]);
        if let Some((kind, seed)) = payload.split_first_mut() {
            *kind = ED25519;
            seed.copy_from_slice(&*self.seed);
        }
        // Room for everything at once: a string that grows leaves copies of the seed behind.
        let mut text = Zeroizing::new(String::with_capacity(
            PRIVATE_PREFIX.len() + MAX_KEY_TEXT_BYTES,
        ));
        text.push_str(PRIVATE_PREFIX);
        text.push_str(&self.verifier.name);
        text.push_str(&format!("+{:08x}+", self.verifier.key_id));
        STANDARD.encode_string(payload.as_slice(), &mut text);
        text
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The 64-byte Ed25519 signature over `text`, without the key id.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.pair.sign(text).as_ref().to_vec()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// Whether `name` may name a key: not empty, at most [`MAX_KEY_NAME_BYTES`] bytes, no Unicode
/// space, no plus sign (C2SP signed-note), no control character (it would break the line it stands
/// on).
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_KEY_NAME_BYTES
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c == '+' || c < '\u{20}')
}

/// `SHA-256(name ‖ 0x0A ‖ type ‖ key)`, first four bytes.
fn key_id(name: &str, kind: u8, public: &[u8]) -> u32 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(name.as_bytes());
    context.update(&[b'\n', kind]);
    context.update(public);
    let hash = context.finish();
    hash.as_ref()
        .first_chunk()
        .map_or(0, |head| u32::from_be_bytes(*head))
}

/// Splits `name+hex8+base64`. The base64 part may itself hold plus signs.
fn split_key_text(text: &str) -> Result<(&str, u32, Zeroizing<Vec<u8>>), KeyError> {
    if text.len() > MAX_KEY_TEXT_BYTES {
        return Err(KeyError::Malformed);
    }
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(payload)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Malformed);
    };
    if id.len() != 8 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(KeyError::Malformed);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_digits| KeyError::Malformed)?;
    let payload = Zeroizing::new(
        STANDARD
            .decode(payload)
            .map_err(|_base64| KeyError::Malformed)?,
    );
    Ok((name, id, payload))
}

/// The 32 bytes behind the type byte.
fn payload_of(payload: &[u8]) -> Result<[u8; 32], KeyError> {
    let (kind, key) = payload.split_first().ok_or(KeyError::Malformed)?;
    if *kind != ED25519 {
        return Err(KeyError::UnsupportedType(*kind));
    }
    key.try_into().map_err(|_length| KeyError::Malformed)
}
