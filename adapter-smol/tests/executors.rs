//! The user's own executors: with one thread, never run, and dropped while a pool uses them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adapter_smol::pool_driver::tls::{ClientTls, ServerTls};
use adapter_smol::pool_proto::{CloseReason, PutError, Refusal, ServerConfigBuilder, Totals};
use adapter_smol::{
    AcquireError, ClientConfig, ClientPool, PooledStream, Revoked, ServerPool, Spawner,
};
use common::{SOON, eventually, expect, send, server_config, soon};
use smol::channel::{Sender, bounded};
use smol::future::{poll_once, yield_now};
use smol::io::AsyncReadExt;
use smol::net::TcpStream;
use smol::{Executor, block_on};

/// An executor on its own threads. Dropping it drops the executor and all its tasks.
struct Threads {
    executor: Arc<Executor<'static>>,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    fn new(number: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = bounded(1);
        let run = |_| {
            let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
            // The receive fails when the sender is dropped, which ends the thread.
            thread::spawn(move || block_on(executor.run(stopped.recv())).unwrap_or_default())
        };
        let threads = (0..number).map(run).collect();
        Self { executor, stop: Some(stop), threads }
    }

    fn spawner(&self) -> Spawner {
        let executor = Arc::clone(&self.executor);
        Spawner::new(move |future| executor.spawn(future).detach())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        assert_eq!(Arc::strong_count(&self.executor), 1, "a pool keeps the executor alive");
    }
}

async fn pair_on(threads: &Threads) -> (ServerPool, ClientPool) {
    let tls = ServerTls::self_signed().unwrap();
    let server = ServerPool::builder().tls(tls).on(threads.spawner());
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let tls = ClientTls::self_signed().unwrap();
    let client = ClientPool::builder().tls(tls).on(threads.spawner());
    let client = client.connect(server.local_addr().unwrap().to_string()).unwrap();
    (server, client)
}

async fn both_ends(server: &ServerPool, client: &ClientPool) -> (PooledStream, PooledStream) {
    let ours = server.acquire(SOON).await.unwrap();
    let theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
    (ours, theirs)
}

const CLOSED: AcquireError = AcquireError::Refused(Refusal::PoolClosed);

#[test]
fn a_spawner_can_be_shown() {
    assert_eq!(format!("{:?}", Threads::new(1).spawner()), "Spawner");
}

#[test]
fn an_executor_with_one_thread_is_enough() {
    let threads = Threads::new(1);
    block_on(async {
        let (server, client) = pair_on(&threads).await;
        for _ in 0..20 {
            let (mut ours, mut theirs) = both_ends(&server, &client).await;
            send(&mut ours, b"there").await;
            expect(&mut theirs, b"there").await;
            client.put(theirs).unwrap();
            server.put(ours).unwrap();
        }
    });
}

/// Two threads, each of which waits for the other one.
#[derive(Default)]
struct Meeting {
    arrived: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    /// Returns whether the other one has come.
    fn wait(&self) -> bool {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(arrived, SOON, |arrived| *arrived < 2);
        *waited.unwrap().0 >= 2
    }
}

#[test]
fn dials_and_handshakes_run_on_all_threads() {
    if thread::available_parallelism().map_or(1, NonZero::get) < 2 {
        println!("skipped: one processor has one thread");
        return;
    }
    let threads = Threads::new(2);
    let (listener, meeting) =
        (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Meeting::default());
    let (address, meeting) = (listener.local_addr().unwrap(), Arc::new(meeting));
    let (met, meets) = smol::channel::unbounded();
    let dial = move || {
        let (meeting, met) = (Arc::clone(&meeting), met.clone());
        async move {
            // Both dials take the whole of their threads.
            met.try_send(meeting.wait()).unwrap();
            TcpStream::connect(address).await
        }
    };
    let config = ClientConfig::builder().capacity(2..=2);
    let client = ClientPool::builder().config(config.build().unwrap()).on(threads.spawner());
    let _client = client.connect_with(dial).unwrap();
    assert_eq!(block_on(meets.recv()), Ok(true), "all tasks run on one thread");
}

#[test]
fn the_callers_own_thread_is_enough() {
    let executor = Arc::new(Executor::new());
    let threads = Threads { executor: Arc::clone(&executor), stop: None, threads: Vec::new() };
    block_on(executor.run(async {
        let (server, client) = pair_on(&threads).await;
        let (mut ours, mut theirs) = both_ends(&server, &client).await;
        send(&mut ours, b"there").await;
        expect(&mut theirs, b"there").await;
        client.close();
        server.close();
        soon(client.closed()).await;
        soon(server.closed()).await;
        assert!(executor.is_empty(), "a closed pool still has tasks");
    }));
    drop(executor);
}

