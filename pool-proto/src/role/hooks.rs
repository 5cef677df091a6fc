//! The calls of a machine to its role.

use crate::answer::WaitReason;
use crate::error::Refusal;
use crate::event::{CloseReason, HandshakeFailure};
use crate::id::ConnId;
use crate::machine::Machine;
use crate::state::State;
use crate::stats::Stats;
use crate::time::Instant;

/// The hooks of a role. Public only as a bound of [`Role`](super::Role), which it seals: nobody
/// outside the crate can name it.
pub trait Hooks: Sized {
    /// Whether this end makes the ids, which tell the acquirer.
    const IS_SERVER: bool;

    /// The state of a connection that is about to be established.
    const LAST_STEP: State;

    /// Returns the number of connections whose peers may turn out to be anybody.
    fn unproven<C>(_machine: &Machine<C, Self>) -> u32 {
        0
    }

    /// Begins to fill the pool, as far as the role may now. Called after every change.
    fn refill<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// As [`refill`](Self::refill), where no caller waits and nothing is to be dialled. Returns the deadline
    /// that it has set, or [`Instant::NEVER`]; `None` if that is a case for `refill`.
    fn refill_quickly<C>(machine: &mut Machine<C, Self>, now: Instant) -> Option<Instant>;

    /// Does everything of the role that is due by `now`.
    fn handle_timeout<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// Returns the earliest deadline of the role's own; [`Instant::NEVER`] if it has none.
    fn next_deadline<C>(machine: &Machine<C, Self>) -> Instant;

    /// A connection is established that was begun at `begun`. The peer has given it `id`, if it makes the
    /// ids.
    fn established<C>(
        _machine: &mut Machine<C, Self>,
        _begun: Instant,
        _id: Option<ConnId>,
        _now: Instant,
    ) {
    }

    /// A connection has moved from one state to another.
    fn moved<C>(machine: &mut Machine<C, Self>, index: u32, from: State, to: State);

    /// A connection is about to end.
    fn ending<C>(machine: &mut Machine<C, Self>, index: u32, reason: CloseReason);

    /// A handshake has failed; the connection is about to end.
    fn handshake_failed<C>(
        _machine: &mut Machine<C, Self>,
        _index: u32,
        _failure: HandshakeFailure,
    ) {
    }

    /// The peer has ended a connection that stays for an acquire by its id. No data came on it.
    fn ended_by_peer<C>(_machine: &mut Machine<C, Self>, _index: u32) {}

    /// With [`Acquirer::Both`](crate::Acquirer::Both), an end has acquired a connection of its own: this end
    /// (`here`), or the peer.
    fn acquired<C>(machine: &mut Machine<C, Self>, index: u32, here: bool);

    /// A connection whose end was taken for a rejection was acquired by its id.
    fn doubt_refuted(&mut self) {}

    /// A connection is in the pool, or with a waiter, after its handshake or an inspection.
    fn came_in<C>(_machine: &mut Machine<C, Self>, _now: Instant) {}

    /// Returns whether an idle connection that has been unused for long is to be closed now. Otherwise
    /// the role has begun to replace it.
    fn may_retire<C>(_machine: &mut Machine<C, Self>, _now: Instant) -> bool {
        true
    }

    /// Returns the connection to close because there are too many in `state`, which is claimed or
    /// finished, if so.
    fn surplus_claim<C>(machine: &mut Machine<C, Self>, state: State) -> Option<u32>;

    /// Returns the reason why a waiter for any connection has nothing yet.
    fn wait_reason<C>(machine: &Machine<C, Self>) -> WaitReason;

    /// Returns the most ready connections that the pool may hold.
    fn max_capacity(&self) -> u32;

    /// A caller acquires any connection. Returns the deadline that this sets, or [`Instant::NEVER`].
    fn demanded(&mut self, _now: Instant) -> Instant {
        Instant::NEVER
    }

    /// A caller acquires a connection by its id: a caller at the peer has acquired it. Returns the deadline
    /// that this sets, or [`Instant::NEVER`].
    fn demanded_by_peer<C>(_machine: &mut Machine<C, Self>, _index: u32, _now: Instant) -> Instant {
        Instant::NEVER
    }

    /// A caller has put a connection back.
    fn returned(&mut self) {}

    /// A caller waits for this number of ready connections.
    fn require(&mut self, _now: Instant, _ready: u32) {}

    /// Returns why no connection can come any more, if so.
    fn supply_ended(&self) -> Option<Refusal> {
        None
    }

    /// The listener has ended. Returns `false` in a role without a listener.
    fn accept_ended(&mut self) -> bool {
        false
    }

    /// The user flushed the pool.
    fn flushed(&mut self, _now: Instant) {}

    /// Fills in the role's part of the statistics.
    fn report(&self, stats: &mut Stats);
}
