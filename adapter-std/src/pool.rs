//! What a client pool and a server pool have in common: all but where connections come from.

use std::fmt;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_proto::adapter::{self, Buildable, MonotonicClock, Socket};
use pool_proto::shell::{AcquireError, Expire, Handle, block_on};
use pool_proto::transport::{Pooled, Stream};
use pool_proto::{ConnId, KeepAlive, PutError, Role};

use crate::runtime::Threads;
use crate::stream::PooledStream;

/// A pool of ready connections; [`ClientPool`](crate::ClientPool) and
/// [`ServerPool`](crate::ServerPool) are its two forms.
///
/// What it does without waiting (`flush`, `close`, `stats`, …) are the methods of [`Handle`].
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as
/// with [`close`](Handle::close). All methods may be called from any thread. Those that wait have a
/// deadline, and give up their place in the queue when it is over.
pub struct Pool<R: Role + Send + 'static>(pub(crate) adapter::Pool<Threads, R>);

impl<R: Role + Send + 'static> Clone for Pool<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Role + Send + 'static> Pool<R> {
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
    pub fn acquire(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
        let answer = within(timeout, self.0.shell().acquire());
        answer.map(|held| Stream::new(held).into())
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
    pub fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<PooledStream, AcquireError> {
        let answer = within(timeout, self.0.shell().acquire_by_id(id));
        answer.map(|held| Stream::new(held).into())
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        within(timeout, self.0.shell().wait_ready(ready))
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
        self.0.put(stream)
    }

    /// Waits up to `timeout` until the pool is closed and its threads have ended, and says whether
    /// they have. A name that is being looked up, or a dialer of the user's that does not return,
    /// holds its thread.
    #[must_use]
    pub fn closed(&self, timeout: Duration) -> bool {
        let ended = block_on(&mut pin!(self.0.closed()), &MonotonicClock::start(), timeout);
        if ended.is_ready() {
            self.0.runtime().join();
        }
        ended.is_ready()
    }
}

/// Waits for `wait`; when the time is up, it is told so and gives its answer.
pub(crate) fn within<W: Expire>(timeout: Duration, mut wait: W) -> W::Output {
    // Mostly the answer is there at once, and nothing has to be set up for waiting.
    let mut at_once = Context::from_waker(Waker::noop());
    if let Poll::Ready(answer) = Pin::new(&mut wait).poll(&mut at_once) {
        return answer;
    }
    let clock = MonotonicClock::start();
    let mut timeout = timeout;
    loop {
        if timeout.is_zero() {
            wait.expire();
            timeout = Duration::MAX;
        }
        if let Poll::Ready(answer) = block_on(&mut wait, &clock, timeout) {
            return answer;
        }
        timeout = Duration::ZERO;
    }
}

impl<R: Role + Send + 'static> Deref for Pool<R> {
    type Target = Handle<Pooled<Socket<Threads>>, R>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R: Role + Send + 'static> fmt::Debug for Pool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Builds a pool; [`ClientPoolBuilder`](crate::ClientPoolBuilder) and
/// [`ServerPoolBuilder`](crate::ServerPoolBuilder) are its two forms.
#[derive(Clone)]
#[must_use]
pub struct PoolBuilder<R: Buildable>(pub(crate) adapter::PoolBuilder<Threads, R>);

impl<R: Buildable> Pool<R> {
    /// A builder: default configuration, no TLS, keep-alive every 15 s.
    pub fn builder() -> PoolBuilder<R> {
        PoolBuilder(adapter::Pool::builder())
    }
}

impl<R: Buildable> PoolBuilder<R> {
    /// Capacity, limits, timeouts, ids, and what else only one role has: everything that is not I/O.
    pub fn config(self, config: R::Config) -> Self {
        Self(self.0.config(config))
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    pub fn tls(self, tls: impl Into<Option<R::Tls>>) -> Self {
        Self(self.0.tls(tls))
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        Self(self.0.keep_alive(keep_alive))
    }
}

impl<R: Buildable> fmt::Debug for PoolBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
