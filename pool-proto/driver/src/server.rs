//! The pool that accepts.

use core::future::{Future, pending, ready};
use core::net::SocketAddr;
use std::borrow::ToOwned;
use std::sync::Arc;

use futures_lite::future::yield_now;

use crate::driver::{PoolCrew, PoolTicket, Supply, handshake};
use crate::keep_alive::KeepAlive;
use crate::shared::Clock;
use crate::transport::{AcceptFailure, AcceptPacer, Acceptor, BuildError};
use crate::{Awaited, MonotonicClock, Pool, PoolBuilder, Runtime};
use pool_proto::Instant;
use pool_proto::ServerConfig;
use pool_proto::Token;
use pool_proto::{Accepting, Server};

impl<N: Runtime, C> Pool<N, Accepting, C> {
    /// Where it listens: after binding port 0, with the port that the system chose. `None` only if
    /// the listener could not tell.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listening_on()
    }
}

impl<N: Runtime> PoolBuilder<N, Accepting, Awaited> {
    /// Binds `address` ("host:port") and builds a pool on it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be had, [`BuildError::NoRuntime`] where there is
    /// nothing to run on.
    pub async fn bind(self, address: &str) -> Result<Pool<N, Accepting>, BuildError> {
        self.accept_on(address).await
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes. The listener must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoRuntime`] where there is nothing to run on.
    pub fn listen(self, listener: N::Listener) -> Result<Pool<N, Accepting>, BuildError> {
        self.accept_at(listener)
    }
}

impl<N: Runtime, C> PoolBuilder<N, Accepting, C> {
    pub(super) async fn accept_on(
        mut self,
        address: &str,
    ) -> Result<Pool<N, Accepting, C>, BuildError> {
        let handle = self.handle.map_or_else(N::current, Ok)?;
        let listener = N::bind(&handle, address).await;
        self.handle = Some(handle);
        self.accept_at(
            listener.map_err(|source| BuildError::Bind { address: address.to_owned(), source })?,
        )
    }

    pub(super) fn accept_at(
        self,
        listener: N::Listener,
    ) -> Result<Pool<N, Accepting, C>, BuildError> {
        let config = self.config.map_or_else(|| ServerConfig::builder().build(), Ok)?;
        let config = config.or_seed(fastrand::u64(..));
        let local_addr = N::local_addr(&listener).ok();
        let supply = Listener::<N> {
            listener: Some(listener),
            side: Acceptor::new(self.tls, config.id_format()),
            keep_alive: self.keep_alive,
            pacer: AcceptPacer::new(fastrand::u64(..)),
            clock: MonotonicClock::start(),
            resume_at: None,
        };
        Pool::start(self.handle, 0, |now| Server::new(&config, now), supply, local_addr)
    }
}

struct Listener<N: Runtime> {
    /// `None` once it has failed for good.
    listener: Option<N::Listener>,
    side: Acceptor,
    keep_alive: Option<KeepAlive>,
    pacer: AcceptPacer,
    clock: MonotonicClock,
    /// No accept before this.
    resume_at: Option<Instant>,
}

impl<N: Runtime> Supply<N, Accepting> for Listener<N> {
    fn dial(
        &self,
        _runtime: &N,
        attempt: PoolTicket<N, Accepting>,
        _crew: Arc<PoolCrew<N, Accepting>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // A server's machine orders no dials; a dropped ticket would report a failure.
        drop(attempt);
        ready(())
    }

    async fn accept(
        &mut self,
        runtime: &N,
        crew: &Arc<PoolCrew<N, Accepting>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        loop {
            let (dialled, peer) = self.next_peer(runtime, crew).await;
            let Some((attempt, id)) = crew.admit(peer) else {
                // While peers are waiting to be turned away, nothing else here would make a pause.
                drop(dialled);
                yield_now().await;
                continue;
            };
            let (token, crew) = (attempt.token(), Arc::clone(crew));
            let (begun, keep_alive) = (self.side.begin(id), self.keep_alive);
            let task = async move {
                let outcome = handshake::<N>(dialled, keep_alive, || begun).await;
                crew.report(attempt, outcome);
            };
            return (token, task);
        }
    }
}

impl<N: Runtime> Listener<N> {
    async fn next_peer(
        &mut self,
        runtime: &N,
        crew: &PoolCrew<N, Accepting>,
    ) -> (N::Dialled, SocketAddr) {
        loop {
            if let Some(resume_at) = self.resume_at {
                runtime.sleep(resume_at.since(self.clock.now())).await;
                self.resume_at = None;
            }
            let Some(listener) = &self.listener else { return pending().await };
            let error = match runtime.accept(listener).await {
                Ok(peer) => {
                    self.pacer.accepted();
                    return peer;
                }
                Err(error) => error,
            };
            match crew.accept_failed(&mut self.pacer, &error) {
                AcceptFailure::OfOnePeer => yield_now().await,
                AcceptFailure::OfTheListener => self.listener = None,
                AcceptFailure::Pause(pause) => self.resume_at = Some(self.clock.now() + pause),
            }
        }
    }
}
