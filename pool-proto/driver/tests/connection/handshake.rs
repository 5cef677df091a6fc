//! TLS handshakes: over slow sockets, and with peers that fail or refuse.

use std::io::ErrorKind;
use std::sync::Arc;
use std::task::Poll;

use pool_driver::connection::{Acceptor, Connector, Failure, Handshake, Socket};
use pool_driver::tls::{ClientTls, Identity, ServerTls, roots_from_pem};
use pool_proto::{ConnId, HandshakeFailure, IdExchange, IdFormat};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;

use crate::peer::{CLIENT_TLS, Peer, SERVER_TLS, complete};
use crate::rig::{begin_as, client_side, server_side};
use crate::wire::End;

fn client() -> Handshake {
    client_side(true, IdExchange::None).begin().unwrap()
}

fn server() -> Handshake {
    begin_as(&server_side(true, IdFormat::Hex8), ConnId::ZERO)
}

/// Returns a handshake of each role, with a matching peer.
fn both() -> [(Handshake, End, Peer); 2] {
    let ((near, far), (other_near, other_far)) = (End::pair(), End::pair());
    let of_client = (client(), near, Peer::tls_server(far, &SERVER_TLS));
    [of_client, (server(), other_near, Peer::tls_client(other_far, &CLIENT_TLS))]
}

#[test]
fn a_handshake_waits_for_the_peer() {
    for (mut handshake, near, mut peer) in both() {
        assert!(handshake.advance(&mut near.now()).is_pending());
        assert!(handshake.advance(&mut near.now()).is_pending(), "no data has arrived yet");
        complete(&mut handshake, &near, &mut peer).unwrap();
        peer.pump().unwrap();
        assert!(!peer.session().is_handshaking());
    }
}

#[test]
fn a_handshake_completes_byte_by_byte() {
    for (mut handshake, near, mut peer) in both() {
        near.set(|kernel| kernel.piece = 1);
        complete(&mut handshake, &near, &mut peer).unwrap();
        peer.pump().unwrap();
        assert!(!peer.session().is_handshaking());
    }
}

#[test]
fn a_handshake_ends_only_after_its_own_messages_are_sent() {
    let (near, far) = End::pair();
    let (mut handshake, mut peer) = (client(), Peer::tls_server(far, &SERVER_TLS));
    assert!(handshake.advance(&mut near.now()).is_pending());
    peer.pump().unwrap();
    near.set(|kernel| kernel.room = 20);
    // The client has received all messages of the server, but has no room to send its own.
    for _ in 0..3 {
        assert!(handshake.advance(&mut near.now()).is_pending());
        peer.pump().unwrap();
        assert!(peer.session().is_handshaking());
    }
    near.set(|kernel| kernel.room = 1000);
    assert!(matches!(handshake.advance(&mut near.now()), Poll::Ready(Ok(()))));
    peer.pump().unwrap();
    assert!(!peer.session().is_handshaking());
}

#[test]
fn an_interrupted_handshake_continues() {
    for (mut handshake, near, mut peer) in both() {
        near.set(|kernel| kernel.interrupts = 3);
        complete(&mut handshake, &near, &mut peer).unwrap();
    }
}

#[test]
fn a_close_during_the_handshake_is_a_transport_failure() {
    for (mut handshake, near, mut peer) in both() {
        assert!(handshake.advance(&mut near.now()).is_pending());
        peer.end.end();
        let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
        let Failure::TlsTransport(error) = &failure else { panic!("{failure}") };
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(failure.to_string().contains("the peer closed the connection"), "{failure}");
        assert_eq!(failure.kind(), HandshakeFailure::Transport);
    }
}

#[test]
fn a_reset_during_the_handshake_is_a_transport_failure() {
    for (mut handshake, near, mut peer) in both() {
        near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
        let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
        assert!(matches!(failure, Failure::TlsTransport(_)), "{failure}");
    }
}

#[test]
fn a_peer_without_tls_is_recognised() {
    for (mut handshake, near, peer) in both() {
        peer.end.send(b"0a1b2c3d");
        let failure = match handshake.advance(&mut near.now()) {
            Poll::Ready(result) => result.unwrap_err(),
            Poll::Pending => panic!("the handshake waits for more data"),
        };
        assert!(matches!(failure, Failure::NoTls(_)), "{failure}");
        assert!(failure.to_string().contains("configure TLS on both ends or on neither"));
        assert_eq!(failure.kind(), HandshakeFailure::Tls);
    }
}

#[test]
fn an_untrusted_peer_is_a_tls_failure_and_gets_an_alert() {
    let other = Identity::self_signed(["localhost"]).unwrap();
    let pinned = ClientTls::self_signed().unwrap().pinned(other.fingerprint()).unwrap();
    let side = Connector::new(Some(pinned), IdExchange::default());
    let (near, far) = End::pair();
    let (mut handshake, mut peer) = (side.begin().unwrap(), Peer::tls_server(far, &SERVER_TLS));
    let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
    assert!(matches!(failure, Failure::Tls(_)), "{failure}");
    assert_eq!(failure.kind(), HandshakeFailure::Tls);
    peer.assert_alert("an untrusted peer");
}

