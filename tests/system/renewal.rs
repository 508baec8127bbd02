//! What is renewed while the node runs: its certificate, the directory; and who may ask how it is.

use std::sync::atomic::Ordering;

use federation::Fingerprint;
use record::AgencyKind;
use songhe::config::Limits;
use songhe::home::now;
use wire::v1;

use crate::caller::{Keys, channel, connect, locate, reason_told, tls, to_peer};
use crate::operation::songhe;
use crate::support::{Federation, Member, PASSPHRASE};
use crate::wait::{LONGEST, until};

/// The certificate a node presents.
async fn presented(member: &Member, identity: (&str, &str)) -> Fingerprint {
    let stream = connect(
        member.listen.peer,
        tls(Some(identity), &rustls::version::TLS13),
    )
    .await
    .unwrap();
    Fingerprint::of(&stream.get_ref().1.peer_certificates().unwrap()[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_directories_are_renewed_while_the_node_runs() {
    let members = [
        ("hospital-1", AgencyKind::Hospital),
        ("community-1", AgencyKind::Community),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    city.member_mut("community-1").start().await;
    let hospital = Keys::of(city.member("hospital-1"));
    let issued = hospital.issue(-5, 1000);
    let identity = (issued.chain_pem.as_str(), issued.key_pem.as_str());
    let holder = city.member("community-1");

    let (old, made) = channel(
        holder.listen.peer,
        tls(Some(identity), &rustls::version::TLS13),
    );
    let old = v1::peer_service_client::PeerServiceClient::new(old);
    locate(&old, hospital.sign(&hospital.statement("community-1")))
        .await
        .unwrap();
    let before = presented(holder, identity).await;
    let folder = holder.home.folder().to_str().unwrap();
    let renewed = songhe(&["certificate", "renew", "--data-dir", folder], PASSPHRASE).await;
    assert!(
        renewed.status.success(),
        "{}",
        String::from_utf8_lossy(&renewed.stderr)
    );
    until(LONGEST, "the node presents the new certificate", || async {
        presented(holder, identity).await != before
    })
    .await;
    locate(&old, hospital.sign(&hospital.statement("community-1")))
        .await
        .unwrap();
    assert_eq!(
        made.load(Ordering::SeqCst),
        1,
        "the old connection lives on"
    );
    // Whoever dials by the directory accepts the new certificate.
    health_and_reflection(&city, &hospital).await;

    // A directory that runs out in a few seconds; then one that does not.
    let soon = now().plus_ms(-86_400_000 + 4_000);
    let signed = city.draft.sign(&city.authority, soon, 1).unwrap();
    let holder = city.member("community-1");
    holder.home.write("directory.note", signed.bytes()).unwrap();
    let ask = || async { locate(&old, hospital.sign(&hospital.statement("community-1"))).await };
    until(LONGEST, "the directory runs out", || async {
        ask()
            .await
            .is_err_and(|status| reason_told(&status) == "DIRECTORY_EXPIRED")
    })
    .await;
    let told = holder
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.reasons[0].code, "DIRECTORY_EXPIRED");
    city.publish(30);
    until(LONGEST, "the new directory is taken up", || async {
        ask().await.is_ok()
    })
    .await;
    city.stop_all().await;
}

async fn health_and_reflection(city: &Federation, hospital: &Keys) {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let holder = city.member("community-1");
    let stranger = crate::caller::stranger("stranger-1");
    let read = |name: &str| std::fs::read_to_string(holder.clients.join(name)).unwrap();
    let (chain, key) = (read("operator.pem"), read("operator.key"));
    let own = |address| channel(address, tls(Some((&chain, &key)), &rustls::version::TLS13)).0;
    let known = [
        to_peer(holder, &hospital.issue(-5, 1000)),
        own(holder.listen.peer),
        own(holder.listen.gateway),
    ]
    .into_iter()
    .zip(["PeerService", "PeerService", "GatewayService"]);
    let services = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    for (channel, service) in known {
        let check = HealthCheckRequest {
            service: format!("songhe.v1.{service}"),
        };
        let status = HealthClient::new(channel.clone())
            .check(check)
            .await
            .unwrap()
            .into_inner()
            .status;
        assert_eq!(status, i32::from(ServingStatus::Serving));
        let asked = tokio_stream::iter([services.clone()]);
        let mut told = ServerReflectionClient::new(channel)
            .server_reflection_info(asked)
            .await
            .unwrap()
            .into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) =
            told.message().await.unwrap().unwrap().message_response
        else {
            panic!("no list of services");
        };
        let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
        let expected = format!("songhe.v1.{service}");
        for name in [expected.as_str(), "grpc.health.v1.Health"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
    for address in [holder.listen.peer, holder.listen.gateway] {
        let identity = Some((stranger.chain_pem.as_str(), stranger.key_pem.as_str()));
        let (unknown, _) = channel(address, tls(identity, &rustls::version::TLS13));
        let check = HealthCheckRequest {
            service: String::new(),
        };
        let status = HealthClient::new(unknown.clone())
            .check(check)
            .await
            .unwrap_err();
        assert_eq!(reason_told(&status), "PEER_UNKNOWN");
        let asked = tokio_stream::iter([services.clone()]);
        let status = ServerReflectionClient::new(unknown)
            .server_reflection_info(asked)
            .await
            .unwrap_err();
        assert_eq!(reason_told(&status), "PEER_UNKNOWN");
    }
}
