//! Never a dead connection.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdExchange};
use common::{Fake, SOON, dial, eventually, hex_id, send, single, soon, tls_accept};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rustls::server::TlsStream;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Fin,
    Reset,
    Goodbye,
}

enum Peer {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Peer {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    async fn send(&mut self, data: &[u8]) {
        match self {
            Self::Plain(tcp) => send(tcp, data).await,
            Self::Tls(tls) => send(tls, data).await,
        }
    }

    /// Returns what is to be kept so that no more happens than was asked for.
    async fn die(mut self, death: Death) -> Option<Self> {
        match (death, &mut self) {
            (Death::Fin, _) => None,
            (Death::Reset, peer) => {
                let linger = Some(Duration::ZERO);
                SockRef::from(peer.tcp()).set_linger(linger).unwrap();
                None
            }
            (Death::Goodbye, Self::Plain(tcp)) => {
                tcp.shutdown().await.unwrap();
                Some(self)
            }
            (Death::Goodbye, Self::Tls(tls)) => {
                // Without FIN: the transport stays open.
                tls.get_mut().1.send_close_notify();
                tls.flush().await.unwrap();
                Some(self)
            }
        }
    }
}

/// A client of one connection, and the peers' ends of its connections.
struct Stage {
    client: ClientPool,
    peers: UnboundedReceiver<TcpStream>,
    mode: TlsMode,
    ids: IdExchange,
    count: usize,
    _fake: Fake,
}

impl Stage {
    async fn new(mode: TlsMode, ids: IdExchange) -> Self {
        let (fake, peers) = Fake::by_hand().await;
        let client = dial(mode, single().ids(ids), fake.address);
        Self { client, peers, mode, ids, count: 0, _fake: fake }
    }

    /// The next connection, once it is in the pool.
    async fn next(&mut self) -> (Peer, ConnId) {
        let tcp = soon(self.peers.recv()).await.unwrap();
        let mut peer = match self.mode {
            TlsMode::None => Peer::Plain(tcp),
            _ => Peer::Tls(Box::new(tls_accept(tcp).await.unwrap())),
        };
        self.count += 1;
        let id = hex_id(self.count);
        if self.ids != IdExchange::None {
            peer.send(id.as_bytes()).await;
        }
        let count = self.count as u64;
        eventually(
            || self.client.stats(),
            |stats| stats.idle == 1 && stats.totals.established == count,
        )
        .await;
        (peer, id.parse().unwrap())
    }
}

/// An idle connection leaves the pool by itself, and another takes its place.
async fn leaves(mode: TlsMode, death: Death) {
    let mut stage = Stage::new(mode, common::HEX8).await;
    let (peer, _) = stage.next().await;
    let _kept = peer.die(death).await;
    let look = || stage.client.stats();
    let stats = eventually(look, |stats| stats.totals.peer_closed == 1).await;
    assert_eq!((stats.idle, stats.totals.leases), (0, 0));
    let _next = stage.next().await;
}

/// The pool may not have heard of it yet: nothing is awaited between the close and the acquire.
async fn is_not_handed_out(mode: TlsMode, death: Death, by_id: bool) {
    let mut stage = Stage::new(mode, common::HEX8).await;
    for _ in 0..200 {
        let (peer, id) = stage.next().await;
        let kept = peer.die(death).await;
        let answer = if by_id {
            stage.client.acquire_by_id(id, Duration::ZERO).await
        } else {
            stage.client.acquire(Duration::ZERO).await
        };
        assert!(answer.is_err(), "a dead connection: {answer:?}");
        drop(kept);
    }
    assert_eq!(stage.client.stats().totals.peer_closed, 200);
}

macro_rules! deaths {
    ($($name:ident: $mode:expr, $death:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn leaves_the_pool_by_itself() {
                leaves($mode, $death).await;
            }

            #[tokio::test]
            async fn is_never_taken() {
                is_not_handed_out($mode, $death, false).await;
            }

            #[tokio::test]
            async fn is_never_taken_by_id() {
                is_not_handed_out($mode, $death, true).await;
            }
        }
    )*};
}

deaths! {
    plain_closed: TlsMode::None, Death::Fin;
    plain_reset: TlsMode::None, Death::Reset;
    plain_half_closed: TlsMode::None, Death::Goodbye;
    tls_closed: TlsMode::SelfSigned, Death::Fin;
    tls_reset: TlsMode::SelfSigned, Death::Reset;
    tls_goodbye_without_fin: TlsMode::SelfSigned, Death::Goodbye;
}

#[tokio::test]
async fn one_that_was_reset_after_early_data_is_never_taken_by_id() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let mut stage = Stage::new(mode, common::HEX8).await;
        for _ in 0..50 {
            let (mut peer, id) = stage.next().await;
            peer.send(b"request").await;
            eventually(|| stage.client.stats(), |stats| stats.claimed == 1).await;
            peer.die(Death::Reset).await;
            let answer = stage.client.acquire_by_id(id, Duration::ZERO).await;
            assert!(answer.is_err(), "a dead connection: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_next_waiter_gets_a_living_one_instead() {
    let mut stage = Stage::new(TlsMode::None, common::HEX8).await;
    let (peer, dead) = stage.next().await;
    peer.die(Death::Fin).await;
    let client = stage.client.clone();
    let acquire = tokio::spawn(async move { client.acquire(SOON).await });
    let tcp = soon(stage.peers.recv()).await.unwrap();
    let mut peer = Peer::Plain(tcp);
    peer.send(b"00000bad").await;
    let living = soon(acquire).await.unwrap().unwrap();
    assert_ne!(living.id(), dead);
}

#[tokio::test]
async fn one_that_sent_data_and_died_after_a_put_is_never_taken() {
    let mut stage = Stage::new(TlsMode::None, common::HEX8).await;
    let (mut peer, id) = stage.next().await;
    let held = stage.client.acquire(SOON).await.unwrap();
    peer.send(b"left over").await;
    peer.die(Death::Fin).await;
    stage.client.put(held).unwrap();
    assert!(stage.client.acquire_by_id(id, Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn without_ids_a_server_that_spoke_and_left_is_never_taken() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let mut stage = Stage::new(mode, IdExchange::None).await;
        let (mut peer, _) = stage.next().await;
        peer.send(b"220 ready\r\n").await;
        // Taken in by the pool before the server leaves.
        tokio::task::yield_now().await;
        peer.die(Death::Fin).await;
        let answer = stage.client.acquire(Duration::ZERO).await;
        assert!(answer.is_err(), "a dead connection: {answer:?}");
        assert_eq!(stage.client.stats().totals.peer_closed, 1);
    }
}

/// A close that comes while the connection is on its way into the pool must not be overlooked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_closes_at_any_moment_of_its_birth_leaves() {
    let fake = Fake::start(|mut tcp, number| async move {
        send(&mut tcp, hex_id(number).as_bytes()).await;
        for _ in 0..number % 40 {
            tokio::task::yield_now().await;
        }
    });
    let fake = fake.await;
    let ms = Duration::from_millis(1);
    let config = common::client_config().capacity(8..=8).backoff(ms, ms);
    let client = dial(TlsMode::None, config, fake.address);
    eventually(|| fake.accepted(), |accepted| *accepted > 1000).await;
    drop(fake);
    eventually(|| client.stats(), |stats| stats.idle == 0).await;
}
