//! Names of the outside world that a directory holds: the federation's name and where a member can be reached.

use core::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Longest host name in bytes (RFC 1035 §2.3.4, as text).
pub const MAX_HOST_BYTES: usize = 253;

/// The name of a federation, written like a host name: `city.example`. It is also the name of its authority's key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FederationName(String);

/// Why a text is no federation name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a federation's name is written like a host name of 2 to 253 characters, such as city.example"
)]
pub struct InvalidFederationName;

impl FederationName {
    /// Parses a name: lower-case letters, digits, hyphens and dots, formed like a host name.
    ///
    /// # Errors
    /// [`InvalidFederationName`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidFederationName> {
        if text.len() >= 2 && is_host_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFederationName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FederationName {
    type Error = InvalidFederationName;
    fn try_from(text: String) -> Result<Self, InvalidFederationName> {
        Self::parse(&text)
    }
}

impl From<FederationName> for String {
    fn from(name: FederationName) -> Self {
        name.0
    }
}

impl fmt::Display for FederationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FederationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a node listens: `host:port` with a host name, an IPv4 address, or an IPv6 address in brackets.
///
/// One spelling only (lower case, no leading zeros, shortest IPv6 form), so that equal endpoints are equal texts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(String);

/// Why a text is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an endpoint is written host:port in lower case, with a port of 1 to 65535 and IPv6 addresses in brackets"
)]
pub struct InvalidEndpoint;

impl Endpoint {
    /// Parses `host:port`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] for anything else, including other spellings of the same place.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidEndpoint)?;
        let number: u16 = port.parse().map_err(|_digits| InvalidEndpoint)?;
        if number == 0 || number.to_string() != port {
            return Err(InvalidEndpoint);
        }
        let good = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner
                .parse::<Ipv6Addr>()
                .is_ok_and(|ip| ip.to_string() == inner),
            None => {
                host.parse::<Ipv4Addr>()
                    .is_ok_and(|ip| ip.to_string() == host)
                    || is_host_name(host)
            }
        };
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEndpoint)
        }
    }

    /// The endpoint as text, `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or("", |(host, _port)| host);
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0
            .rsplit_once(':')
            .and_then(|(_host, port)| port.parse().ok())
            .unwrap_or(0)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;
    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        Self::parse(&text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a lower-case host name (RFC 952, RFC 1123 §2.1): labels of 1 to 63 letters, digits and inner
/// hyphens; the last label has a letter, so that no broken IPv4 address passes for a name.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_HOST_BYTES
        && text.split('.').all(label_is_good)
        && text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().any(|b| b.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_one_spelling() {
        for good in [
            "node.example:7400",
            "10.0.0.1:1",
            "[2001:db8::1]:65535",
            "localhost:80",
        ] {
            assert_eq!(Endpoint::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ":",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:080",
            "host:+80",
            "Host:80",
            "ho st:80",
            "-a:80",
            "10.0.0.256:80",
            "1.2.3:80",
            "[::1]",
            "[2001:DB8::1]:80",
            "[2001:db8:0::1]:80",
            "2001:db8::1:80",
            "a..b:80",
            "[::1:80",
            "\u{666}:80",
            "h\n:80",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let six = Endpoint::parse("[2001:db8::1]:443").unwrap();
        assert_eq!((six.host(), six.port()), ("2001:db8::1", 443));
    }

    #[test]
    fn federation_names_look_like_hosts() {
        assert!(FederationName::parse("city.example").is_ok());
        for bad in [
            "",
            "a",
            "City.example",
            "city..example",
            "city example",
            ".city",
            "city.1",
            &"a".repeat(254),
        ] {
            assert!(FederationName::parse(bad).is_err(), "{bad}");
        }
    }
}
