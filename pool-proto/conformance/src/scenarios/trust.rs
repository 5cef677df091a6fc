//! Trust: which certificates are accepted, and which versions of TLS.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustls::ServerConnection;

use super::{fails, topic};
use crate::certificates::{Authority, Validity};
use crate::ends::{
    both_ends, client_config, client_tls, each, server_config, server_tls, unused_address,
};
use crate::facade::{ClientSetup, Listen, ServerSetup};
use crate::peers::{FakeServer, connect, identity, ping_pong, until_end};
use crate::prelude::*;
use crate::wait::{read_all, send};
use pool_driver::BuildError;
use pool_driver::tls::{ClientTls, Fingerprint, Identity, ServerTls, TlsMode};
use pool_proto::IdExchange;

topic! {
    parallel a_certificate_of_an_unknown_issuer_fails_in_verified_mode,
    parallel a_wrong_host_name_fails_in_verified_mode,
    parallel a_certificate_outside_its_validity_fails_in_verified_mode,
    parallel a_certificate_of_a_known_issuer_is_accepted,
    parallel a_certificate_other_than_the_pinned_one_fails,
    parallel any_of_several_pinned_certificates_is_accepted,
    parallel a_known_client_certificate_is_accepted_and_reported,
    parallel a_client_without_a_required_certificate_is_refused,
    parallel a_pinned_client_is_accepted_and_reported,
    parallel clients_that_are_not_pinned_are_refused_and_both_ends_say_why,
    parallel a_client_without_ids_learns_of_a_late_refusal,
    parallel a_server_that_is_not_pinned_learns_why_its_clients_leave,
    parallel strangers_beside_a_pinned_client_are_never_handed_out,
    parallel a_builder_refuses_less_protection_than_was_required,
    parallel a_server_of_tls_1_2_makes_no_connection,
    parallel a_client_of_tls_1_2_makes_no_connection,
    parallel a_custom_rustls_configuration_is_used,
}

/// Checks that this client gets no connection from this server.
fn is_refused(ends: &Ends, client: ClientTls, server: ServerTls) {
    let server = ends.serve_with(Some(server), server_config());
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(client), client_config(), dial);
    fails(&*client, |totals| totals.tls_failures, "TLS handshake failed");
    eventually(|| server.stats(), |stats| stats.totals.tls_failures > 0);
    assert_eq!(server.idle(), 0);
}

/// Checks that this client connects to this server; returns both ends of a connection.
fn is_accepted(
    ends: &Ends,
    client: ClientTls,
    server: ServerTls,
) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let server = ends.serve_with(Some(server), server_config());
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(client), client_config(), dial);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
    (ours, theirs)
}

fn verified(host: &str, trusted: &Identity) -> ClientTls {
    ClientTls::verified_pem(host, trusted.certificate_pem().as_bytes()).unwrap()
}

fn a_certificate_of_an_unknown_issuer_fails_in_verified_mode(ends: &Ends) {
    let other = Identity::self_signed(["localhost"]).unwrap();
    let server = ServerTls::new(identity()).unwrap();
    is_refused(ends, verified("localhost", &other), server);
}

fn a_wrong_host_name_fails_in_verified_mode(ends: &Ends) {
    let server = ServerTls::new(identity()).unwrap();
    is_refused(ends, verified("elsewhere.example", &identity()), server);
}

fn a_certificate_outside_its_validity_fails_in_verified_mode(ends: &Ends) {
    let authority = Authority::new();
    each(&[Validity::Past, Validity::Future], |validity| {
        let server = ServerTls::new(authority.issue("localhost", *validity)).unwrap();
        let client = ClientTls::verified("localhost", authority.roots()).unwrap();
        is_refused(ends, client, server);
    });
}

fn a_certificate_of_a_known_issuer_is_accepted(ends: &Ends) {
    let authority = Authority::new();
    let issued = authority.issue("tunnel.example", Validity::Now);
    let server = ServerTls::new(issued.clone()).unwrap();
    let client = ClientTls::verified("tunnel.example", authority.roots()).unwrap();
    let (_, theirs) = is_accepted(ends, client, server);
    assert_eq!(theirs.tls().unwrap().peer_certificate, Some(issued.fingerprint()));
}

