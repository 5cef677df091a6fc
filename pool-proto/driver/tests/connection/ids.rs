//! The exchange of ids: in pieces, malformed, truncated, and over slow sockets.

use std::io::ErrorKind;
use std::task::Poll;

use bytes::Buf;
use pool_driver::connection::{Failure, Handshake, Socket};
use pool_proto::{ConnId, HandshakeFailure, IdError, IdExchange, IdFormat, IdWriter};

use crate::peer::{CLIENT_TLS, Peer, complete};
use crate::rig::{begin_as, client_side, server_peer, server_side};
use crate::wire::End;

const ID: ConnId = ConnId::from_bytes([0x0a, 0x1b, 0x2c, 0x3d]);

const FORMATS: [IdFormat; 2] = [IdFormat::Hex8, IdFormat::Raw4];

fn on_wire(format: IdFormat) -> Vec<u8> {
    IdWriter::new(format, ID).chunk().to_vec()
}

/// Returns the handshake of a client that reads an id, and its peer.
fn reading(tls: bool, format: IdFormat) -> (Handshake, End, Peer) {
    let (near, far) = End::pair();
    let handshake = client_side(tls, IdExchange::Wire(format)).begin().unwrap();
    let peer = server_peer(far, tls);
    (handshake, near, peer)
}

/// Returns the handshake of a server that writes an id, and its peer.
fn writing(tls: bool, format: IdFormat) -> (Handshake, End, Peer) {
    let (near, far) = End::pair();
    let handshake = begin_as(&server_side(tls, format), ID);
    let peer = if tls { Peer::tls_client(far, &CLIENT_TLS) } else { Peer::plain(far) };
    (handshake, near, peer)
}

/// Completes the TLS handshake, if there is one, so that both ends can send data.
fn lead(handshake: &mut Handshake, near: &End, peer: &mut Peer) {
    assert!(handshake.advance(&mut near.now()).is_pending());
    while peer.is_handshaking() {
        peer.pump().unwrap();
        assert!(handshake.advance(&mut near.now()).is_pending());
    }
}

/// Returns all combinations of TLS and format.
fn ways() -> impl Iterator<Item = (bool, IdFormat)> {
    [false, true].into_iter().flat_map(|tls| FORMATS.map(|format| (tls, format)))
}

// --- a client -----------------------------------------------------------------------------------

#[test]
fn a_client_reads_an_id_that_arrives_byte_by_byte() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = reading(tls, format);
        lead(&mut handshake, &near, &mut peer);
        for byte in on_wire(format) {
            assert!(handshake.advance(&mut near.now()).is_pending());
            peer.send(&[byte]);
        }
        assert!(matches!(handshake.advance(&mut near.now()), Poll::Ready(Ok(()))));
        assert!(handshake.finish().is_ok(), "tls: {tls}, {format:?}");
    }
}

#[test]
fn a_client_reads_an_id_one_byte_per_read() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = reading(tls, format);
        near.set(|kernel| kernel.piece = 1);
        peer.send(&on_wire(format));
        complete(&mut handshake, &near, &mut peer).unwrap();
        assert!(handshake.finish().is_ok(), "tls: {tls}, {format:?}");
    }
}

#[test]
fn a_complete_id_needs_one_read() {
    let (mut handshake, near, mut peer) = reading(false, IdFormat::Hex8);
    peer.send(&on_wire(IdFormat::Hex8));
    peer.send(b"early");
    assert!(matches!(handshake.advance(&mut near.now()), Poll::Ready(Ok(()))));
    assert_eq!(near.get(|kernel| kernel.reads), 1);
    assert!(matches!(handshake.advance(&mut near.now()), Poll::Ready(Ok(()))));
    assert_eq!(near.get(|kernel| kernel.reads), 1);
}

#[test]
fn an_id_before_a_close_is_accepted() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = reading(tls, format);
        lead(&mut handshake, &near, &mut peer);
        peer.send(&on_wire(format));
        peer.close();
        complete(&mut handshake, &near, &mut peer).unwrap();
        assert!(handshake.finish().is_ok(), "tls: {tls}, {format:?}");
    }
}

#[test]
fn a_truncated_id_is_too_short_with_and_without_close_notify() {
    for (tls, format) in ways() {
        for in_good_order in [true, false] {
            let (mut handshake, near, mut peer) = reading(tls, format);
            lead(&mut handshake, &near, &mut peer);
            peer.send(&on_wire(format)[..3]);
            if in_good_order {
                peer.close();
            } else {
                peer.end.end();
            }
            let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
            let short = IdError::Short { got: 3, expected: format.wire_len() };
            assert_eq!(failure.to_string(), short.to_string(), "tls: {tls}, {in_good_order}");
            assert_eq!(failure.kind(), HandshakeFailure::Id);
        }
    }
}

