//! Rejected certificates: both ends name the reason and the remedy.

use std::error::Error as _;
use std::sync::Arc;
use std::task::Poll;

use pool_driver::connection::{Acceptor, Connector, Failure, Handshake, SharedSocket, Socket as _};
use pool_driver::tls::{ClientTls, Fingerprint, Identity, ServerTls, roots_from_pem};
use pool_proto::{ClientConfig, ConnId, Dialing, IdExchange, IdFormat};
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::peer::Peer;
use crate::rig::{Pool, Side as _, begin_as};
use crate::wire::End;

pub(crate) fn identity() -> Identity {
    Identity::self_signed(["localhost"]).unwrap()
}

fn failed(handshake: &mut Handshake, near: &End, failure: &mut Option<Failure>) {
    if failure.is_none()
        && let Poll::Ready(result) = handshake.advance(&mut near.now())
    {
        *failure = result.err();
    }
}

/// Returns the failure of the client and that of the server.
pub(crate) fn failures(client: ClientTls, server: ServerTls) -> (Failure, Failure) {
    let (of_client, of_server) = attempt(client, server);
    (of_client.expect("the client fails"), of_server.expect("the server fails"))
}

pub(crate) fn attempt(client: ClientTls, server: ServerTls) -> (Option<Failure>, Option<Failure>) {
    let (near, far) = End::pair();
    let mut client = Connector::new(Some(client), IdExchange::default()).begin().unwrap();
    let acceptor = Acceptor::new(Some(server), IdFormat::Hex8);
    let mut server = begin_as(&acceptor, ConnId::ZERO);
    let (mut of_client, mut of_server) = (None, None);
    for _ in 0..100 {
        failed(&mut client, &near, &mut of_client);
        failed(&mut server, &far, &mut of_server);
    }
    (of_client, of_server)
}

#[track_caller]
pub(crate) fn assert_says(failure: &Failure, parts: &[&str]) {
    let Failure::Tls(error) = failure else { panic!("{failure}") };
    assert!(error.source().is_some_and(|source| source.is::<rustls::Error>()), "{error:?}");
    let text = failure.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

fn pinning(client: Fingerprint) -> ServerTls {
    ServerTls::new(identity()).unwrap().pinned_clients([client]).unwrap()
}

#[test]
fn a_missing_client_certificate() {
    let client = ClientTls::self_signed().unwrap();
    let (client, server) = failures(client, pinning(Fingerprint::from([7; 32])));
    assert_says(&client, &["has presented none", "ClientTls::client_certificate"]);
    assert_says(&server, &["peer sent no certificates", "ClientTls::client_certificate"]);
}

#[test]
fn a_client_certificate_that_is_not_pinned() {
    let stranger = identity();
    let client = ClientTls::self_signed().unwrap().client_certificate(stranger.clone());
    let (client, server) = failures(client, pinning(Fingerprint::from([7; 32])));
    let own = stranger.fingerprint().to_string();
    assert_says(&client, &["peer rejects", &own, "ServerTls::pinned_clients"]);
    assert_says(&server, &["the client's certificate is not pinned", &own]);
}

#[test]
fn a_client_certificate_of_another_issuer() {
    // Fresh certificates all have the same subject. The other root has one of its own.
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "another");
    let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let (stranger, namesake) = (identity(), identity().certificate_pem());
    for (root, problem) in [(other, "UnknownIssuer"), (namesake, "BadSignature")] {
        let roots = roots_from_pem(root.as_bytes()).unwrap();
        let client = ClientTls::self_signed().unwrap().client_certificate(stranger.clone());
        let server = ServerTls::new(identity()).unwrap();
        let (client, server) = failures(client, server.require_client_certificates(roots).unwrap());
        let own = stranger.fingerprint().to_string();
        assert_says(&client, &["peer rejects", &own, "ServerTls::require_client_certificates"]);
        assert_says(&server, &[problem, "authority", "as a root, or pin"]);
    }
}

#[test]
fn a_server_certificate_that_is_not_pinned() {
    let presented = identity();
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    let (client, server) = failures(client, ServerTls::new(presented.clone()).unwrap());
    let own = presented.fingerprint().to_string();
    assert_says(&client, &["the server's certificate is not pinned", &own]);
    assert_says(&server, &["peer rejects", &own, "ClientTls::pinned"]);
}

#[test]
fn protocols_of_which_none_is_common() {
    let client = ClientTls::self_signed().unwrap().alpn(["pool/2", "\u{1}"]).unwrap();
    let client = client.client_certificate(identity());
    let server = ServerTls::new(identity()).unwrap().alpn(["pool/1"]).unwrap();
    let (client, server) = failures(client, server);
    let common = "have none in common";
    assert_says(&client, &[common, "this end has \"pool/2\", \"\\x01\"", "ClientTls::alpn"]);
    assert_says(&server, &[common, "this end has \"pool/1\"", "ServerTls::alpn"]);
}

