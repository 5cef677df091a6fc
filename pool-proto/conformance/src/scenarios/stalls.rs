//! Peers that live and do not read for a while, and peers that have died while data are under way.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::paths::far_listener;
use super::topic;
use crate::ends::{both_ends, listener, single};
use crate::facade::Listen;
use crate::network::between_hosts;
use crate::peers::{FakeServer, hex_id, tls_accept};
use crate::prelude::*;
use crate::wait::{expect, payload, send, spawn};
use pool_driver::KeepAlive;
use pool_driver::tls::TlsMode;

topic! {
    parallel a_trickled_record_does_not_extend_the_timeout_of_a_read,
    parallel a_reader_that_pauses_gets_every_byte,
    parallel a_reader_that_pauses_gets_every_byte_after_the_put,
    exclusive a_holder_notices_a_dead_peer,
    exclusive a_peer_that_dies_with_data_under_way_is_noticed,
}

const PERIOD: Duration = Duration::from_secs(1);
/// Twice as long as a dead peer may be in the pool.
const PAUSE: Duration = Duration::from_secs(8);

/// Runs `act` without TLS and with it, at the same time: the scenarios here wait for a long time.
fn both_at_once(act: impl Fn(TlsMode) + Sync) {
    thread::scope(|scope| {
        for mode in Modes::BOTH {
            let act = &act;
            scope.spawn(move || act(mode));
        }
    });
}

/// A server and its client, with a short keep-alive.
fn alive_pair(ends: &Ends, mode: TlsMode) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
    let (listener, address) = listener();
    let server = ends.serve_alive(mode, Listen::On(listener), PERIOD);
    let client = ends.dial_alive(mode, single(), address, PERIOD);
    (server, client)
}

