//! Who a certificate says it is: exactly one URI name, of a node or of a client with one role.

use core::fmt;

use record::{MemberId, Role, Timestamp};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::ca::MAX_CERTIFICATE_BYTES;

/// What every URI of ours begins with, in lower case.
const PREFIX: &str = "urn:songhe:";

/// Longest name of a client in characters.
pub const MAX_CLIENT_NAME_CHARS: usize = 64;

/// The name of a person's or system's client certificate: 1 to 64 of `a-z 0-9 - . _`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(String);

/// Why a text is no client name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a client's name has 1 to 64 characters of a-z, 0-9, hyphen, dot and underscore")]
pub struct InvalidClientName;

impl ClientName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidClientName`] if it is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidClientName> {
        let good =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        if (1..=MAX_CLIENT_NAME_CHARS).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidClientName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a certificate says it is. A claim until the chain is verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PresentedIdentity {
    /// A member's node: `urn:songhe:member:<id>`.
    Node(MemberId),
    /// A client of a member's node: `urn:songhe:client:<member>:<role>:<name>`.
    Client {
        /// The member whose node it may talk to.
        member: MemberId,
        /// Its one role.
        role: Role,
        /// Its name at that member.
        name: ClientName,
    },
}

impl PresentedIdentity {
    /// Parses a URI; only the spelling that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(PREFIX)?.split(':');
        let kind = parts.next()?;
        let member = MemberId::parse(parts.next()?).ok()?;
        let identity = match kind {
            "member" => Self::Node(member),
            "client" => {
                let role = Role::parse(parts.next()?)?;
                Self::Client {
                    member,
                    role,
                    name: ClientName::parse(parts.next()?).ok()?,
                }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(identity)
    }

    /// The member it belongs to.
    #[must_use]
    pub const fn member(&self) -> &MemberId {
        match self {
            Self::Node(member) | Self::Client { member, .. } => member,
        }
    }
}

impl fmt::Display for PresentedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(member) => write!(f, "{PREFIX}member:{member}"),
            Self::Client { member, role, name } => {
                write!(f, "{PREFIX}client:{member}:{role}:{name}")
            }
        }
    }
}

/// Why a certificate says nothing we can use. The fault lies with whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not one X.509 certificate in DER of at most [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate cannot be read; issue it with `songhe certificate issue`")]
    Unreadable,
    /// No songhe URI among the names.
    #[error("the certificate has no urn:songhe name; issue it with `songhe certificate issue`")]
    Missing,
    /// More than one songhe URI: nobody is two.
    #[error("the certificate has more than one urn:songhe name; issue one certificate for each")]
    Several,
    /// A songhe URI that is neither a node's nor a client's.
    #[error(
        "the certificate's urn:songhe name is malformed; issue it with `songhe certificate issue`"
    )]
    Malformed,
}

/// The serial number of a certificate in DER: content octets, as [`crate::Revoked`] lists them. `None` if it is no certificate.
#[must_use]
pub fn serial_of(leaf_der: &[u8]) -> Option<Vec<u8>> {
    Leaf::read(leaf_der).ok().map(|leaf| leaf.serial)
}

/// Reads who a leaf certificate (DER) says it is. Names of other kinds are left alone.
///
/// # Errors
/// [`IdentityError`] unless it has exactly one songhe URI, well formed.
pub fn present(leaf_der: &[u8]) -> Result<PresentedIdentity, IdentityError> {
    Leaf::read(leaf_der)?.identity
}

/// What we look at in a leaf certificate besides the chain, which the TLS library verifies.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) identity: Result<PresentedIdentity, IdentityError>,
    /// For both sides of TLS, as nodes need it.
    pub(crate) for_server_and_client: bool,
    /// For the client side of TLS and nothing else.
    pub(crate) for_client_only: bool,
    pub(crate) not_before: Timestamp,
    /// The last valid second.
    pub(crate) not_after: Timestamp,
    /// Content octets of the serial number.
    pub(crate) serial: Vec<u8>,
}

impl Leaf {
    pub(crate) fn read(der: &[u8]) -> Result<Self, IdentityError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(IdentityError::Unreadable);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_der| IdentityError::Unreadable)?;
        if !rest.is_empty() {
            return Err(IdentityError::Unreadable);
        }
        let usage = certificate
            .extended_key_usage()
            .map_err(|_der| IdentityError::Unreadable)?;
        // An absent usage allows everything by RFC 5280 §4.2.1.12; here it allows nothing.
        let (client, server, more) = usage.map_or((false, false, false), |u| {
            let u = u.value;
            let more =
                u.any || u.code_signing || u.email_protection || u.time_stamping || u.ocsp_signing;
            (u.client_auth, u.server_auth, more || !u.other.is_empty())
        });
        let validity = certificate.validity();
        Ok(Self {
            identity: identity_of(&certificate),
            for_server_and_client: client && server && !more,
            for_client_only: client && !server && !more,
            not_before: Timestamp::from_s(validity.not_before.timestamp()),
            not_after: Timestamp::from_s(validity.not_after.timestamp()),
            serial: certificate.raw_serial().to_vec(),
        })
    }
}

fn identity_of(certificate: &X509Certificate<'_>) -> Result<PresentedIdentity, IdentityError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_der| IdentityError::Unreadable)?;
    let names = names
        .map(|n| n.value.general_names.as_slice())
        .unwrap_or_default();
    // URN prefixes compare without regard to case (RFC 8141 §3.1), so `URN:SONGHE:` counts as ours and is malformed.
    let ours = |uri: &&str| {
        uri.get(..PREFIX.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(PREFIX))
    };
    let uris = names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name {
            Some(*uri)
        } else {
            None
        }
    });
    let mut ours = uris.filter(ours);
    match (ours.next(), ours.next()) {
        (None, _) => Err(IdentityError::Missing),
        (Some(uri), None) => PresentedIdentity::parse_uri(uri).ok_or(IdentityError::Malformed),
        (Some(_), Some(_)) => Err(IdentityError::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_go_both_ways() {
        for good in [
            "urn:songhe:member:h-renmin",
            "urn:songhe:client:h-renmin:physician:dr.li_2",
            "urn:songhe:client:h-renmin:auditor:a",
        ] {
            assert_eq!(
                PresentedIdentity::parse_uri(good).unwrap().to_string(),
                good
            );
        }
        for bad in [
            "",
            "urn:songhe:",
            "urn:songhe:member:",
            "urn:songhe:member:A",
            "urn:songhe:member:h-renmin:x",
            "URN:songhe:member:h-renmin",
            "urn:songhe:client:h-renmin",
            "urn:songhe:client:h-renmin:root:a",
            "urn:songhe:client:h-renmin:physician:",
            "urn:songhe:client:h-renmin:physician:a:b",
            "urn:songhe:client:h-renmin:physician:A",
            "urn:songhe:node:h-renmin",
        ] {
            assert_eq!(PresentedIdentity::parse_uri(bad), None, "{bad}");
        }
        assert!(ClientName::parse(&"a".repeat(65)).is_err());
    }
}
