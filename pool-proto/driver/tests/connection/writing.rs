//! Writes of a leased stream, also without room in the kernel, and the close of this end.

use std::io::{self, ErrorKind, IoSlice};

use pool_driver::connection::Connection;
use pool_driver::shared::{Leased, PoolConnection as _};
use pool_proto::{CheckResult, OPENING_BYTE};

use crate::check::pattern;
use crate::rig::{Kind, Streaming};
use crate::wire::{End, Io};

pub(crate) fn write(stream: &mut Leased<Box<Connection<End>>>, data: &[u8]) -> io::Result<usize> {
    stream.write(Io, &[IoSlice::new(data)])
}

pub(crate) fn flush(stream: &mut Leased<Box<Connection<End>>>) -> io::Result<()> {
    stream.flush(Io)
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

#[test]
fn a_vectored_write_arrives_as_a_whole() {
    for kind in Kind::ALL {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        let slices = [IoSlice::new(b"one, "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(stream.write(Io, &slices).unwrap(), 8, "{kind:?}");
        assert_eq!(peer.receive(), b"one, two", "{kind:?}");
        flush(&mut stream).unwrap();
        assert!(near.get(|kernel| kernel.flushes) > 0, "{kind:?}");
    }
}

#[test]
fn an_empty_write_writes_nothing() {
    for kind in Kind::TLS {
        let Streaming { near, mut stream, peer: _peer, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 0);
        assert_eq!(write(&mut stream, b"").unwrap(), 0, "{kind:?}");
        assert_eq!(stream.write(Io, &[]).unwrap(), 0, "{kind:?}");
    }
}

#[test]
fn a_plain_write_is_as_long_as_the_kernel_accepts() {
    for kind in Kind::PLAIN {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 5);
        assert_eq!(write(&mut stream, b"one, two").unwrap(), 5, "{kind:?}");
        assert_kind(write(&mut stream, b"two"), ErrorKind::WouldBlock);
        assert_eq!(peer.receive(), b"one, ", "{kind:?}");
    }
}

#[test]
fn an_interrupted_write_is_repeated() {
    for kind in Kind::ALL {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.interrupts = 2);
        assert_eq!(write(&mut stream, b"hello").unwrap(), 5, "{kind:?}");
        assert_eq!(peer.receive(), b"hello", "{kind:?}");
    }
}

#[test]
fn a_flush_sends_the_data_that_tls_has_buffered() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        for room in [0, 10] {
            near.set(|kernel| kernel.room = room);
            assert_eq!(write(&mut stream, b"hello").unwrap(), 5, "{kind:?}");
            assert_eq!(peer.receive(), b"", "{kind:?}");
            assert_kind(flush(&mut stream), ErrorKind::WouldBlock);
            near.set(|kernel| kernel.room = 1000);
            flush(&mut stream).unwrap();
            assert_eq!(peer.receive(), b"hello", "{kind:?}");
        }
    }
}

#[test]
fn a_write_completes_byte_by_byte() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.piece = 1);
        assert_eq!(write(&mut stream, b"hello").unwrap(), 5, "{kind:?}");
        near.set(|kernel| kernel.piece = 1000);
        assert_eq!(peer.receive(), b"hello", "{kind:?}");
    }
}

#[test]
fn a_tls_write_blocks_at_a_full_buffer_and_then_continues() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        let data = pattern(150_000);
        let mut taken = 0;
        near.set(|kernel| kernel.room = 0);
        loop {
            match write(&mut stream, &data[taken..]) {
                Ok(count) => {
                    assert!(count > 0, "{kind:?}");
                    taken += count;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{kind:?}");
                    break;
                }
            }
        }
        assert!((1..100_000).contains(&taken), "{kind:?}: {taken}");
        near.set(|kernel| kernel.room = 1_000_000);
        while taken < data.len() {
            let count = write(&mut stream, &data[taken..]).unwrap();
            assert!(count > 0, "{kind:?}");
            taken += count;
        }
        assert_eq!(peer.receive(), data, "{kind:?}");
    }
}