#[test]
fn a_pool_whose_executor_is_dropped_refuses() {
    let threads = Threads::new(2);
    let (server, client) = block_on(pair_on(&threads));
    block_on(client.wait_ready(4, SOON)).unwrap();
    let mut leased = block_on(client.acquire(SOON)).unwrap();
    let id = leased.id();
    drop(threads);
    block_on(async {
        assert_eq!(soon(client.acquire(SOON)).await.map(|_| ()), Err(CLOSED));
        assert_eq!(soon(server.acquire(Duration::MAX)).await.map(|_| ()), Err(CLOSED));
        assert_eq!(soon(server.wait_ready(1, Duration::MAX)).await, Err(CLOSED));
        soon(client.closed()).await;
        soon(server.closed()).await;
        let error = soon(leased.read(&mut [0])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        let revoked = error.get_ref().and_then(|inner| inner.downcast_ref::<Revoked>());
        assert_eq!(revoked, Some(&Revoked { id, reason: CloseReason::PoolClosed }));
        assert_eq!(client.put(leased), Err(PutError::PoolClosed));
    });
}

#[test]
fn a_pool_whose_executor_is_dropped_before_it_has_run_refuses() {
    let threads = Threads::new(0);
    let (server, client) = block_on(pair_on(&threads));
    assert!(!server.is_closed() && !client.is_closed());
    drop(threads);
    assert!(server.is_closed() && client.is_closed());
    let refused = block_on(soon(client.acquire(Duration::MAX)));
    assert_eq!(refused.map(|_| ()), Err(CLOSED));
    block_on(soon(async { (server.closed().await, client.closed().await) }));
}

#[test]
fn a_pool_whose_futures_are_dropped_at_once_is_closed() {
    let pool = ClientPool::builder().on(Spawner::new(drop)).connect("127.0.0.1:1").unwrap();
    assert!(pool.is_closed());
    block_on(soon(pool.closed()));
}

/// Some may be in an executor that is slow to look at them.
#[test]
fn a_pool_has_ended_when_all_its_futures_have() {
    let futures = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&futures);
    let spawner = Spawner::new(move |future| taken.lock().unwrap().push(future));
    let client = ClientPool::builder().on(spawner).connect_with(std::future::pending).unwrap();
    let mut futures = std::mem::take(&mut *futures.lock().unwrap());
    let driver = futures.pop().unwrap();
    client.close();
    block_on(async {
        driver.await;
        while let Some(other) = futures.pop() {
            assert!(poll_once(client.closed()).await.is_none(), "one of its futures is left");
            other.await;
        }
        client.closed().await;
    });
}

#[test]
fn a_waiter_is_refused_when_the_executor_is_dropped() {
    let threads = Threads::new(1);
    let server = ServerPool::builder().on(threads.spawner());
    let server = block_on(server.bind("127.0.0.1:0")).unwrap();
    let waiter = server.clone();
    let waits = thread::spawn(move || block_on(soon(waiter.acquire(Duration::MAX))).map(|_| ()));
    block_on(eventually(|| server.stats(), |stats| stats.waiters == 1));
    drop(threads);
    assert_eq!(waits.join().unwrap(), Err(CLOSED));
}

#[test]
fn dials_end_when_the_executor_is_dropped() {
    let threads = Threads::new(2);
    let alive = Arc::new(());
    let guard = Arc::clone(&alive);
    let client = ClientPool::builder().on(threads.spawner()).connect_with(move || {
        let guard = Arc::clone(&guard);
        async move {
            let _guard = guard;
            std::future::pending::<io::Result<TcpStream>>().await
        }
    });
    let client = client.unwrap();
    // References of the test, the dialer, and two dials.
    block_on(eventually(|| Arc::strong_count(&alive), |count| *count == 4));
    drop(threads);
    block_on(soon(client.closed()));
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// Connects a hundred peers, each with some data, before the executor runs; returns the most of them
/// that the server handles between two polls of another task.
fn handled_at_once(
    tls: Option<ServerTls>,
    config: ServerConfigBuilder,
    seen: fn(&Totals) -> u64,
) -> u64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| {
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        peer
    };
    let peers: Vec<_> = (0..100).map(connect).collect();
    let executor = Arc::new(Executor::new());
    let spawner = Arc::clone(&executor);
    let server = ServerPool::builder()
        .config(config.build().unwrap())
        .tls(tls)
        .on(Spawner::new(move |future| spawner.spawn(future).detach()))
        .listen(listener.try_into().unwrap())
        .unwrap();
    let others = executor.spawn(async move {
        let (mut last, mut most) = (0, 0);
        while last < 100 {
            let now = seen(&server.stats().totals);
            most = most.max(now - last);
            last = now;
            yield_now().await;
        }
        most
    });
    let most = block_on(executor.run(soon(others)));
    drop(peers);
    most
}

#[test]
fn a_queue_of_peers_does_not_block_the_executor() {
    let most = handled_at_once(None, server_config().capacity(100), |totals| totals.admitted);
    // A burst of accepts, which takes about a millisecond.
    assert!(most <= 32, "{most} peers were admitted at once");
    let strict = server_config().allow("192.0.2.1".parse().unwrap());
    let most = handled_at_once(None, strict, |totals| totals.rejected_address);
    assert!(most < 10, "{most} peers were rejected at once");
}

#[test]
fn a_crowd_of_handshakes_does_not_block_the_executor() {
    let tls = ServerTls::self_signed().unwrap();
    let most = handled_at_once(Some(tls), server_config(), |totals| totals.tls_failures);
    // A handshake in each of the futures that run the pool's tasks.
    let processors = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    assert!(most <= 2 * processors, "{most} handshakes went on at once");
}