fn a_certificate_other_than_the_pinned_one_fails(ends: &Ends) {
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    is_refused(ends, client, ServerTls::new(identity()).unwrap());
}

fn any_of_several_pinned_certificates_is_accepted(ends: &Ends) {
    let pins = [Fingerprint::from([7; 32]), identity().fingerprint()];
    let client = ClientTls::self_signed().unwrap().pinned_any(pins).unwrap();
    is_accepted(ends, client, ServerTls::new(identity()).unwrap());
}

fn a_known_client_certificate_is_accepted_and_reported(ends: &Ends) {
    let authority = Authority::new();
    let issued = authority.issue("client.example", Validity::Now);
    let server = server_tls(TlsMode::SelfSigned).unwrap();
    let server = server.require_client_certificates(authority.roots()).unwrap();
    let client = client_tls(TlsMode::Verified).unwrap().client_certificate(issued.clone());
    let (ours, _) = is_accepted(ends, client, server);
    assert_eq!(ours.tls().unwrap().peer_certificate, Some(issued.fingerprint()));
}

fn a_client_without_a_required_certificate_is_refused(ends: &Ends) {
    let unknown = Authority::new().issue("client.example", Validity::Now);
    let without = client_tls(TlsMode::SelfSigned).unwrap();
    let with_another = without.clone().client_certificate(unknown);
    for client in [without, with_another] {
        let server = server_tls(TlsMode::SelfSigned).unwrap();
        let server = server.require_client_certificates(Authority::new().roots()).unwrap();
        is_refused(ends, client, server);
    }
}

fn pinned_clients(pins: impl IntoIterator<Item = Fingerprint>) -> ServerTls {
    ServerTls::new(identity()).unwrap().pinned_clients(pins).unwrap()
}

/// A client that pins the server of these scenarios.
fn pinning_client() -> ClientTls {
    ClientTls::self_signed().unwrap().pinned(identity().fingerprint()).unwrap()
}

fn agent() -> Identity {
    Identity::self_signed(["agent.example"]).unwrap()
}

fn a_pinned_client_is_accepted_and_reported(ends: &Ends) {
    let (agent, other) = (agent(), Fingerprint::from([7; 32]));
    let client = pinning_client().client_certificate(agent.clone());
    let (ours, theirs) = is_accepted(ends, client, pinned_clients([other, agent.fingerprint()]));
    assert_eq!(ours.tls().unwrap().peer_certificate, Some(agent.fingerprint()));
    assert_eq!(theirs.tls().unwrap().peer_certificate, Some(identity().fingerprint()));
}

/// In TLS 1.3 the client's handshake ends before the server has read its certificate: the client
/// meets the refusal where it waits for the id.
fn clients_that_are_not_pinned_are_refused_and_both_ends_say_why(ends: &Ends) {
    let stranger = agent();
    let own = stranger.fingerprint().to_string();
    for (client, of_client, of_server) in [
        (pinning_client(), "this end has presented none", "sent no certificates"),
        (
            pinning_client().client_certificate(stranger.clone()),
            "let the server pin it",
            "the client's certificate is not pinned",
        ),
    ] {
        let named = client.certificate().is_some();
        let server = pinned_clients([Fingerprint::from([7; 32])]);
        let server = ends.serve_with(Some(server), server_config());
        let dial = Dial::Address(server.address().to_string());
        let client = ends.dial_with(Some(client), client_config(), dial);
        fails(&*client, |totals| totals.tls_failures, of_client);
        fails(&*server, |totals| totals.tls_failures, of_server);
        for pool in [client, server] {
            let text = pool.acquire(Duration::ZERO).unwrap_err().to_string();
            assert_eq!(text.contains(&own), named, "{text}");
        }
    }
}

/// Without ids the connection is established when the refusal arrives: the check of idle connections
/// meets it.
fn a_client_without_ids_learns_of_a_late_refusal(ends: &Ends) {
    let tls = pinned_clients([Fingerprint::from([7; 32])]);
    let server = FakeServer::start(move |mut tcp, _| {
        let mut session = ServerConnection::new(Arc::clone(tls.config())).unwrap();
        while session.is_handshaking() {
            // Fails when the client has sent its empty certificate, and sends the alert.
            session.complete_io(&mut tcp)?;
        }
        panic!("a client without a certificate was admitted");
    });
    let dial = Dial::Address(server.address.to_string());
    let client =
        ends.dial_with(Some(pinning_client()), client_config().ids(IdExchange::None), dial);
    let says = |failure: &Option<Arc<str>>| {
        failure.as_deref().is_some_and(|text| text.contains("this end has presented none"))
    };
    eventually(|| client.last_failure(), says);
}

