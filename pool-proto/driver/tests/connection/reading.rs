//! Reads of a leased stream, its addresses, and its TLS facts.

use std::io::{self, ErrorKind};
use std::task::Poll;

use pool_driver::connection::Connection;
use pool_driver::connection::{SharedSocket, Socket};
use pool_driver::shared::Leased;
use pool_proto::{CheckResult, ConnId, Dialing};
use rustls::ProtocolVersion;

use crate::check::pattern;
use crate::peer::SERVER_TLS;
use crate::rig::{Kind, Pool, Side, Streaming, server_peer, take};
use crate::wire::{End, Io};
use crate::writing::write;

pub(crate) fn read(
    stream: &mut Leased<Box<Connection<End>>>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    stream.read(Io, buffer)
}

/// Reads until the stream would block.
pub(crate) fn all_of(stream: &mut Leased<Box<Connection<End>>>, near: &End) -> Vec<u8> {
    let (mut data, mut chunk) = (Vec::new(), [0; 1000]);
    loop {
        match read(stream, &mut chunk) {
            Ok(count @ 1..) => data.extend_from_slice(&chunk[..count]),
            Ok(_) => panic!("the stream has ended"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert_eq!(near.unread(), 0);
                return data;
            }
        }
    }
}

#[track_caller]
fn assert_read(stream: &mut Leased<Box<Connection<End>>>, expected: &[u8]) {
    let mut buffer = [0; 5];
    let count = read(stream, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], expected);
}

#[test]
fn a_read_without_data_would_block() {
    for kind in Kind::ALL {
        let mut streaming = kind.streaming();
        let error = read(&mut streaming.stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{kind:?}");
    }
}

#[test]
fn data_is_read_in_order_whatever_the_pieces() {
    for kind in Kind::ALL {
        for piece in [1, 7, 100_000] {
            let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
            near.set(|kernel| kernel.piece = piece);
            let data = pattern(3000);
            peer.send(&data[..1000]);
            peer.send(&data[1000..]);
            assert_eq!(all_of(&mut stream, &near), data, "{kind:?}, {piece}");
        }
    }
}

#[test]
fn early_data_comes_first() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (_near, mut peer) = pool.connect();
        let mut leased = pool.take().unwrap();
        peer.send(b"early, ");
        assert_eq!(pool_driver::shared::PoolConnection::check(leased.get_mut()), CheckResult::Data);
        let mut stream = leased;
        peer.send(b"late");
        for part in ["early", ", ", "late"] {
            assert_read(&mut stream, part.as_bytes());
        }
    }
}

#[test]
fn data_behind_the_id_is_delivered() {
    for tls in [false, true] {
        let (near, far) = End::pair();
        let mut pool = Pool::<Dialing>::new(tls);
        let (attempt, handshake) = Dialing::begin(&mut pool);
        let mut peer = server_peer(far, tls);
        peer.send(b"0a1b2c3dearly");
        let established = pool.complete_handshake(handshake, &near, &mut peer);
        peer.send(b"late");
        attempt.complete(Ok((SharedSocket::new(near.clone()), established)));
        // The peer has claimed the connection, so it is acquired by id.
        let id = ConnId::from_bytes([0x0a, 0x1b, 0x2c, 0x3d]);
        let Poll::Ready(Ok(leased)) = take(pool.shared().acquire_by_id(id)) else {
            panic!("the connection is not in the pool")
        };
        let mut stream = leased;
        assert_eq!(stream.id(), id);
        assert_eq!(all_of(&mut stream, &near), b"earlylate", "tls: {tls}");
    }
}

#[test]
fn an_interrupted_read_is_repeated() {
    for kind in Kind::ALL {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        peer.send(b"hello");
        near.set(|kernel| kernel.interrupts = 2);
        assert_read(&mut stream, b"hello");
    }
}

#[test]
fn the_peers_close_is_eof_after_its_data() {
    for kind in Kind::ALL {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send(b"bye");
        peer.close();
        for expected in ["bye", "", ""] {
            assert_read(&mut stream, expected.as_bytes());
        }
    }
}

#[test]
fn eof_without_close_notify_is_an_error_after_the_data() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send(b"half");
        peer.end.end();
        assert_read(&mut stream, b"half");
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{kind:?}");
    }
}

