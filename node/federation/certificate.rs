//! A member's own certificate authority: issues certificates to its nodes and to its people's and systems' clients.

use core::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber,
};
use record::{MemberId, Role, Timestamp};
use ring::rand::SecureRandom;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ca::{CaCertificate, CaError, MAX_CERTIFICATE_BYTES, pem};
use crate::directory::DAY_MS;
use crate::identity::{ClientName, PresentedIdentity};
use crate::keys::{Fingerprint, labelled};
use crate::name::is_host_name;
use crate::tls_key::{TlsKey, TlsKeyError};

/// Life of an authority in days: ten years.
pub const CA_VALID_DAYS: i64 = 3653;

/// Longest life of a certificate below it in days: renewing is one command and needs no restart.
pub const MAX_LEAF_VALID_DAYS: i64 = 400;

/// Most host names and addresses of one node certificate, so that it stays below [`MAX_CERTIFICATE_BYTES`].
pub const MAX_NODE_NAMES: usize = 8;

/// The last second a certificate can name (RFC 5280 §4.1.2.5.2): 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// Why a certificate was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The key is refused, or there is no randomness.
    #[error(transparent)]
    Key(#[from] TlsKeyError),
    /// The authority's certificate is refused.
    #[error("the authority's certificate: {0}")]
    Ca(#[from] CaError),
    /// The authority's certificate and key do not belong together.
    #[error(
        "the authority's certificate and key do not belong together; restore both from one backup"
    )]
    KeyMismatch,
    /// Validity out of order, longer than 400 days, or outside the authority's own.
    #[error(
        "a certificate is valid for up to 400 days within the authority's own validity; choose other dates"
    )]
    Validity,
    /// Too many or malformed host names.
    #[error(
        "a node certificate has up to 8 host names in lower case and addresses; correct the list"
    )]
    Names,
    /// The library refused the parameters.
    #[error("the certificate could not be made: {0}")]
    Refused(String),
}

/// From when to when a certificate is valid, in whole seconds. Let it begin some minutes before now: peers' clocks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first valid second.
    pub not_before: Timestamp,
    /// The last valid second.
    pub not_after: Timestamp,
}

impl Validity {
    /// From one hour before `now`, for `days` days from now.
    #[must_use]
    pub const fn days_from(now: Timestamp, days: u16) -> Self {
        Self {
            not_before: now.plus_ms(-3_600_000),
            not_after: now.plus_ms(days as i64 * DAY_MS - 3_600_000),
        }
    }
}

/// A certificate with its key, just issued.
#[derive(Debug)]
pub struct Issued {
    /// The leaf and then the authority's certificate, in PEM.
    pub chain_pem: String,
    /// The key in PKCS#8 PEM. Secret: hand it to its owner or seal it.
    pub key_pem: SecretPem,
    /// SHA-256 of the leaf's DER.
    pub fingerprint: Fingerprint,
    /// The leaf's serial number, for taking it back later ([`crate::Revoked`]).
    pub serial: Vec<u8>,
    /// Who it is for.
    pub identity: PresentedIdentity,
    /// The leaf's validity.
    pub validity: Validity,
}

/// Secret PEM text: wiped on drop, not printed.
pub struct SecretPem(Zeroizing<String>);

impl SecretPem {
    /// The text. Secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPem(..)")
    }
}

/// A member's own authority with its key, which is wiped on drop and never printed.
pub struct MemberCa {
    certificate: CaCertificate,
    key: TlsKey,
}