#[test]
fn protocols_of_custom_configurations_of_which_none_is_common() {
    let client = ClientTls::self_signed().unwrap().alpn(["pool/2"]).unwrap();
    let client = ClientTls::custom(Arc::clone(client.config()), client.server_name().clone());
    let server = ServerTls::new(identity()).unwrap().alpn(["pool/1"]).unwrap();
    let (client, server) = failures(client, ServerTls::custom(Arc::clone(server.config())));
    assert_says(&client, &["this end has \"pool/2\"", "ClientTls::alpn"]);
    assert_says(&server, &["this end has \"pool/1\"", "ServerTls::alpn"]);
}

/// A custom configuration gets the same remedies, and names its certificate.
#[test]
fn the_settings_of_a_custom_configuration() {
    let own = identity();
    let known = ClientTls::self_signed().unwrap().client_certificate(own.clone());
    let client = ClientTls::custom(Arc::clone(known.config()), known.server_name().clone());
    let server = ServerTls::custom(Arc::clone(pinning(Fingerprint::from([7; 32])).config()));
    let (client, server) = failures(client, server);
    let own = own.fingerprint().to_string();
    assert_says(&client, &["peer rejects", &own, "ServerTls::pinned_clients"]);
    assert_says(&server, &["the client's certificate is not pinned", &own]);

    let pinned = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    let custom = ServerTls::custom(Arc::clone(ServerTls::new(identity()).unwrap().config()));
    let replaced = identity();
    let (_, server) = failures(pinned, custom.identity(replaced.clone()));
    assert_says(&server, &["peer rejects", &replaced.fingerprint().to_string()]);
}

#[test]
fn a_failure_that_no_setting_mends_is_the_text_of_rustls() {
    let (near, far) = End::pair();
    let tls = ClientTls::self_signed().unwrap();
    let mut client = Connector::new(Some(tls), IdExchange::default()).begin().unwrap();
    // A fatal handshake_failure alert (RFC 8446, section 6.2).
    far.send(&[21, 3, 3, 0, 2, 2, 40]);
    let mut failure = None;
    failed(&mut client, &near, &mut failure);
    assert_eq!(
        failure.unwrap().to_string(),
        "the TLS handshake failed: received fatal alert: HandshakeFailure"
    );
}

/// In TLS 1.3 a client's handshake is over before the server has checked its certificate. Without an id
/// to wait for, the connection is established then.
#[test]
fn a_rejection_behind_the_handshake() {
    for before_the_first_check in [true, false] {
        let mut pool = Pool::<Dialing>::with_ids(true, IdExchange::None);
        let (near, far) = End::pair();
        let mut peer = Peer::tls_server(far, &pinning(Fingerprint::from([7; 32])));
        let (mut attempt, handshake) = Dialing::begin(&mut pool);
        attempt.connected_to(near.peer_addr(), "");
        let established = pool.complete_handshake(handshake, &near, &mut peer);
        let socket = SharedSocket::new(near.clone());
        if before_the_first_check {
            assert_eq!(peer.pump(), Err(rustls::Error::NoCertificatesPresented));
            attempt.complete(Ok((socket, established)));
            let totals = pool.shared().stats().totals;
            assert_eq!((totals.established, totals.tls_failures), (0, 1));
            let establishing = pool.shared().report().establishing;
            assert_eq!(establishing.count(), 0, "times of what was established");
        } else {
            attempt.complete(Ok((socket, established)));
            assert_eq!(pool.shared().last_failure(), None);
            assert_eq!(peer.pump(), Err(rustls::Error::NoCertificatesPresented));
        }
        pool.turn();
        assert_eq!(pool.shared().stats().idle, 0);
        let text = pool.shared().last_failure().unwrap();
        assert!(text.contains("this end has presented none"), "{text}");
        let address = near.peer_addr().to_string();
        assert_eq!(text.matches(&address).count(), 1, "the peer is named once: {text}");
    }
}

/// Any other failure of an idle connection has nothing to do with its handshake.
#[test]
fn an_idle_connection_that_fails_is_not_a_failed_handshake() {
    let mut pool = Pool::<Dialing>::new(true);
    let (_near, peer) = pool.connect();
    pool.turn();
    peer.send_invalid_record();
    pool.turn();
    assert_eq!(pool.shared().stats().idle, 0);
    let text = pool.shared().last_failure().unwrap();
    assert!(text.contains("ended soon after it was established"), "{text}");
}

/// A peer that takes connections and is not full: nobody waits because of the one that has ended.
#[test]
fn the_end_of_one_connection_is_no_failure_while_others_are_idle() {
    let mut pool = Pool::<Dialing>::new(true);
    let config = ClientConfig::builder().capacity(2..=2).build().unwrap();
    pool.shared().run(|machine, now| machine.set_config(now, &config)).unwrap();
    let (_near, mut first) = pool.connect();
    let (_other_near, _other) = pool.connect();
    pool.turn();
    assert_eq!(pool.shared().stats().idle, 2);
    first.close();
    pool.turn();
    assert_eq!((pool.shared().stats().idle, pool.shared().last_failure()), (1, None));
}
