//! What an adapter implements: its public API in blocking style, behind traits that are object-safe,
//! so that one scenario serves adapters of every kind, and two different ones at a time.

use std::any::Any;
use std::boxed::Box;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::string::String;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use pool_driver::KeepAlive;
use pool_driver::shared::{self, AcquireError};
use pool_driver::tls::{ClientTls, ServerTls, TlsFacts};
use pool_driver::transport::BuildError;
use pool_proto::{ClientConfig, ConnId, PutError, Role, ServerConfig, Stats};

/// An adapter, as far as the scenarios have to know it.
///
/// An adapter for async code runs each call with its runtime's `block_on`. Calls come from many
/// threads, none of which belongs to a runtime.
pub trait Adapter: Send + Sync {
    /// What it is called, such as "tokio".
    fn name(&self) -> &'static str;

    /// Builds a client pool.
    ///
    /// # Errors
    ///
    /// What the adapter's builder says.
    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError>;

    /// Builds a server pool.
    ///
    /// # Errors
    ///
    /// What the adapter's builder says.
    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError>;

    /// Builds a balancer over pools of this adapter, at least one, all clients or all servers.
    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn Balancer>;
}

/// What a client pool is built from.
pub struct ClientSetup {
    /// For the builder's `config`; `None`: it is not called.
    pub config: Option<ClientConfig>,
    /// For the builder's `tls`.
    pub tls: Option<ClientTls>,
    /// For the builder's `keep_alive`; `None`: it is not called.
    pub keep_alive: Option<Option<KeepAlive>>,
    /// For the builder's `connect` or `connect_with`.
    pub dial: Dial,
}

/// How a client reaches its peer.
pub enum Dial {
    /// The builder's `connect`, with this address.
    Address(String),
    /// The builder's `connect_with`, with a dialer that makes the streams here. It blocks, perhaps
    /// for seconds, so an async adapter calls it on a thread where that is allowed; when it panics,
    /// the adapter's own dialer must panic too. The streams are in blocking mode.
    With(Arc<dyn Fn() -> io::Result<TcpStream> + Send + Sync>),
}

/// What a server pool is built from.
pub struct ServerSetup {
    /// For the builder's `config`; `None`: it is not called.
    pub config: Option<ServerConfig>,
    /// For the builder's `tls`.
    pub tls: Option<ServerTls>,
    /// For the builder's `keep_alive`; `None`: it is not called.
    pub keep_alive: Option<Option<KeepAlive>>,
    /// For the builder's `bind` or `listen`.
    pub listen: Listen,
}

/// Where a server's peers come from.
pub enum Listen {
    /// The builder's `bind`, with this address.
    Address(String),
    /// The builder's `listen`, on this listener. It is in blocking mode.
    On(TcpListener),
}

/// A pool. Dropping the last handle drops the adapter's last clone.
pub trait Pool: Send + Sync + Any + fmt::Debug {
    /// Where a server listens; `None` for a client.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// Takes any connection.
    ///
    /// # Errors
    ///
    /// The pool's own.
    fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError>;

    /// Takes the connection with this id.
    ///
    /// # Errors
    ///
    /// The pool's own.
    fn acquire_by_id(&self, id: ConnId, timeout: Duration)
    -> Result<Box<dyn Stream>, AcquireError>;

    /// An acquire, by id if one is given, with a long timeout, whose caller goes away after this
    /// time. Async: the future is polled, and then dropped (after zero: polled once). Blocking: a
    /// call with this timeout. Returns what was taken until then.
    fn acquire_then_cancel(&self, id: Option<ConnId>, after: Duration) -> Option<Box<dyn Stream>>;

    /// Waits for stock.
    ///
    /// # Errors
    ///
    /// The pool's own.
    fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError>;

    /// Puts a stream back, which is of the same adapter, if not of the same pool.
    ///
    /// # Errors
    ///
    /// The pool's own.
    fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError>;

    /// What the pool does without waiting.
    fn handle(&self) -> &(dyn Handle + 'static);

    /// Waits up to `timeout` until the pool is closed and all that runs for it has ended; returns
    /// whether that was so.
    fn closed(&self, timeout: Duration) -> bool;

    /// A clone of the adapter's pool.
    fn clone_handle(&self) -> Arc<dyn Pool>;
}

/// [`shared::Handle`], to which an adapter's pool dereferences, whatever its type.
pub trait Handle {
    /// [`shared::Handle::clean`].
    fn clean(&self) -> u32;

    /// [`shared::Handle::flush`].
    fn flush(&self) -> u32;

    /// [`shared::Handle::close`].
    fn close(&self);

    /// [`shared::Handle::is_closed`].
    fn is_closed(&self) -> bool;

    /// [`shared::Handle::is_ready`].
    fn is_ready(&self) -> bool;

    /// [`shared::Handle::idle`].
    fn idle(&self) -> u32;

    /// [`shared::Handle::capacity`].
    fn capacity(&self) -> u32;

    /// [`shared::Handle::interval`].
    fn interval(&self) -> Duration;

    /// [`shared::Handle::stats`].
    fn stats(&self) -> Stats;

    /// [`shared::Handle::last_failure`].
    fn last_failure(&self) -> Option<Arc<str>>;

    /// [`shared::Handle::add_error`].
    fn add_error(&self);

    /// [`shared::Handle::error_count`].
    fn error_count(&self) -> u64;

    /// [`shared::Handle::reset_error`].
    fn reset_error(&self);
}

impl<C: shared::Connection, R: Role> Handle for shared::Handle<C, R> {
    fn clean(&self) -> u32 {
        self.clean()
    }

    fn flush(&self) -> u32 {
        self.flush()
    }

    fn close(&self) {
        self.close();
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
}

impl Deref for dyn Pool {
    type Target = dyn Handle;

    fn deref(&self) -> &Self::Target {
        self.handle()
    }
}

/// Several pools as one.
pub trait Balancer: Send + Sync {
    /// Takes a connection of any of them; returns it and the number of its pool, counted from zero.
    ///
    /// # Errors
    ///
    /// The balancer's own.
    fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError>;
}

/// A connection in the user's hands. Dropped, it drops the adapter's stream.
pub trait Stream: Read + Write + Send + Any + fmt::Debug {
    /// Its id.
    fn id(&self) -> ConnId;

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// What TLS has agreed on.
    fn tls(&self) -> Option<TlsFacts>;

    /// Closes the writing half: after TLS's goodbye, where there is TLS.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// From now on a read, write or flush of this stream, or of its halves, that has not ended after
    /// this time fails with [`TimedOut`](io::ErrorKind::TimedOut) or
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). A new stream has no such limit.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()>;

    /// Two halves for two threads: what blocks one does not block the other.
    fn split(self: Box<Self>) -> Halves;
}

/// The reading and the writing half of a stream.
pub type Halves = (Box<dyn Read + Send>, Box<dyn Write + Send>);
