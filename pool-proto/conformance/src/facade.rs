//! The traits that an adapter implements for the scenarios: its public API in blocking style. The
//! traits are object-safe, so that a scenario can run on any adapter, and on two different adapters
//! at once.

use std::any::Any;
use std::boxed::Box;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, RangeInclusive};
use std::string::String;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use pool_driver::BuildError;
use pool_driver::KeepAlive;
use pool_driver::metrics::Report;
use pool_driver::shared::{AcquireError, Recording};
use pool_driver::tls::{ClientTls, ServerTls, TlsFacts};
use pool_driver::{Configured, Runtime, SetTlsError};
use pool_proto::{
    Accepting, ClientConfig, ConfigError, ConnId, Dialing, PutError, ServerConfig, Stats,
};

/// An adapter: builds pools and balancers for the scenarios.
///
/// An adapter for async code runs each call with its runtime's `block_on`. Calls come from many
/// threads, none of which belongs to a runtime.
pub trait Adapter: Send + Sync {
    /// Returns the name that reports print, such as "tokio".
    fn name(&self) -> &'static str;

    /// Builds a client pool.
    ///
    /// # Errors
    ///
    /// Returns the error of the adapter's builder.
    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError>;

    /// Builds a server pool.
    ///
    /// # Errors
    ///
    /// Returns the error of the adapter's builder.
    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError>;

    /// Builds a balancer over pools of this adapter, at least one, all clients or all servers.
    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn Balancer>;
}

/// The settings of a client pool.
pub struct ClientSetup {
    /// For the builder's `config`, which is not called for `None`.
    pub config: Option<ClientConfig>,
    /// For the builder's `tls`.
    pub tls: Option<ClientTls>,
    /// For the builder's `keep_alive`, which is not called for the outer `None`.
    pub keep_alive: Option<Option<KeepAlive>>,
    /// For the builder's `require_tls` or `require_authentication`.
    pub demand: Demand,
    /// For the builder's `record`, which is not called for `None`.
    pub tape: Option<OpenTape>,
    /// For the builder's `connect` or `connect_with`.
    pub dial: Dial,
}

/// Opens the writer of a tape.
pub type OpenTape = Arc<dyn Fn() -> io::Result<Box<dyn Write + Send>> + Send + Sync>;

/// The least protection that is demanded of a builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Neither call is made.
    #[default]
    Nothing,
    /// The builder's `require_tls`.
    Tls,
    /// The builder's `require_authentication`.
    Authentication,
}

/// The way in which a client reaches its peer.
pub enum Dial {
    /// The builder's `connect`, with this address.
    Address(String),
    /// The builder's `connect_with`, with this dialer. It may block for seconds, so an async
    /// adapter calls it on a thread where blocking is allowed. If it panics, the dialer that the
    /// adapter hands to the builder must panic too. Its streams are in blocking mode.
    With(Arc<dyn Fn() -> io::Result<TcpStream> + Send + Sync>),
}

/// The settings of a server pool.
pub struct ServerSetup {
    /// For the builder's `config`, which is not called for `None`.
    pub config: Option<ServerConfig>,
    /// For the builder's `tls`.
    pub tls: Option<ServerTls>,
    /// For the builder's `keep_alive`, which is not called for the outer `None`.
    pub keep_alive: Option<Option<KeepAlive>>,
    /// For the builder's `require_tls` or `require_authentication`.
    pub demand: Demand,
    /// For the builder's `record`, which is not called for `None`.
    pub tape: Option<OpenTape>,
    /// For the builder's `bind`, `bind_addr` or `listen`.
    pub listen: Listen,
}

/// The source of a server's peers.
pub enum Listen {
    /// The builder's `bind`, with this address.
    Address(String),
    /// The builder's `bind_addr`, with this address.
    At(SocketAddr),
    /// The builder's `listen`, on this listener, which is in blocking mode.
    On(TcpListener),
}

/// A handle of an adapter's pool. Dropping the last handle drops the adapter's last clone of the
/// pool.
pub trait Pool: Send + Sync + Any + fmt::Debug {
    /// Returns the address at which a server listens; `None` for a client.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// Takes any connection.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError>;

    /// Takes the connection with this id.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn acquire_by_id(&self, id: ConnId, timeout: Duration)
    -> Result<Box<dyn Stream>, AcquireError>;

    /// Takes the next connection that the peer has begun to use.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn accept(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError>;

    /// Acquires with a long timeout, by id if there is one, and cancels after `after`. An async
    /// adapter polls the future for this time (once if it is zero), and drops it; a blocking
    /// adapter makes a call with this timeout. Returns the stream if the acquire ended before.
    fn acquire_then_cancel(&self, id: Option<ConnId>, after: Duration) -> Option<Box<dyn Stream>>;

    /// Waits until at least `ready` connections are idle.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError>;

    /// Puts a stream back. It comes from the same adapter, but perhaps from another pool.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError>;

    /// Returns the calls that do not wait.
    fn handle(&self) -> &(dyn Handle + 'static);

    /// Waits up to `timeout` until the pool is closed and its tasks or threads have ended; returns
    /// whether they have.
    fn closed(&self, timeout: Duration) -> bool;

    /// Clones the adapter's pool.
    fn clone_handle(&self) -> Arc<dyn Pool>;
}

/// The calls of a pool that neither wait nor block.
pub trait Handle {
    /// [`pool_driver::Pool::clean`].
    fn clean(&self) -> u32;

    /// [`pool_driver::Pool::flush`].
    fn flush(&self) -> u32;

    /// [`pool_driver::Pool::close`].
    fn close(&self);

