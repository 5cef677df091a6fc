//! Calls that block their thread.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use futures_lite::future;

use crate::shared::{AcquireError, Deadline, block_on};
use crate::transport::{BuildError, Stream};
use crate::{Balancer, Dial, Found, MonotonicClock, Pool, PoolBuilder, Runtime};
use pool_proto::Accepting;
use pool_proto::ConnId;
use pool_proto::Dialing;
use pool_proto::Role;

/// How the calls of a [`Pool`] wait: they return futures.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {}

/// How the calls of a [`Pool`] wait: they block their thread.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {}

/// What a runtime has to bring besides, for pools whose calls block: it takes the sockets of [`std::net`],
/// sets them to non-blocking mode, and has threads for what blocks.
pub trait Threaded:
    Runtime<
        Dialled: TryFrom<TcpStream, Error = io::Error>,
        Listener: TryFrom<TcpListener, Error = io::Error>,
    >
{
    /// Calls `act`, which may block, on a thread that does nothing else meanwhile. Dropped, `act` is not
    /// called any more, or what comes of it is dropped.
    fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Joins the threads of a pool that has ended.
    fn join(&self);
}

/// Calls that block.
impl<N: Threaded, R: Role + Send + 'static> Pool<N, R, Blocking> {
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
    pub fn acquire(&self, timeout: Duration) -> Result<N::Stream, AcquireError> {
        let answer = within(timeout, self.shared().acquire());
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
    pub fn acquire_by_id(&self, id: ConnId, timeout: Duration) -> Result<N::Stream, AcquireError> {
        let answer = within(timeout, self.shared().acquire_by_id(id));
        answer.map(|leased| Stream::new(leased).into())
    }

    /// Waits up to `timeout` until `ready` connections are in the pool at once. It takes none.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        within(timeout, self.shared().wait_ready(ready))
    }

    /// Waits up to `timeout` until the pool is closed and its threads have ended, and says whether
    /// they have. A name that is being looked up, or a dialer of the user's that does not return,
    /// holds its thread.
    #[must_use]
    pub fn closed(&self, timeout: Duration) -> bool {
        let ended = block_on(&mut pin!(self.ended()), &MonotonicClock::start(), timeout);
        if ended.is_ready() {
            self.runtime().join();
        }
        ended.is_ready()
    }
}

impl<N: Threaded, R: Role + Send + 'static> Balancer<N, R, Blocking> {
    /// Takes a ready connection of any pool, or waits up to `timeout` at all of them; returns the
    /// connection and its pool.
    ///
    /// # Errors
    ///
    /// When every pool refuses or the time is up: the error of the pool that refused last.
    pub fn acquire(&self, timeout: Duration) -> Result<Found<'_, N, R, Blocking>, AcquireError> {
        self.found(within(timeout, self.first())?)
    }
}

impl<N: Threaded> PoolBuilder<N, Dialing, Blocking> {
    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace… TLS, id and socket options are the pool's part.
    ///
    /// Each dial has a thread of its own while it lasts, at most
    /// [`max_dials`](pool_proto::ClientConfigBuilder::max_dials) at a time. Nothing can end it from
    /// outside, so `dial` should have a deadline: until it returns, the next has to wait in its
    /// place, and [`closed`](Pool::closed) waits for it, too (which `dial` itself must not call). The
    /// stream must be its only handle: it is set to non-blocking mode.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn connect_with<D>(self, dial: D) -> Result<Pool<N, Dialing, Blocking>, BuildError>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        self.connect_by(OnThread(Arc::new(dial)))
    }
}

/// Dials that may block.
struct OnThread<D>(Arc<D>);

impl<N: Threaded, D> Dial<N> for OnThread<D>
where
    D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
{
    async fn dial(&self, runtime: &N) -> io::Result<N::Dialled> {
        let dial = Arc::clone(&self.0);
        runtime.call(move || dial()).await?.try_into()
    }
}

impl<N: Threaded> PoolBuilder<N, Accepting, Blocking> {
    /// Binds `address` ("host:port") and builds a pool on it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be had, [`BuildError::Start`] when the system has
    /// no thread or descriptor left.
    pub fn bind(self, address: &str) -> Result<Pool<N, Accepting, Blocking>, BuildError> {
        future::block_on(self.accept_on(address))
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes. The listener must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn listen(
        mut self,
        listener: TcpListener,
    ) -> Result<Pool<N, Accepting, Blocking>, BuildError> {
        // Before the listener, which needs it.
        self.handle = Some(N::current()?);
        self.accept_at(listener.try_into().map_err(|source| BuildError::Start { source })?)
    }
}

/// Waits for `wait`; when the time is up, it is told so and gives its answer.
fn within<W: Deadline>(timeout: Duration, mut wait: W) -> W::Output {
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
