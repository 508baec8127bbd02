"""A client that shares no code with the node: it knows proto/, docs/REASONS.md and gRPC's own standards.

It is run by tests/interop/main.rs against a hospital and a community center that really run. Each step prints one
line of JSON; the first thing that is not as it should be ends the run with a traceback and a status other than 0.

    client.py --proto proto --reasons docs/REASONS.md --out FOLDER \
        --hospital HOST:PORT --hospital-clients FOLDER --community HOST:PORT --community-clients FOLDER \
        --peer HOST:PORT --node FOLDER

--node is a folder with node.pem, node.key (PKCS #8) and receipt.seed (32 bytes, hexadecimal) of the hospital's node,
with which this program speaks to the community center's node as the hospital would.
"""

import argparse
import json
import os
import pathlib
import socket
import ssl
import sys
import time
from collections import namedtuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

DOMAIN = "songhe"
REQUEST_LABEL = b"songhe-request/v1\x00"
TIMEOUT_S = 60
# The base point of ristretto255 (RFC 9496, appendix A.1): a valid element that stands for nobody.
BASE_POINT = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")

Sentence = namedtuple("Sentence", "status en zh")
Refusal = namedtuple("Refusal", "code reason metadata")


def tell(step, **values):
    """One line for the test that runs this program."""
    print(json.dumps({"step": step, **values}, ensure_ascii=False), flush=True)


def check(condition, what):
    """As `assert`, but it cannot be switched off."""
    if not condition:
        raise AssertionError(what)


# === what is known from files ===


def generate(proto, out):
    """Makes the messages and stubs from proto/ with grpcio-tools, and imports them."""
    names = ["songhe/v1/common.proto", "songhe/v1/gateway.proto", "songhe/v1/peer.proto"]
    status = protoc.main(["protoc", f"-I{proto}", f"--python_out={out}", f"--grpc_python_out={out}", *names])
    check(status == 0, f"protoc ended with {status}")
    sys.path.insert(0, str(out))
    from songhe.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc, peer_pb2, peer_pb2_grpc

    return common_pb2, gateway_pb2, gateway_pb2_grpc, peer_pb2, peer_pb2_grpc


def published_reasons(path):
    """The table of refusals that callers are given to read."""
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 6:
            table[cells[0].strip("`")] = Sentence(cells[1].strip("`"), cells[3], cells[4])
    check(len(table) > 40, "the table of reasons was not read")
    return table


def resident_number(body):
    """Completes 17 digits with the check character of GB 11643 (ISO 7064, MOD 11-2)."""
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights)) % 11]


def heart_rate(record_id, value):
    """A vital sign as no library would write it: odd spaces, escapes, a trailing zero; these bytes must come back."""
    return (
        '{ "resourceType":"Observation" ,"status":"final",  "id":"%s",\t"note":[{"text":"\\u6668\\u95f4 晨间 \\/ ok"}],'
        '"category":[{"coding":[{"code":"vital-signs",'
        '"system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],'
        '"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/p1"},'
        '"effectiveDateTime":"2026-03-01T08:00:00+08:00","valueQuantity":{"value":%s,"unit":"/min",'
        '"system":"http://unitsofmeasure.org","code":"/min"} }' % (record_id, value)
    ).encode()


# === connections ===


def read_identity(folder, name):
    """The private key and the certificate chain of a client, as files give them."""
    return (folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes()


def connect(address, ca, identity=None):
    """A channel that checks the server by its authority and host name, as grpcio always does."""
    key, chain = identity or (None, None)
    credentials = grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=chain)
    return grpc.secure_channel(address, credentials, options=[("grpc.enable_http_proxy", 0)])


def handshake(address, ca_path, server_name, identity=None, maximum=None):
    """A bare TLS connection with Python's own library: what was agreed on, or the error."""
    context = ssl.create_default_context(cafile=str(ca_path))
    context.set_alpn_protocols(["h2"])
    if maximum is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = maximum
    if identity is not None:
        context.load_cert_chain(f"{identity}.pem", f"{identity}.key")
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as plain:
        with context.wrap_socket(plain, server_hostname=server_name) as tls:
            # In TLS 1.3 a server judges the client's certificate after the client is done: read what it says.
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            if not tls.recv(1):
                raise ssl.SSLEOFError("closed")
            return tls.version(), tls.selected_alpn_protocol(), tls.getpeercert(binary_form=True)


