//! The pool that accepts.

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pool_proto::shell::Ticket;
use pool_proto::tls::ServerTls;
use pool_proto::{Accepting, Backoff, Event, IdFormat, KeepAlive, Server, ServerConfig, Token};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::connection::Pooled;
use crate::driver::{Job, Supply};
use crate::handshake::{Failure, accept};
use crate::pool::{BuildError, Pool, runtime};
use crate::socket::Link;

/// A pool that accepts peers and names their connections.
pub type ServerPool = Pool<Accepting>;

/// Builds a [`ServerPool`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerPoolBuilder {
    config: Option<ServerConfig>,
    tls: Option<ServerTls>,
    keep_alive: Option<KeepAlive>,
}

impl ServerPool {
    /// A builder: default configuration, no TLS, keep-alive every 15 s.
    pub fn builder() -> ServerPoolBuilder {
        ServerPoolBuilder { config: None, tls: None, keep_alive: Some(KeepAlive::default()) }
    }

    /// Where it listens: after binding port 0, with the port that the system chose. `None` only if
    /// the listener could not tell.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listening_on()
    }
}

impl ServerPoolBuilder {
    /// Capacity, limits, allow list, timeouts, ids: everything that is not I/O.
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    pub fn tls(mut self, tls: impl Into<Option<ServerTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Binds `address` ("host:port") and builds a pool on it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be had, [`BuildError::NoRuntime`] outside a
    /// tokio runtime.
    pub async fn bind(self, address: &str) -> Result<ServerPool, BuildError> {
        runtime()?;
        let listener = bind(address).await;
        self.listen(
            listener.map_err(|source| BuildError::Bind { address: address.to_owned(), source })?,
        )
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoRuntime`] outside a tokio runtime.
    pub fn listen(self, listener: TcpListener) -> Result<ServerPool, BuildError> {
        let runtime = runtime()?;
        let config = match self.config {
            Some(config) => config,
            None => ServerConfig::builder().build()?,
        };
        let config = config.or_seed(fastrand::u64(..));
        let local_addr = listener.local_addr().ok();
        let supply = Listener {
            listener: Some(listener),
            tls: self.tls.map(Arc::new),
            keep_alive: self.keep_alive,
            format: config.id_format(),
            backoff: Backoff::new(PAUSE, LONGEST_PAUSE, fastrand::u64(..)),
            resume_at: None,
        };
        Ok(Pool::start(&runtime, |now| Server::new(&config, now), supply, local_addr))
    }
}

/// Peers that may wait to be accepted. With tokio's 128, a few clients that fill their pools at the
/// same time overflow it, and each connection that is dropped costs its client a second.
const BACKLOG: u32 = 1024;

/// Binds the first address of `name` that can be had.
async fn bind(name: &str) -> io::Result<TcpListener> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut outcome = Err(nothing());
    for address in tokio::net::lookup_host(name).await? {
        outcome = listen_on(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that restarts must not wait for the old connections' TIME-WAIT. (On Windows the
    // option means something else: two listeners on one port.)
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Pauses after accept failed for want of descriptors or memory: without them it fails millions of
/// times a second. Short at first, because descriptors come back at any moment.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

struct Listener {
    /// `None` once it has failed for good.
    listener: Option<TcpListener>,
    tls: Option<Arc<ServerTls>>,
    keep_alive: Option<KeepAlive>,
    format: IdFormat,
    backoff: Backoff,
    /// No accept before this.
    resume_at: Option<Instant>,
}

impl Supply<Accepting> for Listener {
    fn dial(
        &self,
        ticket: Ticket<Pooled, Accepting>,
        _job: Job<Accepting>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // A server's machine orders no dials; a dropped ticket would report a failure.
        drop(ticket);
        ready(())
    }

    async fn accept(
        &mut self,
        job: &Job<Accepting>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        loop {
            let (tcp, peer) = self.next_peer(job).await;
            let admission = match job.shell.admit(peer.ip()) {
                Ok(admission) => admission,
                Err(rejected) => {
                    tracing::debug!(%peer, %rejected, "peer turned away");
                    job.shell.note_failure(&format_args!("{peer} was turned away: {rejected}"));
                    continue;
                }
            };
            let ticket = Ticket::handshake(&job.shell, admission.token);
            let (job, tls) = (job.clone(), self.tls.clone());
            let (keep_alive, format) = (self.keep_alive, self.format);
            let handshake = async move {
                let outcome = match Link::new(tcp, keep_alive) {
                    Ok(link) => accept(link, tls.as_deref(), format, admission.id).await,
                    Err(error) => Err(Failure::Options(error)),
                };
                job.report(ticket, outcome);
            };
            return (admission.token, handshake);
        }
    }
}

impl Listener {
    async fn next_peer(&mut self, job: &Job<Accepting>) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(resume_at) = self.resume_at {
                tokio::time::sleep_until(resume_at).await;
                self.resume_at = None;
            }
            let Some(listener) = &self.listener else {
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok(peer) => {
                    self.backoff.success();
                    return peer;
                }
                Err(error) if is_of_one_peer(&error) => {}
                Err(error) if is_of_the_listener(&error) => {
                    tracing::error!(%error, "the listener has failed; nobody can connect any more");
                    self.listener = None;
                    job.shell.note_failure(&format_args!("the listener has failed: {error}"));
                    job.shell.event(Event::AcceptEnded);
                }
                Err(error) => {
                    let pause = self.backoff.failure();
                    tracing::warn!(%error, ?pause, "accept failed; trying again after a pause");
                    job.shell.note_failure(&format_args!("accept failed: {error}"));
                    self.resume_at = Some(Instant::now() + pause);
                }
            }
        }
    }
}

/// The peer was gone before it was accepted; accept(2) lists more that Linux passes on.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// The descriptor does not listen (any more): EINVAL, or it is no socket at all: EBADF, ENOTSOCK.
fn is_of_the_listener(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
        || matches!(error.raw_os_error(), Some(9 | 88) if cfg!(target_os = "linux"))
}
