//! Writes: to a peer that is gone, and of more slices than the system takes.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::topic;
use crate::child::in_own_process;
use crate::ends::{both_ends, single};
use crate::peers::{FakeServer, hex_id, reset, tls_accept};
use crate::prelude::*;
use crate::wait::{expect, payload, read_all, send};
use pool_driver::tls::TlsMode;

topic! {
    exclusive a_write_to_a_peer_that_is_gone_raises_no_signal,
    exclusive the_end_of_a_tls_pool_whose_peer_is_gone_raises_no_signal,
    parallel more_slices_than_the_system_takes_are_a_short_write,
    parallel empty_slices_come_before_no_data,
}

/// Runs `act` in a process that a SIGPIPE ends. Rust's runtime ignores the signal, but a process may
/// have set it back, as command-line tools do, and a library in another language never ignored it.
fn where_sigpipe_ends_the_process(ends: &Ends, name: &str, act: impl FnOnce()) {
    in_own_process(ends, name, || {
        sigpipe::reset();
        act();
    });
}

/// The errors of a write to a peer that has answered the data before with a reset.
const GONE: &[ErrorKind] = if cfg!(windows) {
    &[ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted]
} else {
    &[ErrorKind::BrokenPipe]
};

fn a_write_to_a_peer_that_is_gone_raises_no_signal(ends: &Ends) {
    let name = "writes::a_write_to_a_peer_that_is_gone_raises_no_signal";
    where_sigpipe_ends_the_process(ends, name, || {
        Modes::both(|mode| {
            let (server, client) = ends.hex_pair(mode);
            for vectored in [false, true] {
                let (ours, mut theirs) = both_ends(&server, &client);
                drop(ours);
                // The end of the peer, in any form; the answer to the first data is a reset.
                let _ = theirs.read(&mut [0]);
                let write = || {
                    let data = payload(1024);
                    let slices = [&data, &data].map(|data| IoSlice::new(data));
                    let written = match vectored {
                        true => theirs.write_vectored(&slices),
                        false => theirs.write(&data),
                    };
                    written.and_then(|_| theirs.flush()).map_err(|error| error.kind())
                };
                eventually(write, |written| written.is_err_and(|kind| GONE.contains(&kind)))
                    .unwrap_err();
            }
        });
    });
}

fn the_end_of_a_tls_pool_whose_peer_is_gone_raises_no_signal(ends: &Ends) {
    let name = "writes::the_end_of_a_tls_pool_whose_peer_is_gone_raises_no_signal";
    where_sigpipe_ends_the_process(ends, name, || {
        let (fake, peers) = FakeServer::by_hand();
        // Until then, a connection that has ended is kept for an acquire by its id.
        let config = single().claim_timeout(Duration::from_millis(1));
        let client = ends.dial(TlsMode::SelfSigned, config, fake.address);
        let next = |number: usize| -> TcpStream {
            let mut tls = tls_accept(peers.recv_timeout(SOON).unwrap()).unwrap();
            send(&mut tls, hex_id(number).as_bytes());
            tls.sock
        };
        for number in 0..10 {
            let tcp = next(number);
            eventually(|| client.idle(), |idle| *idle == 1);
            reset(&tcp);
            drop(tcp);
            // The pool closes it, with a close_notify that goes nowhere.
            eventually(|| client.stats().totals.peer_closed, |closed| *closed == number as u64 + 1);
        }
        client.end();
    });
}

/// The limit of Linux, macOS and the BSDs for one call, plus one.
const SLICES: usize = 1025;

fn more_slices_than_the_system_takes_are_a_short_write(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        let data = payload(SLICES);
        let slices: Vec<IoSlice<'_>> = data.chunks(1).map(IoSlice::new).collect();
        let count = ours.write_vectored(&slices).unwrap();
        assert!((1..=SLICES).contains(&count), "{count}");
        ours.flush().unwrap();
        expect(&mut theirs, &data[..count]);
        send(&mut ours, &data[count..]);
        ours.shutdown_write().unwrap();
        assert_eq!(read_all(&mut theirs), &data[count..]);
    });
}

/// A count of zero would be taken for the end of the stream.
fn empty_slices_come_before_no_data(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        let mut slices = vec![IoSlice::new(b""); SLICES];
        slices.push(IoSlice::new(b"data"));
        assert_eq!(ours.write_vectored(&slices).unwrap(), 4);
        ours.flush().unwrap();
        expect(&mut theirs, b"data");
    });
}
