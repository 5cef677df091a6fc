//! The pool that dials.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use pool_proto::adapter::{self, Dial};
use pool_proto::tls::ClientTls;
use pool_proto::transport::BuildError;
use pool_proto::{ClientConfig, Dialing, KeepAlive};

use crate::pool::Pool;
use crate::runtime::{Names, Tcp, Threads};

/// A pool that dials a peer and keeps connections ready.
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientPoolBuilder(adapter::ClientPoolBuilder<Threads>);

impl ClientPool {
    /// A builder: default configuration, no TLS, keep-alive every 15 s.
    pub fn builder() -> ClientPoolBuilder {
        ClientPoolBuilder(adapter::Pool::<_, Dialing>::builder())
    }
}

impl ClientPoolBuilder {
    /// Capacity, timeouts, tuning, ids: everything that is not I/O.
    pub fn config(self, config: ClientConfig) -> Self {
        let names = Names { driver: "pool-client", max_dials: config.max_dials() };
        Self(self.0.on(names).config(config))
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    pub fn tls(self, tls: impl Into<Option<ClientTls>>) -> Self {
        Self(self.0.tls(tls))
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        Self(self.0.keep_alive(keep_alive))
    }

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
    async fn dial(&self, threads: &Threads) -> io::Result<Tcp> {
        threads.dial(&self.0).await
    }
}
