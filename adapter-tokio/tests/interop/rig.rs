//! Helpers of these tests, in addition to those of all tests of this adapter: pools in every TLS
//! mode, and fake servers.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use adapter_tokio::pool_driver::tls::{ClientTls, Identity, ServerTls, TlsMode};
use adapter_tokio::pool_proto::{ClientConfigBuilder, ServerConfigBuilder};
use adapter_tokio::{AcquireError, ClientPool, PooledStream, ServerPool};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, server};

pub(crate) use crate::common::{
    SOON, client_config, eventually, expect, send, server_config, soon,
};

/// Shared by all tests, because generating a key is slower than the rest of most of them.
static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity::self_signed(["localhost", "127.0.0.1"]).unwrap());

pub(crate) fn identity() -> Identity {
    IDENTITY.clone()
}

pub(crate) fn server_tls(mode: TlsMode) -> Option<ServerTls> {
    (mode != TlsMode::None).then(|| ServerTls::new(identity()).unwrap())
}

pub(crate) fn client_tls(mode: TlsMode) -> Option<ClientTls> {
    match mode {
        TlsMode::None => None,
        TlsMode::SelfSigned => Some(ClientTls::self_signed().unwrap()),
        TlsMode::Verified => {
            let pem = identity().certificate_pem();
            Some(ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap())
        }
    }
}

pub(crate) async fn serve(mode: TlsMode, config: ServerConfigBuilder) -> (ServerPool, SocketAddr) {
    let mut builder = ServerPool::builder().config(config.build().unwrap());
    if let Some(tls) = server_tls(mode) {
        builder = builder.tls(tls);
    }
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

pub(crate) fn dial(mode: TlsMode, config: ClientConfigBuilder, address: SocketAddr) -> ClientPool {
    let mut builder = ClientPool::builder().config(config.build().unwrap());
    if let Some(tls) = client_tls(mode) {
        builder = builder.tls(tls);
    }
    builder.connect(address.to_string()).unwrap()
}

/// Takes both ends of one connection: any at the server, then the one with its id at the client.
pub(crate) async fn ends(server: &ServerPool, client: &ClientPool) -> (PooledStream, PooledStream) {
    let ours = server.acquire(SOON).await.unwrap();
    let theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
    (ours, theirs)
}

/// Returns whether the stream ends, by FIN or by reset, after any data.
pub(crate) async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    ended.is_ok()
}

pub(crate) fn is_timeout(error: &AcquireError) -> bool {
    matches!(error, AcquireError::Timeout { .. })
}

/// Connects from the address `source`.
pub(crate) async fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let source: IpAddr = source.parse().unwrap();
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    socket.connect(address).await.unwrap()
}

pub(crate) async fn tls_accept(tcp: TcpStream) -> std::io::Result<server::TlsStream<TcpStream>> {
    let tls = server_tls(TlsMode::SelfSigned).unwrap();
    TlsAcceptor::from(Arc::clone(tls.config())).accept(tcp).await
}

/// A server that runs a test's closure with each connection and its number.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl FakeServer {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0", serve).await
    }

    pub(crate) async fn start_at<F>(
        address: &str,
        serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                tasks.spawn(serve(tcp, count.fetch_add(1, Ordering::Relaxed)));
            }
        });
        Self { address, accepted, task }
    }

    /// A plain server that hands its connections to the test as they were accepted.
    pub(crate) async fn by_hand() -> (Self, mpsc::UnboundedReceiver<TcpStream>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let fake = Self::start(move |tcp, _| {
            // The test may have ended.
            let _ = sender.send(tcp);
            std::future::ready(())
        });
        (fake.await, receiver)
    }

    /// Ends the server and its connections.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns id number `number`, counted from zero, in the format `Hex8`.
pub(crate) fn hex_id(number: usize) -> String {
    format!("{:08x}", number + 1)
}
