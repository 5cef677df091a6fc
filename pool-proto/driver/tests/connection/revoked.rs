//! Streams of revoked leases.

use std::io::{self, ErrorKind, IoSlice};
use std::task::Poll;

use pool_driver::connection::Connection;
use pool_driver::connection::Revoked;
use pool_driver::shared::Leased;
use pool_proto::{Accepting, CloseReason, ConnId, PutError};

use crate::rig::{Kind, Pool, Streaming, take};
use crate::wire::{End, Io};

#[track_caller]
fn assert_revoked<T: std::fmt::Debug>(result: io::Result<T>, id: ConnId) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let revoked = error.get_ref().and_then(|inner| inner.downcast_ref::<Revoked>());
    assert_eq!(revoked, Some(&Revoked { id, reason: CloseReason::Flushed }));
}

fn revoke(pool: &mut dyn crate::rig::AnyPool) {
    pool.flush();
    pool.turn();
}

#[test]
fn every_call_on_a_revoked_stream_fails_with_the_reason() {
    for kind in Kind::ALL {
        let Streaming { mut pool, near, mut peer, mut stream } = kind.streaming();
        peer.send(b"hello");
        assert_eq!(stream.socket().revoked(), None);
        revoke(&mut *pool);
        assert_eq!(stream.socket().revoked(), Some(CloseReason::Flushed));
        assert_eq!(near.get(|kernel| kernel.shut_boths), 1, "the shutdown wakes pending calls");
        let id = stream.id();
        assert_revoked(stream.read(Io, &mut [0; 8]), id);
        assert_revoked(stream.write(Io, &[IoSlice::new(b"hello")]), id);
        assert_revoked(stream.flush(Io), id);
        assert_revoked(stream.shutdown(Io), id);
        assert_eq!(near.get(|kernel| kernel.shut_writes), 0, "the calls did not reach the socket");
    }
}

#[test]
fn a_flush_cuts_a_stream_at_rest() {
    for kind in Kind::TLS {
        let Streaming { mut pool, mut peer, mut stream, .. } = kind.streaming();
        stream.write(Io, &[IoSlice::new(b"perhaps not all of it")]).unwrap();
        revoke(&mut *pool);
        assert_eq!(peer.receive(), b"perhaps not all of it");
        assert!(!peer.received_close(), "{kind:?}: a part is taken for the whole");
    }
}

#[test]
fn the_deadline_of_a_shutdown_ends_a_stream_at_rest_in_good_order() {
    for kind in Kind::ALL {
        let Streaming { pool, near, mut peer, mut stream } = kind.streaming();
        stream.write(Io, &[IoSlice::new(b"all of it")]).unwrap();
        pool.shut_down();
        assert_eq!(peer.receive(), b"all of it");
        assert!(peer.received_close(), "{kind:?}");
        assert_eq!(near.get(|kernel| kernel.shut_boths), 1);
        let revoked = stream.read(Io, &mut [0; 8]).unwrap_err();
        assert!(revoked.to_string().ends_with(&CloseReason::ShutDown.to_string()), "{revoked}");
    }
}

#[test]
fn the_deadline_of_a_shutdown_cuts_a_stream_with_data_to_send() {
    for kind in Kind::ALL {
        let Streaming { pool, near, mut peer, mut stream } = kind.streaming();
        near.set(|kernel| kernel.room = 3);
        let sent = stream.write(Io, &[IoSlice::new(b"not all of it")]).unwrap();
        // Room for the rest, too late.
        near.set(|kernel| kernel.room = 1000);
        pool.shut_down();
        assert_eq!(peer.receive().len(), if kind.is_tls() { 0 } else { sent }, "{kind:?}");
        assert_eq!(peer.received_close(), !kind.is_tls(), "{kind:?}");
    }
}