def refused_handshake(*arguments, **named):
    """The reason a handshake failed; an error if it did not."""
    try:
        handshake(*arguments, **named)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError as error:
        return error.reason or str(error)
    raise AssertionError("the handshake should have failed")


class ReflectionV1(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends grpcio-reflection's calls to grpc.reflection.v1, whose messages are those of the v1alpha it was made for."""

    def intercept_stream_stream(self, continuation, details, requests):
        method = details.method.replace("grpc.reflection.v1alpha.", "grpc.reflection.v1.")
        return continuation(details._replace(method=method), requests)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)


# === refusals ===


def refusal_of(call, table):
    """Makes a call that must be refused, and reads its google.rpc.Status."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        check(status is not None, f"no grpc-status-details-bin with {error.code()}: {error.details()}")
        info = None
        sentences = {}
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
            elif detail.Is(error_details_pb2.LocalizedMessage.DESCRIPTOR):
                message = error_details_pb2.LocalizedMessage()
                detail.Unpack(message)
                sentences[message.locale] = message.message
        check(info is not None and info.domain == DOMAIN, f"the domain of {status}")
        published = table[info.reason]
        check(error.code().name == published.status, f"{info.reason} came as {error.code()}")
        check(sorted(sentences) == ["en", "zh-CN"], f"the languages of {info.reason}: {sorted(sentences)}")
        check(sentences["en"].startswith(published.en), sentences["en"])
        check(sentences["zh-CN"].startswith(published.zh), sentences["zh-CN"])
        check(status.message.startswith(published.en), status.message)
        return Refusal(error.code().name, info.reason, dict(info.metadata))
    raise AssertionError("the call should have been refused")


def bare_refusal(call):
    """The gRPC code of a call that must fail before any service answers."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    raise AssertionError("the call should have failed")


# === the run ===


class Run:
    """The addresses and files of one run, and what was generated."""

    def __init__(self, options):
        self.options = options
        self.common, self.gateway, self.gateway_grpc, self.peer, self.peer_grpc = generate(options.proto, options.out)
        self.reasons = published_reasons(options.reasons)
        self.elder = self.gateway.Subject(value=resident_number("50011219390405" + "013"))
        self.community_ca = (options.community_clients / "ca.pem").read_bytes()
        self.hospital_ca = (options.hospital_clients / "ca.pem").read_bytes()

    def community(self, name):
        """The community center's gateway, as one of its own clients."""
        identity = read_identity(self.options.community_clients, name)
        return self.gateway_grpc.GatewayServiceStub(connect(self.options.community, self.community_ca, identity))

    def doctor(self):
        """The hospital's gateway, as a physician, under its host name instead of its address."""
        named = "localhost:" + self.options.hospital.rsplit(":", 1)[1]
        identity = read_identity(self.options.hospital_clients, "doctor")
        return self.gateway_grpc.GatewayServiceStub(connect(named, self.hospital_ca, identity))

    def put(self, stub, put_format, items):
        """One Put stream; the results in order."""
        g = self.gateway
        requests = [g.PutRequest(open=g.PutOpen(format=put_format))]
        for at, data in enumerate(items):
            item = g.PutItem(data=data, subject=self.elder, last=at == len(items) - 1)
            requests.append(g.PutRequest(item=item))
        return list(stub.Put(iter(requests), timeout=TIMEOUT_S))

    def fetch_request(self, elder=None):
        """What the physician asks."""
        g = self.gateway
        return g.FederatedFetchRequest(
            subject=elder or self.elder,
            query=self.common.Query(record_types=["vitals"]),
            intent=g.Intent(purpose="TREAT"),
            member_ids=["community-1"],
            deadline_ms=30_000,
        )

    def fetch(self, stub):
        """The records by id, and the last message of the one member that was asked."""
        records = {}
        pages = list(stub.Fetch(self.fetch_request(), timeout=TIMEOUT_S))
        for page in pages:
            check(page.member_id == "community-1", page.member_id)
            records.update({record.record_id: record for record in page.records})
        check(all(page.outcome == 0 for page in pages[:-1]), "only the last page has an outcome")
        return records, pages[-1]

    def fetch_refused(self, stub):
        """The reason why the member gave nothing, with both its sentences as published."""
        records, last = self.fetch(stub)
        check(not records and last.outcome == self.gateway.MEMBER_OUTCOME_REFUSED, str(last))
        published = self.reasons[last.reason.code]
        check(last.reason.en.startswith(published.en), last.reason.en)
        check(last.reason.zh.startswith(published.zh), last.reason.zh)
        check(last.leaf.member_id == "community-1" and len(last.leaf.exchange_id) == 16, str(last.leaf))
        return last.reason


