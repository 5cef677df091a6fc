//! TLS records of a leased stream: those that are kept for later reads, and those that change keys.

use std::io::{ErrorKind, IoSlice};

use pool_driver::shared::PoolConnection as _;
use pool_proto::CheckResult;

use crate::check::pattern;
use crate::reading::{all_of, read};
use crate::rig::{Kind, Streaming};
use crate::wire::Io;
use crate::writing::{flush, write};

#[test]
fn records_behind_the_one_that_is_read_are_kept() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        for word in ["one, ", "two, ", "three"] {
            peer.send(word.as_bytes());
        }
        let mut buffer = [0; 5];
        assert_eq!(read(&mut stream, &mut buffer).unwrap(), 5, "{kind:?}");
        assert_eq!(&buffer, b"one, ");
        // The socket has nothing left, and a check finds the others all the same.
        assert_eq!(near.unread(), 0, "{kind:?}");
        assert_eq!(stream.get_mut().check(), CheckResult::Data, "{kind:?}");
        assert_eq!(all_of(&mut stream, &near), b"two, three", "{kind:?}");
    }
}

#[test]
fn buffers_of_any_size_read_the_data_in_order() {
    let data = pattern(100_000);
    for kind in Kind::TLS {
        for (size, piece) in
            [(1, 70_000), (64, 1000), (16_384, 1000), (16_385, 70_000), (300_000, 70_000)]
        {
            let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
            near.set(|kernel| kernel.piece = piece);
            peer.send(&data);
            let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
            while all.len() < data.len() {
                let count = read(&mut stream, &mut buffer).unwrap();
                assert!(count > 0, "{kind:?}, {size}");
                all.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(all, data, "{kind:?}, {size}, {piece}");
        }
    }
}

#[test]
fn a_large_buffer_is_filled_with_several_records_by_one_read() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send(&pattern(60_000));
        assert_eq!(read(&mut stream, &mut [0; 49_152]).unwrap(), 49_152, "{kind:?}");
    }
}

#[test]
fn a_write_before_the_records_are_read_leaves_them_in_order() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        for word in ["one, ", "two, ", "three"] {
            peer.send(word.as_bytes());
        }
        read(&mut stream, &mut [0]).unwrap();
        assert_eq!(write(&mut stream, b"hello").unwrap(), 5, "{kind:?}");
        assert_eq!(peer.receive(), b"hello", "{kind:?}");
        assert_eq!(all_of(&mut stream, &near), b"ne, two, three", "{kind:?}");
    }
}

#[test]
fn new_keys_are_used_in_order_also_when_the_kernel_is_full() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        for room in [1_000_000, 0, 10] {
            // It asks the other end for new keys, too.
            peer.session().refresh_traffic_keys().unwrap();
            peer.send(b"by new keys");
            near.set(|kernel| kernel.room = room);
            assert_eq!(all_of(&mut stream, &near), b"by new keys", "{kind:?}, {room}");
            assert_eq!(write(&mut stream, b"by new keys, too").unwrap(), 16, "{kind:?}, {room}");
            near.set(|kernel| kernel.room = 1_000_000);
            flush(&mut stream).unwrap();
            assert_eq!(peer.receive(), b"by new keys, too", "{kind:?}, {room}");
        }
    }
}

/// The message that changes keys comes on top of what the records add.
#[test]
fn full_records_and_a_close_have_room_behind_new_keys() {
    for kind in Kind::TLS {
        for size in [0, 16_384, 32_768, 65_536] {
            let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
            near.set(|kernel| kernel.room = 1_000_000);
            peer.session().refresh_traffic_keys().unwrap();
            peer.send(b"by new keys");
            assert_eq!(all_of(&mut stream, &near), b"by new keys", "{kind:?}, {size}");
            let data = pattern(size);
            assert_eq!(write(&mut stream, &data).unwrap(), size, "{kind:?}");
            assert_eq!(peer.receive(), data, "{kind:?}, {size}");
            peer.session().refresh_traffic_keys().unwrap();
            peer.send(b"by newer keys");
            assert_eq!(all_of(&mut stream, &near), b"by newer keys", "{kind:?}, {size}");
            stream.shutdown(Io).unwrap();
            assert!(peer.received_close(), "{kind:?}, {size}");
        }
    }
}

#[test]
fn bytes_behind_a_close_notify_are_ignored() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send(b"last");
        peer.close_tls();
        peer.end.send(&[0x17, 3, 3, 0, 32]);
        let mut buffer = [0; 8];
        assert_eq!(read(&mut stream, &mut buffer).unwrap(), 4, "{kind:?}");
        for _ in 0..2 {
            assert_eq!(read(&mut stream, &mut buffer).unwrap(), 0, "{kind:?}");
        }
        // This end may go on to write.
        assert_eq!(write(&mut stream, b"answer").unwrap(), 6, "{kind:?}");
        assert_eq!(peer.receive(), b"answer", "{kind:?}");
    }
}

#[test]
fn a_stream_that_has_failed_fails_in_both_directions() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        peer.send(b"before");
        peer.send_invalid_record();
        let mut buffer = [0; 100];
        assert_eq!(read(&mut stream, &mut buffer).unwrap(), 6, "{kind:?}");
        for _ in 0..2 {
            let error = read(&mut stream, &mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind:?}");
            let error = write(&mut stream, b"late").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind:?}");
        }
        peer.assert_alert(kind);
    }
}

#[test]
fn a_shutdown_after_a_failure_sends_the_alert_that_had_no_room() {
    for kind in Kind::TLS {
        let Streaming { near, mut peer, mut stream, pool: _pool } = kind.streaming();
        near.set(|kernel| kernel.room = 0);
        peer.send_invalid_record();
        let error = read(&mut stream, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind:?}");
        assert_eq!(peer.end.unread(), 0, "{kind:?}");
        near.set(|kernel| kernel.room = 1000);
        stream.shutdown(Io).unwrap();
        assert_eq!(near.get(|kernel| kernel.shut_writes), 1, "{kind:?}");
        peer.assert_alert(kind);
    }
}

#[test]
fn many_slices_are_one_record() {
    for kind in Kind::TLS {
        let Streaming { mut peer, mut stream, near: _near, pool: _pool } = kind.streaming();
        let data = pattern(1000);
        let slices: Vec<_> = data.chunks(7).map(IoSlice::new).collect();
        assert_eq!(stream.write(Io, &slices).unwrap(), data.len(), "{kind:?}");
        // A record of TLS 1.3 adds 22 bytes.
        assert_eq!(peer.end.unread(), data.len() + 22, "{kind:?}");
        assert_eq!(peer.receive(), data, "{kind:?}");
    }
}
