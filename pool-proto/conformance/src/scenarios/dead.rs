//! Dead connections, which are handed out only by their id: their peers may have used them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, each, single};
use crate::peers::{FakeServer, TlsPeer, half_close, hex_id, reset, tls_accept};
use crate::prelude::*;
use crate::wait::{assert_ends, expect, send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{CloseReason, ConnId, IdExchange, IdFormat, Refusal};

topic! {
    parallel a_dead_connection_leaves_the_stock_by_itself,
    parallel a_connection_that_has_just_died_is_never_taken,
    parallel a_connection_that_has_just_died_is_taken_by_its_id_with_its_end,
    parallel a_dead_connection_that_nobody_asks_for_ends_at_the_claim_timeout,
    parallel early_data_before_a_reset_is_read_and_then_the_reset,
    parallel a_holder_reads_the_data_before_a_reset_and_then_the_reset,
    parallel a_reset_that_the_writer_has_met_reaches_the_reader_too,
    parallel the_next_waiter_gets_a_live_connection_instead,
    parallel a_connection_that_died_before_its_put_is_never_taken,
    parallel without_ids_a_connection_is_never_taken_after_its_server_spoke_and_left,
    parallel a_close_during_establishment_is_noticed,
    parallel a_connection_that_came_with_its_close_notify_is_never_taken,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Fin,
    Reset,
    /// Plain: the peer closes its writing half only. TLS: the peer sends close_notify without a FIN.
    HalfClose,
}

const DEATHS: [(TlsMode, Death); 6] = [
    (TlsMode::None, Death::Fin),
    (TlsMode::None, Death::Reset),
    (TlsMode::None, Death::HalfClose),
    (TlsMode::SelfSigned, Death::Fin),
    (TlsMode::SelfSigned, Death::Reset),
    (TlsMode::SelfSigned, Death::HalfClose),
];

enum Peer {
    Plain(TcpStream),
    Tls(Box<TlsPeer>),
}

impl Peer {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    fn send(&mut self, data: &[u8]) {
        match self {
            Self::Plain(tcp) => send(tcp, data),
            Self::Tls(tls) => send(tls, data),
        }
    }

    /// Ends the connection in this way. The caller keeps the returned peer, so that dropping it
    /// does not add a FIN.
    fn die(mut self, death: Death) -> Option<Self> {
        match (death, &mut self) {
            (Death::Fin, _) => None,
            (Death::Reset, peer) => {
                reset(peer.tcp());
                None
            }
            (Death::HalfClose, Self::Plain(tcp)) => {
                half_close(tcp);
                Some(self)
            }
            (Death::HalfClose, Self::Tls(tls)) => {
                tls.conn.send_close_notify();
                tls.flush().unwrap();
                Some(self)
            }
        }
    }
}

/// A client of one connection, and the peers' ends of its connections.
struct Stage {
    client: Arc<dyn Pool>,
    peers: Receiver<TcpStream>,
    mode: TlsMode,
    ids: IdExchange,
    count: usize,
    _fake: FakeServer,
}

impl Stage {
    fn new(ends: &Ends, mode: TlsMode, ids: IdExchange) -> Self {
        let (fake, peers) = FakeServer::by_hand();
        let client = ends.dial(mode, single().ids(ids), fake.address);
        Self { client, peers, mode, ids, count: 0, _fake: fake }
    }

    fn with_ids(ends: &Ends, mode: TlsMode) -> Self {
        Self::new(ends, mode, IdExchange::Wire(IdFormat::Hex8))
    }

    /// Waits until the next connection is in the pool; returns its peer and its id.
    fn next(&mut self) -> (Peer, ConnId) {
        let tcp = self.peers.recv_timeout(SOON).unwrap();
        let mut peer = match self.mode {
            TlsMode::None => Peer::Plain(tcp),
            _ => Peer::Tls(Box::new(tls_accept(tcp).unwrap())),
        };
        self.count += 1;
        let id = hex_id(self.count);
        if self.ids != IdExchange::None {
            peer.send(id.as_bytes());
        }
        let count = self.count as u64;
        eventually(
            || self.client.stats(),
            |stats| stats.idle == 1 && stats.totals.established == count,
        );
        (peer, id.parse().unwrap())
    }
}

fn a_dead_connection_leaves_the_stock_by_itself(ends: &Ends) {
    each(&DEATHS, |(mode, death)| {
        let mut stage = Stage::with_ids(ends, *mode);
        let (peer, _) = stage.next();
        let _kept = peer.die(*death);
        let look = || stage.client.stats();
        let stats = eventually(look, |stats| stats.finished == 1);
        assert_eq!((stats.idle, stats.totals.leases), (0, 0));
        let _next = stage.next();
    });
}

/// Fewer than the dead connections that a pool of one keeps.
const ROUNDS: u32 = 40;

/// Acquires right after the close, when the pool may not have noticed it yet.
fn a_connection_that_has_just_died_is_never_taken(ends: &Ends) {
    each(&DEATHS, |(mode, death)| {
        let mut stage = Stage::with_ids(ends, *mode);
        for _ in 0..ROUNDS {
            let (peer, _) = stage.next();
            let kept = peer.die(*death);
            let answer = stage.client.acquire(Duration::ZERO);
            assert!(answer.is_err(), "a dead connection: {answer:?}");
            drop(kept);
        }
        // The driver may be checking the connection at this moment, and count it later.
        eventually(|| stage.client.stats().finished, |finished| *finished == ROUNDS);
    });
}

/// How a read of the holder ends.
const fn end_of(mode: TlsMode, death: Death) -> Result<usize, ErrorKind> {
    match (mode, death) {
        (_, Death::Reset) => Err(ErrorKind::ConnectionReset),
        // A FIN without close_notify may be an attacker's.
        (TlsMode::SelfSigned | TlsMode::Verified, Death::Fin) => Err(ErrorKind::UnexpectedEof),
        (TlsMode::None, Death::Fin) | (_, Death::HalfClose) => Ok(0),
    }
}

fn a_connection_that_has_just_died_is_taken_by_its_id_with_its_end(ends: &Ends) {
    each(&DEATHS, |(mode, death)| {
        let mut stage = Stage::with_ids(ends, *mode);
        for round in 0..ROUNDS {
            let (peer, id) = stage.next();
            let kept = peer.die(*death);
            if round % 2 == 0 {
                eventually(|| stage.client.stats(), |stats| stats.finished == 1);
            }
            let mut dead = stage.client.take_id(id);
            let end = dead.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, end_of(*mode, *death));
            drop(kept);
        }
        assert_eq!(stage.client.stats().finished, 0);
    });
}

