//! The adapter in blocking style.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed scenario")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ptr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use adapter_tokio::pool_proto::conformance::{
    Adapter, Balancer, ClientSetup, Dial, Halves, Handle, Listen, Pool, ServerSetup, Stream,
};
use adapter_tokio::pool_proto::shell::AcquireError;
use adapter_tokio::pool_proto::{Accepting, ConnId, Dialing, PutError, Role};
use adapter_tokio::{BuildError, ClientPool, PooledStream, ServerPool, TlsFacts};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Time enough for what a scenario gives up.
const LONG: Duration = Duration::from_secs(600);

/// Dropping a pool may not need the runtime; all else is run in it.
fn wait<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

pub(crate) struct Tokio;

impl Adapter for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let _entered = RUNTIME.enter();
        let mut builder = ClientPool::builder().tls(setup.tls);
        if let Some(config) = setup.config {
            builder = builder.config(config);
        }
        if let Some(keep_alive) = setup.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        let pool = match setup.dial {
            Dial::Address(address) => builder.connect(address),
            Dial::With(dial) => builder.connect_with(move || {
                let dial = Arc::clone(&dial);
                async move {
                    let dialled = spawn_blocking(move || dial()).await;
                    let tcp = dialled.unwrap_or_else(|panic| {
                        std::panic::resume_unwind(panic.into_panic());
                    })?;
                    tcp.set_nonblocking(true)?;
                    TcpStream::from_std(tcp)
                }
            }),
        };
        Ok(Arc::new(Shared { pool: pool?, local_addr: None }))
    }

    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let _entered = RUNTIME.enter();
        let mut builder = ServerPool::builder().tls(setup.tls);
        if let Some(config) = setup.config {
            builder = builder.config(config);
        }
        if let Some(keep_alive) = setup.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        let pool = match setup.listen {
            Listen::Address(address) => wait(builder.bind(&address)),
            Listen::On(listener) => {
                listener.set_nonblocking(true).unwrap();
                builder.listen(TcpListener::from_std(listener).unwrap())
            }
        };
        let pool = pool?;
        let local_addr = pool.local_addr();
        Ok(Arc::new(Shared { pool, local_addr }))
    }

    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn Balancer> {
        let clients = several::<Dialing>(&pools);
        let servers = several::<Accepting>(&pools);
        clients.or(servers).unwrap()
    }
}

/// A balancer, if the pools are of this role.
fn several<R: Role + Send + 'static>(pools: &[Arc<dyn Pool>]) -> Option<Box<dyn Balancer>> {
    let mut pools = pools.iter().map(|pool| {
        let pool: &dyn Any = &**pool;
        Some(pool.downcast_ref::<Shared<R>>()?.pool.clone())
    });
    let first = pools.next()??;
    let others: Option<Vec<_>> = pools.collect();
    Some(Box::new(Several(adapter_tokio::Balancer::new(first, others?))))
}

struct Several<R: Role + Send + 'static>(adapter_tokio::Balancer<R>);

impl<R: Role + Send + 'static> Balancer for Several<R> {
    fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError> {
        let (stream, pool) = wait(self.0.acquire(timeout))?;
        let number = self.0.pools().iter().position(|candidate| ptr::eq(candidate, pool));
        Ok((boxed(stream), number.unwrap()))
    }
}

struct Shared<R: Role + Send + 'static> {
    pool: adapter_tokio::Pool<R>,
    local_addr: Option<SocketAddr>,
}

impl<R: Role + Send + 'static> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

fn boxed(stream: PooledStream) -> Box<dyn Stream> {
    Box::new(Limited { stream, limit: None })
}

impl<R: Role + Send + 'static> Pool for Shared<R> {
    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
        wait(self.pool.acquire(timeout)).map(boxed)
    }

    fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<Box<dyn Stream>, AcquireError> {
        wait(self.pool.acquire_by_id(id, timeout)).map(boxed)
    }

    fn give_up_acquire(&self, id: Option<ConnId>, after: Duration) -> Option<Box<dyn Stream>> {
        wait(async {
            let taken = async {
                match id {
                    Some(id) => self.pool.acquire_by_id(id, LONG).await,
                    None => self.pool.acquire(LONG).await,
                }
            };
            let given_up = async {
                // A timer of zero would still take a millisecond.
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
            };
            tokio::select! {
                biased;
                taken = taken => taken.ok().map(boxed),
                () = given_up => None,
            }
        })
    }

    fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        wait(self.pool.wait_ready(ready, timeout))
    }

    fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError> {
        let stream: Box<dyn Any> = stream;
        self.pool.put(stream.downcast::<Limited<PooledStream>>().unwrap().stream)
    }

    fn handle(&self) -> &(dyn Handle + 'static) {
        &*self.pool
    }

    fn closed(&self, timeout: Duration) -> bool {
        wait(async { tokio::time::timeout(timeout, self.pool.closed()).await.is_ok() })
    }

    fn clone_handle(&self) -> Arc<dyn Pool> {
        Arc::new(Self { pool: self.pool.clone(), local_addr: self.local_addr })
    }
}

/// A stream, or half of one, whose reads and writes may be limited in time.
#[derive(Debug)]
struct Limited<S> {
    stream: S,
    limit: Option<Duration>,
}

fn within<T>(limit: Option<Duration>, act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    wait(async {
        match limit {
            Some(limit) => tokio::time::timeout(limit, act).await?,
            None => act.await,
        }
    })
}

impl<S: AsyncReadExt + Unpin> Read for Limited<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        within(self.limit, self.stream.read(buffer))
    }
}

impl<S: AsyncWriteExt + Unpin> Write for Limited<S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        within(self.limit, self.stream.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        within(self.limit, self.stream.flush())
    }
}

impl Stream for Limited<PooledStream> {
    fn id(&self) -> ConnId {
        self.stream.id()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    fn tls(&self) -> Option<TlsFacts> {
        self.stream.tls()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        within(self.limit, self.stream.shutdown())
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.limit = Some(timeout);
        Ok(())
    }

    fn split(self: Box<Self>) -> Halves {
        let Self { stream, limit } = *self;
        let (reader, writer): (ReadHalf<_>, WriteHalf<_>) = tokio::io::split(stream);
        (Box::new(Limited { stream: reader, limit }), Box::new(Limited { stream: writer, limit }))
    }
}