#[test]
fn a_reset_instead_of_an_id_is_a_transport_failure() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = reading(tls, format);
        lead(&mut handshake, &near, &mut peer);
        near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
        let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
        assert!(matches!(failure, Failure::IdTransport(_)), "tls: {tls}: {failure}");
        assert_eq!(failure.kind(), HandshakeFailure::Transport);
    }
}

#[test]
fn a_malformed_id_is_refused_at_its_first_wrong_byte() {
    for tls in [false, true] {
        let (mut handshake, near, mut peer) = reading(tls, IdFormat::Hex8);
        peer.send(b"0aX");
        let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
        let wrong = IdError::NotHex { offset: 2, byte: b'X' };
        assert_eq!(failure.to_string(), wrong.to_string(), "tls: {tls}");
        assert!(matches!(failure, Failure::Id(_)));
    }
}

#[test]
fn an_unfinished_handshake_has_no_result() {
    let (handshake, ..) = reading(false, IdFormat::Hex8);
    let failure = handshake.finish().err().expect("a failure");
    assert!(matches!(failure, Failure::Id(IdError::Short { got: 0, expected: 8 })), "{failure}");
}

#[test]
fn a_client_notices_halves_of_longer_ids_over_several_connections() {
    let side = client_side(false, IdExchange::Wire(IdFormat::Raw4));
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let (near, far) = End::pair();
        let mut peer = Peer::plain(far);
        peer.send(b"0a1b2c3d");
        let mut handshake = side.begin().unwrap();
        complete(&mut handshake, &near, &mut peer).unwrap();
        outcomes.push(handshake.finish().err().map(|failure| failure.kind()));
    }
    assert_eq!(outcomes, [None, None, Some(HandshakeFailure::Id)]);
}

#[test]
fn a_client_without_ids_leaves_user_data_unread() {
    let (near, far) = End::pair();
    far.send(b"hello");
    let mut handshake = client_side(false, IdExchange::None).begin().unwrap();
    assert!(matches!(handshake.advance(&mut near.now()), Poll::Ready(Ok(()))));
    assert_eq!((near.unread(), near.get(|kernel| kernel.reads)), (5, 0));
    assert!(handshake.finish().is_ok());
}

// --- a server -----------------------------------------------------------------------------------

#[test]
fn a_server_sends_the_id_and_nothing_else() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = writing(tls, format);
        complete(&mut handshake, &near, &mut peer).unwrap();
        assert!(near.get(|kernel| kernel.flushes) > 0, "tls: {tls}");
        assert_eq!(peer.receive(), on_wire(format), "tls: {tls}");
        assert!(handshake.finish().is_ok());
    }
}

#[test]
fn a_server_is_ready_only_after_its_id_is_sent() {
    for (tls, format) in ways() {
        let (mut handshake, near, mut peer) = writing(tls, format);
        near.set(|kernel| kernel.room = 0);
        let (mut rounds, mut polled) = (0, Poll::Pending);
        while polled.is_pending() {
            // The kernel has room for one byte per turn.
            polled = handshake.advance(&mut near.now());
            peer.pump().unwrap();
            near.set(|kernel| kernel.room = 1);
            rounds += 1;
        }
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        assert!(rounds > format.wire_len(), "tls: {tls}: {rounds}");
        assert_eq!(peer.receive(), on_wire(format), "tls: {tls}");
    }
}

#[test]
fn an_id_that_cannot_be_sent_is_a_transport_failure() {
    for format in FORMATS {
        let (mut handshake, near, mut peer) = writing(false, format);
        near.set(|kernel| kernel.write_error = Some(ErrorKind::BrokenPipe));
        let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
        assert!(matches!(failure, Failure::IdTransport(_)), "{failure}");
    }
}

#[test]
fn a_buffered_id_can_still_fail_over_tls() {
    let (mut handshake, near, mut peer) = writing(true, IdFormat::Hex8);
    while peer.session().is_handshaking() {
        assert!(handshake.advance(&mut near.now()).is_pending());
        peer.pump().unwrap();
    }
    near.set(|kernel| kernel.room = 3);
    assert!(handshake.advance(&mut near.now()).is_pending());
    near.set(|kernel| kernel.write_error = Some(ErrorKind::BrokenPipe));
    let failure = complete(&mut handshake, &near, &mut peer).unwrap_err();
    assert_eq!(failure.kind(), HandshakeFailure::Transport, "{failure}");
}

#[test]
fn a_zero_length_write_of_the_id_is_an_error() {
    for format in FORMATS {
        let (mut handshake, near, _peer) = writing(false, format);
        near.set(|kernel| kernel.takes_nothing = true);
        let Poll::Ready(Err(failure)) = handshake.advance(&mut near.now()) else {
            panic!("the handshake has sent its id, or waits: {format:?}");
        };
        assert_eq!(failure.kind(), HandshakeFailure::Transport);
        let Failure::IdTransport(error) = failure else { panic!("{failure}") };
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }
}
