//! Statistics of a pool.

use core::time::Duration;

use crate::answer::WaitReason;
use crate::event::CloseReason;

/// A snapshot of a pool: the number of connections in each state, and totals since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections being dialled (client).
    pub dialing: u32,
    /// Connections in their handshakes, from the accept or the connected transport to the id.
    pub handshaking: u32,
    /// Ready connections in the pool, for either end.
    pub idle: u32,
    /// The part of [`idle`](Self::idle) that is the peer's to acquire: see [`Acquirer`](crate::Acquirer).
    pub reserved: u32,
    /// Connections that the peer has begun to use. They are kept for an acquire by id.
    pub claimed: u32,
    /// Connections that the peer has closed in the pool, or that have failed there. Where ids are
    /// exchanged, they are kept for an acquire by id until the claim timeout, and count against no limit.
    pub finished: u32,
    /// Connections in use, or granted to a waiter that has not collected them.
    pub leased: u32,
    /// Connections that wait for the reuse delay, are being drained, or are being inspected because
    /// data or EOF has arrived.
    pub returning: u32,
    /// Waiters: for any connection, for an id, for a connection that the peer has begun to use, and for
    /// stock.
    pub waiters: u32,
    /// The part of the [`waiters`](Self::waiters) that [accept](crate::Machine::acquire_claimed): they wait
    /// for the peer to begin to use a connection, even where no connection is missing.
    pub accept_waiters: u32,
    /// Callers that wait at the peer, estimated from its ids (client): see [`ConnId`](crate::ConnId).
    pub peer_waiters: u32,
    /// The number of ready connections aimed at (server: the most that may be ready).
    pub capacity: u32,
    /// The time from the end of one round to the begin of the next under
    /// [`Tuning::NodePass`](crate::Tuning::NodePass); otherwise zero.
    pub interval: Duration,
    /// The time in which a connection is replaced, as [`Tuning::Demand`](crate::Tuning::Demand) reckons
    /// with it (client); `None` where nothing depends on it.
    pub lead_time: Option<Duration>,
    /// Failures in a row, on which the backoff of the next dial depends (client). A peer that is full
    /// is not a failure.
    pub failures_in_a_row: u32,
    /// The number of connections not in use that the peer was seen to hold when it turned another one
    /// away (client); `None` while nothing says that it is full. The client dials up to this number at
    /// once, and tries whether it has grown from time to time.
    pub ceiling: Option<u32>,
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
    /// Seconds in which callers waited, here or at the peer, and [`max_dials`] were under way: with more at
    /// a time, they would have been served sooner.
    ///
    /// [`max_dials`]: crate::ClientConfigBuilder::max_dials
    pub limited_by_dials: u64,
    /// Seconds in which callers waited, here or at the peer, and as many connections were ready or under
    /// way as the [`capacity`] allows at most.
    ///
    /// [`capacity`]: crate::ClientConfigBuilder::capacity
    pub limited_by_capacity: u64,
    /// Dials that timed out.
    pub dial_timeouts: u64,
    /// Peers accepted, which may do their handshakes (server).
    pub accepted: u64,
    /// Peers admitted to the stock, with their handshakes over (server).
    pub admitted: u64,
    /// Connections whose handshake succeeded.
    pub established: u64,
    /// Handshakes that failed in TLS.
    pub tls_failures: u64,
    /// Handshakes whose id was short, wrong or missing.
    pub id_failures: u64,
    /// Handshakes that failed in the transport.
    pub transport_failures: u64,
    /// Handshakes that timed out, id exchange included.
    pub handshake_timeouts: u64,
    /// Peers that connected and sent nothing in time (server).
    pub silent: u64,
    /// Handshakes that made room for those of other peers (server).
    pub handshakes_evicted: u64,
    /// Connections closed because the peer gave them the id of another live connection.
    pub duplicate_ids: u64,
    /// Peers rejected because of their address.
    pub rejected_address: u64,
    /// Connections closed because a new allow list does not admit their peers.
    pub disallowed: u64,
    /// Peers rejected because their source or their certificate held the most that it may.
    pub rejected_source: u64,
    /// Peers rejected because the pool was full or closed.
    pub rejected_full: u64,
    /// Connections evicted to make room for a peer that holds fewer.
    pub evicted: u64,
    /// Connections closed to make room for newer ones of the same peer.
    pub replaced: u64,
    /// Connections closed to make room for ones that the peer may acquire.
    pub yielded: u64,
    /// Leases handed out.
    pub leases: u64,
    /// Leases of connections that had been leased and put back before.
    pub reused: u64,
    /// Acquires that were served at once, and all served accepts: a caller of
    /// [`acquire_claimed`](crate::Machine::acquire_claimed) waits for a user of the peer, and not for a
    /// connection.
    pub served_at_once: u64,
    /// Acquires that were served after waiting.
    pub served_after_waiting: u64,
    /// Calls that were refused, at once or while waiting.
    pub refused: u64,
    /// Waiters that were cancelled before they had collected, with those whose deadline passed.
    pub cancelled: u64,
    /// Waiters whose deadline passed while they had nothing, by the reason of their wait.
    pub timeouts: Timeouts,
    /// Connections put back.
    pub put: u64,
    /// Attempts to put back a connection that this pool had not leased (any more).
    pub put_unknown: u64,
    /// Connections closed because they were put back into a full pool.
    pub overflowed: u64,
    /// Connections closed because they were put back with too much unread or unsent data.
    pub leftover: u64,
    /// Connections whose check timed out.
    pub drain_timeouts: u64,
    /// Leased connections closed by their holders.
    pub released: u64,
    /// Connections that the peer closed in the pool, or that failed there, and that nobody acquired by
    /// their ids. Where ids are exchanged, they are [`finished`](Stats::finished) before, and counted
    /// here when they end, at the claim timeout.
    pub peer_closed: u64,
    /// Connections closed by the idle timeout.
    pub idle_timeouts: u64,
    /// Connections closed because they were ready beyond the capacity for some time.
    pub surplus: u64,
    /// Connections closed at the end of their lifetime.
    pub expired: u64,
    /// Connections that the peer had begun to use and not closed, and for which no acquire by id came in
    /// time.
    pub unclaimed: u64,
    /// Connections closed by `clean`.
    pub cleaned: u64,
    /// Connections, dials and handshakes ended by `flush`, `close` or `graceful_shutdown`.
    pub flushed: u64,
    /// Events whose connection had ended, or was not in a state that they fit.
    pub stale_events: u64,
}

