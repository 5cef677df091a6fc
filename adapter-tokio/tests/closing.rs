//! The end of a large pool, and how long other tasks of its runtime wait meanwhile; and the port of a pool
//! whose driver has no time. Linux counts descriptors and the processor time of a thread, and can shut a
//! listener down.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use adapter_tokio::pool_driver::shared::TURN;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::{ClientPool, PooledStream, ServerPool};
use common::{client_config, dial, serve, server_config, soon};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// A task that wants to run every millisecond, and notes by how much it is late, and how much
/// processor time its thread has spent on others since: that is independent of other processes.
struct Ticker {
    worst: Arc<[AtomicU64; 2]>,
    ended: Arc<AtomicBool>,
}

/// The processor time of this thread.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

impl Ticker {
    const EVERY: Duration = Duration::from_millis(1);

    fn start() -> Self {
        let (worst, ended) = (Arc::<[AtomicU64; 2]>::default(), Arc::new(AtomicBool::new(false)));
        let ticker = Self { worst: Arc::clone(&worst), ended: Arc::clone(&ended) };
        tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let (began, spent_before) = (Instant::now(), spent());
                tokio::time::sleep(Self::EVERY).await;
                let late = began.elapsed().saturating_sub(Self::EVERY);
                for (worst, time) in worst.iter().zip([late, spent().saturating_sub(spent_before)])
                {
                    worst.fetch_max(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
                }
            }
        });
        ticker
    }

    /// The worst lateness and the most processor time since the last call.
    fn worst(&self) -> [Duration; 2] {
        self.worst.each_ref().map(|worst| Duration::from_micros(worst.swap(0, Ordering::Relaxed)))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A server and a client of it with so many ready connections.
async fn stocked(count: u32) -> (ServerPool, ClientPool) {
    // Connections that the client has closed are kept for their ids no longer than this.
    let server = server_config().claim_timeout(Duration::from_millis(100));
    let server = server.capacity(count).max_connections(count).max_handshakes(count.min(1_000));
    let (server, address) = serve(TlsMode::SelfSigned, server).await;
    let client = client_config().capacity(count..=count).max_connections(count);
    let client = dial(TlsMode::SelfSigned, client, address);
    let long = Duration::from_secs(300);
    client.wait_ready(count, long).await.unwrap();
    server.wait_ready(count, long).await.unwrap();
    (server, client)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The driver has the thread only later, and the next server may be there first.
#[test]
fn a_graceful_shutdown_has_freed_the_port_when_it_returns() {
    current_thread().block_on(async {
        let server = ServerPool::builder().bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let client = dial(TlsMode::None, client_config(), address);
        let taken = soon(client.acquire(Duration::MAX)).await.unwrap();
        soon(server.wait_ready(1, Duration::MAX)).await.unwrap();
        server.graceful_shutdown(Duration::MAX);
        std::net::TcpListener::bind(address).unwrap();
        drop(taken);
    });
}

/// Counted, not timed: the machine may be busy.
#[test]
fn a_close_lets_other_tasks_run_after_each_few_connections() {
    let count = 200;
    current_thread().block_on(async {
        let (server, client) = stocked(count).await;
        let before = descriptors();
        client.close();
        let mut left = vec![before];
        while server.stats().idle > 0 || left.last().is_some_and(|last| before - last < 400) {
            tokio::task::yield_now().await;
            left.push(descriptors());
        }
        let most = left.windows(2).map(|pair| pair[0].saturating_sub(pair[1])).max();
        // Both pools run here, and a driver may have several turns between two of this task: the thread
        // of the timers wakes it, too. All at once would be 200.
        assert!(most.is_some_and(|most| most <= 10 * TURN), "{most:?} at once: {left:?}");
    });
}

/// Each connection takes two descriptors of this process.
fn count() -> u32 {
    std::env::var("CONNECTIONS").map_or(9_000, |count| count.parse().unwrap())
}

async fn lateness(name: &str, count: u32) {
    let ticker = Ticker::start();
    let (server, client) = stocked(count).await;
    let filling = ticker.worst();
    let leased: Vec<PooledStream> = match name {
        "idle" => Vec::new(),
        _ => {
            let mut leased = Vec::new();
            for _ in 0..count {
                leased.push(client.acquire(Duration::ZERO).await.unwrap());
            }
            leased
        }
    };
    ticker.worst();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = ticker.worst();
    let (began, spent_before) = (Instant::now(), spent());
    client.close();
    let call = spent().saturating_sub(spent_before);
    soon(client.closed()).await;
    let closed = began.elapsed();
    // The server's idle connections become readable, and end.
    common::eventually(|| server.stats().idle, |idle| *idle == 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let ended = began.elapsed();
    let during = ticker.worst();
    println!(
        "{count} {name}: close() took {call:?} of the processor, closed() {closed:?}, the peer's end \
         {ended:?}; a ticker was late by {before:?} before and {during:?} meanwhile, and by {filling:?} \
         while the pools filled (time, processor)"
    );
    drop(leased);
}

/// `cargo test --release -p adapter-tokio --test closing -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn how_late_others_are_while_a_large_pool_closes() {
    for (runtime, name) in [(current_thread(), "current_thread"), (two_workers(), "two workers")] {
        for kind in ["idle", "leased"] {
            print!("{name}: ");
            runtime.block_on(async { tokio::spawn(lateness(kind, count())).await.unwrap() });
        }
    }
}
