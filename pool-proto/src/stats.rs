//! What the pool can tell about itself.

use core::time::Duration;

use crate::event::CloseReason;

/// A snapshot of a pool: how many connections are in which state now, and what has happened since
/// it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections being dialled (client).
    pub dialing: u32,
    /// Connections in TLS or id exchange.
    pub handshaking: u32,
    /// Ready connections in the pool.
    pub idle: u32,
    /// Connections that the peer has begun to use and that nobody here has asked for yet: they
    /// are kept for an acquire by id.
    pub claimed: u32,
    /// Connections in use.
    pub leased: u32,
    /// Connections on their way back into the pool (waiting for the reuse delay, or being drained),
    /// or being looked at because something arrived.
    pub returning: u32,
    /// Callers in the queue: for any connection, by id, and for stock.
    pub waiters: u32,
    /// Ready connections aimed at now (server: the most that may be ready).
    pub capacity: u32,
    /// Time between two rounds of the tuner now (server: zero).
    pub interval: Duration,
    /// Failures in a row that the next dial is waiting for (client).
    pub failures_in_a_row: u32,
    /// Totals since the pool was built.
    pub totals: Totals,
}

/// Counters since the pool was built. They wrap at 2⁶⁴.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Dials begun.
    pub dials: u64,
    /// Dials that failed.
    pub dial_failures: u64,
    /// Dials that were not connected in time.
    pub dial_timeouts: u64,
    /// Peers admitted to the handshake (server).
    pub admitted: u64,
    /// Connections that became ready.
    pub established: u64,
    /// Handshakes that failed in TLS.
    pub tls_failures: u64,
    /// Handshakes that failed in the id exchange: short, wrong, missing.
    pub id_failures: u64,
    /// Handshakes that failed in the transport below.
    pub transport_failures: u64,
    /// Handshakes (with their id exchange) that were not over in time.
    pub handshake_timeouts: u64,
    /// Connections closed because the peer gave them the id of a live one.
    pub duplicate_ids: u64,
    /// Peers turned away because of their address.
    pub rejected_address: u64,
    /// Peers turned away because their source held enough.
    pub rejected_source: u64,
    /// Peers turned away because the pool was full.
    pub rejected_full: u64,
    /// Peers turned away because too many handshakes were under way.
    pub rejected_handshakes: u64,
    /// Connections that made room for a source with fewer.
    pub evicted: u64,
    /// Leases handed out.
    pub leases: u64,
    /// Of these, connections that had been leased before.
    pub reused: u64,
    /// Acquires that were served at once.
    pub served_at_once: u64,
    /// Acquires that were served after waiting.
    pub served_after_waiting: u64,
    /// Acquires that were refused, at once or while waiting.
    pub refused: u64,
    /// Waiters that gave up.
    pub cancelled: u64,
    /// Connections put back.
    pub put: u64,
    /// Connections put back that this pool had not leased (any more).
    pub put_unknown: u64,
    /// Connections closed because the pool was full when they were put back.
    pub overflowed: u64,
    /// Connections closed because too much was left unread when they were put back.
    pub leftover: u64,
    /// Connections whose draining or check did not come back in time.
    pub drain_timeouts: u64,
    /// Leased connections that their holders closed.
    pub released: u64,
    /// Connections that the peer closed while they were in the pool, or that were found dead at the
    /// moment of handing them out.
    pub peer_closed: u64,
    /// Connections closed by the idle timeout.
    pub idle_timeouts: u64,
    /// Connections closed at the end of their lifetime.
    pub expired: u64,
    /// Connections that the peer had begun to use and nobody here asked for in time.
    pub unclaimed: u64,
    /// Connections closed by `clean`.
    pub cleaned: u64,
    /// Connections, dials and handshakes ended by `flush` or `close`.
    pub flushed: u64,
    /// Events that came for a connection that had ended, or did not fit its state.
    pub stale_events: u64,
}

impl Totals {
    /// Counts the end of a connection.
    pub(crate) const fn count(&mut self, reason: CloseReason) {
        let counter = match reason {
            CloseReason::DialFailed => &mut self.dial_failures,
            CloseReason::DialTimeout => &mut self.dial_timeouts,
            CloseReason::HandshakeTimeout => &mut self.handshake_timeouts,
            CloseReason::DuplicateId => &mut self.duplicate_ids,
            CloseReason::MissingId => &mut self.id_failures,
            CloseReason::PeerClosed => &mut self.peer_closed,
            CloseReason::IdleTimeout => &mut self.idle_timeouts,
            CloseReason::Expired => &mut self.expired,
            CloseReason::Unclaimed => &mut self.unclaimed,
            CloseReason::Overflow => &mut self.overflowed,
            CloseReason::Leftover => &mut self.leftover,
            CloseReason::DrainTimeout => &mut self.drain_timeouts,
            CloseReason::Evicted => &mut self.evicted,
            CloseReason::Cleaned => &mut self.cleaned,
            CloseReason::Flushed | CloseReason::PoolClosed => &mut self.flushed,
            CloseReason::Released => &mut self.released,
            // Counted by what failed, and as a stale event.
            CloseReason::HandshakeFailed | CloseReason::Stale => return,
        };
        *counter = counter.wrapping_add(1);
    }
}
