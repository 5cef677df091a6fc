//! What a client pool and a server pool have in common: all but where connections come from.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::net::SocketAddr;
use core::ops::Deref;
use core::time::Duration;
use std::sync::Arc;

use async_channel::Receiver;
use futures_lite::FutureExt;

use crate::driver::{Driver, PoolCrew, ShutdownGuard, Supply, drive};
use crate::shared::{AcquireError, Clock, Deadline, Handle, SharedMachine};
use crate::transport::{BuildError, Crew, Pooled, Stream};
use crate::{Awaited, MonotonicClock, Runtime, Socket};
use pool_proto::ConnId;
use pool_proto::Instant;
use pool_proto::Machine;
use pool_proto::PutError;
use pool_proto::Role;

/// A pool of ready connections. An adapter calls its two forms `ClientPool` and `ServerPool`.
///
/// What it does without waiting (`flush`, `close`, `stats`, …) are the methods of [`Handle`].
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as
/// with [`close`](Handle::close). All methods may be called from any task or thread. Those that wait
/// have a deadline, and give up their place in the queue when it is over. `C` says how they wait:
/// where it is [`Awaited`], they return futures, which are cancel safe: one that is dropped gives up its
/// place, and a connection that was promised to it goes to the next. Where it is
/// [`Blocking`](super::Blocking), they block their thread.
pub struct Pool<N: Runtime, R: Role + Send + 'static, C = Awaited> {
    inner: Arc<Inner<N, R>>,
    calls: PhantomData<fn() -> C>,
}

struct Inner<N: Runtime, R: Role + Send + 'static> {
    handle: Handle<Pooled<Socket<N>>, R>,
    crew: Arc<PoolCrew<N, R>>,
    ended: Receiver<Infallible>,
    runtime: N,
    listening_on: Option<SocketAddr>,
}

impl<N: Runtime, R: Role + Send + 'static> Drop for Inner<N, R> {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl<N: Runtime, R: Role + Send + 'static, C> Clone for Pool<N, R, C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), calls: PhantomData }
    }
}

impl<N: Runtime, R: Role + Send + 'static, C> Pool<N, R, C> {
    /// Starts the driver.
    pub(super) fn start(
        handle: Option<N::Handle>,
        max_dials: u32,
        machine: impl FnOnce(Instant) -> Machine<Pooled<Socket<N>>, R>,
        supply: impl Supply<N, R>,
        listening_on: Option<SocketAddr>,
    ) -> Result<Self, BuildError> {
        let handle = handle.map_or_else(N::current, Ok)?;
        let clock = MonotonicClock::start();
        let shared = SharedMachine::new(machine(clock.now()), clock);
        let calls = Handle::new(Arc::clone(&shared));
        let crew = Crew::new(shared);
        let (alive, ended) = ShutdownGuard::new();
        let driver = Driver::new(Arc::clone(&crew), clock, supply, alive.clone());
        let runtime = N::start(&handle, max_dials, alive, |runtime, executor| {
            drive(driver, runtime, executor)
        })?;
        let inner = Arc::new(Inner { handle: calls, crew, ended, runtime, listening_on });
        Ok(Self { inner, calls: PhantomData })
    }

    pub(super) fn listening_on(&self) -> Option<SocketAddr> {
        self.inner.listening_on
    }

    /// What the pool runs on. For adapters.
    #[doc(hidden)]
    #[must_use]
    pub fn runtime(&self) -> &N {
        &self.inner.runtime
    }

    /// What adapters wait at that wait in another way.
    #[doc(hidden)]
    #[must_use]
    pub fn shared(&self) -> &Arc<SharedMachine<Pooled<Socket<N>>, R>> {
        self.inner.crew.shared()
    }

    /// Puts a connection back for reuse, without blocking.
    ///
    /// What has arrived by now and was not read is thrown away; what comes later is for the next
    /// holder. So put a connection back only when the other end is done with it, and let the other
    /// end take it again only after this: what it sends before counts as the former use's.
    ///
    /// In a full pool (the stock is refilled while a connection is in use), or at the end of its
    /// lifetime, the connection is closed, which is no error: leave room between the usual stock and
    /// the maximum capacity if connections are to be reused.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the pool was closed or flushed meanwhile, or the stream belongs to another
    /// pool. The connection is closed then.
    pub fn put(&self, stream: N::Stream) -> Result<(), PutError> {
        stream.into().put(&self.inner.crew)
    }

    pub(super) async fn ended(&self) {
        // Nobody ever sends: it fails when the driver has ended, which is what we wait for.
        while self.inner.ended.recv().await.is_ok() {}
    }
}

/// Calls that are awaited.
impl<N: Runtime, R: Role + Send + 'static> Pool<N, R, Awaited> {
    async fn within<W: Deadline>(&self, timeout: Duration, wait: W) -> W::Output {
        within(timeout, self.runtime().sleep(timeout), wait).await
    }

    /// Takes any ready connection, or waits up to `timeout` for one. Callers are served in the order
    /// in which they came.
    ///
    /// A connection that the peer has closed is never returned; nor is one that the peer has begun
    /// to use, which is kept for [`acquire_by_id`](Self::acquire_by_id). A zero timeout answers at
    /// once; [`Duration::MAX`] waits for ever.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Timeout`] says what the wait was waiting for, and what failed last;
    /// [`AcquireError::Refused`] says why there is nothing to wait for.
    pub async fn acquire(&self, timeout: Duration) -> Result<N::Stream, AcquireError> {
        let answer = self.within(timeout, self.shared().acquire()).await;
        answer.map(|leased| Stream::new(leased).into())
    }

    /// Takes the connection with this id, or waits up to `timeout` for it: until it comes (client),
    /// until its handshake is over, or until its holder puts it back.
    ///
    /// A zero timeout answers at once.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire). A server knows every id it has made, and refuses others at
    /// once; a client refuses those of the 256 connections that ended last. For an id that never
    /// comes a client waits until the time is up: so it is when its side of the handshake failed
    /// after the server's was over.
    pub async fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<N::Stream, AcquireError> {
        let answer = self.within(timeout, self.shared().acquire_by_id(id)).await;
        answer.map(|leased| Stream::new(leased).into())
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub async fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.within(timeout, self.shared().wait_ready(ready)).await
    }

    /// Waits until the pool is closed and all that it runs has ended.
    pub async fn closed(&self) {
        self.ended().await;
    }
}

/// Awaits `wait`; when the time is up, it is told so and gives its answer. A timeout of zero needs no
/// timer, which would take a millisecond.
pub(super) async fn within<W: Deadline>(
    timeout: Duration,
    time_is_up: impl Future<Output = ()>,
    mut wait: W,
) -> W::Output {
    if !timeout.is_zero() {
        let answer = async { Some((&mut wait).await) };
        // Asked only when there is no answer, as there is mostly.
        let time_is_up = async {
            time_is_up.await;
            None
        };
        if let Some(answer) = answer.or(time_is_up).await {
            return answer;
        }
    }
    wait.expire();
    wait.await
}

impl<N: Runtime, R: Role + Send + 'static, C> Deref for Pool<N, R, C> {
    type Target = Handle<Pooled<Socket<N>>, R>;

    fn deref(&self) -> &Self::Target {
        &self.inner.handle
    }
}

impl<N: Runtime, R: Role + Send + 'static, C> fmt::Debug for Pool<N, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.handle.fmt(f)
    }
}
