//! The pool that dials.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use pool_proto::Dialing;
use pool_proto::adapter::Dial;
use pool_proto::transport::BuildError;

use crate::pool::{Pool, PoolBuilder};
use crate::runtime::Threads;

/// A pool that dials a peer and keeps connections ready.
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
pub type ClientPoolBuilder = PoolBuilder<Dialing>;

impl ClientPoolBuilder {
    /// Builds a pool that dials `address` ("host:port"), resolved anew at every dial. It begins at
    /// once.
    ///
    /// # Errors
    ///
    /// [`BuildError::Address`] for anything but "host:port", [`BuildError::Start`] when the system
    /// has no thread or descriptor left.
    pub fn connect(self, address: impl Into<String>) -> Result<ClientPool, BuildError> {
        self.0.connect(address).map(Pool)
    }

    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace… TLS, id and socket options are the pool's part.
    ///
    /// Each dial has a thread of its own while it lasts, at most
    /// [`max_dials`](pool_proto::ClientConfigBuilder::max_dials) at a time. Nothing can end it from
    /// outside, so `dial` should have a deadline: until it returns, the next has to wait in its
    /// place, and [`closed`](Pool::closed) waits for it, too (which `dial` itself must not call). The
    /// stream must be its only handle: it is set to non-blocking mode.
    ///
    /// ```
    /// # use adapter_std::ClientPool;
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// let gateway = "192.0.2.1:9000".parse()?;
    /// let pool = ClientPool::builder()
    ///     .connect_with(move || TcpStream::connect_timeout(&gateway, Duration::from_secs(5)))?;
    /// # drop(pool); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn connect_with<D>(self, dial: D) -> Result<ClientPool, BuildError>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        self.0.connect_by(OnThread(Arc::new(dial))).map(Pool)
    }
}

/// Dials that may block.
struct OnThread<D>(Arc<D>);

impl<D> Dial<Threads> for OnThread<D>
where
    D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
{
    async fn dial(&self, threads: &Threads) -> io::Result<async_io::Async<TcpStream>> {
        threads.dial(&self.0).await
    }
}