def transport(run):
    """TLS 1.3 with ECDSA P-256 certificates on both sides, and nothing else."""
    options = run.options
    ca = options.community_clients / "ca.pem"
    his = options.community_clients / "his"
    version, alpn, certificate = handshake(options.community, ca, "localhost", his)
    check((version, alpn) == ("TLSv1.3", "h2"), f"{version} {alpn}")
    own = x509.load_pem_x509_certificate(his.with_suffix(".pem").read_bytes())
    curves = []
    for each in (x509.load_der_x509_certificate(certificate), own):
        key = each.public_key()
        check(isinstance(key, ec.EllipticCurvePublicKey), "not an elliptic curve key")
        curves.append(key.curve.name)
    check(curves == ["secp256r1", "secp256r1"], str(curves))
    handshake(options.community, ca, "127.0.0.1", his)
    tell("tls", version=version, alpn=alpn, curves=curves, library=ssl.OPENSSL_VERSION)

    old = ssl.TLSVersion.TLSv1_2
    for address in (options.community, options.hospital, options.peer):
        reason = refused_handshake(address, ca, "localhost", his, maximum=old)
        check("PROTOCOL_VERSION" in reason, reason)
    tell("tls_1_2_refused", reason=reason)

    reason = refused_handshake(options.community, ca, "localhost")
    check("CERTIFICATE_REQUIRED" in reason, reason)
    tell("no_certificate_refused", reason=reason, grpc=no_certificate(run))

    wrong_name = refused_handshake(options.community, ca, "another.example", his)
    wrong_ca = refused_handshake(options.community, options.hospital_clients / "ca.pem", "localhost", his)
    check("mismatch" in wrong_name, wrong_name)
    tell("server_is_checked", name=wrong_name, authority=wrong_ca)


def no_certificate(run):
    """gRPC without a client certificate: every service, standard ones included."""
    channel = connect(run.options.community, run.community_ca)
    stub = run.gateway_grpc.GatewayServiceStub(channel)
    health = health_pb2_grpc.HealthStub(channel)
    reflection = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, ReflectionV1()))
    codes = {
        bare_refusal(lambda: stub.Status(run.gateway.StatusRequest(), timeout=TIMEOUT_S)),
        bare_refusal(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)),
        bare_refusal(reflection.get_services),
    }
    check(codes == {"UNAVAILABLE"}, str(codes))
    return "UNAVAILABLE"


def standards(run):
    """Health checking and server reflection, for those who are known."""
    options = run.options
    channel = connect(options.community, run.community_ca, read_identity(options.community_clients, "operator"))
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "songhe.v1.GatewayService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        check(answer.status == serving, f"{service}: {answer}")
    watched = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT_S)
    check(next(watched).status == serving, "watched")
    watched.cancel()
    tell("health", status="SERVING")

    database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, ReflectionV1()))
    services = sorted(database.get_services())
    check("songhe.v1.GatewayService" in services, str(services))
    check("grpc.health.v1.Health" in services, str(services))
    told = descriptor_pool.DescriptorPool(database).FindServiceByName("songhe.v1.GatewayService")
    known = run.gateway.DESCRIPTOR.services_by_name["GatewayService"]
    methods = [[(m.name, m.input_type.full_name, m.output_type.full_name) for m in s.methods] for s in (told, known)]
    check(methods[0] == methods[1], "reflection tells another service than proto/ has")
    fields = [[(f.number, f.name, f.type) for f in s.methods_by_name["Fetch"].input_type.fields] for s in (told, known)]
    check(fields[0] == fields[1], "reflection tells another message than proto/ has")
    tell("reflection", services=services, methods=len(methods[0]))

    # A certificate of another member's authority proves who it is, and that is nobody here.
    stranger = connect(options.community, run.community_ca, read_identity(options.hospital_clients, "doctor"))
    stub = run.gateway_grpc.GatewayServiceStub(stranger)
    asked = refusal_of(lambda: stub.Status(run.gateway.StatusRequest(), timeout=TIMEOUT_S), run.reasons)
    health = health_pb2_grpc.HealthStub(stranger)
    checked = refusal_of(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S), run.reasons)
    codes = {asked.code, checked.code}
    check(codes == {"UNAUTHENTICATED"}, str(codes))
    tell("stranger_refused", code="UNAUTHENTICATED", gateway=asked.reason, health=checked.reason)


