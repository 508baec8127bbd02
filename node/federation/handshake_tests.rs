//! Tests of TLS: real handshakes, in memory.

use std::sync::Arc;

use record::time::ManualClock;
use record::{Clock, ReasonCode, Role, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{
    ClientConfig, ClientConnection, Error, ProtocolVersion, ServerConfig, ServerConnection,
};

use crate::fixture::{DAY_MS, NOW, Party, chain_of, directory_of, party, rng};
use crate::tls::{ALPN, client_config, client_config_for, server_config};
use crate::{
    ClientName, ClientVerifier, Issued, MemberCa, PresentedIdentity, ReloadableCert, Revoked,
    Validity, Verifiers,
};

fn issue(ca: &MemberCa, days: u16) -> Issued {
    ca.issue_node(&[], &[], Validity::days_from(NOW, days), &rng())
        .unwrap()
}

fn cert_of(party: &Party, issued: &Issued) -> Arc<ReloadableCert> {
    cert_under(&party.ca, issued)
}

fn cert_under(ca: &MemberCa, issued: &Issued) -> Arc<ReloadableCert> {
    let (identity, own_ca) = (issued.identity.clone(), ca.certificate().clone());
    Arc::new(
        ReloadableCert::new(
            identity,
            own_ca,
            &issued.chain_pem,
            issued.key_pem.as_str(),
            NOW,
        )
        .unwrap(),
    )
}

fn clock_at(now: Timestamp) -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(now))
}

fn server_of(party: &Party) -> Arc<ServerConfig> {
    server_config(cert_of(party, &issue(&party.ca, 90)), clock_at(NOW)).unwrap()
}

fn client_to(expected: &Party, party: &Party) -> Arc<ClientConfig> {
    client_config(
        &expected.member,
        cert_of(party, &issue(&party.ca, 90)),
        clock_at(NOW),
    )
    .unwrap()
}

/// Both ends of a connection after the handshake, or whose error ended it.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), (&'static str, Error)> {
    let name = ServerName::try_from("whatever.example").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..20 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|e| ("server", e))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|e| ("client", e))?;
        }
        if !client.is_handshaking()
            && !server.is_handshaking()
            && !client.wants_write()
            && !server.wants_write()
        {
            return Ok((client, server));
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn two_members_meet() {
    let (a, b) = (party(1), party(2));
    let (client, server) = shake(client_to(&b, &a), server_of(&b)).unwrap();
    for version in [client.protocol_version(), server.protocol_version()] {
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    }
    assert_eq!(
        (client.alpn_protocol(), server.alpn_protocol()),
        (Some(ALPN), Some(ALPN))
    );
    let verifiers = Verifiers::new(directory_of(&[&a, &b])).unwrap();
    let at_server = verifiers
        .verify_peer(server.peer_certificates().unwrap(), NOW)
        .unwrap();
    let at_client = verifiers
        .verify_peer(client.peer_certificates().unwrap(), NOW)
        .unwrap();
    assert_eq!(
        (&at_server.member().id, &at_client.member().id),
        (a.id(), b.id())
    );
}

#[test]
fn a_client_of_its_own_node_gets_in() {
    let a = party(1);
    let issued =
        a.ca.issue_client(
            Role::Auditor,
            &ClientName::parse("wang").unwrap(),
            Validity::days_from(NOW, 9),
            &rng(),
        )
        .unwrap();
    let config =
        client_config_for(a.ca.certificate(), cert_of(&a, &issued), clock_at(NOW)).unwrap();
    let (_client, server) = shake(config, server_of(&a)).unwrap();
    let verifier = ClientVerifier::new(a.ca.certificate()).unwrap();
    let client = verifier
        .verify(server.peer_certificates().unwrap(), &Revoked::new(), NOW)
        .unwrap();
    assert_eq!(client.role(), Role::Auditor);
}

#[test]
fn a_made_up_certificate_gets_a_connection_and_a_reason_but_no_more() {
    let (a, b) = (party(1), party(2));
    let namesake = MemberCa::generate(a.id(), NOW, &rng()).unwrap();
    let forged = cert_under(&namesake, &issue(&namesake, 9));
    let config = client_config(&b.member, forged, clock_at(NOW)).unwrap();
    let (_client, server) = shake(config, server_of(&b)).unwrap();
    let verifiers = Verifiers::new(directory_of(&[&a, &b])).unwrap();
    let refusal = verifiers
        .verify_peer(server.peer_certificates().unwrap(), NOW)
        .unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::PeerCertificateMismatch);
}

#[test]
fn a_client_without_a_certificate_is_turned_away() {
    let b = party(2);
    let with = client_to(&b, &party(1));
    let mut without = ClientConfig::clone(&with);
    without.client_auth_cert_resolver = Arc::new(NoCertificate);
    assert_eq!(
        shake(Arc::new(without), server_of(&b)).err(),
        Some(("server", Error::NoCertificatesPresented))
    );
}