fn a_reader_that_pauses_gets_every_byte(ends: &Ends) {
    // More than the buffers of both ends hold.
    const LEN: usize = 64 * 1024 * 1024;
    assert!(PAUSE > KeepAlive::every(PERIOD).budget());
    both_at_once(|mode| {
        let (server, client) = alive_pair(ends, mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        ours.set_timeout(PAUSE + SOON).unwrap();
        let writes = spawn(move || {
            send(&mut ours, &payload(LEN));
            ours
        });
        // The pause of the reader. Nothing happens in it.
        let writes = writes.still_runs_after(PAUSE);
        expect(&mut theirs, &payload(LEN));
        let _ours = writes.soon();
    });
}

/// A TLS record whose bytes come one by one is not data yet: the socket is readable again and again.
fn a_trickled_record_does_not_extend_the_timeout_of_a_read(ends: &Ends) {
    const LIMIT: Duration = Duration::from_millis(600);
    let (fake, peers) = FakeServer::by_hand();
    let client = ends.dial(TlsMode::SelfSigned, single(), fake.address);
    let mut peer = tls_accept(peers.recv_timeout(SOON).unwrap()).unwrap();
    send(&mut peer, hex_id(0).as_bytes());
    let mut stream = client.take();
    let mut record = Vec::new();
    peer.conn.writer().write_all(&[7; 100]).unwrap();
    peer.conn.write_tls(&mut record).unwrap();
    let trickler = spawn(move || {
        for byte in record {
            thread::sleep(LIMIT / 10);
            // Fails when the reader has gone.
            if peer.sock.write_all(&[byte]).is_err() {
                break;
            }
        }
    });
    stream.set_timeout(LIMIT).unwrap();
    let began = now();
    let error = stream.read(&mut [0; 10]).unwrap_err();
    let took = began.elapsed();
    assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
    // The whole record takes ten times as long.
    assert!(took < LIMIT * 4, "{took:?}");
    drop(stream);
    client.end();
    trickler.soon();
}

/// The former holder's data, which the peer has not taken yet, are not lost with a limit of the pool.
fn a_reader_that_pauses_gets_every_byte_after_the_put(ends: &Ends) {
    // More than the peer's window, and less than the buffers of both ends hold.
    const LEN: usize = 512 * 1024;
    both_at_once(|mode| {
        let (fake, peers) = FakeServer::by_hand();
        let config = single().max_connections(1);
        let client = ends.dial_alive(mode, config, fake.address, PERIOD);
        let tcp = peers.recv_timeout(SOON).unwrap();
        let mut peer: Box<dyn ReadWrite> = match mode {
            TlsMode::None => Box::new(tcp),
            _ => Box::new(tls_accept(tcp).unwrap()),
        };
        send(&mut peer, hex_id(0).as_bytes());
        let mut stream = client.take();
        send(&mut stream, &payload(LEN));
        client.put(stream).unwrap();
        eventually(|| client.stats(), |stats| stats.idle == 1);
        thread::sleep(PAUSE);
        expect(&mut peer, &payload(LEN));
    });
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// The time in which a dead peer must have been noticed: the budget, and two seconds for timers that
/// are late.
fn noticed() -> Duration {
    KeepAlive::every(PERIOD).budget() + Duration::from_secs(2)
}

/// A reader that tries again must not take the end of a dead peer for one in good order.
fn read_twice(stream: &mut dyn Stream) -> [Result<usize, ErrorKind>; 2] {
    [(); 2].map(|()| stream.read(&mut [0]).map_err(|error| error.kind()))
}

fn a_holder_notices_a_dead_peer(ends: &Ends) {
    let name = "stalls::a_holder_notices_a_dead_peer";
    between_hosts(ends, name, |hosts| {
        let (listener, address) = far_listener(hosts);
        let server = ends.serve_alive(TlsMode::None, Listen::On(listener), PERIOD);
        let client = ends.dial_alive(TlsMode::None, single(), address, PERIOD);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        send(&mut ours, b"request");
        expect(&mut theirs, b"request");
        send(&mut theirs, b"response");
        expect(&mut ours, b"response");
        hosts.lose_everything();
        let died = now();
        let readers = [ours, theirs].map(|mut stream| {
            stream.set_timeout(SOON + SOON).unwrap();
            spawn(move || {
                let read = read_twice(&mut *stream);
                (read, died.elapsed())
            })
        });
        let noticed_after = readers.map(|reader| reader.soon());
        println!("measured: the holders of a dead connection learn it: {noticed_after:?}");
        let timely = |(read, after): &([Result<usize, ErrorKind>; 2], Duration)| {
            *read == [Err(ErrorKind::TimedOut); 2] && *after < noticed()
        };
        assert!(noticed_after.iter().all(timely), "{noticed_after:?}");
    });
}

fn a_peer_that_dies_with_data_under_way_is_noticed(ends: &Ends) {
    let name = "stalls::a_peer_that_dies_with_data_under_way_is_noticed";
    between_hosts(ends, name, |hosts| {
        let (listener, address) = far_listener(hosts);
        let server = ends.serve_alive(TlsMode::None, Listen::On(listener), PERIOD);
        // The holder learns it when the system has repeated the data this often: by default 15 times.
        hosts.run("sysctl -qw net.ipv4.tcp_retries2=3");
        let config = single().capacity(2..=2).max_connections(2);
        let client = ends.dial_alive(TlsMode::None, config, address, PERIOD);
        server.wait_ready(2, SOON).unwrap();
        let (mut kept, mut put) = (client.take(), client.take());
        hosts.lose_everything();
        let died = now();
        send(&mut put, b"request");
        client.put(put).unwrap();
        send(&mut kept, b"request");
        let held = spawn(move || (read_twice(&mut *kept), died.elapsed()));
        let stats = eventually(|| client.stats(), |stats| stats.finished == 1);
        let pooled = died.elapsed();
        assert_eq!(stats.idle, 0);
        let held = held.soon();
        println!("measured: data under way to a dead peer: pooled {pooled:?}, held {held:?}");
        let is_timely = pooled < noticed() && held.0 == [Err(ErrorKind::TimedOut); 2];
        assert!(is_timely, "{pooled:?}, {held:?}");
    });
}
