//! The example `agent`, with the pool of the example `tunnel` at the other end.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

#[path = "../examples/agent.rs"]
#[expect(dead_code, reason = "this test calls what `main` calls")]
mod agent;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use adapter_tokio::{Acquirer, Identity, ServerConfig, ServerPool, ServerTls};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// A tunnel to a service that `serve` is. Both ends live as long as the test's process.
fn tunnel(serve: impl Fn(TcpStream) + Send + 'static) -> (Runtime, ServerPool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().for_each(|socket| serve(socket.unwrap())));

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("agent-{service}.pem"));
    let agent = Identity::load_or_create(&path, ["agent"]).unwrap();
    let server = Identity::self_signed(["server"]).unwrap();
    let pin = server.fingerprint().to_string();
    let tls = ServerTls::new(server).unwrap().pinned_clients([agent.fingerprint()]).unwrap();
    let config = ServerConfig::builder().acquirer(Acquirer::ThisEnd).opening_byte(true);
    let config = config.build().unwrap();
    let runtime = Runtime::new().unwrap();
    let pool = ServerPool::builder().config(config).tls(tls).require_authentication();
    let pool = runtime.block_on(pool.bind("127.0.0.1:0")).unwrap();
    let address = pool.local_addr().unwrap().to_string();
    thread::spawn(move || agent::run(&address, &service, path.to_str().unwrap(), &pin).unwrap());
    (runtime, pool)
}

#[test]
fn a_service_speaks_first_and_both_ways_end_on_their_own() {
    let (runtime, pool) = tunnel(|mut socket| {
        socket.write_all(b"ready\n").unwrap();
        let mut request = Vec::new();
        socket.read_to_end(&mut request).unwrap();
        request.reverse();
        socket.write_all(&request).unwrap();
    });
    let visits = async {
        for number in 0..8_u8 {
            let mut stream = pool.acquire(SOON).await.unwrap();
            let mut ready = [0; 6];
            stream.read_exact(&mut ready).await.unwrap();
            assert_eq!(&ready, b"ready\n");
            let mut bytes: Vec<u8> =
                (0..300_000_u32).map(|at| at.to_le_bytes()[0] ^ number).collect();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.unwrap();
            bytes.reverse();
            assert!(response == bytes, "wrong bytes");
        }
    };
    runtime.block_on(async { timeout(SOON, visits).await.unwrap() });
}

#[test]
fn a_reset_of_the_service_does_not_look_like_an_end() {
    let (runtime, pool) = tunnel(|mut socket| {
        socket.write_all(b"half").unwrap();
        // The visitor has read that.
        socket.read_exact(&mut [0]).unwrap();
        SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let visits = async {
        let mut stream = pool.acquire(SOON).await.unwrap();
        let mut half = [0; 4];
        stream.read_exact(&mut half).await.unwrap();
        stream.write_all(b"!").await.unwrap();
        stream.flush().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap_err().kind()
    };
    let kind = runtime.block_on(async { timeout(SOON, visits).await.unwrap() });
    assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{kind:?}");
}

#[test]
fn a_visitor_who_is_cut_off_does_not_look_like_an_end_to_the_service() {
    let (sender, ends) = channel();
    let (runtime, pool) = tunnel(move |mut socket| {
        socket.write_all(b"?").unwrap();
        let end = socket.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        sender.send(end).unwrap();
    });
    let visits = async {
        let mut stream = pool.acquire(SOON).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        stream.write_all(b"half").await.unwrap();
        stream.flush().await.unwrap();
    };
    runtime.block_on(async { timeout(SOON, visits).await.unwrap() });
    assert_eq!(ends.recv_timeout(SOON).unwrap(), Err(ErrorKind::ConnectionReset));
}
