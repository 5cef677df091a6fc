//! The facade of adapters whose pools are [`pool_driver::Pool`]s: their futures in blocking style.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::FutureExt;

use super::facade::{
    self, Adapter, ClientSetup, Demand, Dial, Halves, Listen, OpenTape, ServerSetup,
};
use super::prelude::*;
use pool_driver::BuildError;
use pool_driver::KeepAlive;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsFacts;
use pool_driver::{self, Balanced, Configured, PoolBuilder, Runtime};
use pool_proto::{Accepting, ConnId, Dialing, PutError};

/// The timeout of an acquire that is cancelled earlier.
const LONG: Duration = Duration::from_secs(600);

/// An async runtime and the adapter's stream on it, as the scenarios use them.
pub trait Harness: Send + Sync + Sized + 'static {
    /// The adapter's runtime.
    type Runtime: Runtime<Stream: fmt::Debug + Unpin + Send + 'static>;

    /// The name that reports print, such as "tokio".
    const NAME: &'static str;

    /// Returns the handle for the builders' `on`, which is not called for `None`.
    fn handle() -> Option<<Self::Runtime as Runtime>::Handle> {
        None
    }

    /// Runs a future to its end on this thread.
    fn block_on<F: Future>(future: F) -> F::Output;

    /// Calls a dialer where blocking is allowed, and converts its stream into one of the runtime.
    fn dial(
        dial: Arc<dyn Fn() -> io::Result<TcpStream> + Send + Sync>,
    ) -> impl Future<Output = io::Result<<Self::Runtime as Runtime>::TcpStream>> + Send + 'static;

    /// Converts a listener in non-blocking mode into one of the runtime.
    ///
    /// # Errors
    ///
    /// Returns the runtime's error.
    fn listener(listener: TcpListener) -> io::Result<<Self::Runtime as Runtime>::Listener>;

    /// Returns the id of the stream's connection.
    fn id(stream: &StreamOf<Self>) -> ConnId;

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn peer_addr(stream: &StreamOf<Self>) -> io::Result<SocketAddr>;

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn local_addr(stream: &StreamOf<Self>) -> io::Result<SocketAddr>;

    /// Returns what TLS negotiated; `None` without TLS.
    fn tls(stream: &StreamOf<Self>) -> Option<TlsFacts>;

    /// Polls the stream's read.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn poll_read(
        stream: Pin<&mut StreamOf<Self>>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    /// Polls the stream's write.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn poll_write(
        stream: Pin<&mut StreamOf<Self>>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>>;

    /// Polls the stream's vectored write.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn poll_write_vectored(
        stream: Pin<&mut StreamOf<Self>>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Polls the stream's flush.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn poll_flush(stream: Pin<&mut StreamOf<Self>>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Polls the close of the stream's writing half.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn poll_close(stream: Pin<&mut StreamOf<Self>>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The stream type of a harness's adapter.
pub type StreamOf<H> = <<H as Harness>::Runtime as Runtime>::Stream;

/// Runs `act`, up to `limit`; returns `None` if it has not ended by then.
pub(super) async fn within<N: Runtime, T>(
    runtime: &N,
    limit: Duration,
    act: impl Future<Output = T>,
) -> Option<T> {
    let time_is_up = async {
        // A zero limit is ready at once; a timer would still take a millisecond.
        if !limit.is_zero() {
            runtime.sleep(limit).await;
        }
        None
    };
    async { Some(act.await) }.or(time_is_up).await
}

/// The facade of a harness's adapter.
#[derive(Debug)]
pub struct OnFutures<H>(PhantomData<H>);

impl<H: Harness> OnFutures<H> {
    /// The only value.
    pub const ADAPTER: Self = Self(PhantomData);
}

/// Starts a builder with the settings that clients and servers share.
pub(super) fn set_up<H: Harness, R: Configured>(
    config: Option<R::Config>,
    tls: Option<R::Tls>,
    keep_alive: Option<Option<KeepAlive>>,
    tape: Option<OpenTape>,
) -> PoolBuilder<H::Runtime, R> {
    let mut builder = pool_driver::Pool::builder().tls(tls);
    if let Some(handle) = H::handle() {
        builder = builder.on(handle);
    }
    if let Some(config) = config {
        builder = builder.config(config);
    }
    if let Some(keep_alive) = keep_alive {
        builder = builder.keep_alive(keep_alive);
    }
    if let Some(open) = tape {
        builder = builder.record(move || open());
    }
    builder
}

fn demanding<N: Runtime, R: Configured>(
    builder: PoolBuilder<N, R>,
    demand: Demand,
) -> PoolBuilder<N, R> {
    match demand {
        Demand::Nothing => builder,
        Demand::Tls => builder.require_tls(),
        // A weaker demand takes nothing back.
        Demand::Authentication => builder.require_authentication().require_tls(),
    }
}

impl<H: Harness> Adapter for OnFutures<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let builder = set_up::<H, Dialing>(setup.config, setup.tls, setup.keep_alive, setup.tape);
        let builder = demanding(builder, setup.demand);
        let pool = H::block_on(async {
            match setup.dial {
                Dial::Address(address) => builder.connect(address),
                Dial::With(dial) => builder.connect_with(move || H::dial(Arc::clone(&dial))),
            }
        })?;
        Ok(Arc::new(Shared::<H, _> { pool, local_addr: None }))
    }

    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let builder = set_up::<H, Accepting>(setup.config, setup.tls, setup.keep_alive, setup.tape);
        let builder = demanding(builder, setup.demand);
        let pool = H::block_on(async {
            match setup.listen {
                Listen::Address(address) => builder.bind(&address).await,
                Listen::At(address) => builder.bind_addr(address),
                Listen::On(listener) => {
                    listener.set_nonblocking(true).unwrap();
                    builder.listen(H::listener(listener).unwrap())
                }
            }
        })?;
        let local_addr = pool.local_addr();
        Ok(Arc::new(Shared::<H, _> { pool, local_addr }))
    }

    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn facade::Balancer> {
        let clients = several::<H, Dialing>(&pools);
        let servers = several::<H, Accepting>(&pools);
        clients.or(servers).unwrap()
    }
}

