//! The pool that accepts.

use std::net::{SocketAddr, TcpListener};

use futures_lite::future::block_on;
use pool_proto::Accepting;
use pool_proto::transport::BuildError;

use crate::pool::{Pool, PoolBuilder};
use crate::runtime::start_error;

/// A pool that accepts peers and names their connections.
pub type ServerPool = Pool<Accepting>;

/// Builds a [`ServerPool`].
pub type ServerPoolBuilder = PoolBuilder<Accepting>;

impl ServerPool {
    /// Where it listens: after binding port 0, with the port that the system chose. `None` only if
    /// the listener could not tell.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }
}

impl ServerPoolBuilder {
    /// Binds `address` ("host:port") and builds a pool on it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be had, [`BuildError::Start`] when the system has
    /// no thread or descriptor left.
    pub fn bind(self, address: &str) -> Result<ServerPool, BuildError> {
        block_on(self.0.bind(address)).map(Pool)
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn listen(self, listener: TcpListener) -> Result<ServerPool, BuildError> {
        let listener = async_io::Async::new(listener).map_err(start_error)?;
        self.0.listen(listener).map(Pool)
    }
}