/// Counters of the waiters whose [deadline passed](crate::Machine::time_out), by the reason of their wait.
/// Each has the name of its [`WaitReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// [`WaitReason::Dialing`].
    pub dialing: u64,
    /// [`WaitReason::BackingOff`].
    pub backing_off: u64,
    /// [`WaitReason::Full`].
    pub full: u64,
    /// [`WaitReason::AllInUse`].
    pub all_in_use: u64,
    /// [`WaitReason::NextRound`].
    pub next_round: u64,
    /// [`WaitReason::Returning`].
    pub returning: u64,
    /// [`WaitReason::Handshaking`].
    pub handshaking: u64,
    /// [`WaitReason::Claimed`].
    pub claimed: u64,
    /// [`WaitReason::Reserved`].
    pub reserved: u64,
    /// [`WaitReason::NoPeer`].
    pub no_peer: u64,
    /// [`WaitReason::NotClaimed`].
    pub not_claimed: u64,
    /// [`WaitReason::IdNotSeen`].
    pub id_not_seen: u64,
    /// [`WaitReason::IdHandshaking`].
    pub id_handshaking: u64,
    /// [`WaitReason::IdLeased`].
    pub id_leased: u64,
    /// [`WaitReason::IdResting`].
    pub id_resting: u64,
    /// [`WaitReason::IdNotBegun`].
    pub id_not_begun: u64,
    /// [`WaitReason::IdChecking`].
    pub id_checking: u64,
    /// [`WaitReason::Stock`].
    pub stock: u64,
}