fn a_dead_connection_that_nobody_asks_for_ends_at_the_claim_timeout(ends: &Ends) {
    let (fake, peers) = FakeServer::by_hand();
    let config = single().claim_timeout(Duration::from_millis(200));
    let client = ends.dial(TlsMode::None, config, fake.address);
    let mut peer = peers.recv_timeout(SOON).unwrap();
    send(&mut peer, hex_id(0).as_bytes());
    half_close(&peer);
    assert_ends(&mut peer);
    eventually(|| client.stats().totals.peer_closed, |closed| *closed == 1);
    let id = hex_id(0).parse().unwrap();
    let gone = Refusal::Gone { id, reason: CloseReason::PeerClosed };
    let gone = Err(AcquireError::Refused(gone));
    assert_eq!(client.acquire_by_id(id, SOON).map(drop), gone);
}

fn early_data_before_a_reset_is_read_and_then_the_reset(ends: &Ends) {
    Modes::both(|mode| {
        let mut stage = Stage::with_ids(ends, mode);
        for _ in 0..50 {
            let (mut peer, id) = stage.next();
            peer.send(b"request");
            eventually(|| stage.client.stats(), |stats| stats.claimed == 1);
            peer.die(Death::Reset);
            let mut early = stage.client.take_id(id);
            expect(&mut early, b"request");
            assert_eq!(read_kind(&mut early), Err(ErrorKind::ConnectionReset));
        }
    });
}

/// Reads a byte; returns the kind of the error if there is none.
fn read_kind(stream: &mut impl Read) -> Result<usize, ErrorKind> {
    stream.read(&mut [0]).map_err(|error| error.kind())
}

fn a_holder_reads_the_data_before_a_reset_and_then_the_reset(ends: &Ends) {
    Modes::both(|mode| {
        let mut stage = Stage::with_ids(ends, mode);
        for _ in 0..10 {
            let (mut peer, _) = stage.next();
            let mut stream = stage.client.take();
            peer.send(b"the end of it");
            peer.die(Death::Reset);
            expect(&mut stream, b"the end of it");
            // Each time: a reader that tries again must not take the next answer, EOF, for the end.
            for _ in 0..3 {
                assert_eq!(read_kind(&mut stream), Err(ErrorKind::ConnectionReset));
            }
        }
    });
}

