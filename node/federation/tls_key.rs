//! A private ECDSA P-256 key for TLS certificates, kept so that it is wiped when no longer needed.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

/// Largest PEM text of a key read, in bytes; a P-256 key has 241.
pub const MAX_KEY_PEM_BYTES: usize = 4096;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlsKeyError {
    /// The operating system gives no randomness.
    #[error("random numbers are not available; check the operating system's generator")]
    Randomness,
    /// Not a P-256 key in PKCS#8 PEM.
    #[error(
        "the key is not a p-256 private key in pkcs#8 pem; make a new one with `songhe certificate renew`"
    )]
    Unreadable,
}

/// A private ECDSA key on P-256. Not `Clone`; wiped on drop; `Debug` shows nothing of it. (The scalar inside the
/// cryptography library is not wiped: its type offers no way to.)
///
/// P-256 and not Ed25519, because gRPC clients built on BoringSSL refuse Ed25519 certificates.
pub struct TlsKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
}

impl TlsKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`TlsKeyError::Randomness`] without randomness.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, TlsKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, rng)
            .map_err(|_unspecified| TlsKeyError::Randomness)?;
        Self::from_pkcs8(Zeroizing::new(document.as_ref().to_vec()), rng)
    }

    /// Reads the PEM that [`TlsKey::to_pem`] writes.
    ///
    /// # Errors
    /// [`TlsKeyError::Unreadable`] for anything but a P-256 key in PKCS#8.
    pub fn from_pem(pem: &str, rng: &dyn SecureRandom) -> Result<Self, TlsKeyError> {
        if pem.len() > MAX_KEY_PEM_BYTES {
            return Err(TlsKeyError::Unreadable);
        }
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_pem| TlsKeyError::Unreadable)?;
        let pkcs8 = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        der.zeroize();
        Self::from_pkcs8(pkcs8, rng)
    }

    /// The key as PKCS#8 PEM. Secret: seal it before it touches a disk.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Room for everything at once: a string that grows leaves copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(self.pkcs8.len() * 2 + 128));
        text.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in self.pkcs8.chunks(48) {
            STANDARD.encode_string(line, &mut text);
            text.push('\n');
        }
        text.push_str("-----END PRIVATE KEY-----\n");
        text
    }

    /// The uncompressed point of the public key.
    #[must_use]
    pub fn public_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// ECDSA P-256 SHA-256 over `message`, in ASN.1 DER.
    pub(crate) fn sign_asn1(
        &self,
        message: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Vec<u8>, TlsKeyError> {
        let signature = self
            .pair
            .sign(rng, message)
            .map_err(|_unspecified| TlsKeyError::Randomness)?;
        Ok(signature.as_ref().to_vec())
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>, rng: &dyn SecureRandom) -> Result<Self, TlsKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, rng)
            .map_err(|_rejected| TlsKeyError::Unreadable)?;
        Ok(Self { pkcs8, pair })
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey(..)")
    }
}

impl rcgen::PublicKeyData for TlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        // The certificate library passes no generator. The nonce of ECDSA comes from the operating system alone.
        self.sign_asn1(message, &SystemRandom::new())
            .map_err(|_randomness| rcgen::Error::RingUnspecified)
    }
}