def storing(run):
    """Records in, as the community center's own system; the one that is broken is set aside and mended."""
    g = run.gateway
    his = run.community("his")
    sent = {"v1": heart_rate("v1", "72.0")}
    (result,) = run.put(his, g.PUT_FORMAT_RESOURCE, [sent["v1"]])
    check(result.outcome == g.PUT_OUTCOME_STORED, str(result))
    check(result.leaf.member_id == "community-1" and result.record_type == "vitals", str(result))
    (again,) = run.put(his, g.PUT_FORMAT_RESOURCE, [sent["v1"]])
    check(again.outcome == g.PUT_OUTCOME_UNCHANGED, str(again))
    tell("put", outcome=g.PutOutcome.Name(result.outcome), again=g.PutOutcome.Name(again.outcome))

    sent |= {"n1": heart_rate("n1", "64"), "n3": heart_rate("n3", "81.50")}
    broken = heart_rate("n2", "70")[:-9]
    whole = b"\n".join([sent["n1"], broken, sent["n3"]]) + b"\n"
    # Cut anywhere: in the middle of lines, and of a Chinese character's three bytes.
    cut = whole.index("晨".encode()) + 1
    results = run.put(his, g.PUT_FORMAT_NDJSON, [whole[:cut], whole[cut:900], whole[900:]])
    outcomes = [g.PutOutcome.Name(r.outcome) for r in results]
    bad = results[1]
    check([r.position for r in results] == [0, 1, 2], str(results))
    check(bad.reason.zh.startswith(run.reasons[bad.reason.code].zh), str(bad.reason))
    outcome = json.loads(bad.operation_outcome_json)
    check(outcome["resourceType"] == "OperationOutcome" and outcome["issue"][0]["severity"] in ("error", "fatal"), str(outcome))
    tell("put_ndjson", outcomes=outcomes, reason=bad.reason.code)

    (entry,) = list(his.ListQuarantine(g.ListQuarantineRequest(), timeout=TIMEOUT_S))
    check(entry.quarantine_id == bad.quarantine_id and entry.fhir_json == broken, str(entry))
    sent["n2"] = heart_rate("n2", "70")
    mend = g.ResolveQuarantineRequest(quarantine_id=entry.quarantine_id, corrected_json=sent["n2"], subject=run.elder)
    mended = his.ResolveQuarantine(mend, timeout=TIMEOUT_S).result
    check(mended.outcome == g.PUT_OUTCOME_STORED, str(mended))
    check(not list(his.ListQuarantine(g.ListQuarantineRequest(), timeout=TIMEOUT_S)), "the quarantine is empty again")
    tell("quarantine", mended=g.PutOutcome.Name(mended.outcome))
    return sent


