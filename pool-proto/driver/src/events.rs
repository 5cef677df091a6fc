//! Everything that a pool tells by `tracing`: one function for each event. The page
//! `docs/observability.md` lists the same events, and a test compares the two.
//!
//! No other file emits events, so that the list is whole.

use core::fmt;
use std::sync::Arc;

use tracing::field::{DisplayValue, display};
use tracing::{Level, Span, Value};

/// The fields of a pool in each of its events.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// The name that the user gave, or the address.
    pub(crate) name: Arc<str>,
    /// `client` or `server`.
    pub(crate) role: &'static str,
    /// The address that a client dials, or on which a server listens.
    pub(crate) address: Arc<str>,
    pub(crate) tls: bool,
}

impl Label {
    /// Whether peers connect to the pool.
    pub(crate) fn is_server(&self) -> bool {
        self.role == SERVER
    }
}

impl Default for Label {
    /// For a machine that no pool has built.
    fn default() -> Self {
        Self { name: "".into(), role: CLIENT, address: "".into(), tls: false }
    }
}

/// The role of a pool that dials.
pub(crate) const CLIENT: &str = "client";
/// The role of a pool that accepts.
pub(crate) const SERVER: &str = "server";

/// Returns the field of a value that may be missing.
pub(crate) fn shown<T: fmt::Display>(value: Option<T>) -> Option<DisplayValue<T>> {
    value.map(display)
}

macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $event:ident: $level:ident $target:literal $message:literal ($($field:ident),*);
    )*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $event(label: &Label, $($field: impl Value),*) {
                tracing::event!(
                    target: $target,
                    Level::$level,
                    pool = &*label.name,
                    role = label.role,
                    $($field = $field,)*
                    $message
                );
            }
        )*

        /// Emits each event once, in this order.
        #[cfg(test)]
        fn emit_each(label: &Label) {
            $($event(label, $({ let _ = stringify!($field); 0u64 }),*);)*
        }
    };
}

events! {
    /// A pool begins to dial or to accept.
    built: INFO "pool" "pool built" (address, tls);
    /// Nothing new begins, and connections in use go on.
    shutting_down: INFO "pool" "graceful shutdown begun" (timeout);
    /// The driver has ended, and everything with it.
    ended: INFO "pool" "pool ended" (cause, established, leases);
    /// At the first second, and then each time that it has lasted twice as long.
    limited: WARN "pool" "callers have waited for a second because a limit is reached: raise it" (setting, seconds);
    tape_failed: WARN "pool" "the tape could not be written" (error, inputs);
    /// Dials or handshakes of a client begin to fail.
    failing: WARN "pool::peer" "peer failing" (peer, cause, failures, episodes);
    /// The first connection is established after that.
    recovered: INFO "pool::peer" "peer recovered" (peer, failures, lasted);
    /// Peers that were not let in.
    rejected: INFO "pool::peer" "peers rejected" (kind, count, total, last_peer, last_cause);
    /// Connections and handshakes that made room for others.
    evicted: INFO "pool::peer" "connections evicted" (kind, count, total, last_peer, last_cause);
    /// Handshakes of peers that came to nothing.
    handshakes_failed: INFO "pool::peer" "handshakes failed" (kind, count, total, last_peer, last_cause);
    listener_failed: ERROR "pool::peer" "the listener has failed; nobody can connect any more" (error);
    accept_failed: WARN "pool::peer" "accept failed; trying again after a pause" (error, pause);
    accept_failed_again: DEBUG "pool::peer" "accept failed again" (error, pause);
    accepting_again: INFO "pool::peer" "accepting again" (failures);
    acquires_timed_out: INFO "pool::acquire" "acquires timed out" (reason, count, total, last_failure);
    /// In the task or thread of the caller, within its spans.
    acquire_timed_out: DEBUG "pool::acquire" "acquire timed out" (why, last_failure);
    attempt_failed: DEBUG "pool::connection" "dial or handshake failed" (token, peer, cause);
    attempt_aborted: DEBUG "pool::connection" "dial or handshake aborted" (token, reason);
    peer_rejected: DEBUG "pool::connection" "peer rejected" (peer, cause);
    established: DEBUG "pool::connection" "connection established" (token, id, peer, certificate);
    rejected_late: DEBUG "pool::connection" "the peer rejected the handshake" (token, cause);
    no_opening_byte: DEBUG "pool::connection" "the peer began without the opening byte" (token, id, peer);
    closed: DEBUG "pool::connection" "connection closed" (token, id, peer, reason);
    released: DEBUG "pool::connection" "connection closed by its holder" (token);
    revoked: DEBUG "pool::connection" "lease revoked" (token, reason);
}

/// Returns the span of a dial with its handshake, or of the handshake of a peer.
pub(crate) fn attempt_span(label: &Label, token: impl Value) -> Span {
    let (pool, role) = (&*label.name, label.role);
    if label.is_server() {
        tracing::debug_span!(target: "pool::connection", "handshake", pool, role, token)
    } else {
        tracing::debug_span!(target: "pool::connection", "dial", pool, role, token)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]
pub(crate) mod tests;
