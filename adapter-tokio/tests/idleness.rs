//! Nothing to do takes no time: processor time of pools that wait. A process of its own, one test at
//! a time.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use adapter_tokio::ServerPool;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{IdExchange, IdFormat};
use common::{
    SOON, client_config, dial, eventually, pair, send, serve, server_config, single, soon,
};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

static ALONE: Mutex<()> = Mutex::new(());

/// What a busy loop would take in the second that is measured, and a pool must not by far.
const LITTLE: Duration = Duration::from_millis(100);

/// Open from the start: later there may be no descriptor left for it.
static STAT: LazyLock<File> = LazyLock::new(|| File::open("/proc/self/stat").unwrap());

/// Processor time of this process, in steps of 10 ms.
fn processor_time() -> Duration {
    let mut stat = [0; 1024];
    let len = STAT.read_at(&mut stat, 0).unwrap();
    let stat = std::str::from_utf8(&stat[..len]).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 and 15 of proc(5), counted from 1, in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// What a second takes, in which nobody asks for anything.
async fn a_quiet_second() -> Duration {
    let before = processor_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    processor_time() - before
}

fn alone<F: Future<Output = ()>>(test: F) {
    LazyLock::force(&STAT);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

#[track_caller]
fn assert_little(time: Duration) {
    assert!(time < LITTLE, "{time:?} of processor time in a quiet second");
}

#[test]
fn an_idle_pool_takes_no_time() {
    alone(async {
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        server.wait_ready(4, SOON).await.unwrap();
        client.wait_ready(4, SOON).await.unwrap();
        assert_little(a_quiet_second().await);
    });
}

#[test]
fn a_pool_whose_peer_is_down_takes_no_time() {
    alone(async {
        let (server, address) = serve(TlsMode::None, server_config()).await;
        server.close();
        soon(server.closed()).await;
        let client = dial(TlsMode::None, client_config(), address);
        eventually(|| client.stats(), |stats| stats.totals.dial_failures > 0).await;
        assert_little(a_quiet_second().await);
    });
}

#[test]
fn claimed_connections_that_nobody_asks_for_take_no_time() {
    alone(async {
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        let mut held = Vec::new();
        for _ in 0..10 {
            let mut stream = client.acquire(SOON).await.unwrap();
            // More than the pool keeps, so that some of it stays in the kernel.
            send(&mut stream, &[7; 40_000]).await;
            held.push(stream);
        }
        eventually(|| server.stats(), |stats| stats.claimed == 10).await;
        assert_little(a_quiet_second().await);
    });
}

#[test]
fn a_server_that_speaks_much_before_it_is_asked_takes_no_time() {
    alone(async {
        let fake = common::Fake::start(|mut tcp, _| async move {
            send(&mut tcp, &[7; 40_000]).await;
            common::ended(&mut tcp).await;
        });
        let fake = fake.await;
        let client = dial(TlsMode::None, single().ids(IdExchange::None), fake.address);
        client.wait_ready(1, SOON).await.unwrap();
        assert_little(a_quiet_second().await);
    });
}

#[test]
fn a_server_whose_listener_died_takes_no_time() {
    alone(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handle = SockRef::from(&listener).try_clone().unwrap();
        let server = ServerPool::builder().listen(listener).unwrap();
        handle.shutdown(Shutdown::Both).unwrap();
        eventually(|| server.last_failure(), Option::is_some).await;
        assert_little(a_quiet_second().await);
    });
}

#[test]
fn callers_that_wait_take_no_time() {
    alone(async {
        let (server, _address) = serve(TlsMode::None, server_config()).await;
        let mut waits = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let server = server.clone();
            waits.spawn(async move { server.acquire(Duration::MAX).await });
        }
        eventually(|| server.stats(), |stats| stats.waiters == 1000).await;
        assert_little(a_quiet_second().await);
    });
}

const CHILD: &str = "A_SERVER_WITHOUT_DESCRIPTORS";

/// In the child: a server that runs out of descriptors, tells its address, and what it took.
async fn starve() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    println!("address {address}");
    eventually(
        || server.last_failure(),
        |failure| failure.as_ref().is_some_and(|text| text.contains("accept")),
    )
    .await;
    println!("took {}", a_quiet_second().await.as_millis());
    // The peers leave, and everybody can connect again.
    eventually(|| server.stats(), |stats| stats.idle == 0).await;
    println!("empty");
    eventually(|| server.stats(), |stats| stats.idle == 1).await;
    println!("served");
}

#[test]
fn a_server_out_of_descriptors_takes_no_time_and_recovers() {
    if std::env::var_os(CHILD).is_some() {
        return alone(starve());
    }
    alone(async {
        let name = "a_server_out_of_descriptors_takes_no_time_and_recovers";
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env(CHILD, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = |word: &str| loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, value)) = line.split_once(word) {
                return value.trim().to_owned();
            }
        };
        let address: SocketAddr = told("address ").parse().unwrap();
        let mut peers = Vec::new();
        for _ in 0..60 {
            peers.push(TcpStream::connect(address).await.unwrap());
        }
        let took: u64 = told("took ").parse().unwrap();
        assert_little(Duration::from_millis(took));
        drop(peers);
        told("empty");
        let mut late = TcpStream::connect(address).await.unwrap();
        let mut id = [0; 8];
        soon(late.read_exact(&mut id)).await.unwrap();
        told("served");
        assert!(child.wait().unwrap().success());
    });
}