/// Returns a balancer over these pools if they have this role.
fn several<H: Harness, R: Configured>(
    pools: &[Arc<dyn Pool>],
) -> Option<Box<dyn facade::Balancer>> {
    let mut pools = pools.iter().map(|pool| {
        let pool: &dyn Any = &**pool;
        Some(pool.downcast_ref::<Shared<H, R>>()?.pool.clone())
    });
    let first = pools.next()??;
    let others: Option<Vec<_>> = pools.collect();
    Some(Box::new(Several::<H, R>(pool_driver::Balancer::new(first, others?))))
}

struct Several<H: Harness, R: Configured>(pool_driver::Balancer<pool_driver::Pool<H::Runtime, R>>);

impl<H: Harness, R: Configured> facade::Balancer for Several<H, R> {
    fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError> {
        let Balanced { stream, pool, index } = H::block_on(self.0.acquire(timeout))?;
        let indexed = self.0.pools().get(index).unwrap();
        assert!(ptr::eq(pool, indexed), "the index is of another pool");
        Ok((boxed::<H>(stream, pool.runtime()), index))
    }
}

struct Shared<H: Harness, R: Configured> {
    pool: pool_driver::Pool<H::Runtime, R>,
    local_addr: Option<SocketAddr>,
}

impl<H: Harness, R: Configured> fmt::Debug for Shared<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