#[test]
fn a_reset_is_an_error() {
    for kind in Kind::ALL {
        let Streaming { near, mut stream, peer: _peer, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

/// The holder has sent its last data, or the peer takes no more: the peer's own end is in good order.
#[test]
fn a_write_into_a_half_that_is_closed_leaves_the_end_of_the_other_one() {
    for kind in Kind::ALL {
        for closed_here in [true, false] {
            let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
            if closed_here {
                stream.shutdown(Io).unwrap();
            } else {
                near.set(|kernel| kernel.write_error = Some(ErrorKind::BrokenPipe));
            }
            let error = write(&mut stream, b"more").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{kind:?}");
            peer.send(b"last");
            peer.close();
            assert_read(&mut stream, b"last");
            assert_eq!(read(&mut stream, &mut [0; 8]).unwrap(), 0, "{kind:?}");
        }
    }
}

/// A close_notify says that the peer has sent everything: the failed write was too late to matter.
#[test]
fn a_failed_write_leaves_an_end_by_close_notify() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        peer.send(b"whole");
        peer.close();
        near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        write(&mut stream, b"more").unwrap_err();
        for expected in ["whole", "", ""] {
            assert_read(&mut stream, expected.as_bytes());
        }
    }
}

/// A call that has to wait is no failure.
#[test]
fn a_write_without_room_leaves_the_end_of_the_peer() {
    for kind in Kind::ALL {
        let Streaming { near, peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 0);
        let written = write(&mut stream, b"more").and_then(|_| stream.flush(Io));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::WouldBlock, "{kind:?}");
        peer.end.end();
        let end = read(&mut stream, &mut [0; 8]).map_err(|error| error.kind());
        let expected = if kind.is_tls() { Err(ErrorKind::UnexpectedEof) } else { Ok(0) };
        assert_eq!(end, expected, "{kind:?}");
    }
}

#[test]
fn a_failure_that_a_flush_or_a_shutdown_has_met_is_that_of_the_reader_too() {
    type Call = fn(&mut Leased<Box<Connection<End>>>) -> io::Result<()>;
    let calls: [Call; 2] = [|stream| stream.flush(Io), |stream| stream.shutdown(Io)];
    for (kind, call) in Kind::TLS.into_iter().flat_map(|kind| calls.map(|call| (kind, call))) {
        let Streaming { near, peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 0);
        assert_eq!(write(&mut stream, b"lost").unwrap(), 4, "{kind:?}");
        near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        call(&mut stream).unwrap_err();
        peer.end.end();
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

#[test]
fn an_empty_read_over_tls_waits_for_nothing() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        assert_eq!(read(&mut stream, &mut []).unwrap(), 0, "{kind:?}");
        peer.send(b"hello");
        assert_eq!(read(&mut stream, &mut []).unwrap(), 0, "{kind:?}");
        assert_read(&mut stream, b"hello");
    }
}

#[test]
fn an_empty_read_leaves_the_failure_of_a_write_to_the_next_read() {
    for kind in Kind::PLAIN {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        write(&mut stream, b"lost").unwrap_err();
        peer.close();
        assert_eq!(read(&mut stream, &mut []).unwrap(), 0, "{kind:?}");
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

#[test]
fn an_invalid_record_is_an_error_and_sends_an_alert() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send_invalid_record();
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind:?}");
        peer.assert_alert(kind);
    }
}

#[test]
fn a_record_without_data_is_not_eof() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        peer.session().refresh_traffic_keys().unwrap();
        peer.pump().unwrap();
        assert!(near.unread() > 0, "{kind:?}");
        assert_eq!(all_of(&mut stream, &near), b"", "{kind:?}");
        peer.send(b"hello");
        assert_read(&mut stream, b"hello");
    }
}

#[test]
fn a_stream_reports_its_addresses_and_its_tls_facts() {
    for kind in Kind::ALL {
        let Streaming { near, stream, peer: _peer, pool: _pool } = kind.streaming();
        assert_eq!(stream.peer_addr().unwrap(), near.peer_addr());
        assert_eq!(stream.local_addr().unwrap(), near.local_addr().unwrap());
        assert_ne!(stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        assert_eq!(stream.socket().revoked(), None);
        let version = stream.tls().map(|facts| facts.version);
        assert_eq!(version, kind.is_tls().then_some(Some(ProtocolVersion::TLSv1_3)), "{kind:?}");
        // The server of these tests requires no certificate of its clients.
        let of_server = SERVER_TLS.fingerprint();
        let by_server = of_server.filter(|_| kind.is_tls() && kind != Kind::TlsServer);
        assert_eq!(stream.peer_certificate(), by_server, "{kind:?}");
        assert_eq!(stream.tls().and_then(|facts| facts.peer_certificate), by_server, "{kind:?}");
        near.set(|kernel| kernel.local_error = Some(ErrorKind::NotConnected));
        assert_eq!(stream.local_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    }
}