#[test]
fn a_failed_write_is_an_error_whether_tls_has_buffered_it_or_not() {
    for kind in Kind::ALL {
        let Streaming { near, mut stream, peer: _peer, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        assert_kind(write(&mut stream, b"hello"), ErrorKind::ConnectionReset);
        if kind.is_tls() {
            assert_kind(flush(&mut stream), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn an_opening_byte_has_left_if_there_was_room_for_it() {
    for kind in Kind::ALL {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        assert!(stream.get_mut().open(), "{kind:?}");
        assert_eq!(peer.receive(), [OPENING_BYTE], "{kind:?}");
        assert_eq!(near.get(|kernel| kernel.uses.clone()), [true], "{kind:?}");
        near.set(|kernel| kernel.room = 0);
        assert!(!stream.get_mut().open(), "{kind:?}");
    }
}

/// Its holder reads the end, as without opening bytes.
#[test]
fn a_connection_that_has_ended_unused_needs_no_opening_byte() {
    for kind in Kind::ALL {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.close();
        assert_eq!(stream.get_mut().check(), CheckResult::Closed, "{kind:?}");
        assert!(stream.get_mut().take_opening(), "{kind:?}");
        assert_eq!(stream.read(Io, &mut [0]).unwrap(), 0, "{kind:?}");
    }
}

#[test]
fn a_zero_length_write_is_an_error() {
    for kind in Kind::TLS {
        let Streaming { near, mut stream, peer: _peer, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.takes_nothing = true);
        assert_kind(write(&mut stream, b"hello"), ErrorKind::WriteZero);
    }
}

// --- closing ------------------------------------------------------------------------------------

#[test]
fn a_shutdown_sends_close_notify_and_keeps_the_reading_half() {
    for kind in Kind::ALL {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        write(&mut stream, b"the last").unwrap();
        stream.shutdown(Io).unwrap();
        assert_eq!(near.get(|kernel| kernel.shut_writes), 1, "{kind:?}");
        assert_eq!(peer.receive(), b"the last", "{kind:?}");
        assert!(peer.received_close(), "{kind:?}");
        assert_kind(write(&mut stream, b"more"), ErrorKind::BrokenPipe);
        peer.send(b"fine");
        assert_eq!(crate::reading::all_of(&mut stream, &near), b"fine", "{kind:?}");
    }
}

#[test]
fn a_close_notify_without_room_is_sent_later() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 7);
        assert_kind(stream.shutdown(Io), ErrorKind::WouldBlock);
        assert_eq!(near.get(|kernel| kernel.shut_writes), 0, "{kind:?}");
        assert!(peer.sees_no_close(), "{kind:?}");
        near.set(|kernel| kernel.room = 1000);
        stream.shutdown(Io).unwrap();
        assert_eq!(near.get(|kernel| kernel.shut_writes), 1, "{kind:?}");
        assert!(peer.received_close(), "{kind:?}");
    }
}

#[test]
fn a_stream_that_has_begun_to_close_is_not_reused() {
    for kind in Kind::TLS {
        let Streaming { near, mut stream, mut pool, peer: _peer } = kind.streaming();
        near.set(|kernel| kernel.room = 7);
        assert_kind(stream.shutdown(Io), ErrorKind::WouldBlock);
        // The holder gives up.
        near.set(|kernel| kernel.room = 1000);
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!(pool.stats().idle, 0, "{kind:?}");
    }
}

#[test]
fn a_shutdown_after_the_peers_close_is_not_an_error() {
    for kind in Kind::ALL {
        let Streaming { near, mut stream, peer: _peer, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.shut_error = Some(ErrorKind::NotConnected));
        stream.shutdown(Io).unwrap();
        near.set(|kernel| kernel.shut_error = Some(ErrorKind::PermissionDenied));
        assert_kind(stream.shutdown(Io), ErrorKind::PermissionDenied);
    }
}

#[test]
fn a_connection_that_the_pool_closes_ends_with_close_notify() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.connect();
        pool.flush();
        pool.turn();
        assert!(peer.received_close(), "{kind:?}");
        assert_eq!(near.get(|kernel| (kernel.shut_writes, kernel.shut_boths)), (1, 0), "{kind:?}");
    }
}

#[test]
fn the_pool_does_not_wait_for_room_for_close_notify() {
    for kind in Kind::TLS {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.connect();
        near.set(|kernel| kernel.room = 0);
        pool.flush();
        pool.turn();
        assert!(!peer.received_close(), "{kind:?}");
        assert_eq!(pool.reasons(), [pool_proto::CloseReason::Flushed], "{kind:?}");
    }
}