impl<H: Harness, R: Configured> Pool for Shared<H, R> {
    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
        let taken = H::block_on(self.pool.acquire(timeout));
        taken.map(|stream| boxed::<H>(stream, self.pool.runtime()))
    }

    fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<Box<dyn Stream>, AcquireError> {
        let taken = H::block_on(self.pool.acquire_by_id(id, timeout));
        taken.map(|stream| boxed::<H>(stream, self.pool.runtime()))
    }

    fn accept(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
        let accepted = H::block_on(self.pool.accept(timeout));
        accepted.map(|stream| boxed::<H>(stream, self.pool.runtime()))
    }

    fn acquire_then_cancel(&self, id: Option<ConnId>, after: Duration) -> Option<Box<dyn Stream>> {
        let runtime = self.pool.runtime();
        H::block_on(async {
            let taken = async {
                match id {
                    Some(id) => self.pool.acquire_by_id(id, LONG).await,
                    None => self.pool.acquire(LONG).await,
                }
            };
            let stream = within(runtime, after, taken).await?.ok()?;
            Some(boxed::<H>(stream, runtime))
        })
    }

    fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        H::block_on(self.pool.wait_ready(ready, timeout))
    }

    fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError> {
        let stream: Box<dyn Any> = stream;
        let Limited { stream, .. } = *stream.downcast::<Limited<H>>().unwrap();
        self.pool.put(Arc::into_inner(stream).unwrap().into_inner().unwrap())
    }

    fn handle(&self) -> &(dyn facade::Handle + 'static) {
        &self.pool
    }

    fn closed(&self, timeout: Duration) -> bool {
        H::block_on(within(self.pool.runtime(), timeout, self.pool.closed())).is_some()
    }

    fn clone_handle(&self) -> Arc<dyn Pool> {
        Arc::new(Self { pool: self.pool.clone(), local_addr: self.local_addr })
    }
}

/// A stream, or half of a stream, with an optional limit on the time of its reads and writes.
struct Limited<H: Harness> {
    stream: Arc<Mutex<StreamOf<H>>>,
    runtime: H::Runtime,
    limit: Option<Duration>,
}

fn boxed<H: Harness>(stream: StreamOf<H>, runtime: &H::Runtime) -> Box<dyn Stream> {
    let stream = Arc::new(Mutex::new(stream));
    Box::new(Limited::<H> { stream, runtime: runtime.clone(), limit: None })
}

impl<H: Harness> Limited<H> {
    fn lock(&self) -> MutexGuard<'_, StreamOf<H>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls until `act` is ready, or the limit is reached. The stream is locked only during a
    /// poll, so that the other half can make progress.
    fn poll<T>(
        &self,
        mut act: impl FnMut(Pin<&mut StreamOf<H>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let act = poll_fn(|cx| act(Pin::new(&mut *self.lock()), cx));
        H::block_on(async {
            match self.limit {
                Some(limit) => {
                    let done = within(&self.runtime, limit, act).await;
                    done.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
                }
                None => act.await,
            }
        })
    }
}

impl<H: Harness> Read for Limited<H> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.poll(|stream, cx| H::poll_read(stream, cx, buffer))
    }
}

impl<H: Harness> Write for Limited<H> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.poll(|stream, cx| H::poll_write(stream, cx, data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.poll(|stream, cx| H::poll_write_vectored(stream, cx, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.poll(H::poll_flush)
    }
}

impl<H: Harness> Stream for Limited<H> {
    fn id(&self) -> ConnId {
        H::id(&self.lock())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        H::peer_addr(&self.lock())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        H::local_addr(&self.lock())
    }

    fn tls(&self) -> Option<TlsFacts> {
        H::tls(&self.lock())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.poll(H::poll_close)
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.limit = Some(timeout);
        Ok(())
    }

    fn split(self: Box<Self>) -> Halves {
        let Self { stream, runtime, limit } = *self;
        let reader = Self { stream: Arc::clone(&stream), runtime: runtime.clone(), limit };
        (Box::new(reader), Box::new(Self { stream, runtime, limit }))
    }
}

impl<H: Harness> fmt::Debug for Limited<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}