impl Timeouts {
    /// The number of reasons.
    pub const REASONS: usize = 18;

    /// Counts a waiter whose deadline has passed.
    pub(crate) const fn count(&mut self, reason: WaitReason) {
        let counter = match reason {
            WaitReason::Dialing { .. } => &mut self.dialing,
            WaitReason::BackingOff { .. } => &mut self.backing_off,
            WaitReason::Full { .. } => &mut self.full,
            WaitReason::AllInUse { .. } => &mut self.all_in_use,
            WaitReason::NextRound => &mut self.next_round,
            WaitReason::Returning { .. } => &mut self.returning,
            WaitReason::Handshaking { .. } => &mut self.handshaking,
            WaitReason::Claimed { .. } => &mut self.claimed,
            WaitReason::Reserved { .. } => &mut self.reserved,
            WaitReason::NoPeer => &mut self.no_peer,
            WaitReason::NotClaimed { .. } => &mut self.not_claimed,
            WaitReason::IdNotSeen => &mut self.id_not_seen,
            WaitReason::IdHandshaking => &mut self.id_handshaking,
            WaitReason::IdLeased => &mut self.id_leased,
            WaitReason::IdResting => &mut self.id_resting,
            WaitReason::IdNotBegun => &mut self.id_not_begun,
            WaitReason::IdChecking => &mut self.id_checking,
            WaitReason::Stock { .. } => &mut self.stock,
        };
        *counter = counter.wrapping_add(1);
    }

    /// Returns each counter with the name of its reason, in the order of the fields.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); Self::REASONS] {
        // A new field must be listed: the pattern names all.
        let Self {
            dialing,
            backing_off,
            full,
            all_in_use,
            next_round,
            returning,
            handshaking,
            claimed,
            reserved,
            no_peer,
            not_claimed,
            id_not_seen,
            id_handshaking,
            id_leased,
            id_resting,
            id_not_begun,
            id_checking,
            stock,
        } = *self;
        [
            ("dialing", dialing),
            ("backing_off", backing_off),
            ("full", full),
            ("all_in_use", all_in_use),
            ("next_round", next_round),
            ("returning", returning),
            ("handshaking", handshaking),
            ("claimed", claimed),
            ("reserved", reserved),
            ("no_peer", no_peer),
            ("not_claimed", not_claimed),
            ("id_not_seen", id_not_seen),
            ("id_handshaking", id_handshaking),
            ("id_leased", id_leased),
            ("id_resting", id_resting),
            ("id_not_begun", id_not_begun),
            ("id_checking", id_checking),
            ("stock", stock),
        ]
    }

    /// Returns their sum: the timeouts of all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().fold(0, |sum, (_, count)| sum.wrapping_add(*count))
    }
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
            CloseReason::Surplus => &mut self.surplus,
            CloseReason::Expired => &mut self.expired,
            CloseReason::Unclaimed => &mut self.unclaimed,
            CloseReason::Overflow => &mut self.overflowed,
            CloseReason::Leftover => &mut self.leftover,
            CloseReason::DrainTimeout => &mut self.drain_timeouts,
            CloseReason::Evicted => &mut self.evicted,
            CloseReason::Replaced => &mut self.replaced,
            CloseReason::Yielded => &mut self.yielded,
            CloseReason::Silent => &mut self.silent,
            CloseReason::HandshakeEvicted => &mut self.handshakes_evicted,
            CloseReason::Cleaned => &mut self.cleaned,
            CloseReason::Flushed | CloseReason::PoolClosed | CloseReason::ShutDown => {
                &mut self.flushed
            }
            CloseReason::Released => &mut self.released,
            CloseReason::NotAllowed => &mut self.disallowed,
            // Counted elsewhere: by the part that failed, by the limit, and as a stale event.
            CloseReason::HandshakeFailed | CloseReason::Rejected | CloseReason::Stale => return,
        };
        *counter = counter.wrapping_add(1);
    }
}
