//! The log of pools that have a name: their addresses, the causes of their ends, and the spans of dials and
//! handshakes. The subscriber is that of the process.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use adapter_tokio::{ClientPool, ServerPool};
use common::{SOON, server_config, single};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::DEBUG);
    subscriber.with_writer(move || writer.clone()).init();
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self, what: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    }
}

/// The fields of a pool in each of its events and spans.
fn fields(name: &str, role: &str) -> String {
    format!("pool=\"{name}\" role=\"{role}\"")
}

#[tokio::test]
async fn a_pool_with_a_name_tells_its_address_when_it_is_built() {
    let log = &*LOG;
    let server = ServerPool::builder().name("addressed").bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let client = ClientPool::builder().name("addressed").connect(&*address).unwrap();
    client.wait_ready(1, SOON).await.unwrap();
    for role in ["server", "client"] {
        let built = log.lines(&format!("pool built {}", fields("addressed", role)));
        assert_eq!(built.len(), 1, "{built:#?}");
        assert!(built.iter().all(|line| line.contains(&address)), "{built:#?}");
    }
}

/// Or else the operator would look for the program that has closed it.
#[test]
fn the_log_tells_a_pool_that_has_ended_with_its_runtime_from_one_that_was_closed() {
    let log = &*LOG;
    for (name, is_closed, cause) in
        [("bereft", false, "its runtime or task ended"), ("shut", true, "closed")]
    {
        let runtime = Runtime::new().unwrap();
        let builder = ServerPool::builder().name(name).on(runtime.handle().clone());
        let pool = builder.bind_addr("127.0.0.1:0".parse().unwrap()).unwrap();
        if is_closed {
            pool.close();
            runtime.block_on(pool.closed());
        }
        drop(runtime);
        let ended = log.lines(&format!("pool ended {}", fields(name, "server")));
        assert_eq!(ended.len(), 1, "{ended:#?}");
        assert!(ended.iter().all(|line| line.contains(&format!("cause={cause:?}"))), "{ended:#?}");
    }
}

#[tokio::test]
async fn the_events_of_a_dial_and_of_a_handshake_are_in_its_span() {
    const PEERS: u32 = 20;
    let log = &*LOG;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // All of them wait to be accepted: most are accepted in a row.
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(address).await.unwrap());
    }
    let config = server_config().build().unwrap();
    let server = ServerPool::builder().name("spanned").config(config).listen(listener).unwrap();
    server.wait_ready(PEERS, SOON).await.unwrap();
    let dial = move || async move {
        tracing::info!("through the proxy");
        TcpStream::connect(address).await
    };
    let config = single().build().unwrap();
    let client = ClientPool::builder().name("spanned").config(config).connect_with(dial).unwrap();
    client.wait_ready(1, SOON).await.unwrap();

    let span = |name: &str, role: &str| format!("{name}{{{} token=", fields("spanned", role));
    let established =
        |role: &str| log.lines(&format!("connection established {}", fields("spanned", role)));
    let of_dial = [log.lines("through the proxy"), established("client")];
    for lines in of_dial {
        assert!(!lines.is_empty());
        assert!(lines.iter().all(|line| line.contains(&span("dial", "client"))), "{lines:#?}");
    }
    let of_handshakes = established("server");
    assert!(of_handshakes.len() >= PEERS as usize, "{of_handshakes:#?}");
    let span = span("handshake", "server");
    assert!(of_handshakes.iter().all(|line| line.contains(&span)), "{of_handshakes:#?}");
}
