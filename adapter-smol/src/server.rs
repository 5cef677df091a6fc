//! The pool that accepts.

use std::future::{Future, ready};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use pool_proto::tls::ServerTls;
use pool_proto::transport::{AcceptFailure, AcceptPacer, Failure, ServerSide};
use pool_proto::{Accepting, KeepAlive, Server, ServerConfig, Token};
use smol::future::{Boxed, yield_now};
use smol::{Async, Timer};

use crate::client::shake;
use crate::driver::{PoolCrew, PoolTicket, Supply};
use crate::pool::{BuildError, Pool, Spawn};
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
    spawn: Spawn,
}

impl ServerPool {
    /// A builder: default configuration, no TLS, keep-alive every 15 s, smol's global executor.
    pub fn builder() -> ServerPoolBuilder {
        let keep_alive = Some(KeepAlive::default());
        ServerPoolBuilder { config: None, tls: None, keep_alive, spawn: Spawn::default() }
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

    /// Runs the pool on this executor, instead of smol's global one. `spawn` is called with a few
    /// futures when the pool is built, and has to see to it that each runs to its end. The pool
    /// does not keep it: when the executor is dropped, the pool closes.
    ///
    /// ```
    /// # use adapter_smol::ServerPool;
    /// # fn example(executor: std::sync::Arc<smol::Executor<'static>>) {
    /// let builder = ServerPool::builder().spawn_with(move |future| executor.spawn(future).detach());
    /// # drop(builder); }
    /// ```
    pub fn spawn_with(mut self, spawn: impl Fn(Boxed<()>) + Send + Sync + 'static) -> Self {
        self.spawn = Spawn::new(spawn);
        self
    }

    /// Binds `address` ("host:port") and builds a pool on it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be had.
    pub async fn bind(self, address: &str) -> Result<ServerPool, BuildError> {
        let listener = bind(address).await;
        self.listen(
            listener.map_err(|source| BuildError::Bind { address: address.to_owned(), source })?,
        )
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes. That is a [`smol::net::TcpListener`], or an [`Async`] of the standard
    /// library's, which must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] never happens with a configuration that could be built.
    pub fn listen(
        self,
        listener: impl Into<Arc<Async<TcpListener>>>,
    ) -> Result<ServerPool, BuildError> {
        let listener = listener.into();
        let config = match self.config {
            Some(config) => config,
            None => ServerConfig::builder().build()?,
        };
        let config = config.or_seed(fastrand::u64(..));
        let local_addr = listener.get_ref().local_addr().ok();
        let supply = Listener {
            listener: Some(listener),
            side: ServerSide::new(self.tls, config.id_format()),
            keep_alive: self.keep_alive,
            pacer: AcceptPacer::new(fastrand::u64(..)),
            pause: None,
        };
        Ok(Pool::start(&self.spawn, |now| Server::new(&config, now), supply, local_addr))
    }
}

struct Listener {
    /// `None` once it has failed for good.
    listener: Option<Arc<Async<TcpListener>>>,
    side: ServerSide,
    keep_alive: Option<KeepAlive>,
    pacer: AcceptPacer,
    /// No accept before this is over.
    pause: Option<Timer>,
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
            let Some((ticket, id)) = crew.admit(peer) else {
                // While peers are waiting to be turned away, nothing else here would make a pause.
                drop(tcp);
                yield_now().await;
                continue;
            };
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
    async fn next_peer(
        &mut self,
        crew: &PoolCrew<Accepting>,
    ) -> (Async<std::net::TcpStream>, SocketAddr) {
        loop {
            if let Some(pause) = &mut self.pause {
                pause.await;
                self.pause = None;
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
                AcceptFailure::OfOnePeer => yield_now().await,
                AcceptFailure::OfTheListener => self.listener = None,
                AcceptFailure::Pause(pause) => self.pause = Some(Timer::after(pause)),
            }
        }
    }
}
