//! The pool types and their blocking calls.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_io::Async;
use pool_driver::shared::{Deadline, block_on};
use pool_driver::{Dial, MonotonicClock, Runtime};

use crate::runtime::Threads;
use crate::{AcquireError, Balanced, BuildError, ConnId, PooledStream};

pool_driver::__client_types! {
    Threads, PooledStream,
    /// A pool that dials a peer and keeps connections ready.
    ///
    /// ```
    /// # use adapter_std::ClientPool;
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// let gateway = "192.0.2.1:9000".parse()?;
    /// // Nothing can end a dial from outside: it should have a deadline.
    /// let pool = ClientPool::builder()
    ///     .connect_with(move || TcpStream::connect_timeout(&gateway, Duration::from_secs(5)))?;
    /// # drop(pool); Ok(()) }
    /// ```
}

pool_driver::__server_types! {
    Threads, PooledStream,
    /// A pool that accepts peers and issues the ids of their connections.
}

macro_rules! blocking_calls {
    ($Pool:ident) => {
        /// Calls that block their thread, up to a deadline.
        impl $Pool {
            /// Acquires any idle connection, or waits up to `timeout` for one. Waiters are served
            /// first come, first served.
            ///
            /// Never returns a connection that the peer has closed, nor one that the peer has begun to
            /// use, which is kept for [`acquire_by_id`](Self::acquire_by_id). A zero timeout answers
            /// at once; [`Duration::MAX`] waits for ever.
            ///
            /// # Errors
            ///
            /// [`AcquireError::Timeout`] with the cause of the wait and the last failure;
            /// [`AcquireError::Refused`] when no connection can come, or only the peer may acquire any.
            pub fn acquire(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
                within(timeout, self.0.shared().acquire()).map(PooledStream::from)
            }

            /// Acquires the connection with this id, or waits up to `timeout` for it: until it comes
            /// (client), until its handshake is over, or until its holder puts it back. A zero timeout
            /// answers at once.
            ///
            /// The peer may have used the connection, and may even have closed it, before its user told
            /// the id. So a connection that has ended in the pool is returned, too, until the
            /// `claim_timeout`: it reads the data that came first, and then EOF or the error.
            ///
            /// An id is a name, not a capability: 4 bytes, told over a channel of the user's and shown
            /// in logs. A connection is acquired at this end only, so a peer cannot use an id that it
            /// has guessed or read. But the peer that tells an id chooses the connection: if several
            /// peers connect to this pool, compare [`peer_addr`](PooledStream::peer_addr), or the
            /// peer's certificate, with the peer that told the id before you use the connection.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). Both ends refuse the ids of the 256 connections that
            /// ended last, with the reason. A server knows every id it has issued, and refuses others
            /// at once. A client waits until the deadline for an id that never comes, for example when
            /// its side of the handshake failed after the server's was over.
            pub fn acquire_by_id(
                &self,
                id: ConnId,
                timeout: Duration,
            ) -> Result<PooledStream, AcquireError> {
                within(timeout, self.0.shared().acquire_by_id(id)).map(PooledStream::from)
            }

            /// Acquires the next connection that the peer has begun to use, or waits up to `timeout` for
            /// one. A zero timeout answers at once.
            ///
            /// The peer acquires any connection and writes; the first byte that arrives here says so, and
            /// nobody tells an id. Connections come in that order, and callers are served first come, first
            /// served. A caller that asks for the id of a connection comes before them. A connection that nobody
            /// accepts within the `claim_timeout` is closed.
            ///
            /// A connection that is put back, for another use, must be at rest: bytes of the former use that
            /// arrive after the [`put`](Self::put) look like the begin of the next one.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). Refused at once where the peer acquires nothing: with
            /// `Acquirer::ThisEnd`, or without ids. In a graceful shutdown, connections that the peer has
            /// begun to use are still handed out, and then callers are refused.
            pub fn accept(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
                within(timeout, self.0.shared().acquire_claimed()).map(PooledStream::from)
            }

            /// Waits up to `timeout` until `ready` connections are idle at once. Takes none of them.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). More than the pool may ever hold are refused at once.
            pub fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
                within(timeout, self.0.shared().wait_ready(ready))
            }

            /// Waits up to `timeout` until the pool is closed and its threads have ended, and returns
            /// whether they have. The look-up of a name, or a user's dialer that does not return,
            /// holds its thread.
            #[must_use]
            pub fn closed(&self, timeout: Duration) -> bool {
                let ended = block_on(&mut pin!(self.0.closed()), &MonotonicClock, timeout);
                if ended.is_ready() {
                    self.0.runtime().join();
                }
                ended.is_ready()
            }
        }
    };
}

