//! The adapter in blocking style, on any executor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed scenario")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use adapter_smol::pool_proto::conformance::{
    Adapter, Balancer, ClientSetup, Dial, Halves, Handle, Listen, Pool, ServerSetup, Stream,
};
use adapter_smol::pool_proto::shell::AcquireError;
use adapter_smol::pool_proto::{Accepting, ConnId, Dialing, PutError, Role};
use adapter_smol::{BuildError, ClientPool, PooledStream, ServerPool, Spawner, TlsFacts};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Timer, unblock};

use crate::executors::Executor;

/// Time enough for what a scenario gives up.
const LONG: Duration = Duration::from_secs(600);

/// `None` when the time is up first.
async fn timeout<T>(limit: Duration, act: impl Future<Output = T>) -> Option<T> {
    let time_is_up = async {
        // Ready at once after zero, where a timer would still take a millisecond.
        if !limit.is_zero() {
            Timer::after(limit).await;
        }
        None
    };
    async { Some(act.await) }.or(time_is_up).await
}

pub(crate) struct Smol<E>(PhantomData<E>);

impl<E: Executor> Smol<E> {
    pub(crate) const ADAPTER: Self = Self(PhantomData);
}

impl<E: Executor> Adapter for Smol<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let mut builder = ClientPool::builder().tls(setup.tls);
        if let Some(spawn) = E::SPAWN {
            builder = builder.on(Spawner::new(spawn));
        }
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
                async move { unblock(move || dial()).await?.try_into() }
            }),
        };
        Ok(Arc::new(Shared::<_, E>::new(pool?, None)))
    }

    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let mut builder = ServerPool::builder().tls(setup.tls);
        if let Some(spawn) = E::SPAWN {
            builder = builder.on(Spawner::new(spawn));
        }
        if let Some(config) = setup.config {
            builder = builder.config(config);
        }
        if let Some(keep_alive) = setup.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        let pool = match setup.listen {
            Listen::Address(address) => E::block_on(builder.bind(&address)),
            Listen::On(listener) => builder.listen(listener.try_into().unwrap()),
        };
        let pool = pool?;
        let local_addr = pool.local_addr();
        Ok(Arc::new(Shared::<_, E>::new(pool, local_addr)))
    }

    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn Balancer> {
        let clients = several::<Dialing, E>(&pools);
        let servers = several::<Accepting, E>(&pools);
        clients.or(servers).unwrap()
    }
}

/// A balancer, if the pools are of this role.
fn several<R: Role + Send + 'static, E: Executor>(
    pools: &[Arc<dyn Pool>],
) -> Option<Box<dyn Balancer>> {
    let mut pools = pools.iter().map(|pool| {
        let pool: &dyn Any = &**pool;
        Some(pool.downcast_ref::<Shared<R, E>>()?.pool.clone())
    });
    let first = pools.next()??;
    let others: Option<Vec<_>> = pools.collect();
    let balancer = adapter_smol::Balancer::new(first, others?);
    Some(Box::new(Several::<_, E>(balancer, PhantomData)))
}

struct Several<R: Role + Send + 'static, E>(adapter_smol::Balancer<R>, PhantomData<E>);

impl<R: Role + Send + 'static, E: Executor> Balancer for Several<R, E> {
    fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError> {
        let (stream, pool) = E::block_on(self.0.acquire(timeout))?;
        let number = self.0.pools().iter().position(|candidate| ptr::eq(candidate, pool));
        Ok((boxed::<E>(stream), number.unwrap()))
    }
}

struct Shared<R: Role + Send + 'static, E> {
    pool: adapter_smol::Pool<R>,
    local_addr: Option<SocketAddr>,
    executor: PhantomData<E>,
}

impl<R: Role + Send + 'static, E> Shared<R, E> {
    const fn new(pool: adapter_smol::Pool<R>, local_addr: Option<SocketAddr>) -> Self {
        Self { pool, local_addr, executor: PhantomData }
    }
}

impl<R: Role + Send + 'static, E> fmt::Debug for Shared<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

fn boxed<E: Executor>(stream: PooledStream) -> Box<dyn Stream> {
    Box::new(Limited::<_, E> { stream, limit: None, executor: PhantomData })
}

impl<R: Role + Send + 'static, E: Executor> Pool for Shared<R, E> {
    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
        E::block_on(self.pool.acquire(timeout)).map(boxed::<E>)
    }

    fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<Box<dyn Stream>, AcquireError> {
        E::block_on(self.pool.acquire_by_id(id, timeout)).map(boxed::<E>)
    }

    fn give_up_acquire(&self, id: Option<ConnId>, after: Duration) -> Option<Box<dyn Stream>> {
        E::block_on(async {
            let taken = async {
                match id {
                    Some(id) => self.pool.acquire_by_id(id, LONG).await,
                    None => self.pool.acquire(LONG).await,
                }
            };
            timeout(after, taken).await?.ok().map(boxed::<E>)
        })
    }

    fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        E::block_on(self.pool.wait_ready(ready, timeout))
    }

    fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError> {
        let stream: Box<dyn Any> = stream;
        self.pool.put(stream.downcast::<Limited<PooledStream, E>>().unwrap().stream)
    }

    fn handle(&self) -> &(dyn Handle + 'static) {
        &*self.pool
    }

    fn closed(&self, timeout: Duration) -> bool {
        E::block_on(self::timeout(timeout, self.pool.closed())).is_some()
    }

    fn clone_handle(&self) -> Arc<dyn Pool> {
        Arc::new(Self::new(self.pool.clone(), self.local_addr))
    }
}

/// A stream, or half of one, whose reads and writes may be limited in time.
struct Limited<S, E> {
    stream: S,
    limit: Option<Duration>,
    executor: PhantomData<E>,
}

impl<S: fmt::Debug, E> fmt::Debug for Limited<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl<S, E: Executor> Limited<S, E> {
    fn within<T>(
        limit: Option<Duration>,
        act: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        E::block_on(async {
            match limit {
                Some(limit) => {
                    timeout(limit, act).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
                }
                None => act.await,
            }
        })
    }
}

impl<S: AsyncReadExt + Unpin, E: Executor> Read for Limited<S, E> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::within(self.limit, self.stream.read(buffer))
    }
}

impl<S: AsyncWriteExt + Unpin, E: Executor> Write for Limited<S, E> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Self::within(self.limit, self.stream.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::within(self.limit, self.stream.flush())
    }
}

impl<E: Executor> Stream for Limited<PooledStream, E> {
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
        Self::within(self.limit, self.stream.close())
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.limit = Some(timeout);
        Ok(())
    }

    fn split(self: Box<Self>) -> Halves {
        let (reader, writer) = smol::io::split(self.stream);
        let (limit, executor) = (self.limit, self.executor);
        (
            Box::new(Limited::<_, E> { stream: reader, limit, executor }),
            Box::new(Limited::<_, E> { stream: writer, limit, executor }),
        )
    }
}
