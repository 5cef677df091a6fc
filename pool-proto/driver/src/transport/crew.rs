//! What the driver of a pool and its tasks do alike on every runtime.

use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Weak};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::{AcceptFailure, AcceptPacer, Connection, Failure, Link, Pooled, Shaken, Socket};
use crate::shell::{Order, Shell, Ticket, Watch};
use pool_proto::Accepting;
use pool_proto::ByToken;
use pool_proto::ConnId;
use pool_proto::Role;
use pool_proto::{CloseReason, Event, Token};

/// What the driver and the dials and handshakes of one pool share.
pub struct Crew<S: Socket, R: Role> {
    shell: Arc<Shell<Pooled<S>, R>>,
    /// By which a lease is ended when only its token is known.
    links: Mutex<ByToken<Weak<Link<S>>>>,
}

/// What an [`Order`] leaves to the driver's tasks or threads.
#[must_use]
pub enum Task<S: Socket, R: Role> {
    /// Connect to the peer and shake hands.
    Begin(Ticket<Pooled<S>, R>),
    /// End the dial or the handshake of this token, if there is one.
    End(Token),
}

impl<S: Socket, R: Role + Send + 'static> Crew<S, R> {
    /// Around the shell of a pool.
    pub fn new(shell: Arc<Shell<Pooled<S>, R>>) -> Arc<Self> {
        Arc::new(Self { shell, links: Mutex::default() })
    }

    /// The pool's shell.
    pub const fn shell(&self) -> &Arc<Shell<Pooled<S>, R>> {
        &self.shell
    }

    fn links(&self) -> MutexGuard<'_, ByToken<Weak<Link<S>>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports how a dial and its handshake went.
    pub fn report(
        &self,
        ticket: Ticket<Pooled<S>, R>,
        outcome: Result<(Arc<Link<S>>, Shaken), Failure>,
    ) {
        let token = ticket.token();
        match outcome {
            Ok((link, Shaken { session, id, surplus })) => {
                let former = self.links().insert(token, Arc::downgrade(&link));
                if let Some(former) = former.and_then(|former| former.upgrade()) {
                    // Only a flush ends what is alive; the order to end it would not find it now.
                    former.revoke(CloseReason::Flushed);
                }
                let watch = Watch::new(&self.shell, token);
                let claims = self.shell.run(|machine, _| machine.peer_claims());
                ticket.established(Connection::new(session, link, surplus, watch, claims), id);
            }
            Err(failure) => {
                tracing::debug!(?token, %failure, "dial or handshake failed");
                ticket.failed(failure.kind(), &failure);
            }
        }
    }

    /// Carries an order out, but for what needs a task.
    pub fn carry_out(&self, order: Order<Pooled<S>>) -> Option<Task<S, R>> {
        match order {
            Order::Dial { token } => Some(Task::Begin(Ticket::dial(&self.shell, token))),
            Order::Close { connection, reason } => {
                let peer = connection.link().socket().peer_addr();
                tracing::debug!(%peer, %reason, "connection closed");
                connection.close();
                None
            }
            Order::Abort { token, reason } => {
                tracing::debug!(?token, %reason, "connection ended");
                if matches!(reason, CloseReason::DialTimeout | CloseReason::HandshakeTimeout) {
                    let text = format_args!("a connection was given up: {reason}");
                    self.shell.note_failure(&text);
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
        self.shell.run(|machine, now| machine.close(now));
        self.shell.end();
        let mut orders = Vec::new();
        self.shell.turn(&mut orders);
        for order in orders {
            // The machine has ended all dials and handshakes: their tasks go with the driver.
            drop(self.carry_out(order));
        }
    }
}

impl<S: Socket> Crew<S, Accepting> {
    /// Whether a peer may come in: then its id, and the duty to report how its handshake goes.
    pub fn admit(&self, peer: SocketAddr) -> Option<(Ticket<Pooled<S>, Accepting>, ConnId)> {
        match self.shell.admit(peer.ip()) {
            Ok(admission) => Some((Ticket::handshake(&self.shell, admission.token), admission.id)),
            Err(rejected) => {
                tracing::debug!(%peer, %rejected, "peer turned away");
                let text = format_args!("{peer} was turned away: {rejected}");
                self.shell.note_failure(&text);
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
                self.shell.note_failure(&format_args!("the listener has failed: {error}"));
                self.shell.event(Event::AcceptEnded);
            }
            AcceptFailure::Pause(pause) => {
                tracing::warn!(%error, ?pause, "accept failed; trying again after a pause");
                self.shell.note_failure(&format_args!("accept failed: {error}"));
            }
        }
        failure
    }
}