blocking_calls!(ClientPool);
blocking_calls!(ServerPool);

impl ClientPoolBuilder {
    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace. TLS, the id and the socket options are the pool's part.
    ///
    /// Each dial has a thread of its own while it lasts, at most
    /// [`max_dials`](crate::ClientConfigBuilder::max_dials) at a time. Nothing can end it from outside,
    /// so `dial` should have a deadline: until it returns, the next dial waits for its permit, and
    /// [`closed`](ClientPool::closed) waits for it too (so `dial` itself must not call `closed`). The
    /// stream must be the only handle of its socket, which is set to non-blocking mode.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left,
    /// [`BuildError::Entropy`] when it has no random bytes.
    pub fn connect_with<D>(self, dial: D) -> Result<ClientPool, BuildError>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        self.0.connect_by(OnThread(Arc::new(dial))).map(ClientPool)
    }
}

/// A dialer that may block.
struct OnThread<D>(Arc<D>);

impl<D> Dial<Threads> for OnThread<D>
where
    D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
{
    async fn dial(
        &self,
        runtime: &Threads,
        _left: impl Fn() -> Duration,
    ) -> io::Result<Async<TcpStream>> {
        let dial = Arc::clone(&self.0);
        runtime.call(move || dial()).await?.try_into()
    }
}

impl ServerPoolBuilder {
    /// Resolves `address` ("host:port"), binds the first of its addresses that can be bound, and builds a
    /// pool on it. The port is free again once the pool has closed, or shuts down.
    ///
    /// Only the look-up of a name blocks, as long as the system takes for it: a listener needs its
    /// address before there is a pool. (A client's pool looks its name up by itself, so
    /// [`connect`](ClientPoolBuilder::connect) does not block.) For an address that needs no look-up,
    /// [`bind_addr`](Self::bind_addr) does the same without blocking.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be bound, [`BuildError::Start`] when the system
    /// has no thread or descriptor left, [`BuildError::Entropy`] when it has no random bytes.
    pub fn bind(self, address: &str) -> Result<ServerPool, BuildError> {
        async_io::block_on(self.0.bind(address)).map(ServerPool)
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when the
    /// pool closes, without shutting it down: a service manager may have kept a handle of it. Otherwise
    /// the listener must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left,
    /// [`BuildError::Entropy`] when it has no random bytes.
    pub fn listen(self, listener: TcpListener) -> Result<ServerPool, BuildError> {
        // The reactor must exist before the listener is registered with it.
        Threads::current()?;
        let listener = listener.try_into().map_err(|source| BuildError::Start { source })?;
        self.0.listen(listener).map(ServerPool)
    }
}

pool_driver::__balancer_type! {
    ///
    /// ```
    /// # fn example(a: adapter_std::ClientPool, b: adapter_std::ClientPool)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use adapter_std::{Balanced, Balancer};
    ///
    /// let balancer = Balancer::new(a, [b]);
    /// // What belongs to a pool, such as its control channel, stands in the order of the pools.
    /// let mut told = vec![Vec::new(); balancer.pools().len()];
    ///
    /// let Balanced { stream, pool, index } = balancer.acquire(Duration::from_secs(1))?;
    /// told[index].push(stream.id());
    /// // … use the stream …
    /// pool.put(stream)?;
    /// # Ok(()) }
    /// ```
}

impl<P: pool_driver::AnyPool<Runtime = Threads>> Balancer<P> {
    /// Acquires an idle connection of any pool, or waits up to `timeout` at all of them. The other end of
    /// the pool that served must be told the id: [`Balanced`] has the pool, and its index for data that the
    /// caller keeps for each pool.
    ///
    /// # Errors
    ///
    /// When every pool refuses or the deadline passes: the error of the pool that refused last.
    pub fn acquire(
        &self,
        timeout: Duration,
    ) -> Result<Balanced<'_, PooledStream, P>, AcquireError> {
        self.0.found(within(timeout, self.0.acquire_any())?)
    }
}

/// Blocks on `wait`. When the timeout has passed, expires `wait`, and returns its answer.
fn within<W: Deadline>(timeout: Duration, mut wait: W) -> W::Output {
    // Usually the answer is there at once, and nothing needs to be set up for waiting.
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
        if let Poll::Ready(answer) = block_on(&mut wait, &MonotonicClock, timeout) {
            return answer;
        }
        timeout = Duration::ZERO;
    }
}