    /// [`pool_driver::Pool::graceful_shutdown`].
    fn graceful_shutdown(&self, timeout: Duration);

    /// [`pool_driver::Pool::is_closed`].
    fn is_closed(&self) -> bool;

    /// [`pool_driver::Pool::is_ready`].
    fn is_ready(&self) -> bool;

    /// [`pool_driver::Pool::idle`].
    fn idle(&self) -> u32;

    /// [`pool_driver::Pool::capacity`].
    fn capacity(&self) -> u32;

    /// [`pool_driver::Pool::interval`].
    fn interval(&self) -> Duration;

    /// [`pool_driver::Pool::stats`].
    fn stats(&self) -> Stats;

    /// [`pool_driver::Pool::report`].
    fn report(&self) -> Report;

    /// [`pool_driver::Pool::last_failure`].
    fn last_failure(&self) -> Option<Arc<str>>;

    /// [`pool_driver::Pool::add_error`].
    fn add_error(&self);

    /// [`pool_driver::Pool::error_count`].
    fn error_count(&self) -> u64;

    /// [`pool_driver::Pool::reset_error`].
    fn reset_error(&self);

    /// [`pool_driver::Pool::recording`].
    fn recording(&self) -> Option<Recording>;

    /// [`pool_driver::Pool::end_recording`].
    fn end_recording(&self);

    /// Calls `dial_now` of a client pool. Does nothing for a server.
    fn dial_now(&self);

    /// Calls `set_config` with this configuration; `None` for one of the other role.
    fn set_config(&self, config: &dyn Any) -> Option<Result<(), ConfigError>>;

    /// Calls `set_capacity` of a client pool; `None` for a server.
    fn set_capacity(&self, capacity: RangeInclusive<u32>) -> Option<Result<(), ConfigError>>;

    /// Calls `set_tls` of the pool. Panics if the settings are those of the other role.
    ///
    /// # Errors
    ///
    /// Returns the pool's error.
    fn set_tls(&self, tls: Tls) -> Result<(), SetTlsError>;
}

/// The TLS settings of either role.
pub enum Tls {
    /// Of a client pool.
    Client(ClientTls),
    /// Of a server pool.
    Server(ServerTls),
}

impl<N: Runtime, R: Configured> Handle for pool_driver::Pool<N, R> {
    fn clean(&self) -> u32 {
        self.clean()
    }

    fn flush(&self) -> u32 {
        self.flush()
    }

    fn close(&self) {
        self.close();
    }

    fn graceful_shutdown(&self, timeout: Duration) {
        self.graceful_shutdown(timeout);
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn idle(&self) -> u32 {
        self.idle()
    }

    fn capacity(&self) -> u32 {
        self.capacity()
    }

    fn interval(&self) -> Duration {
        self.interval()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn report(&self) -> Report {
        self.report()
    }

    fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure()
    }

    fn add_error(&self) {
        self.add_error();
    }

    fn error_count(&self) -> u64 {
        self.error_count()
    }

    fn reset_error(&self) {
        self.reset_error();
    }

    fn recording(&self) -> Option<Recording> {
        self.recording()
    }

    fn end_recording(&self) {
        self.end_recording();
    }

    fn dial_now(&self) {
        let pool: &dyn Any = self;
        if let Some(client) = pool.downcast_ref::<pool_driver::Pool<N, Dialing>>() {
            client.dial_now();
        }
    }

    fn set_config(&self, config: &dyn Any) -> Option<Result<(), ConfigError>> {
        Some(self.set_config(config.downcast_ref::<R::Config>()?))
    }

    fn set_capacity(&self, capacity: RangeInclusive<u32>) -> Option<Result<(), ConfigError>> {
        let pool: &dyn Any = self;
        let client = pool.downcast_ref::<pool_driver::Pool<N, Dialing>>()?;
        Some(client.set_capacity(capacity.into()))
    }

    fn set_tls(&self, tls: Tls) -> Result<(), SetTlsError> {
        let pool: &dyn Any = self;
        match tls {
            Tls::Client(tls) => {
                let client = pool.downcast_ref::<pool_driver::Pool<N, Dialing>>();
                client.expect("these are settings of a client").set_tls(tls)
            }
            Tls::Server(tls) => {
                let server = pool.downcast_ref::<pool_driver::Pool<N, Accepting>>();
                server.expect("these are settings of a server").set_tls(tls)
            }
        }
    }
}

impl Deref for dyn Pool {
    type Target = dyn Handle;

    fn deref(&self) -> &Self::Target {
        self.handle()
    }
}

/// A balancer over several pools.
pub trait Balancer: Send + Sync {
    /// Takes a connection of any pool; returns it and the index of its pool.
    ///
    /// # Errors
    ///
    /// Returns the balancer's error.
    fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError>;
}

/// A leased connection. Dropping it drops the adapter's stream.
pub trait Stream: Read + Write + Send + Any + fmt::Debug {
    /// Returns the id of the connection.
    fn id(&self) -> ConnId;

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Returns what TLS negotiated; `None` without TLS.
    fn tls(&self) -> Option<TlsFacts>;

    /// Closes the writing half; with TLS, after sending close_notify.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Limits each later read, write and flush of this stream and its halves to this time. After
    /// it, they fail with [`TimedOut`](io::ErrorKind::TimedOut) or
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). A new stream has no such limit.
    ///
    /// # Errors
    ///
    /// Returns the stream's error.
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()>;

    /// Splits the stream into halves for two threads; neither half blocks the other.
    fn split(self: Box<Self>) -> Halves;
}

/// The reading and the writing half of a stream.
pub type Halves = (Box<dyn Read + Send>, Box<dyn Write + Send>);