#[test]
fn a_client_with_a_certificate_but_not_its_key_is_turned_away() {
    let (a, b) = (party(1), party(2));
    let (stolen, own) = (issue(&a.ca, 90), issue(&party(3).ca, 90));
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_str().as_bytes()).unwrap();
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
    let pair = rustls::sign::CertifiedKey::new(chain_of(&stolen), key);
    let mut config = ClientConfig::clone(&client_to(&b, &a));
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(pair));
    let (side, fault) = shake(Arc::new(config), server_of(&b)).err().unwrap();
    assert_eq!(side, "server");
    assert!(
        matches!(
            fault,
            Error::InvalidCertificate(rustls::CertificateError::BadSignature)
        ),
        "{fault}"
    );
}

#[test]
fn tls_1_2_is_refused_on_both_sides() {
    let (a, b) = (party(1), party(2));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(b.ca.certificate().der()).unwrap();
    let issued = issue(&a.ca, 90);
    let key = || PrivateKeyDer::from_pem_slice(issued.key_pem.as_str().as_bytes()).unwrap();
    let old_client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain_of(&issued), key())
        .unwrap();
    let (side, fault) = shake(Arc::new(old_client), server_of(&b)).err().unwrap();
    assert_eq!(side, "server");
    assert!(matches!(fault, Error::PeerIncompatible(_)), "{fault}");

    let issued = issue(&b.ca, 90);
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_str().as_bytes()).unwrap();
    let old_server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain_of(&issued), key)
        .unwrap();
    assert!(shake(client_to(&b, &a), Arc::new(old_server)).is_err());
}

#[test]
fn a_caller_talks_to_the_member_it_meant_and_to_no_other() {
    let (a, b, c) = (party(1), party(2), party(3));
    let refused_by_client = |server: Arc<ServerConfig>, now: Timestamp| {
        let own = cert_of(&a, &issue(&a.ca, 90));
        let config = client_config(&b.member, own, clock_at(now)).unwrap();
        matches!(
            shake(config, server),
            Err(("client", Error::InvalidCertificate(_)))
        )
    };
    assert!(
        !refused_by_client(server_of(&b), NOW),
        "the right one is not refused"
    );
    assert!(refused_by_client(server_of(&c), NOW), "another member");
    let namesake = MemberCa::generate(b.id(), NOW, &rng()).unwrap();
    let forged = server_config(cert_under(&namesake, &issue(&namesake, 9)), clock_at(NOW)).unwrap();
    assert!(
        refused_by_client(forged, NOW),
        "another authority of the same name"
    );
    let name = ClientName::parse("server").unwrap();
    let client =
        b.ca.issue_client(Role::Operator, &name, Validity::days_from(NOW, 9), &rng())
            .unwrap();
    let as_server = server_config(cert_of(&b, &client), clock_at(NOW)).unwrap();
    assert!(
        refused_by_client(as_server, NOW),
        "a client's certificate of the right member"
    );
    assert!(
        refused_by_client(server_of(&b), NOW.plus_ms(91 * DAY_MS)),
        "expired"
    );
    assert!(
        refused_by_client(server_of(&b), NOW.plus_ms(-DAY_MS)),
        "not yet valid"
    );
}

#[test]
fn a_renewed_certificate_is_used_from_the_next_handshake_on() {
    let (a, b) = (party(1), party(2));
    let (first, second) = (issue(&b.ca, 90), issue(&b.ca, 90));
    let (own_first, own_second) = (issue(&a.ca, 90), issue(&a.ca, 90));
    let (at_server, at_client) = (cert_of(&b, &first), cert_of(&a, &own_first));
    let server_side = server_config(Arc::clone(&at_server), clock_at(NOW)).unwrap();
    let client_side = client_config(&b.member, Arc::clone(&at_client), clock_at(NOW)).unwrap();
    let meet = || {
        let (client, server) = shake(Arc::clone(&client_side), Arc::clone(&server_side)).unwrap();
        let leaf =
            |certs: Option<&[CertificateDer<'static>]>| crate::Fingerprint::of(&certs.unwrap()[0]);
        // Renewal would be lost on a resumed session, which skips certificates.
        assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        (
            leaf(client.peer_certificates()),
            leaf(server.peer_certificates()),
        )
    };
    assert_eq!(meet(), (first.fingerprint, own_first.fingerprint));
    assert_eq!(meet(), (first.fingerprint, own_first.fingerprint));
    at_server
        .reload(&second.chain_pem, second.key_pem.as_str(), NOW)
        .unwrap();
    assert_eq!(meet(), (second.fingerprint, own_first.fingerprint));
    at_client
        .reload(&own_second.chain_pem, own_second.key_pem.as_str(), NOW)
        .unwrap();
    assert_eq!(meet(), (second.fingerprint, own_second.fingerprint));
}

#[test]
fn a_chain_that_is_too_long_ends_the_handshake() {
    let (a, b) = (party(1), party(2));
    let issued = issue(&a.ca, 90);
    let mut chain = chain_of(&issued);
    chain.push(chain[1].clone());
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_str().as_bytes()).unwrap();
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
    let mut config = ClientConfig::clone(&client_to(&b, &a));
    let pair = rustls::sign::CertifiedKey::new(chain, key);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(pair));
    assert!(matches!(
        shake(Arc::new(config), server_of(&b)),
        Err(("server", Error::InvalidCertificate(_)))
    ));
    assert_eq!(issued.identity, PresentedIdentity::Node(a.id().clone()));
}

/// A client that has nothing to show.
#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
