//! Helpers of this adapter's tests: pools over loopback, and waiting with a limit.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::{ClientTls, ServerTls, TlsMode};
use adapter_tokio::pool_proto::{
    ClientConfig, ClientConfigBuilder, IdExchange, IdFormat, ServerConfig, ServerConfigBuilder,
};
use adapter_tokio::{ClientPool, ServerPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// The longest time that any step on loopback may take on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Calls `look` until its result satisfies `fits`, and returns that result. Panics with the last
/// result after [`SOON`].
#[track_caller]
pub(crate) fn eventually<T: Debug>(
    mut look: impl FnMut() -> T,
    fits: impl Fn(&T) -> bool,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + SOON;
        loop {
            let seen = look();
            if fits(&seen) {
                return seen;
            }
            assert!(
                Instant::now() < deadline,
                "{caller}: the condition did not hold within {SOON:?}: {seen:#?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Runs a future that must end within [`SOON`].
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match tokio::time::timeout(SOON, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: the future did not end within {SOON:?}"),
        }
    }
}

pub(crate) fn client_config() -> ClientConfigBuilder {
    // A few more at first than by default, so that most tests need no waits for stock.
    ClientConfig::builder().capacity(4..=64)
}

pub(crate) fn server_config() -> ServerConfigBuilder {
    ServerConfig::builder()
}

/// A client that keeps one connection, and redials after 1 ms when it fails.
pub(crate) fn single() -> ClientConfigBuilder {
    let ms = Duration::from_millis(1);
    client_config().capacity(1..=1).backoff(ms, ms)
}

/// Starts a server, plain or with a self-signed certificate.
pub(crate) async fn serve(mode: TlsMode, config: ServerConfigBuilder) -> (ServerPool, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = (mode != TlsMode::None).then(|| ServerTls::self_signed().unwrap());
    let builder = ServerPool::builder().config(config.build().unwrap()).tls(tls);
    (builder.listen(listener).unwrap(), address)
}

/// Starts a client, plain or with TLS that accepts any certificate.
pub(crate) fn dial(mode: TlsMode, config: ClientConfigBuilder, address: SocketAddr) -> ClientPool {
    let tls = (mode != TlsMode::None).then(|| ClientTls::self_signed().unwrap());
    let builder = ClientPool::builder().config(config.build().unwrap()).tls(tls);
    builder.connect(address.to_string()).unwrap()
}

/// Starts a server and a client of it.
pub(crate) async fn pair(mode: TlsMode, format: IdFormat) -> (ServerPool, ClientPool) {
    let (server, address) = serve(mode, server_config().id_format(format)).await;
    let ids = IdExchange::Wire(format);
    (server, dial(mode, client_config().ids(ids), address))
}

pub(crate) async fn send(stream: &mut (impl AsyncWriteExt + Unpin), data: &[u8]) {
    stream.write_all(data).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads as many bytes as `data` has, and checks that they are equal.
#[track_caller]
pub(crate) fn expect<'a>(
    stream: &'a mut (impl AsyncReadExt + Unpin),
    data: &'a [u8],
) -> impl Future<Output = ()> + 'a {
    let caller = Location::caller();
    async move {
        let mut read = vec![0; data.len()];
        let outcome = tokio::time::timeout(SOON, stream.read_exact(&mut read)).await;
        assert!(matches!(outcome, Ok(Ok(_))), "{caller}: {outcome:?}");
        assert!(
            read == data,
            "{caller}: the data that arrived differs from the data that was sent"
        );
    }
}