/// The peer that is gone, or reads nothing, is no reason to hide the cause from this end.
#[test]
fn an_untrusted_peer_is_a_tls_failure_though_no_alert_can_be_sent() {
    let other = Identity::self_signed(["localhost"]).unwrap();
    let pinned = ClientTls::self_signed().unwrap().pinned(other.fingerprint()).unwrap();
    let side = Connector::new(Some(pinned), IdExchange::default());
    for write_error in [None, Some(ErrorKind::BrokenPipe)] {
        let (near, far) = End::pair();
        let (mut handshake, mut peer) = (side.begin().unwrap(), Peer::tls_server(far, &SERVER_TLS));
        assert!(handshake.advance(&mut near.now()).is_pending());
        peer.pump().unwrap();
        near.set(|kernel| (kernel.room, kernel.write_error) = (0, write_error));
        let Poll::Ready(Err(failure)) = handshake.advance(&mut near.now()) else {
            panic!("the handshake waits, or is over: {write_error:?}")
        };
        assert!(matches!(failure, Failure::Tls(_)), "{write_error:?}: {failure}");
    }
}

#[test]
fn a_late_refusal_of_the_clients_certificate_is_a_tls_failure() {
    let stranger = Identity::self_signed(["client.example"]).unwrap();
    let roots = roots_from_pem(stranger.certificate_pem().as_bytes()).unwrap();
    let demanding = ServerTls::self_signed().unwrap().require_client_certificates(roots).unwrap();
    let (near, far) = End::pair();
    let mut handshake = client_side(true, IdExchange::default()).begin().unwrap();
    let mut peer = Peer::tls_server(far, &demanding);
    // The client's TLS handshake has ended by then, and it waits for the id.
    let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
    let Failure::Tls(error) = &failure else { panic!("{failure}") };
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[test]
fn a_client_whose_certificate_is_refused_gets_an_alert() {
    let stranger = Identity::self_signed(["client.example"]).unwrap();
    let roots = roots_from_pem(stranger.certificate_pem().as_bytes()).unwrap();
    let demanding = ServerTls::self_signed().unwrap().require_client_certificates(roots).unwrap();
    let (near, far) = End::pair();
    let side = Acceptor::new(Some(demanding), IdFormat::Hex8);
    let mut handshake = begin_as(&side, ConnId::ZERO);
    let mut peer = Peer::tls_client(far, &CLIENT_TLS);
    let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
    assert!(matches!(failure, Failure::Tls(_)), "{failure}");
    peer.assert_alert("an untrusted peer");
}

/// The others are those of its issuers, which many peers may have in common.
#[test]
fn the_certificate_of_a_peer_is_the_first_of_its_chain() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap().der().clone();
    let chain = [leaf, authority.der().clone()];
    let identity = Identity::from_der(chain, key.into()).unwrap();
    let pin = identity.fingerprint();
    let server = ServerTls::new(identity.clone()).unwrap().pinned_clients([pin]).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(identity);

    let (near, far) = End::pair();
    let mut client = Connector::new(Some(client), IdExchange::None).begin().unwrap();
    let mut server = Acceptor::new(Some(server), IdFormat::Hex8).begin().unwrap();
    assert_eq!((client.peer_certificate(), server.peer_certificate()), (None, None));
    for _ in 0..10 {
        for (handshake, end) in [(&mut client, &near), (&mut server, &far)] {
            if let Poll::Ready(result) = handshake.advance(&mut end.now()) {
                result.unwrap();
            }
        }
    }
    let pin = Some(*pin.as_bytes());
    assert_eq!((client.peer_certificate(), server.peer_certificate()), (pin, pin));
}

#[test]
fn a_configuration_that_rustls_rejects_is_a_tls_failure() {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(
        CLIENT_TLS.config().crypto_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    // RFC 8449 does not allow fragments this small.
    config.max_fragment_size = Some(1);
    let tls = ClientTls::custom(Arc::new(config), ServerName::try_from("localhost").unwrap());
    let failure = Connector::new(Some(tls), IdExchange::None).begin().err().expect("a failure");
    let Failure::Tls(error) = &failure else { panic!("{failure}") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    let mut config = (**SERVER_TLS.config()).clone();
    config.max_fragment_size = Some(1);
    let side = Acceptor::new(Some(ServerTls::custom(Arc::new(config))), IdFormat::Hex8);
    let failure = side.begin().err().expect("a failure");
    assert!(matches!(failure, Failure::Tls(_)), "{failure}");
}

#[test]
fn a_handshake_has_advice_where_the_peer_must_speak() {
    let ids = IdExchange::default();
    let address = "is this the address of the server";
    for (handshake, advice) in [
        (client_side(false, ids).begin(), "a server with TLS waits for TLS like this"),
        (client_side(true, ids).begin(), address),
        (client_side(true, IdExchange::None).begin(), address),
        (server_side(true, IdFormat::Hex8).begin(), "a client without TLS waits for an id"),
    ] {
        let text = handshake.unwrap().advice_on_silence();
        assert!(text.contains(advice), "{text:?}");
    }
    for handshake in
        [client_side(false, IdExchange::None).begin(), server_side(false, IdFormat::Hex8).begin()]
    {
        assert_eq!(handshake.unwrap().advice_on_silence(), "");
    }
}