impl MemberCa {
    /// Makes the authority of a member, valid from the day before `now` for ten years.
    ///
    /// # Errors
    /// [`CertificateError::Key`] without randomness.
    pub fn generate(
        member: &MemberId,
        now: Timestamp,
        rng: &dyn SecureRandom,
    ) -> Result<Self, CertificateError> {
        let key = TlsKey::generate(rng)?;
        let validity = Validity {
            not_before: now.plus_ms(-DAY_MS),
            not_after: now.plus_ms(CA_VALID_DAYS * DAY_MS),
        };
        let mut params = params(member.as_str(), validity, rng)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|e| refused(&e))?;
        Ok(Self {
            certificate: CaCertificate::parse(certificate.der())?,
            key,
        })
    }

    /// Loads an authority from its certificate and key in PEM.
    ///
    /// # Errors
    /// [`CertificateError`] when either is refused or they do not belong together.
    pub fn from_pem(
        certificate_pem: &str,
        key_pem: &str,
        rng: &dyn SecureRandom,
    ) -> Result<Self, CertificateError> {
        if certificate_pem.len() > 2 * MAX_CERTIFICATE_BYTES {
            return Err(CaError::TooLarge.into());
        }
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_pem| CaError::Unreadable)?;
        let certificate = CaCertificate::parse(&der)?;
        let key = TlsKey::from_pem(key_pem, rng)?;
        if key.public_point() != certificate.public_point() {
            return Err(CertificateError::KeyMismatch);
        }
        Ok(Self { certificate, key })
    }

    /// The certificate, which the directory pins.
    #[must_use]
    pub const fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// The key in PKCS#8 PEM. Secret: seal it before it touches a disk.
    #[must_use]
    pub fn key_pem(&self) -> SecretPem {
        SecretPem(self.key.to_pem())
    }

    /// Issues a certificate to a node of this member: URI `urn:songhe:member:<id>`, for both sides of TLS.
    ///
    /// Host names and addresses (up to 8 together) are for foreign clients that look at them; members go by the URI.
    ///
    /// # Errors
    /// `Names`, `Validity`, or `Key` without randomness.
    pub fn issue_node(
        &self,
        host_names: &[&str],
        addresses: &[IpAddr],
        validity: Validity,
        rng: &dyn SecureRandom,
    ) -> Result<Issued, CertificateError> {
        if host_names.len() + addresses.len() > MAX_NODE_NAMES
            || !host_names.iter().all(|name| is_host_name(name))
        {
            return Err(CertificateError::Names);
        }
        let mut names = Vec::new();
        for name in host_names {
            names.push(SanType::DnsName(
                (*name).try_into().map_err(|_ia5| CertificateError::Names)?,
            ));
        }
        names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        let usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let member = self.certificate.member();
        self.issue(
            PresentedIdentity::Node(member.clone()),
            "songhe node",
            names,
            usages,
            validity,
            rng,
        )
    }

    /// Issues a certificate to a client of this member's node: URI `urn:songhe:client:<member>:<role>:<name>`, for
    /// the client side of TLS only. One certificate has one role.
    ///
    /// # Errors
    /// `Validity`, or `Key` without randomness.
    pub fn issue_client(
        &self,
        role: Role,
        name: &ClientName,
        validity: Validity,
        rng: &dyn SecureRandom,
    ) -> Result<Issued, CertificateError> {
        let identity = PresentedIdentity::Client {
            member: self.certificate.member().clone(),
            role,
            name: name.clone(),
        };
        self.issue(
            identity,
            &format!("songhe {role}"),
            Vec::new(),
            vec![ExtendedKeyUsagePurpose::ClientAuth],
            validity,
            rng,
        )
    }

    /// ECDSA P-256 SHA-256 in ASN.1 DER over `label ‖ 0x00 ‖ message`; the label begins with a letter, so nothing
    /// signed here can be taken for a certificate (which begins with 0x30).
    pub(crate) fn sign(
        &self,
        label: &str,
        message: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Vec<u8>, TlsKeyError> {
        self.key.sign_asn1(&labelled(label, message), rng)
    }

    /// Signs whatever the parameters say: tests make the certificates an honest authority would not.
    #[cfg(test)]
    pub(crate) fn sign_anything(
        &self,
        params: &CertificateParams,
        key: &TlsKey,
    ) -> CertificateDer<'static> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der(), &self.key).unwrap();
        params.signed_by(key, &issuer).unwrap().der().clone()
    }

    /// The common name is for people alone. It has a space, so it is never the authority's own name: libraries take
    /// a leaf whose subject is its issuer for self-signed.
    fn issue(
        &self,
        identity: PresentedIdentity,
        common_name: &str,
        mut names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        validity: Validity,
        rng: &dyn SecureRandom,
    ) -> Result<Issued, CertificateError> {
        // Certificates count whole seconds; what is told about one says the same as the certificate.
        let whole = |at: Timestamp| Timestamp::from_s(at.as_s());
        let validity = Validity {
            not_before: whole(validity.not_before),
            not_after: whole(validity.not_after),
        };
        let (not_before, not_after) = self.certificate.validity();
        let life_ms = validity.not_after.since_ms(validity.not_before);
        let inside = validity.not_before >= not_before && validity.not_after <= not_after;
        if life_ms <= 0 || life_ms > MAX_LEAF_VALID_DAYS * DAY_MS || !inside {
            return Err(CertificateError::Validity);
        }
        let key = TlsKey::generate(rng)?;
        let mut params = params(common_name, validity, rng)?;
        let uri = identity.to_string();
        names.insert(
            0,
            SanType::URI(uri.try_into().map_err(|e: rcgen::Error| refused(&e))?),
        );
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der(), &self.key)
            .map_err(|e| refused(&e))?;
        let leaf = params.signed_by(&key, &issuer).map_err(|e| refused(&e))?;
        if leaf.der().len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::Names);
        }
        Ok(Issued {
            chain_pem: pem("CERTIFICATE", leaf.der()) + &self.certificate.to_pem(),
            key_pem: SecretPem(key.to_pem()),
            fingerprint: Fingerprint::of(leaf.der()),
            serial: params
                .serial_number
                .map(|serial| serial.to_bytes())
                .unwrap_or_default(),
            identity,
            validity,
        })
    }
}

impl fmt::Debug for MemberCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberCa({:?}, ..)", self.certificate)
    }
}

/// What all certificates share: one common name, the dates, and a random serial number.
fn params(
    common_name: &str,
    validity: Validity,
    rng: &dyn SecureRandom,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // Sixteen random bytes, the first bits `01`: positive, never zero, and never shortened by DER (RFC 5280 §4.1.2.2).
    let mut serial = [0; 16];
    rng.fill(&mut serial)
        .map_err(|_unspecified| TlsKeyError::Randomness)?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.not_before)?;
    params.not_after = epoch + since_epoch(validity.not_after)?;
    Ok(params)
}

/// Seconds since 1970, within what a certificate can name: outside, the date type would overflow.
fn since_epoch(at: Timestamp) -> Result<Duration, CertificateError> {
    let seconds = u64::try_from(at.as_s()).map_err(|_negative| CertificateError::Validity)?;
    if at.as_s() > LAST_SECOND {
        Err(CertificateError::Validity)
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

fn refused(error: &rcgen::Error) -> CertificateError {
    CertificateError::Refused(error.to_string())
}