#[test]
fn the_deadline_of_a_shutdown_during_a_call_cuts_the_stream() {
    let Fixture { pool, near, mut stream, .. } = fixture();
    let shut_down = |socket| {
        pool.shared().run(|machine, now| machine.graceful_shutdown(now, Some(now)));
        Io(socket)
    };
    let error = stream.write(shut_down, &[IoSlice::new(b"hello")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(near.get(|kernel| kernel.shut_boths), 1);
}

#[test]
fn a_revoked_stream_cannot_be_put_back() {
    for kind in Kind::ALL {
        let Streaming { mut pool, stream, .. } = kind.streaming();
        revoke(&mut *pool);
        assert_eq!(pool.put(stream), Err(PutError::NotLeased), "{kind:?}");
    }
}

#[test]
fn a_flush_revokes_a_lease_before_the_next_turn_of_the_driver() {
    for kind in Kind::ALL {
        let Streaming { mut pool, mut peer, mut stream, near: _near } = kind.streaming();
        pool.flush();
        let id = stream.id();
        assert_revoked(stream.write(Io, &[IoSlice::new(b"hello")]), id);
        assert_eq!(peer.receive(), b"", "{kind:?}");
    }
}

#[test]
fn data_that_tls_holds_is_not_sent_after_a_revocation() {
    for kind in Kind::TLS {
        let Streaming { mut pool, near, peer, mut stream } = kind.streaming();
        near.set(|kernel| kernel.room = 0);
        assert_eq!(stream.write(Io, &[IoSlice::new(b"hello")]).unwrap(), 5);
        pool.flush();
        // As if its pending calls were not ended yet.
        near.set(|kernel| kernel.reopen(1024));
        let id = stream.id();
        assert_revoked(stream.flush(Io), id);
        assert_revoked(stream.shutdown(Io), id);
        assert_eq!(pool.put(stream), Err(PutError::NotLeased));
        pool.turn();
        assert_eq!(pool.reasons().last(), Some(&CloseReason::Stale));
        assert_eq!(peer.end.unread(), 0, "{kind:?}");
    }
}

#[test]
fn a_dropped_stream_is_closed_and_released() {
    for kind in Kind::ALL {
        let Streaming { mut pool, stream, .. } = kind.streaming();
        drop(stream);
        pool.turn();
        assert_eq!((pool.stats().leased, pool.stats().idle), (0, 0), "{kind:?}");
    }
}

#[test]
fn the_error_names_the_connection_and_the_reason() {
    let revoked = Revoked { id: ConnId::ZERO, reason: CloseReason::Flushed };
    assert_eq!(
        revoked.to_string(),
        "the pool ended connection 00000000 while it was in use: the pool was flushed"
    );
}

// --- during a call ------------------------------------------------------------------------------

/// A lease that its pool revokes during a call.
struct Fixture {
    pool: Pool<Accepting>,
    near: End,
    far: End,
    stream: Leased<Box<Connection<End>>>,
}

fn fixture() -> Fixture {
    let mut pool = Pool::new(false);
    let (near, peer) = pool.connect();
    let Poll::Ready(Ok(leased)) = take(pool.shared().acquire()) else {
        panic!("no connection is ready")
    };
    Fixture { pool, near, far: peer.end, stream: leased }
}

/// Returns a socket whose call flushes the pool.
fn flush_during<'s>(pool: &mut Pool<Accepting>) -> impl FnOnce(&'s End) -> Io<'s> {
    move |socket| {
        pool.shared().run(|machine, now| machine.flush(now));
        pool.turn();
        Io(socket)
    }
}

#[test]
fn data_that_was_read_during_a_revocation_is_delivered() {
    let Fixture { mut pool, far, mut stream, .. } = fixture();
    far.send(b"hello");
    let mut buffer = [0; 8];
    assert_eq!(stream.read(flush_during(&mut pool), &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    let id = stream.id();
    assert_revoked(stream.read(Io, &mut buffer), id);
}

#[test]
fn eof_during_a_revocation_is_reported_as_revoked() {
    let Fixture { mut pool, near, mut stream, .. } = fixture();
    let id = stream.id();
    assert_revoked(stream.read(flush_during(&mut pool), &mut [0; 8]), id);
    assert_eq!(near.get(|kernel| (kernel.reads > 0, kernel.shut_boths)), (true, 1));
}

#[test]
fn a_write_that_fails_during_a_revocation_is_reported_as_revoked() {
    let Fixture { mut pool, mut stream, .. } = fixture();
    let id = stream.id();
    assert_revoked(stream.write(flush_during(&mut pool), &[IoSlice::new(b"hello")]), id);
}

#[test]
fn a_shutdown_that_fails_during_a_revocation_is_reported_as_revoked() {
    let Fixture { mut pool, near, mut stream, .. } = fixture();
    near.set(|kernel| kernel.shut_error = Some(ErrorKind::PermissionDenied));
    let id = stream.id();
    assert_revoked(stream.shutdown(flush_during(&mut pool)), id);
}

/// Returns a socket whose call flushes the pool, as if pending calls were ended only later.
fn flush_before_the_interrupt<'s>(pool: &mut Pool<Accepting>) -> impl FnOnce(&'s End) -> Io<'s> {
    let flush = flush_during(pool);
    move |socket| {
        let io = flush(socket);
        socket.set(|kernel| kernel.reopen(1024));
        io
    }
}

/// Its holder would send it again elsewhere.
#[test]
fn data_that_have_left_during_a_revocation_count_as_sent() {
    let Fixture { mut pool, far, mut stream, .. } = fixture();
    let flush = flush_before_the_interrupt(&mut pool);
    assert_eq!(stream.write(flush, &[IoSlice::new(b"hello")]).unwrap(), 5);
    assert_eq!(far.take(), b"hello");
    let Fixture { mut pool, far, mut stream, .. } = fixture();
    stream.shutdown(flush_before_the_interrupt(&mut pool)).unwrap();
    assert!(far.has_ended());
    let id = stream.id();
    assert_revoked(stream.flush(Io), id);
}

#[test]
fn a_call_that_succeeds_during_a_revocation_succeeds() {
    let Fixture { mut pool, mut stream, .. } = fixture();
    stream.flush(flush_during(&mut pool)).unwrap();
    let id = stream.id();
    assert_revoked(stream.flush(Io), id);
}