def consenting(run, sent):
    """No consent, consent, no consent any more; and what the physician gets each time."""
    g = run.gateway
    doctor, counter = run.doctor(), run.community("counter")
    before = run.fetch_refused(doctor)
    tell("fetch_without_consent", reason=before.code, en=before.en, zh=before.zh)

    terms = g.ConsentTerms(
        effect=g.CONSENT_EFFECT_PERMIT, recipient_ids=["hospital-1"], purposes=["TREAT"], level_ceiling=4
    )
    granted = counter.GrantConsent(g.GrantConsentRequest(subject=run.elder, terms=terms), timeout=TIMEOUT_S)
    check(len(granted.consent_id) == 16, str(granted))
    records, last = run.fetch(doctor)
    check(last.outcome == g.MEMBER_OUTCOME_DATA, str(last))
    check(sorted(records) == sorted(sent), str(sorted(records)))
    check(all(records[i].fhir_json == sent[i] for i in sent), "the bytes are not the author's")
    check(all(r.tier == run.common.TIER_FULL and r.source == "his" for r in records.values()), str(records))
    tell("fetch_with_consent", records=sorted(records), bytes=sum(len(r.fhir_json) for r in records.values()))

    withdrawal = g.WithdrawConsentRequest(subject=run.elder, consent_id=granted.consent_id)
    leaf = counter.WithdrawConsent(withdrawal, timeout=TIMEOUT_S).leaf
    check(leaf.seq > granted.leaf.seq, str(leaf))
    after = run.fetch_refused(doctor)
    (listed,) = counter.ListConsents(g.ListConsentsRequest(subject=run.elder), timeout=TIMEOUT_S).consents
    check(listed.consent_id == granted.consent_id, str(listed))
    tell("fetch_after_withdrawal", reason=after.code, consent=listed.state)

    # Refusals as statuses: reason, domain and sentences are checked for each.
    nobody = g.Subject(value="500112193904050139"[:-1] + "?")
    refused = [
        refusal_of(lambda: counter.WithdrawConsent(withdrawal, timeout=TIMEOUT_S), run.reasons),
        refusal_of(lambda: run.put(doctor, g.PUT_FORMAT_RESOURCE, [sent["v1"]]), run.reasons),
        refusal_of(lambda: list(doctor.Fetch(run.fetch_request(nobody), timeout=TIMEOUT_S)), run.reasons),
        refusal_of(lambda: run.community("his").GrantConsent(g.GrantConsentRequest(), timeout=TIMEOUT_S), run.reasons),
    ]
    tell("statuses", domain=DOMAIN, reasons=[r.reason for r in refused], codes=[r.code for r in refused])


def peering(run):
    """Speaks to the community center's node as the hospital's: a signed question, refused with its leaf's place."""
    p = run.peer
    node = run.options.node
    receipt = Ed25519PrivateKey.from_private_bytes(bytes.fromhex((node / "receipt.seed").read_text().strip()))
    stub = run.peer_grpc.PeerServiceStub(connect(run.options.peer, run.community_ca, read_identity(node, "node")))

    evaluated = stub.Evaluate(p.EvaluateRequest(protocol=1, blinded_elements=[BASE_POINT] * 2), timeout=TIMEOUT_S)
    sizes = [len(e) for e in evaluated.evaluated_elements] + [len(evaluated.proof)]
    check(sizes == [32, 32, 64], str(sizes))
    check(len(set(evaluated.evaluated_elements)) == 1, "the same element is evaluated the same")

    exchange_id = os.urandom(16)
    statement = p.RequestStatement(
        protocol=1,
        exchange_id=exchange_id,
        requester_id="hospital-1",
        holder_id="community-1",
        issued_at_ms=int(time.time() * 1000),
        verb="fetch",
        purpose="TREAT",
        basis="consent",
        role="physician",
        actor_tag=os.urandom(16),
        pseudonym=os.urandom(32),
        query=run.common.Query(record_types=["vitals"]),
    ).SerializeToString()
    signature = receipt.sign(REQUEST_LABEL + statement)

    def ask(signed_bytes, signed_by):
        signed = p.SignedRequest(statement=signed_bytes, signature=signed_by)
        return refusal_of(lambda: list(stub.Fetch(p.FetchRequest(request=signed), timeout=TIMEOUT_S)), run.reasons)

    forged = ask(statement, bytes([signature[0] ^ 1]) + signature[1:])
    refused = ask(statement, signature)
    replayed = ask(statement, signature)
    check(refused.metadata["leaf_member"] == "community-1", str(refused))
    check(int(refused.metadata["leaf_seq"]) > 0, str(refused))
    check(refused.metadata["exchange_id"] == exchange_id.hex(), str(refused))
    tell("peer", domain=DOMAIN, code=refused.code, reasons=[forged.reason, refused.reason, replayed.reason])


def main():
    """Reads the command line and makes the run."""
    parser = argparse.ArgumentParser(description="a client of the node, from proto/ alone")
    for name in ("proto", "reasons", "out", "hospital-clients", "community-clients", "node"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("hospital", "community", "peer"):
        parser.add_argument(f"--{name}", required=True)
    run = Run(parser.parse_args())
    tell("generated", grpc=grpc.__version__, services=["GatewayService", "PeerService"])
    transport(run)
    standards(run)
    sent = storing(run)
    consenting(run, sent)
    peering(run)
    tell("done")


if __name__ == "__main__":
    main()
