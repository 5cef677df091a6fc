//! A dial or handshake under way.

use core::fmt;
use std::sync::Arc;

use pool_proto::{Accepting, CheckResult, ConnId, Event, HandshakeFailure, Rejected, Role, Token};

use super::{PoolConnection, SharedMachine};

/// The duty to report the outcome of a dial and its handshake, or of an accepted peer's handshake.
/// Dropped before the end (its task was aborted, or the user's dialer panicked), it reports a
/// failure.
#[must_use]
pub struct Attempt<C: PoolConnection, R: Role> {
    shared: Arc<SharedMachine<C, R>>,
    token: Token,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialing,
    Handshaking,
    Over,
}

impl<C: PoolConnection, R: Role> Attempt<C, R> {
    /// The attempt of a [`Command::Dial`](super::Command::Dial).
    pub fn dial(shared: &Arc<SharedMachine<C, R>>, token: Token) -> Self {
        Self { shared: Arc::clone(shared), token, stage: Stage::Dialing }
    }

    /// The attempt of an [accepted](pool_proto::Server::accept) peer.
    pub fn handshake(shared: &Arc<SharedMachine<C, R>>, token: Token) -> Self {
        Self { shared: Arc::clone(shared), token, stage: Stage::Handshaking }
    }

    /// Returns the name of the connection.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// Returns the machine that the attempt is reported to.
    pub const fn shared(&self) -> &Arc<SharedMachine<C, R>> {
        &self.shared
    }

    /// Reports that the transport is connected.
    pub fn dialed(&mut self) {
        if self.stage == Stage::Dialing {
            self.stage = Stage::Handshaking;
            self.shared.event(Event::Dialed { token: self.token });
        }
    }

    /// Reports that the connection is ready. Checks it once: this arms its readiness waker, and
    /// notices a peer that has already closed the connection or begun to use it.
    pub fn established(mut self, mut connection: C, id: Option<ConnId>) {
        let result = connection.check();
        if result == CheckResult::Closed {
            if let Some(rejection) = connection.late_rejection() {
                return self.failed(HandshakeFailure::Tls, &rejection);
            }
            let error = "the peer closed the connection as soon as it was established";
            return self.failed(HandshakeFailure::Transport, &error);
        }
        self.stage = Stage::Over;
        let token = self.token;
        self.shared.event(Event::Established { token, connection, id });
        if matches!(result, CheckResult::Data | CheckResult::Finished) {
            self.shared.event(Event::Readable { token });
        }
    }

    /// Reports a failure. The machine counts `failure` if the transport was connected.
    pub fn failed(mut self, failure: HandshakeFailure, error: &dyn fmt::Display) {
        self.shared.note_failure(error);
        self.report(failure);
    }

    fn report(&mut self, failure: HandshakeFailure) {
        let token = self.token;
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Dialing => self.shared.event(Event::DialFailed { token }),
            Stage::Handshaking => self.shared.event(Event::HandshakeFailed { token, failure }),
            Stage::Over => {}
        }
    }
}

impl<C: PoolConnection> Attempt<C, Accepting> {
    /// Reports that the first byte of the peer has arrived.
    pub fn first_byte(&self) {
        self.shared.event(Event::FirstByte { token: self.token });
    }

    /// Asks for a place in the stock, and for an id to send, when the handshake of the peer is over.
    ///
    /// # Errors
    ///
    /// As [`admit`](pool_proto::Server::admit). The attempt is over then.
    pub fn admit(&mut self, certificate: Option<[u8; 32]>) -> Result<ConnId, Rejected> {
        let token = self.token;
        let admitted = self.shared.run(|machine, now| machine.admit(now, token, certificate));
        if admitted.is_err() {
            self.stage = Stage::Over;
        }
        admitted
    }
}

impl<C: PoolConnection, R: Role> Drop for Attempt<C, R> {
    fn drop(&mut self) {
        self.report(HandshakeFailure::Transport);
    }
}
