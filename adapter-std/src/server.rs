//! The pool that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use mio::Interest;
use mio::unix::SourceFd;
use pool_proto::tls::ServerTls;
use pool_proto::transport::{AcceptFailure, AcceptPacer, BuildError, ServerSide};
use pool_proto::{Accepting, Instant, KeepAlive, Server, ServerConfig, Token};

use crate::driver::{BURST, Newcomer, PoolCrew, PoolTicket, Supply};
use crate::pool::{Pool, start_error};
use crate::reactor::{LISTENER, Reactor};
use crate::socket::bind;

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
    /// [`BuildError::Bind`] when the address cannot be had, [`BuildError::Start`] when the system has
    /// no thread or descriptor left.
    pub fn bind(self, address: &str) -> Result<ServerPool, BuildError> {
        let listener = bind(address);
        self.listen(
            listener.map_err(|source| BuildError::Bind { address: address.to_owned(), source })?,
        )
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn listen(self, listener: TcpListener) -> Result<ServerPool, BuildError> {
        let config = match self.config {
            Some(config) => config,
            None => ServerConfig::builder().build()?,
        };
        let config = config.or_seed(fastrand::u64(..));
        let local_addr = listener.local_addr().ok();
        let (poll, reactor) = Reactor::new().map_err(start_error)?;
        let registered = listener.set_nonblocking(true).and_then(|()| {
            let mut source = SourceFd(&listener.as_raw_fd());
            reactor.registry().register(&mut source, LISTENER, Interest::READABLE)
        });
        registered.map_err(start_error)?;
        let supply = Listener {
            listener: Some(listener),
            side: ServerSide::new(self.tls, config.id_format()),
            pacer: AcceptPacer::new(fastrand::u64(..)),
            resume_at: None,
        };
        let machine = |now: Instant| Server::new(&config, now);
        Pool::start("pool-server", machine, supply, poll, reactor, self.keep_alive, local_addr)
    }
}

struct Listener {
    /// `None` once it has failed for good.
    listener: Option<TcpListener>,
    side: ServerSide,
    pacer: AcceptPacer,
    /// No accept before this.
    resume_at: Option<Instant>,
}

impl Supply<Accepting> for Listener {
    fn dial(&mut self, ticket: PoolTicket<Accepting>, _crew: &PoolCrew<Accepting>) {
        // A server's machine orders no dials; a dropped ticket would report a failure.
        drop(ticket);
    }

    fn abort(&mut self, _token: Token) {}

    fn next(&mut self, crew: &PoolCrew<Accepting>, now: Instant) -> Option<Newcomer<Accepting>> {
        if self.resume_at.is_some_and(|resume_at| now < resume_at) {
            return None;
        }
        self.resume_at = None;
        for _ in 0..BURST {
            let error = match self.listener.as_ref()?.accept() {
                Ok((tcp, peer)) => {
                    self.pacer.accepted();
                    let Some((ticket, id)) = crew.admit(peer) else { continue };
                    let handshake = self.side.begin(id);
                    return Some(Newcomer { ticket, tcp, handshake });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => error,
            };
            match crew.accept_failed(&mut self.pacer, &error) {
                AcceptFailure::OfOnePeer => {}
                AcceptFailure::OfTheListener => self.listener = None,
                AcceptFailure::Pause(pause) => {
                    self.resume_at = Some(now + pause);
                    return None;
                }
            }
        }
        // Peers that are turned away come as fast as they like: the driver sees to the rest first.
        self.resume_at = Some(now);
        None
    }

    fn due(&self) -> Option<Instant> {
        self.resume_at
    }
}
