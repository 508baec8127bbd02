//! The primitives underneath: AES-256-GCM, HKDF-SHA256, HMAC-SHA256, constant-time equality.

use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use ring::hmac;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Entropy, SealError};

/// Bytes of an AES-256 key, of HKDF output and of every long-term symmetric secret here.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a GCM nonce (NIST SP 800-38D §8.2: 96 bits).
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a GCM tag.
pub(crate) const TAG_BYTES: usize = 16;

/// 32 secret bytes that are wiped on drop.
pub(crate) type Secret32 = Zeroizing<[u8; KEY_BYTES]>;

/// Draws 32 fresh secret bytes.
pub(crate) fn random_secret(entropy: &dyn Entropy) -> Result<Secret32, SealError> {
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(secret.as_mut_slice())?;
    Ok(secret)
}

/// Encrypts `buffer` from `from` on in place and appends the tag. What stands before `from` is left
/// alone.
///
/// The key schedule is built for each call, so that no long-lived copy of a key exists outside
/// wiped memory.
pub(crate) fn seal_tail(
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    buffer: &mut Vec<u8>,
    from: usize,
) -> Result<(), SealError> {
    let tail = buffer.get_mut(from..).ok_or(SealError::Malformed)?;
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), tail)
        .map_err(|_too_long| SealError::TooLarge)?;
    buffer.extend_from_slice(tag.as_ref());
    Ok(())
}

/// Opens `ciphertext ‖ tag`. The buffer returned is wiped on drop.
pub(crate) fn open(
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let plain = cipher(key)?
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            buffer.as_mut_slice(),
        )
        .map_err(|_unspecified| SealError::Refused)?
        .len();
    buffer.truncate(plain);
    Ok(buffer)
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, SealError> {
    Ok(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key).map_err(|_length| SealError::Key)?,
    ))
}

/// HKDF-SHA256 (RFC 5869) with 32 bytes of output; `info` is the concatenation of its parts.
pub(crate) fn hkdf(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Result<Secret32, SealError> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    prk.expand(info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_length| SealError::Key)?;
    Ok(out)
}

/// HMAC-SHA256 (RFC 2104) over the concatenation of `parts`.
pub(crate) fn hmac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    out
}

/// Whether two byte strings are equal, in a time that depends on their length alone.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // black_box keeps the compiler from turning the fold into an early exit.
    let mut difference = 0_u8;
    for (x, y) in a.iter().zip(b) {
        difference = black_box(difference | (x ^ y));
    }
    let same = difference == 0;
    difference.zeroize();
    same
}
