//! A dial or handshake under way.

use core::fmt;
use std::sync::Arc;

use super::{Connection, SharedMachine};
use pool_proto::ConnId;
use pool_proto::Role;
use pool_proto::{CheckResult, Event, HandshakeFailure, Token};

/// The duty to report how a dial and its handshake, or an admitted peer's handshake, go. Dropped
/// before the end (the task was aborted, or the user's dialer panicked), it reports a failure.
#[must_use]
pub struct Attempt<C: Connection, R: Role> {
    shared: Arc<SharedMachine<C, R>>,
    token: Token,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialing,
    Handshaking,
    TaskEnded,
}

impl<C: Connection, R: Role> Attempt<C, R> {
    /// For an [`Command::Dial`](super::Command::Dial).
    pub fn dial(shared: &Arc<SharedMachine<C, R>>, token: Token) -> Self {
        Self { shared: Arc::clone(shared), token, stage: Stage::Dialing }
    }

    /// For an [`Admission`](pool_proto::Admission).
    pub fn handshake(shared: &Arc<SharedMachine<C, R>>, token: Token) -> Self {
        Self { shared: Arc::clone(shared), token, stage: Stage::Handshaking }
    }

    /// Names the connection.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The transport is connected.
    pub fn dialed(&mut self) {
        if self.stage == Stage::Dialing {
            self.stage = Stage::Handshaking;
            self.shared.event(Event::Dialed { token: self.token });
        }
    }

    /// The connection is ready. It is looked at once, so that it is being watched from now on, and
    /// so that one which the peer has closed or begun to use already is known as such.
    pub fn established(mut self, mut connection: C, id: Option<ConnId>) {
        let result = connection.check();
        if result == CheckResult::Closed {
            let error = "the peer closed the connection as soon as it was established";
            return self.failed(HandshakeFailure::Transport, &error);
        }
        self.stage = Stage::TaskEnded;
        let token = self.token;
        self.shared.event(Event::Established { token, connection, id });
        if result == CheckResult::Data {
            self.shared.event(Event::Readable { token });
        }
    }

    /// It came to nothing; `failure` counts if the transport was connected.
    pub fn failed(mut self, failure: HandshakeFailure, error: &dyn fmt::Display) {
        self.shared.note_failure(error);
        self.report(failure);
    }

    fn report(&mut self, failure: HandshakeFailure) {
        let token = self.token;
        match core::mem::replace(&mut self.stage, Stage::TaskEnded) {
            Stage::Dialing => self.shared.event(Event::DialFailed { token }),
            Stage::Handshaking => self.shared.event(Event::HandshakeFailed { token, failure }),
            Stage::TaskEnded => {}
        }
    }
}

impl<C: Connection, R: Role> Drop for Attempt<C, R> {
    fn drop(&mut self) {
        self.report(HandshakeFailure::Transport);
    }
}
