//! What both builders can be told.

use core::fmt;
use core::marker::PhantomData;

use crate::keep_alive::KeepAlive;
use crate::tls::{ClientTls, ServerTls};
use crate::{Awaited, Pool, Runtime};
use pool_proto::Accepting;
use pool_proto::Dialing;
use pool_proto::Role;
use pool_proto::{ClientConfig, ServerConfig};

/// A role that pools can be built for: what they are configured by.
pub trait Configured: Role + Send + 'static {
    /// Everything that is not I/O.
    type Config: Clone + fmt::Debug;
    /// The settings of TLS.
    type Tls: Clone + fmt::Debug;
}

impl Configured for Dialing {
    type Config = ClientConfig;
    type Tls = ClientTls;
}

impl Configured for Accepting {
    type Config = ServerConfig;
    type Tls = ServerTls;
}

/// Builds a pool. An adapter calls its two forms `ClientPoolBuilder` and `ServerPoolBuilder`.
#[derive(Clone)]
#[must_use]
pub struct PoolBuilder<N: Runtime, R: Configured, C = Awaited> {
    pub(super) config: Option<R::Config>,
    pub(super) tls: Option<R::Tls>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) handle: Option<N::Handle>,
    calls: PhantomData<fn() -> C>,
}

impl<N: Runtime, R: Configured, C> Pool<N, R, C> {
    /// A builder: default configuration, no TLS, keep-alive every 15 s, and, where calls are awaited, on
    /// the runtime of whoever builds the pool.
    pub fn builder() -> PoolBuilder<N, R, C> {
        let keep_alive = Some(KeepAlive::default());
        PoolBuilder { config: None, tls: None, keep_alive, handle: None, calls: PhantomData }
    }
}

impl<N: Runtime, R: Configured, C> PoolBuilder<N, R, C> {
    /// Capacity, limits, timeouts, ids, and what else only one role has: everything that is not I/O.
    pub fn config(mut self, config: R::Config) -> Self {
        self.config = Some(config);
        self
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: impl Into<Option<R::Tls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }
}

impl<N: Runtime, R: Configured> PoolBuilder<N, R, Awaited> {
    /// Runs the pool there. The pool does not keep that place alive: when it goes, the pool closes.
    pub fn on(mut self, handle: impl Into<N::Handle>) -> Self {
        self.handle = Some(handle.into());
        self
    }
}

impl<N: Runtime, R: Configured, C> fmt::Debug for PoolBuilder<N, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, tls, keep_alive, handle, calls: _ } = self;
        f.debug_struct("PoolBuilder")
            .field("config", config)
            .field("tls", tls)
            .field("keep_alive", keep_alive)
            .field("place", handle)
            .finish()
    }
}
