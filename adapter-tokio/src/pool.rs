//! What a client pool and a server pool have in common: all but where connections come from.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pool_proto::shell::{Acquire, AcquireError, Clock as _, WaitReady};
use pool_proto::{ConfigError, ConnId, Instant, Machine, PutError, Role, Stats};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::MonotonicClock;
use crate::connection::Pooled;
use crate::driver::{self, Finally, Job, PoolShell, Supply};
use crate::socket::Links;
use crate::stream::PooledStream;

/// A pool of ready connections; [`ClientPool`](crate::ClientPool) and
/// [`ServerPool`](crate::ServerPool) are its two forms.
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as
/// with [`close`](Self::close). All methods may be called from any task or thread; those that
/// return futures are cancel safe: a future that is dropped gives up its place in the queue, and a
/// connection that was promised to it goes to the next.
pub struct Pool<R: Role + Send + 'static> {
    inner: Arc<Inner<R>>,
}

struct Inner<R: Role + Send + 'static> {
    shell: Arc<PoolShell<R>>,
    ended: watch::Receiver<()>,
    runtime: Handle,
    listening_on: Option<SocketAddr>,
}

impl<R: Role + Send + 'static> Drop for Inner<R> {
    fn drop(&mut self) {
        self.shell.run(|machine, now| machine.close(now));
    }
}

impl<R: Role + Send + 'static> Clone for Pool<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: Role + Send + 'static> Pool<R> {
    /// Starts the driver on `runtime`.
    pub(crate) fn start(
        runtime: &Handle,
        machine: impl FnOnce(Instant) -> Machine<Pooled, R>,
        supply: impl Supply<R>,
        listening_on: Option<SocketAddr>,
    ) -> Self {
        let clock = MonotonicClock::start();
        let shell = PoolShell::new(machine(clock.now()), clock);
        let (alive, ended) = watch::channel(());
        let job = Job { shell: Arc::clone(&shell), links: Arc::new(Links::default()) };
        runtime.spawn(driver::drive(Finally { job, _alive: alive }, clock, supply));
        Self { inner: Arc::new(Inner { shell, ended, runtime: runtime.clone(), listening_on }) }
    }

    /// Awaits `wait`; when the time is up, it is told so and gives its answer. A timeout of zero
    /// needs no timer, which would take a millisecond.
    pub(crate) async fn within<W: Expire>(&self, timeout: Duration, mut wait: W) -> W::Output {
        if !timeout.is_zero() {
            let timed = {
                // A timer of the pool's runtime, wherever the caller runs.
                let _entered = self.inner.runtime.enter();
                tokio::time::timeout(timeout, &mut wait)
            };
            if let Ok(answer) = timed.await {
                return answer;
            }
        }
        wait.expire();
        wait.await
    }

    pub(crate) fn listening_on(&self) -> Option<SocketAddr> {
        self.inner.listening_on
    }

    pub(crate) fn shell(&self) -> &Arc<PoolShell<R>> {
        &self.inner.shell
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
        let answer = self.within(timeout, self.inner.shell.acquire()).await;
        answer.map(PooledStream::new)
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
        let answer = self.within(timeout, self.inner.shell.acquire_by_id(id)).await;
        answer.map(PooledStream::new)
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub async fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.within(timeout, self.inner.shell.wait_ready(ready)).await
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
        stream.into_held().put(&self.inner.shell)
    }

    /// Closes the idle connections and returns how many there were; the rest is left alone.
    pub fn clean(&self) -> u32 {
        self.inner.shell.run(|machine, now| machine.clean(now))
    }

    /// Ends all connections, those in use included, and starts afresh; returns how many there were.
    /// Callers that wait go on waiting. The next read or write of a stream in use fails with
    /// [`Revoked`](crate::Revoked).
    pub fn flush(&self) -> u32 {
        self.inner.shell.run(|machine, now| machine.flush(now))
    }

    /// Ends the pool and everything in it: callers that wait are refused, dials, handshakes and the
    /// listener end. Closing again does nothing. [`closed`](Self::closed) waits until all is done.
    pub fn close(&self) {
        self.inner.shell.run(|machine, now| machine.close(now));
    }

    /// Waits until the pool is closed and its tasks have ended.
    pub async fn closed(&self) {
        let mut ended = self.inner.ended.clone();
        // The driver never sends; it fails when the driver has ended, which is what we wait for.
        while ended.changed().await.is_ok() {}
    }

    /// Whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.shell.is_closed()
    }

    /// Whether at least one connection is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.idle() > 0
    }

    /// Ready connections now.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.stats().idle
    }

    /// Ready connections aimed at now; of a server, the most there may be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.stats().capacity
    }

    /// The time between two rounds of the tuner now; zero for a server.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.stats().interval
    }

    /// How many connections are in which state, and what has happened since the pool was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.shell.stats()
    }

    /// Why the last dial or handshake failed, if none has succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.inner.shell.last_failure()
    }

    /// Adds one to the user's error counter, which the pool only keeps.
    pub fn add_error(&self) {
        self.inner.shell.run(|machine, _| machine.add_error());
    }

    /// The user's error counter.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.inner.shell.run(|machine, _| machine.error_count())
    }

    /// Sets the user's error counter to zero.
    pub fn reset_error(&self) {
        self.inner.shell.run(|machine, _| machine.reset_error());
    }
}

impl<R: Role + Send + 'static> std::fmt::Debug for Pool<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}

/// Why a pool could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no tokio runtime to run on. (One without I/O or timers is not noticed here: tokio
    /// panics when they are used.)
    #[error(
        "no tokio runtime is running here; build the pool inside one that has I/O and timers enabled (Runtime::enter, #[tokio::main])"
    )]
    NoRuntime,
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address to dial is none.
    #[error("{address:?} is no address to dial; give host:port, such as tunnel.example:9000")]
    Address {
        /// What was given.
        address: String,
    },
    /// The listener could not be bound.
    #[error("cannot listen on {address}; give a free host:port of this machine")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Something to wait for that can be told that the time is up, and then answers.
pub(crate) trait Expire: Future + Unpin {
    fn expire(&mut self);
}

impl<R: Role + Send + 'static> Expire for Acquire<Pooled, R> {
    fn expire(&mut self) {
        Self::expire(self);
    }
}

impl<R: Role + Send + 'static> Expire for WaitReady<Pooled, R> {
    fn expire(&mut self) {
        Self::expire(self);
    }
}

pub(crate) fn runtime() -> Result<Handle, BuildError> {
    Handle::try_current().map_err(|_| BuildError::NoRuntime)
}