fn a_server_that_is_not_pinned_learns_why_its_clients_leave(ends: &Ends) {
    let server = ends.serve_with(Some(ServerTls::new(identity()).unwrap()), server_config());
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(client), client_config(), dial);
    fails(&*client, |totals| totals.tls_failures, "the server's certificate is not pinned");
    fails(&*server, |totals| totals.tls_failures, "let the client pin it");
    drop(client);
}

fn strangers_beside_a_pinned_client_are_never_handed_out(ends: &Ends) {
    let agent = agent();
    let server = pinned_clients([agent.fingerprint()]);
    let server = ends.serve_with(Some(server), server_config());
    let dial = |tls| {
        let ms = Duration::from_millis(1);
        let config = client_config().capacity(4..=4).backoff(ms, 10 * ms);
        ends.dial_with(Some(tls), config, Dial::Address(server.address().to_string()))
    };
    let strangers =
        [dial(pinning_client()), dial(pinning_client().client_certificate(self::agent()))];
    let client = dial(pinning_client().client_certificate(agent.clone()));
    for taken in 0..20 {
        eventually(|| server.stats(), |stats| stats.totals.tls_failures >= taken);
        let mut ours = server.take();
        assert_eq!(ours.tls().unwrap().peer_certificate, Some(agent.fingerprint()));
        let mut theirs = client.take_id(ours.id());
        ping_pong(&mut *ours, &mut *theirs);
    }
    for stranger in strangers {
        let totals = stranger.stats().totals;
        assert!(totals.established == 0 && totals.tls_failures > 0, "{totals:?}");
    }
}

fn a_builder_refuses_less_protection_than_was_required(ends: &Ends) {
    let (anyone, agent) = (ServerTls::new(identity()).unwrap(), agent());
    let authority = Authority::new();
    let custom = ServerTls::custom(Arc::clone(anyone.config()));
    let issued = anyone.clone().require_client_certificates(authority.roots()).unwrap();
    let serve = |demand, tls: Option<&ServerTls>| {
        let listen = Listen::Address("127.0.0.1:0".to_owned());
        let (config, keep_alive) = (None, None);
        let setup =
            ServerSetup { config, tls: tls.cloned(), keep_alive, demand, listen, tape: None };
        ends.server.server(setup).map(drop)
    };
    let any_server = ClientTls::self_signed().unwrap();
    let verified = verified("localhost", &identity());
    let own = ClientTls::custom(Arc::clone(any_server.config()), any_server.server_name().clone());
    let connect = |demand, tls: Option<&ClientTls>| {
        let dial = Dial::Address(unused_address().to_string());
        let (config, keep_alive) = (None, None);
        let setup = ClientSetup { config, tls: tls.cloned(), keep_alive, demand, dial, tape: None };
        ends.client.client(setup).map(drop)
    };

    for demand in [Demand::Tls, Demand::Authentication] {
        for error in [serve(demand, None), connect(demand, None)] {
            let error = error.unwrap_err();
            assert!(matches!(error, BuildError::TlsRequired), "{error:?}");
            assert!(error.to_string().contains("give them by tls(…)"), "{error}");
        }
    }
    let demand = Demand::Authentication;
    for (error, remedy) in [
        (serve(demand, Some(&anyone)), "ServerTls::pinned_clients"),
        (serve(demand, Some(&custom)), "say so by assume_authenticated"),
        (connect(demand, Some(&any_server)), "pinned(fingerprint)"),
        (
            connect(demand, Some(&any_server.clone().client_certificate(agent.clone()))),
            "pinned(fingerprint)",
        ),
        (connect(demand, Some(&own)), "for others use require_tls"),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, BuildError::AuthenticationRequired { .. }), "{error:?}");
        assert!(error.to_string().contains(remedy), "{error}");
    }

    serve(Demand::Nothing, None).unwrap();
    connect(Demand::Nothing, None).unwrap();
    for tls in [&anyone, &custom, &issued] {
        serve(Demand::Tls, Some(tls)).unwrap();
    }
    for tls in [&any_server, &own, &verified] {
        connect(Demand::Tls, Some(tls)).unwrap();
    }
    let vouched = custom.assume_authenticated().unwrap();
    for tls in [&issued, &pinned_clients([agent.fingerprint()]), &vouched] {
        serve(demand, Some(tls)).unwrap();
    }
    for tls in [&verified, &pinning_client(), &own.assume_authenticated().unwrap()] {
        connect(demand, Some(tls)).unwrap();
    }
}

