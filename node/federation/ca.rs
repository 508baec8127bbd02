//! A member's own certificate authority as the directory pins it: the certificate, read once and checked.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{MemberId, Timestamp};
use ring::signature::{self, UnparsedPublicKey};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use crate::keys::{Fingerprint, labelled};

/// Largest certificate read, in bytes. Ours have about 500; a foreign one with a few names more stays below.
pub const MAX_CERTIFICATE_BYTES: usize = 4096;

/// What precedes the 65-byte point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480 §2).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why a certificate cannot be a member's authority. The fault lies with whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// Longer than [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate is larger than 4096 bytes; make one with fewer names")]
    TooLarge,
    /// Not one X.509 certificate of version 3 in DER.
    #[error("this is not an x.509 version 3 certificate; copy it again from the member")]
    Unreadable,
    /// Not marked as an authority with path length 0 and the right to sign certificates.
    #[error(
        "the certificate is no authority that signs leaf certificates only; make one with `songhe init`"
    )]
    NotAuthority,
    /// Subject and issuer differ, or the subject is not exactly a member id as common name.
    #[error(
        "the certificate does not name one member as both subject and issuer; make one with `songhe init`"
    )]
    Name,
    /// Not an ECDSA key on P-256, the one curve every TLS library of the partners accepts.
    #[error("the certificate's key is not on the curve p-256; make a new one with `songhe init`")]
    Key,
}

/// A member's own authority: self-issued, path length 0, common name = member id, P-256 (RFC 5280).
///
/// Its signature over itself is not checked: what makes it trusted is that the directory pins these very bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: Vec<u8>,
    fingerprint: Fingerprint,
    member: MemberId,
    point: [u8; 65],
    not_before: Timestamp,
    not_after: Timestamp,
}

impl CaCertificate {
    /// Reads a certificate in DER and checks that it is fit to be a member's authority.
    ///
    /// # Errors
    /// [`CaError`] names what is wrong with it.
    pub fn parse(der: &[u8]) -> Result<Self, CaError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CaError::TooLarge);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_der| CaError::Unreadable)?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 {
            return Err(CaError::Unreadable);
        }
        let constraints = certificate
            .basic_constraints()
            .map_err(|_der| CaError::Unreadable)?;
        let usage = certificate
            .key_usage()
            .map_err(|_der| CaError::Unreadable)?;
        let is_authority = constraints
            .is_some_and(|c| c.value.ca && c.value.path_len_constraint == Some(0))
            && usage.is_some_and(|u| u.value.key_cert_sign());
        if !is_authority {
            return Err(CaError::NotAuthority);
        }
        let subject = certificate.subject();
        let mut names = subject.iter_common_name();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(CaError::Name);
        };
        let member = name
            .as_str()
            .ok()
            .and_then(|n| MemberId::parse(n).ok())
            .ok_or(CaError::Name)?;
        if subject.iter_attributes().count() != 1
            || subject.as_raw() != certificate.issuer().as_raw()
        {
            return Err(CaError::Name);
        }
        let point = certificate
            .public_key()
            .raw
            .strip_prefix(&P256_SPKI_PREFIX)
            .ok_or(CaError::Key)?;
        let point: [u8; 65] = point.try_into().map_err(|_length| CaError::Key)?;
        // What the TLS library cannot take as a trust anchor is found out now, not at the first handshake.
        RootCertStore::empty()
            .add(CertificateDer::from(der))
            .map_err(|_anchor| CaError::Unreadable)?;
        let validity = certificate.validity();
        Ok(Self {
            der: der.to_vec(),
            fingerprint: Fingerprint::of(der),
            member,
            point,
            not_before: Timestamp::from_s(validity.not_before.timestamp()),
            not_after: Timestamp::from_s(validity.not_after.timestamp()),
        })
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'_> {
        CertificateDer::from(self.der.as_slice())
    }

    /// The certificate in PEM (RFC 7468).
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The member whose authority this says it is (the common name).
    #[must_use]
    pub const fn member(&self) -> &MemberId {
        &self.member
    }

    /// The uncompressed P-256 point of its key.
    #[must_use]
    pub const fn public_point(&self) -> &[u8; 65] {
        &self.point
    }

    /// From when to when it is valid, both inclusive.
    #[must_use]
    pub const fn validity(&self) -> (Timestamp, Timestamp) {
        (self.not_before, self.not_after)
    }

    /// Whether `signature` (ASN.1 DER) is ECDSA P-256 SHA-256 by this key over `label ‖ 0x00 ‖ message`.
    #[must_use]
    pub fn verify(&self, label: &str, message: &[u8], signature: &[u8]) -> bool {
        let signed = labelled(label, message);
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(&signed, signature)
            .is_ok()
    }

    /// A root store with this authority alone.
    pub(crate) fn roots(&self) -> Result<RootCertStore, CaError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.der())
            .map_err(|_anchor| CaError::Unreadable)?;
        Ok(roots)
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaCertificate({} {})", self.member, self.fingerprint)
    }
}

/// PEM text (RFC 7468) of public bytes.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes give lines of 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
