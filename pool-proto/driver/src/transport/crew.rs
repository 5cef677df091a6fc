//! What the driver of a pool and its tasks do alike on every runtime.

use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Weak};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::{AcceptFailure, AcceptPacer, Connection, Established, Failure, Link, Pooled, Socket};
use crate::shared::{Attempt, Command, ReadinessWaker, SharedMachine};
use pool_proto::Accepting;
use pool_proto::ConnId;
use pool_proto::Role;
use pool_proto::TokenMap;
use pool_proto::{CloseReason, Event, Token};

/// What the driver and the dials and handshakes of one pool share.
pub struct Crew<S: Socket, R: Role> {
    shared: Arc<SharedMachine<Pooled<S>, R>>,
    /// By which a lease is ended when only its token is known.
    links: Mutex<TokenMap<Weak<Link<S>>>>,
}

/// What an [`Command`] leaves to the driver's tasks or threads.
#[must_use]
pub enum Task<S: Socket, R: Role> {
    /// Connect to the peer and shake hands.
    Begin(Attempt<Pooled<S>, R>),
    /// End the dial or the handshake of this token, if there is one.
    End(Token),
}

impl<S: Socket, R: Role + Send + 'static> Crew<S, R> {
    /// Around the shell of a pool.
    pub fn new(shared: Arc<SharedMachine<Pooled<S>, R>>) -> Arc<Self> {
        Arc::new(Self { shared, links: Mutex::default() })
    }

    /// The pool's shell.
    pub const fn shared(&self) -> &Arc<SharedMachine<Pooled<S>, R>> {
        &self.shared
    }

    fn links(&self) -> MutexGuard<'_, TokenMap<Weak<Link<S>>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports how a dial and its handshake went.
    pub fn report(
        &self,
        attempt: Attempt<Pooled<S>, R>,
        outcome: Result<(Arc<Link<S>>, Established), Failure>,
    ) {
        let token = attempt.token();
        match outcome {
            Ok((link, Established { session, id, surplus })) => {
                let former = self.links().insert(token, Arc::downgrade(&link));
                if let Some(former) = former.and_then(|former| former.upgrade()) {
                    // Only a flush ends what is alive; the order to end it would not find it now.
                    former.revoke(CloseReason::Flushed);
                }
                let watch = ReadinessWaker::new(&self.shared, token);
                let claims = self.shared.run(|machine, _| machine.peer_claims());
                attempt.established(Connection::new(session, link, surplus, watch, claims), id);
            }
            Err(failure) => {
                tracing::debug!(?token, %failure, "dial or handshake failed");
                attempt.failed(failure.kind(), &failure);
            }
        }
    }

    /// Carries an order out, but for what needs a task.
    pub fn carry_out(&self, command: Command<Pooled<S>>) -> Option<Task<S, R>> {
        match command {
            Command::Dial { token } => Some(Task::Begin(Attempt::dial(&self.shared, token))),
            Command::Close { connection, reason } => {
                let peer = connection.link().socket().peer_addr();
                tracing::debug!(%peer, %reason, "connection closed");
                connection.close();
                None
            }
            Command::Abort { token, reason } => {
                tracing::debug!(?token, %reason, "connection ended");
                if matches!(reason, CloseReason::DialTimeout | CloseReason::HandshakeTimeout) {
                    let text = format_args!("a connection was given up: {reason}");
                    self.shared.note_failure(&text);
                }
                let link = self.links().remove(token);
                if let Some(link) = link.and_then(|link| link.upgrade()) {
                    link.revoke(reason);
                }
                Some(Task::End(token))
            }
        }
    }

    /// Closes the pool because its driver ends, however that happens.
    pub fn end(&self) {
        self.shared.run(|machine, now| machine.close(now));
        self.shared.end();
        let mut commands = Vec::new();
        self.shared.turn(&mut commands);
        for command in commands {
            // The machine has ended all dials and handshakes: their tasks go with the driver.
            drop(self.carry_out(command));
        }
    }
}

impl<S: Socket> Crew<S, Accepting> {
    /// Whether a peer may come in: then its id, and the duty to report how its handshake goes.
    pub fn admit(&self, peer: SocketAddr) -> Option<(Attempt<Pooled<S>, Accepting>, ConnId)> {
        match self.shared.admit(peer.ip()) {
            Ok(admission) => {
                Some((Attempt::handshake(&self.shared, admission.token), admission.id))
            }
            Err(rejected) => {
                tracing::debug!(%peer, %rejected, "peer turned away");
                let text = format_args!("{peer} was turned away: {rejected}");
                self.shared.note_failure(&text);
                None
            }
        }
    }

    /// What to do after a failed accept; tells the machine when nobody can come any more.
    pub fn accept_failed(&self, pacer: &mut AcceptPacer, error: &io::Error) -> AcceptFailure {
        let failure = pacer.failed(error);
        match failure {
            AcceptFailure::OfOnePeer => {}
            AcceptFailure::OfTheListener => {
                tracing::error!(%error, "the listener has failed; nobody can connect any more");
                self.shared.note_failure(&format_args!("the listener has failed: {error}"));
                self.shared.event(Event::AcceptEnded);
            }
            AcceptFailure::Pause(pause) => {
                tracing::warn!(%error, ?pause, "accept failed; trying again after a pause");
                self.shared.note_failure(&format_args!("accept failed: {error}"));
            }
        }
        failure
    }
}