/// A server that speaks only TLS 1.2.
fn a_server_of_tls_1_2_makes_no_connection(ends: &Ends) {
    let (sender, alerts) = mpsc::channel();
    let fake = FakeServer::start(move |mut tcp, _| {
        let mut header = [0; 5];
        tcp.read_exact(&mut header)?;
        let [22, _, _, high, low] = header else { panic!("no handshake record: {header:?}") };
        tcp.read_exact(&mut vec![0; u16::from_be_bytes([high, low]).into()])?;
        tcp.write_all(&tls12_server_hello())?;
        let mut alert = [0; PROTOCOL_VERSION_ALERT.len()];
        tcp.read_exact(&mut alert)?;
        // The client dials again until the scenario ends.
        let _ = sender.send(alert);
        until_end(&mut tcp)
    });
    let client = ends.dial(TlsMode::SelfSigned, client_config(), fake.address);
    fails(&*client, |totals| totals.tls_failures, "TLS handshake failed");
    assert_eq!(alerts.recv_timeout(SOON), Ok(PROTOCOL_VERSION_ALERT));
}

/// A client that speaks only TLS 1.2.
fn a_client_of_tls_1_2_makes_no_connection(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let mut peer = connect(server.address());
    send(&mut peer, &tls12_client_hello());
    assert_eq!(read_all(&mut peer), PROTOCOL_VERSION_ALERT);
    fails(&*server, |totals| totals.tls_failures, "TLS handshake failed");
}

/// A fatal protocol_version alert (RFC 5246, section 7.2), as a record.
const PROTOCOL_VERSION_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

/// A ClientHello of TLS 1.2 (RFC 5246), written by hand because the build contains no TLS 1.2. It
/// offers `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, secp256r1, and signatures with ECDSA on P-256.
fn tls12_client_hello() -> Vec<u8> {
    let groups_and_signatures = [0, 16, 0, 10, 0, 4, 0, 2, 0, 0x17, 0, 13, 0, 4, 0, 2, 4, 3];
    tls12_hello(1, &[&[0, 2, 0xC0, 0x2B, 1, 0][..], &groups_and_signatures].concat())
}

/// A ServerHello that takes TLS 1.2 with the same cipher suite.
fn tls12_server_hello() -> Vec<u8> {
    tls12_hello(2, &[0xC0, 0x2B, 0])
}

/// A record with one message: the version TLS 1.2, a random of 32 bytes, an empty session id, and
/// the rest.
fn tls12_hello(kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(35 + rest.len()).unwrap();
    let header = [22, 3, 3, 0, length + 4, kind, 0, 0, length];
    [&header[..], &[3, 3], &[7; 32], &[0], rest].concat()
}

fn a_custom_rustls_configuration_is_used(ends: &Ends) {
    let protocols = vec![b"pool".to_vec()];
    let (client, server) = (client_tls(TlsMode::Verified).unwrap(), server_tls(TlsMode::Verified));
    let mut ours = (**server.unwrap().config()).clone();
    ours.alpn_protocols.clone_from(&protocols);
    let mut theirs = (**client.config()).clone();
    theirs.alpn_protocols = protocols;
    let client = ClientTls::custom(Arc::new(theirs), client.server_name().clone());
    let (ours, theirs) = is_accepted(ends, client, ServerTls::custom(Arc::new(ours)));
    for stream in [ours, theirs] {
        assert_eq!(stream.tls().unwrap().alpn.as_deref(), Some(&b"pool"[..]));
    }
}
