//! Both ends of real connections on loopback, in tokio: of pools, and by hand.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::{ClientTls, ServerTls};
use adapter_tokio::{ClientConfig, ClientPool, PooledStream, ServerConfig, ServerPool};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::Outcome;

/// The longest time that anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The settings of both ends, for pools and for streams by hand alike.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) client: ClientTls,
    pub(crate) server: ServerTls,
}

impl Tls {
    /// A fresh certificate, or plain TCP.
    pub(crate) fn new(is_on: bool) -> Outcome<Option<Self>> {
        if !is_on {
            return Ok(None);
        }
        Ok(Some(Self { client: ClientTls::self_signed()?, server: ServerTls::self_signed()? }))
    }
}

pub(crate) fn wire(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "TLS" } else { "plain" }
}

/// A runtime with so many workers.
pub(crate) fn runtime(workers: usize) -> Outcome<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(workers).enable_all().build()?)
}

pub(crate) fn client_config(stock: u32) -> Outcome<ClientConfig> {
    Ok(ClientConfig::builder().capacity(stock..=stock).max_connections(stock).build()?)
}

pub(crate) fn server_config(stock: u32) -> Outcome<ServerConfig> {
    let most = stock.saturating_mul(2);
    Ok(ServerConfig::builder().capacity(most).max_connections(most).build()?)
}

/// A client pool and its server pool.
pub(crate) struct Pools {
    pub(crate) client: ClientPool,
    pub(crate) server: ServerPool,
}

impl Pools {
    pub(crate) async fn new(stock: u32, tls: Option<&Tls>) -> Outcome<Self> {
        let server = serve(stock, tls).await?;
        let address = server.local_addr().ok_or("no address")?.to_string();
        let client = dial(stock, tls, address)?;
        client.wait_ready(stock, SOON).await?;
        server.wait_ready(stock, SOON).await?;
        Ok(Self { client, server })
    }

    /// Both ends of one connection.
    pub(crate) async fn pair(&self) -> Outcome<(PooledStream, PooledStream)> {
        let server = self.server.acquire(SOON).await?;
        let client = self.client.acquire_by_id(server.id(), SOON).await?;
        Ok((client, server))
    }

    /// Closes both pools, and waits for their ends.
    pub(crate) async fn close(self) {
        self.client.close();
        self.server.close();
        self.client.closed().await;
        self.server.closed().await;
    }
}

pub(crate) async fn serve(stock: u32, tls: Option<&Tls>) -> Outcome<ServerPool> {
    let builder = ServerPool::builder().config(server_config(stock)?);
    let builder = builder.tls(tls.map(|tls| tls.server.clone()));
    Ok(builder.bind("127.0.0.1:0").await?)
}

pub(crate) fn dial(stock: u32, tls: Option<&Tls>, address: String) -> Outcome<ClientPool> {
    let builder = ClientPool::builder().config(client_config(stock)?);
    Ok(builder.tls(tls.map(|tls| tls.client.clone())).connect(address)?)
}

/// A listener with a queue as long as that of a pool.
pub(crate) fn listener() -> Outcome<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket.listen(4096)?)
}

/// A stream by hand: tokio's, or tokio-rustls'.
pub(crate) enum Bare {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Bare {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Calls `$act` with the stream, which has one of two types.
macro_rules! with_bare {
    ($bare:expr, |$stream:ident| $act:expr) => {
        match $bare {
            $crate::ends::Bare::Plain($stream) => $act,
            $crate::ends::Bare::Tls($stream) => $act,
        }
    };
}
pub(crate) use with_bare;

/// What a loop by hand does for each connection, beside the exchange of a pool.
#[derive(Clone, Copy)]
pub(crate) enum Care {
    /// Nothing.
    None,
    /// What the pools do by default, too: the options of keep-alive, a deadline, and a waker for what
    /// comes while the connection is idle.
    OfPools,
}

impl Care {
    async fn take(self, making: impl Future<Output = Outcome<Bare>>) -> Outcome<Bare> {
        if let Self::None = self {
            return making.await;
        }
        let bare = tokio::time::timeout(SOON, making).await??;
        let (tcp, period) = (bare.tcp(), Duration::from_secs(1));
        let socket = socket2::SockRef::from(tcp);
        let probes = socket2::TcpKeepalive::new().with_time(4 * period);
        socket.set_tcp_keepalive(&probes.with_interval(period).with_retries(3))?;
        socket.set_tcp_user_timeout(Some(7 * period))?;
        let mut data = [0];
        let mut data = tokio::io::ReadBuf::new(&mut data);
        let quiet = poll_fn(|cx| Poll::Ready(tcp.poll_peek(cx, &mut data).is_pending()));
        if quiet.await { Ok(bare) } else { Err("the peer speaks first".into()) }
    }
}

/// The id that a server sends, in the format of a pool.
const ID: &[u8; 8] = b"0a1b2c3d";

/// The server's half of the exchange that a pool does.
pub(crate) async fn accept_bare(stream: TcpStream, tls: Option<Tls>) -> Outcome<Bare> {
    async fn send(stream: &mut (impl AsyncWrite + Unpin)) -> Outcome {
        stream.write_all(ID).await?;
        Ok(stream.flush().await?)
    }
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let mut stream = stream;
            send(&mut stream).await?;
            Ok(Bare::Plain(stream))
        }
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(tls.server.config()));
            let mut stream = acceptor.accept(stream).await?;
            send(&mut stream).await?;
            Ok(Bare::Tls(Box::new(stream.into())))
        }
    }
}

