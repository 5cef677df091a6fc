//! What a client pool and a server pool have in common: all but where connections come from.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use pool_proto::shell::{AcquireError, Clock as _, Expire, Handle, Shell};
pub use pool_proto::transport::BuildError;
use pool_proto::transport::{Crew, Pooled, Stream};
use pool_proto::{ConnId, Instant, Machine, PutError, Role};
use smol::Timer;
use smol::channel::{Receiver, bounded};
use smol::future::{Boxed, FutureExt};

use crate::clock::MonotonicClock;
use crate::driver::{self, PoolCrew, Supply};
use crate::socket::Socket;
use crate::stream::PooledStream;

/// A pool of ready connections; [`ClientPool`](crate::ClientPool) and
/// [`ServerPool`](crate::ServerPool) are its two forms.
///
/// What it does without waiting (`flush`, `close`, `stats`, …) are the methods of [`Handle`].
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as
/// with [`close`](Handle::close). All methods may be called from any task or thread; those that
/// return futures are cancel safe: a future that is dropped gives up its place in the queue, and a
/// connection that was promised to it goes to the next.
pub struct Pool<R: Role + Send + 'static> {
    inner: Arc<Inner<R>>,
}

struct Inner<R: Role + Send + 'static> {
    handle: Handle<Pooled<Socket>, R>,
    crew: Arc<PoolCrew<R>>,
    ended: Receiver<Infallible>,
    listening_on: Option<SocketAddr>,
}

impl<R: Role + Send + 'static> Drop for Inner<R> {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl<R: Role + Send + 'static> Clone for Pool<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: Role + Send + 'static> Pool<R> {
    /// Gives the driver, and what else is to be run, to `spawn`.
    pub(crate) fn start(
        spawn: &Spawn,
        machine: impl FnOnce(Instant) -> Machine<Pooled<Socket>, R>,
        supply: impl Supply<R>,
        listening_on: Option<SocketAddr>,
    ) -> Self {
        let clock = MonotonicClock::start();
        let shell = Shell::new(machine(clock.now()), clock);
        let handle = Handle::new(Arc::clone(&shell));
        let crew = Crew::new(shell);
        let (alive, ended) = bounded(1);
        driver::start(&*spawn.0, Arc::clone(&crew), clock, supply, alive);
        Self { inner: Arc::new(Inner { handle, crew, ended, listening_on }) }
    }

    /// Awaits `wait`; when the time is up, it is told so and gives its answer. A timeout of zero
    /// needs no timer, which would take a millisecond.
    pub(crate) async fn within<W: Expire>(&self, timeout: Duration, mut wait: W) -> W::Output {
        if !timeout.is_zero() {
            let answer = async { Some((&mut wait).await) };
            // Made only when it is needed: most answers are there at once.
            let time_is_up = async {
                Timer::after(timeout).await;
                None
            };
            if let Some(answer) = answer.or(time_is_up).await {
                return answer;
            }
        }
        wait.expire();
        wait.await
    }

    pub(crate) fn listening_on(&self) -> Option<SocketAddr> {
        self.inner.listening_on
    }

    pub(crate) fn shell(&self) -> &Arc<Shell<Pooled<Socket>, R>> {
        self.inner.crew.shell()
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
    pub async fn acquire(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
        let answer = self.within(timeout, self.shell().acquire()).await;
        answer.map(|held| PooledStream::new(Stream::new(held)))
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
    ) -> Result<PooledStream, AcquireError> {
        let answer = self.within(timeout, self.shell().acquire_by_id(id)).await;
        answer.map(|held| PooledStream::new(Stream::new(held)))
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub async fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.within(timeout, self.shell().wait_ready(ready)).await
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
    pub fn put(&self, stream: PooledStream) -> Result<(), PutError> {
        stream.put(&self.inner.crew)
    }

    /// Waits until the pool is closed and all that it runs has ended.
    pub async fn closed(&self) {
        driver::gone(&self.inner.ended).await;
    }
}

impl<R: Role + Send + 'static> Deref for Pool<R> {
    type Target = Handle<Pooled<Socket>, R>;

    fn deref(&self) -> &Self::Target {
        &self.inner.handle
    }
}

impl<R: Role + Send + 'static> fmt::Debug for Pool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.handle.fmt(f)
    }
}

/// Starts a future on the executor that a pool runs on.
#[derive(Clone)]
pub(crate) struct Spawn(Arc<dyn Fn(Boxed<()>) + Send + Sync>);

impl Spawn {
    pub(crate) fn new(spawn: impl Fn(Boxed<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl Default for Spawn {
    fn default() -> Self {
        Self::new(|future| smol::spawn(future).detach())
    }
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawn")
    }
}
