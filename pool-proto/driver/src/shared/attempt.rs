//! A dial or handshake under way.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use pool_proto::{
    Accepting, CheckResult, CloseReason, ConnId, Dialing, Event, HandshakeFailure, Instant,
    Rejected, Role, Token,
};

use super::{PoolConnection, SharedMachine};
use crate::sync::AtomicBool;

/// The peer of a dial or a handshake, for the texts of failures.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// A name, which is being dialled.
    Named(Arc<str>),
    /// A peer that has connected, and advice for the case that it says nothing.
    Connected(SocketAddr, &'static str, Option<Listening>),
}

/// How long a client has been waiting for the first word of its peer. (A server's machine knows it.)
#[derive(Clone, Debug)]
pub(super) struct Listening {
    since: Instant,
    /// Whether it has come.
    heard: Arc<AtomicBool>,
}

/// A peer that has sent nothing for this long after the transport was connected is named as a cause. A
/// peer with matching settings sends after one trip through the network; one second is the initial
/// retransmission timeout of TCP (RFC 6298, section 2), so its first segment may have been lost once.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

impl Peer {
    /// Returns the address of a peer that has connected.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Named(_) => None,
            Self::Connected(address, ..) => Some(*address),
        }
    }

    /// Returns the text for a peer that has connected and has been silent since.
    pub(super) fn silent(&self) -> Option<Arc<str>> {
        let Self::Connected(peer, advice, _) = self else { return None };
        let text = format!("{peer} has connected, but has sent nothing for {SILENCE:?}; {advice}");
        Some(text.into())
    }

    /// Returns when it has been silent for so long that it is named, if nothing has come until now.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let Self::Connected(.., Some(listening)) = self else { return None };
        (!listening.heard.load(Ordering::Relaxed)).then(|| listening.since + SILENCE)
    }
}

/// Returns the text for a connection that the machine has ended before it could be used.
pub(super) fn given_up(peer: Option<&Peer>, reason: CloseReason) -> Arc<str> {
    let text = match peer {
        None => format!("a connection was given up: {reason}"),
        Some(Peer::Named(name)) => format!("a connection to {name} was given up: {reason}"),
        Some(Peer::Connected(address, advice, _)) => {
            let advice = if matches!(reason, CloseReason::HandshakeTimeout | CloseReason::Silent) {
                *advice
            } else {
                ""
            };
            let separator = if advice.is_empty() { "" } else { "; " };
            format!("the connection with {address} was given up: {reason}{separator}{advice}")
        }
    };
    text.into()
}

/// The duty to report the outcome of a dial and its handshake, or of an accepted peer's handshake.
/// Dropped before the end (its task was aborted, or the user's dialer panicked), it reports a
/// failure.
#[must_use]
pub struct Attempt<C: PoolConnection, R: Role> {
    shared: Arc<SharedMachine<C, R>>,
    token: Token,
    stage: Stage,
    /// The peer, once it has connected.
    peer: Option<Peer>,
    /// The begin of the dial, or the time of the accept.
    begun: Instant,
    /// The id that a server has issued.
    id: Option<ConnId>,
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
        Self::begin(shared, token, Stage::Dialing)
    }

    /// The attempt of an [accepted](pool_proto::Server::accept) peer.
    pub fn handshake(shared: &Arc<SharedMachine<C, R>>, token: Token) -> Self {
        Self::begin(shared, token, Stage::Handshaking)
    }

    fn begin(shared: &Arc<SharedMachine<C, R>>, token: Token, stage: Stage) -> Self {
        let (shared, begun) = (Arc::clone(shared), shared.now());
        Self { shared, token, stage, peer: None, begun, id: None }
    }

    /// Returns the address of the peer, once it has connected.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.as_ref().and_then(Peer::address)
    }

    /// Returns the id that this end has issued, if any.
    pub(crate) const fn issued_id(&self) -> Option<ConnId> {
        self.id
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

    /// Tells the name that is being dialled, for the text of a failure.
    pub fn dials(&self, name: Arc<str>) {
        self.shared.note_peer(self.token, Peer::Named(name));
    }

    /// Tells the peer's address, and advice for the case that it says nothing during the handshake, for
    /// the text of a failure.
    pub fn connected_to(&mut self, peer: SocketAddr, advice: &'static str) {
        self.note_connected(Peer::Connected(peer, advice, None));
    }

    /// [`connected_to`](Self::connected_to) for a client, which waits for the first word of its peer: set the
    /// flag when it has come. A peer that is silent for a second is not a failure yet, but it may be the
    /// reason why callers wait; without advice, nothing is expected from it. A server needs no flag: its
    /// machine knows the silent peers.
    pub fn listens_to(&mut self, peer: SocketAddr, advice: &'static str) -> Arc<AtomicBool> {
        let heard = Arc::new(AtomicBool::new(advice.is_empty()));
        let listening = Listening { since: self.shared.now(), heard: Arc::clone(&heard) };
        self.note_connected(Peer::Connected(peer, advice, Some(listening)));
        heard
    }

    fn note_connected(&mut self, peer: Peer) {
        self.shared.note_peer(self.token, self.peer.insert(peer).clone());
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
        let is_closed = result == CheckResult::Closed;
        if is_closed && let Some(rejection) = connection.late_rejection() {
            // The text names the peer already.
            self.peer = None;
            return self.failed(HandshakeFailure::Tls, &rejection);
        }
        self.stage = Stage::Over;
        let token = self.token;
        if result != CheckResult::Quiet {
            // First: the connection must not count as ready for a moment.
            self.shared.event(Event::Readable { token });
        }
        let took = self.shared.now().since(self.begun);
        self.shared.lock().establishing.record(took);
        self.shared.event(Event::Established { token, connection, id });
        // While others are idle, this is the end of one connection, perhaps after its use by the other
        // end; it is not a reason why anybody waits.
        if is_closed && self.shared.run(|machine, _| machine.idle()) == 0 {
            self.note(&"the peer closed the connection as soon as it was established");
        }
    }

    /// Reports a failure. The machine counts `failure` if the transport was connected.
    pub fn failed(mut self, failure: HandshakeFailure, error: &dyn fmt::Display) {
        self.note(error);
        self.report(failure);
    }

    /// Keeps an error as the last failure, with the address of the peer.
    fn note(&self, error: &dyn fmt::Display) {
        match self.peer {
            Some(Peer::Connected(peer, ..)) => {
                self.shared.note_failure(&format_args!("{peer}: {error}"));
            }
            _ => self.shared.note_failure(error),
        }
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

impl<C: PoolConnection> Attempt<C, Dialing> {
    /// Returns the time that is left for the dial.
    #[must_use]
    pub fn left(&self) -> Duration {
        let timeout = self.shared.run(|machine, _| machine.dial_timeout());
        timeout.saturating_sub(self.shared.now().since(self.begun))
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
        match admitted {
            Ok(id) => self.id = Some(id),
            Err(_) => self.stage = Stage::Over,
        }
        admitted
    }
}

impl<C: PoolConnection, R: Role> Drop for Attempt<C, R> {
    fn drop(&mut self) {
        if self.stage != Stage::Over && thread::panicking() {
            self.note(&"a dial or a handshake panicked");
        }
        self.report(HandshakeFailure::Transport);
    }
}