/// The client's half of the exchange that a pool does.
pub(crate) async fn dial_bare(address: &str, tls: Option<&Tls>) -> Outcome<Bare> {
    async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Outcome {
        let mut id = [0; ID.len()];
        stream.read_exact(&mut id).await?;
        if &id == ID { Ok(()) } else { Err(format!("{id:?} instead of an id").into()) }
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => {
            receive(&mut stream).await?;
            Ok(Bare::Plain(stream))
        }
        Some(tls) => {
            let connector = TlsConnector::from(Arc::clone(tls.client.config()));
            let mut stream = connector.connect(tls.client.server_name().clone(), stream).await?;
            receive(&mut stream).await?;
            Ok(Bare::Tls(Box::new(stream.into())))
        }
    }
}

/// The server of a loop by hand: a task for each peer. The streams come out of the channel.
pub(crate) fn serve_bare(
    listener: TcpListener,
    tls: Option<Tls>,
    care: Care,
) -> (tokio::task::JoinHandle<Outcome>, mpsc::UnboundedReceiver<Bare>) {
    let (established, streams) = mpsc::unbounded_channel();
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            let (tls, established) = (tls.clone(), established.clone());
            tokio::spawn(async move {
                if let Ok(stream) = care.take(accept_bare(stream, tls)).await {
                    // Fails when enough have come.
                    let _ = established.send(stream);
                }
            });
        }
    });
    (accepting, streams)
}

/// Dials under way at a time by hand. More make no difference.
const DIALS: u32 = 64;

/// Dials `stock` connections, some at a time.
pub(crate) async fn dial_all_bare(
    stock: u32,
    tls: Option<&Tls>,
    address: &str,
    care: Care,
) -> Outcome<Vec<Bare>> {
    let dialers: Vec<_> = (0..DIALS.min(stock))
        .map(|dialer| {
            let (tls, address) = (tls.cloned(), address.to_owned());
            let share = stock / DIALS.min(stock) + u32::from(dialer < stock % DIALS.min(stock));
            tokio::spawn(async move {
                let mut streams = Vec::new();
                for _ in 0..share {
                    streams.push(care.take(dial_bare(&address, tls.as_ref())).await?);
                }
                Outcome::Ok(streams)
            })
        })
        .collect();
    let mut streams = Vec::new();
    for dialer in dialers {
        streams.extend(dialer.await??);
    }
    Ok(streams)
}

/// Both ends of `stock` connections by hand.
pub(crate) async fn bare_ends(stock: u32, tls: Option<&Tls>) -> Outcome<(Vec<Bare>, Vec<Bare>)> {
    ends_with(stock, tls, Care::None).await
}

/// Both ends of `stock` connections by hand, of each of which some care is taken.
pub(crate) async fn ends_with(
    stock: u32,
    tls: Option<&Tls>,
    care: Care,
) -> Outcome<(Vec<Bare>, Vec<Bare>)> {
    let listener = listener()?;
    let address = listener.local_addr()?.to_string();
    let (accepting, mut streams) = serve_bare(listener, tls.cloned(), care);
    let clients = dial_all_bare(stock, tls, &address, care).await?;
    let mut servers = Vec::new();
    for _ in 0..stock {
        servers.push(streams.recv().await.ok_or("the listener has ended")?);
    }
    accepting.abort();
    Ok((clients, servers))
}