/// The system reports a reset once, and later reads see an ordinary EOF.
fn a_reset_that_the_writer_has_met_reaches_the_reader_too(ends: &Ends) {
    Modes::both(|mode| {
        let mut stage = Stage::with_ids(ends, mode);
        let (mut peer, _) = stage.next();
        let stream = stage.client.take();
        peer.send(b"the end of it");
        peer.die(Death::Reset);
        let (mut reader, mut writer) = stream.split();
        let mut write = || writer.write(b"more").and_then(|_| writer.flush());
        let met = eventually(|| write().map_err(|error| error.kind()), Result::is_err);
        assert_eq!(met, Err(ErrorKind::ConnectionReset));
        expect(&mut reader, b"the end of it");
        // Each time: a reader that tries again must not meet an ordinary EOF.
        for _ in 0..3 {
            assert_eq!(read_kind(&mut reader), Err(ErrorKind::ConnectionReset));
        }
    });
}

fn the_next_waiter_gets_a_live_connection_instead(ends: &Ends) {
    let mut stage = Stage::with_ids(ends, TlsMode::None);
    let (peer, dead) = stage.next();
    peer.die(Death::Fin);
    let client = stage.client.clone_handle();
    let acquire = spawn(move || client.take());
    let tcp = stage.peers.recv_timeout(SOON).unwrap();
    let mut peer = Peer::Plain(tcp);
    peer.send(b"00000bad");
    assert_ne!(acquire.soon().id(), dead);
}

fn a_connection_that_died_before_its_put_is_never_taken(ends: &Ends) {
    Modes::both(|mode| {
        let mut stage = Stage::with_ids(ends, mode);
        let (mut peer, id) = stage.next();
        let leased = stage.client.take();
        peer.send(b"left over");
        peer.die(Death::Fin);
        stage.client.put(leased).unwrap();
        assert!(stage.client.acquire_by_id(id, Duration::ZERO).is_err());
    });
}

fn without_ids_a_connection_is_never_taken_after_its_server_spoke_and_left(ends: &Ends) {
    Modes::both(|mode| {
        let mut stage = Stage::new(ends, mode, IdExchange::None);
        let (mut peer, _) = stage.next();
        peer.send(b"220 ready\r\n");
        // The pool may or may not have read the greeting before the server leaves; both must work.
        thread::yield_now();
        let dead = peer.tcp().peer_addr().unwrap();
        peer.die(Death::Fin);
        // Without TLS and ids, the next connection may already be in the pool.
        if let Ok(stream) = stage.client.acquire(Duration::ZERO) {
            assert_ne!(stream.local_addr().unwrap(), dead, "a dead connection: {stream:?}");
        }
        eventually(|| stage.client.stats().totals.peer_closed, |closed| *closed == 1);
    });
}

/// A close at any moment while the connection enters the pool must be noticed.
fn a_close_during_establishment_is_noticed(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, number| {
        tcp.write_all(hex_id(number).as_bytes())?;
        for _ in 0..number % 40 {
            thread::yield_now();
        }
        Ok(())
    });
    let ms = Duration::from_millis(1);
    let config = client_config().capacity(8..=8).backoff(ms, ms);
    let client = ends.dial(TlsMode::None, config, fake.address);
    eventually(|| fake.accepted(), |accepted| *accepted > 300);
    drop(fake);
    eventually(|| client.stats(), |stats| stats.idle == 0);
}

/// The peer's socket stays open: nothing but the close_notify tells that the connection has ended.
fn a_connection_that_came_with_its_close_notify_is_never_taken(ends: &Ends) {
    let (fake, peers) = FakeServer::by_hand();
    let client = ends.dial(TlsMode::SelfSigned, single(), fake.address);
    let mut kept = Vec::new();
    for number in 1..=ROUNDS {
        let tcp = peers.recv_timeout(SOON).unwrap();
        let mut tls = tls_accept(tcp).unwrap();
        // Both in one segment.
        tls.conn.writer().write_all(hex_id(kept.len()).as_bytes()).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        kept.push(tls);
        eventually(|| client.stats(), |stats| (stats.idle, stats.finished) == (0, number));
    }
    let answer = client.acquire(Duration::ZERO);
    assert!(answer.is_err(), "a dead connection: {answer:?}");
}
