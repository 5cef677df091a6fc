//! What a client pool and a server pool have in common: all but where connections come from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use pool_proto::shell::{AcquireError, Clock as _, Expire, Handle, Shell, block_on};
use pool_proto::transport::{BuildError, Crew, Pooled, Stream};
use pool_proto::{ConnId, Instant, KeepAlive, Machine, PutError, Role};

use crate::clock::MonotonicClock;
use crate::driver::{Driver, Ended, PoolCrew, Supply, drive};
use crate::reactor::Reactor;
use crate::socket::Socket;
use crate::stream::PooledStream;

/// A pool of ready connections; [`ClientPool`](crate::ClientPool) and
/// [`ServerPool`](crate::ServerPool) are its two forms.
///
/// What it does without waiting (`flush`, `close`, `stats`, …) are the methods of [`Handle`].
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as
/// with [`close`](Handle::close). All methods may be called from any thread. Those that wait have a
/// deadline, and give up their place in the queue when it is over.
pub struct Pool<R: Role + Send + 'static> {
    inner: Arc<Inner<R>>,
}

struct Inner<R: Role + Send + 'static> {
    handle: Handle<Pooled<Socket>, R>,
    crew: Arc<PoolCrew<R>>,
    clock: MonotonicClock,
    ended: Arc<Ended>,
    /// `None` once it was joined.
    driver: Mutex<Option<JoinHandle<()>>>,
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
    /// Starts the driver's thread.
    pub(crate) fn start(
        name: &str,
        machine: impl FnOnce(Instant) -> Machine<Pooled<Socket>, R>,
        supply: impl Supply<R>,
        poll: mio::Poll,
        reactor: Arc<Reactor>,
        keep_alive: Option<KeepAlive>,
        listening_on: Option<SocketAddr>,
    ) -> Result<Self, BuildError> {
        let clock = MonotonicClock::start();
        let shell = Shell::new(machine(clock.now()), clock);
        let handle = Handle::new(Arc::clone(&shell));
        let crew = Crew::new(shell);
        let ended = Arc::new(Ended::default());
        let driver = Driver { crew: Arc::clone(&crew), clock, poll, reactor, keep_alive, supply };
        let finally = Finally(Arc::clone(&ended));
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _finally = finally;
            drive(driver);
        });
        let driver = Mutex::new(Some(thread.map_err(start_error)?));
        Ok(Self { inner: Arc::new(Inner { handle, crew, clock, ended, driver, listening_on }) })
    }

    /// Waits for `wait`; when the time is up, it is told so and gives its answer.
    pub(crate) fn within<W: Expire>(&self, timeout: Duration, mut wait: W) -> W::Output {
        // Mostly the answer is there at once, and nothing has to be set up for waiting.
        let mut at_once = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = Pin::new(&mut wait).poll(&mut at_once) {
            return answer;
        }
        let mut timeout = timeout;
        loop {
            if timeout.is_zero() {
                wait.expire();
                timeout = Duration::MAX;
            }
            if let Poll::Ready(answer) = block_on(&mut wait, &self.inner.clock, timeout) {
                return answer;
            }
            timeout = Duration::ZERO;
        }
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
    pub fn acquire(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
        let answer = self.within(timeout, self.shell().acquire());
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
    pub fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<PooledStream, AcquireError> {
        let answer = self.within(timeout, self.shell().acquire_by_id(id));
        answer.map(|held| PooledStream::new(Stream::new(held)))
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.within(timeout, self.shell().wait_ready(ready))
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

    /// Waits up to `timeout` until the pool is closed and its threads have ended, and says whether
    /// they have. A name that is being looked up, or a dialer of the user's that does not return,
    /// holds its thread.
    #[must_use]
    pub fn closed(&self, timeout: Duration) -> bool {
        let ended = self.inner.ended.wait(timeout);
        if ended {
            let driver = self.inner.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
            // It has nothing left to do but to go. A panic of its was reported when it happened.
            driver.map(JoinHandle::join).into_iter().for_each(drop);
        }
        ended
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

/// Tells that the driver's thread has ended, however that happens.
struct Finally(Arc<Ended>);

impl Drop for Finally {
    fn drop(&mut self) {
        self.0.tell();
    }
}

pub(crate) const fn start_error(source: io::Error) -> BuildError {
    BuildError::Start { source }
}
