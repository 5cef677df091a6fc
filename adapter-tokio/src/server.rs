//! The pool that accepts.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use pool_proto::tls::ServerTls;
use pool_proto::transport::{AcceptFailure, AcceptPacer, Failure, ServerSide};
use pool_proto::{Accepting, KeepAlive, Server, ServerConfig, Token};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::client::shake;
use crate::driver::{PoolCrew, PoolTicket, Supply};
use crate::pool::{BuildError, Pool, runtime};
use crate::socket::{Socket, bind};

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
            side: ServerSide::new(self.tls, config.id_format()),
            keep_alive: self.keep_alive,
            pacer: AcceptPacer::new(fastrand::u64(..)),
            resume_at: None,
        };
        Ok(Pool::start(&runtime, |now| Server::new(&config, now), supply, local_addr))
    }
}

struct Listener {
    /// `None` once it has failed for good.
    listener: Option<TcpListener>,
    side: ServerSide,
    keep_alive: Option<KeepAlive>,
    pacer: AcceptPacer,
    /// No accept before this.
    resume_at: Option<Instant>,
}

impl Supply<Accepting> for Listener {
    fn dial(
        &self,
        ticket: PoolTicket<Accepting>,
        _crew: Arc<PoolCrew<Accepting>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // A server's machine orders no dials; a dropped ticket would report a failure.
        drop(ticket);
        ready(())
    }

    async fn accept(
        &mut self,
        crew: &Arc<PoolCrew<Accepting>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        loop {
            let (tcp, peer) = self.next_peer(crew).await;
            let Some((ticket, id)) = crew.admit(peer) else { continue };
            let (token, crew) = (ticket.token(), Arc::clone(crew));
            let handshake = self.side.begin(id);
            let keep_alive = self.keep_alive;
            let task = async move {
                let outcome = async {
                    let link = Socket::link(tcp, keep_alive).map_err(Failure::Options)?;
                    shake(link, handshake?).await
                };
                let outcome = outcome.await;
                crew.report(ticket, outcome);
            };
            return (token, task);
        }
    }
}

impl Listener {
    async fn next_peer(&mut self, crew: &PoolCrew<Accepting>) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(resume_at) = self.resume_at {
                tokio::time::sleep_until(resume_at).await;
                self.resume_at = None;
            }
            let Some(listener) = &self.listener else {
                return std::future::pending().await;
            };
            let error = match listener.accept().await {
                Ok(peer) => {
                    self.pacer.accepted();
                    return peer;
                }
                Err(error) => error,
            };
            match crew.accept_failed(&mut self.pacer, &error) {
                AcceptFailure::OfOnePeer => {}
                AcceptFailure::OfTheListener => self.listener = None,
                AcceptFailure::Pause(pause) => self.resume_at = Some(Instant::now() + pause),
            }
        }
    }
}
