//! 1 and 6: states, counters, ends and deadlines of connections.

use pool_proto::{
    Action, CheckKind, CheckResult, CloseReason, Event, Instant, State, Stats, Token, Tuning,
};

use super::{Ledger, Life, Place, place_of};
use crate::call::{Call, Did, Pool};
use crate::setup::Side;
use crate::violation::{Verdict, ensure};

/// No deadline from here on: the machine takes no later time for now.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX - 1);

impl Ledger {
    /// 1: the machine's counters agree with the ledger's.
    pub(super) fn check_counts(&self, stats: &Stats, pool: &impl Pool) -> Verdict {
        let (leased, checking) =
            (self.lives.count(Place::Leased), self.lives.count(Place::Checking));
        for (name, counted, told) in [
            ("dialing", self.lives.count(Place::Dialing), stats.dialing),
            ("handshaking", self.handshakes(), stats.handshaking),
            ("leased", leased, stats.leased.min(leased)),
            ("checking", checking, stats.returning.min(checking)),
            ("idle", pool.idle(), stats.idle),
            ("inside", self.inside, self.lives.count(Place::Pooled)),
        ] {
            ensure!(counted == told, "1: the counters count", "{name}: {told} for {counted}");
        }
        let (granted, resting) = (stats.leased - leased, stats.returning - checking);
        let (told, counted) = (
            stats.idle + stats.claimed + stats.finished + granted + resting,
            self.lives.count(Place::Pooled),
        );
        ensure!(told == counted, "1: the counters count", "in the pool: {told} for {counted}");
        let called = self.waiting.called();
        ensure!(
            granted as usize <= called,
            "5: each grant belongs to a waiter",
            "{granted} for {called}"
        );
        let totals = &stats.totals;
        let known = (self.counts.dials, self.counts.leases, self.counts.admitted);
        let told = (totals.dials, totals.leases, totals.admitted);
        ensure!(known == told, "1: the counters count", "dials, leases, admitted: {told:?}");
        let (told, known) = (totals.timeouts.total(), self.counts.timeouts);
        ensure!(known == told, "1: the counters count", "timeouts: {told} for {known}");
        if self.step.ended { self.check_ends(stats) } else { Ok(()) }
    }

    /// 1: the machine counts the ends by their reasons.
    fn check_ends(&self, stats: &Stats) -> Verdict {
        let totals = &stats.totals;
        let ended = |reason| self.counts.ends.of(reason);
        let failures = totals.tls_failures + totals.id_failures + totals.transport_failures;
        let handshakes = ended(CloseReason::HandshakeFailed) + ended(CloseReason::MissingId);
        let all = [CloseReason::Flushed, CloseReason::PoolClosed, CloseReason::ShutDown];
        let flushed: u64 = all.into_iter().map(ended).sum();
        for (what, told, known) in [
            ("dial failures", totals.dial_failures, ended(CloseReason::DialFailed)),
            ("dial timeouts", totals.dial_timeouts, ended(CloseReason::DialTimeout)),
            ("handshake failures", failures, handshakes),
            ("silent", totals.silent, ended(CloseReason::Silent)),
            ("handshakes evicted", totals.handshakes_evicted, ended(CloseReason::HandshakeEvicted)),
            ("replaced", totals.replaced, ended(CloseReason::Replaced)),
            ("yielded", totals.yielded, ended(CloseReason::Yielded)),
            ("handshake timeouts", totals.handshake_timeouts, ended(CloseReason::HandshakeTimeout)),
            ("duplicate ids", totals.duplicate_ids, ended(CloseReason::DuplicateId)),
            ("closed by the peer", totals.peer_closed, ended(CloseReason::PeerClosed)),
            ("idle timeouts", totals.idle_timeouts, ended(CloseReason::IdleTimeout)),
            ("surplus", totals.surplus, ended(CloseReason::Surplus)),
            ("expired", totals.expired, ended(CloseReason::Expired)),
            ("unclaimed", totals.unclaimed, ended(CloseReason::Unclaimed)),
            ("overflowed", totals.overflowed, ended(CloseReason::Overflow)),
            ("leftover", totals.leftover, ended(CloseReason::Leftover)),
            ("drain timeouts", totals.drain_timeouts, ended(CloseReason::DrainTimeout)),
            ("evicted", totals.evicted, ended(CloseReason::Evicted)),
            ("cleaned", totals.cleaned, ended(CloseReason::Cleaned)),
            ("disallowed", totals.disallowed, ended(CloseReason::NotAllowed)),
            ("released", totals.released, ended(CloseReason::Released)),
            ("flushed", totals.flushed, flushed),
        ] {
            ensure!(told == known, "1: the counters count", "{what}: {told} for {known}");
        }
        Ok(())
    }

    /// 1: every connection is in one state, which fits its place, and has come there by an edge.
    /// 5: nobody waits for an id that is there. 6: nothing is due before `poll_timeout`.
    pub(super) fn check_states(&mut self, stats: &Stats, pool: &impl Pool) -> Verdict {
        let mut counts = [0u32; State::ALL.len()];
        let mut first_due = NEVER;
        let mut moved: Option<(State, State)> = None;
        let (setup, side, seen, large) = (self.setup, self.side, self.seen, self.large);
        let woken = self.step.woken;
        for life in self.lives.iter_mut() {
            let token = life.token;
            let Some(state) = pool.state_of(token) else {
                ensure!(false, "1: no end without an action", "{token:?} was {:?}", life.state);
                continue;
            };
            let fits = place_of(state) == life.place;
            ensure!(fits, "1: every connection is in one state", "{state:?}, but {life:?}");
            if state != life.state {
                if !large {
                    if !super::edges::is_edge(self.side, (Some(life.state), Some(state))) {
                        moved = Some((life.state, state));
                    }
                    self.counts.edge(Some(life.state), Some(state));
                }
                (life.state, life.since) = (state, seen);
            } else if state == State::Granted && woken {
                // Perhaps granted anew, to another waiter.
                life.since = seen;
            }
            counts[state as usize] += 1;
            let ready = match state {
                State::Claimed | State::Finished => true,
                State::Idle | State::Reserved => !setup.opening_byte,
                _ => false,
            };
            let owned = life.id.is_none_or(|id| setup.owns(side, id));
            let right = match state {
                State::Idle => owned,
                State::Reserved => !owned,
                _ => true,
            };
            ensure!(
                right,
                "4: each ready connection has its acquirer",
                "{:?} is {state:?}",
                life.id
            );
            let here = state == State::Leased && life.acquired && pool.peer_claims();
            ensure!(
                !here || life.id.is_none_or(|id| !self.waiting.wants(id)),
                "5: nobody waits for what this end has acquired",
                "{:?}",
                life.id
            );
            ensure!(
                !ready || life.id.is_none_or(|id| !self.waiting.wants(id)),
                "5: nobody waits for an id that is there",
                "{:?} is {state:?}",
                life.id
            );
            let end = setup.end_of(life.established, state).filter(|_| owned);
            let due = setup.period(state).map(|period| life.since + period);
            first_due = end.into_iter().chain(due).fold(first_due, Instant::min);
        }
        ensure!(moved.is_none(), "1: only edges that there are", "{:?}: {moved:?}", self.side);
        let count = |state: State| counts[state as usize];
        for (name, counted, told) in [
            ("idle", count(State::Idle) + count(State::Reserved), stats.idle),
            ("reserved", count(State::Reserved), stats.reserved),
            ("claimed", count(State::Claimed), stats.claimed),
            ("finished", count(State::Finished), stats.finished),
            ("leased", count(State::Leased) + count(State::Granted), stats.leased),
            ("returning", count(State::Resting) + count(State::Checking), stats.returning),
        ] {
            ensure!(counted == told, "1: the counters count", "{name}: {told} for {counted}");
        }
        let due = pool.poll_timeout();
        ensure!(
            large || first_due >= NEVER || due.is_some_and(|due| due <= first_due),
            "6: poll_timeout is the earliest deadline",
            "{due:?}, but something is due at {first_due:?}"
        );
        Ok(())
    }

    /// 6: an idle machine has no deadline, and a timeout leaves none over.
    pub(super) fn check_deadlines(&self, call: &Call, pool: &impl Pool) -> Verdict {
        let due = pool.poll_timeout();
        let all_leased = self.lives.count(Place::Leased) == self.lives.len();
        let shuts_down = self.shutdown.flatten().is_some();
        let waits = self.side == Side::Client || self.setup.max_lifetime.is_some() || shuts_down;
        ensure!(
            due.is_none() || waits || !all_leased,
            "6: no deadline where nothing is waited for",
            "{due:?}"
        );
        let most = self.seen + self.setup.longest_period();
        let most = self.shutdown.flatten().map_or(most, |deadline| deadline.max(most));
        ensure!(
            due.is_none_or(|due| due <= most),
            "6: a deadline is one of the settings'",
            "{due:?} at {:?}",
            self.seen
        );
        // A change of the configuration also does the work that is due.
        if !matches!(call, Call::Timeout) && !self.step.configures {
            return Ok(());
        }
        ensure!(
            due.is_none_or(|due| due > self.seen),
            "6: a timeout does what is due",
            "{due:?} at {:?}",
            self.seen
        );
        let overdue = |life: &Life| {
            let due = self.setup.period(life.state).map(|period| life.since + period);
            let owned = life.id.is_none_or(|id| self.setup.owns(self.side, id));
            let end = self.setup.end_of(life.established, life.state).filter(|_| owned);
            due.into_iter().chain(end).any(|due| due <= self.seen)
        };
        if !self.large {
            for life in self.lives.iter() {
                ensure!(!overdue(life), "6: a timeout does what is due", "{:?}", life.state);
            }
        }
        Ok(())
    }

    /// 1: the result of a check decides the fate of its connection.
    pub(super) fn check_consequence(&self, call: &Call, pool: &impl Pool) -> Verdict {
        let Call::Event(Event::Checked { token, result, .. }) = *call else { return Ok(()) };
        if !self.step.fitted {
            return Ok(());
        }
        let kind = self.life(token).and_then(|life| life.kind);
        let state = pool.state_of(token);
        let right = match (kind, result) {
            (None, _) | (_, CheckResult::Quiet) => true,
            (Some(CheckKind::Drain), _) => state.is_none(),
            (Some(CheckKind::Inspect), CheckResult::Data) => {
                !pool.peer_claims() || state != Some(State::Idle)
            }
            // It holds no place, and nobody gets it but by its id.
            (Some(CheckKind::Inspect), CheckResult::Finished | CheckResult::Closed) => {
                match pool.peer_claims() {
                    true => matches!(state, None | Some(State::Finished | State::Granted)),
                    false => state.is_none(),
                }
            }
        };
        ensure!(
            right,
            "1: the result of a check has its consequence",
            "{kind:?} {result:?}: {state:?}"
        );
        Ok(())
    }

    /// 1: a connection ends for a reason that holds.
    pub(super) fn check_reason(&self, life: &Life, reason: CloseReason) -> Verdict {
        let due = self.setup.period(life.state).map(|period| life.since + period);
        let age = matches!(
            reason,
            CloseReason::IdleTimeout
                | CloseReason::Surplus
                | CloseReason::Expired
                | CloseReason::Cleaned
                | CloseReason::Yielded
        );
        let right = match reason {
            // The peer may have acquired it, and the word be on its way.
            _ if age && life.state == State::Reserved => {
                reason == CloseReason::Surplus && self.side == Side::Server && self.step.configures
            }
            // Likewise.
            CloseReason::Overflow => life.id.is_none_or(|id| self.setup.owns(self.side, id)),
            _ if self.large => true,
            CloseReason::DialTimeout
            | CloseReason::Silent
            | CloseReason::HandshakeTimeout
            | CloseReason::DrainTimeout => due.is_some_and(|due| due <= self.seen),
            CloseReason::IdleTimeout => {
                let half = self.setup.idle_timeout.map(|whole| life.since + whole / 2);
                half.is_some_and(|half| half <= self.seen)
            }
            CloseReason::Surplus if self.side == Side::Server => {
                self.step.configures
                    && matches!(life.state, State::Idle | State::Reserved | State::Resting)
            }
            CloseReason::NotAllowed => self.setup.listed && self.side == Side::Server,
            CloseReason::Surplus => {
                let demand = self.setup.tuning == Tuning::Demand && self.side == Side::Client;
                // A grant may lapse at the same time.
                let lapsed =
                    life.state == State::Granted && due.is_some_and(|due| due <= self.seen);
                let rests = life.state == State::Idle || lapsed;
                demand && self.before.idle > self.before.capacity && rests
            }
            CloseReason::Expired => {
                let age = life.established.map(|established| self.seen.since(established));
                // A thousandth for rounding.
                let part = (0.999 - self.setup.lifetime_jitter).max(0.0);
                let least = self.setup.max_lifetime.map(|most| most.mul_f64(part));
                age.is_some_and(|age| least.is_some_and(|least| age >= least))
            }
            CloseReason::DuplicateId => {
                life.id.is_some_and(|id| self.ids.get(&id).is_some_and(|of| *of != life.token))
            }
            CloseReason::PoolClosed => self.closed,
            CloseReason::ShutDown => self.shutdown.is_some(),
            _ => true,
        };
        ensure!(right, "1: a connection ends for a reason", "{reason} in {:?}", life.state);
        Ok(())
    }

    /// 9: what does not fit changes one counter, and nothing else.
    pub(super) fn check_stale(&self, call: &Call, stats: &Stats, actions: &[Did]) -> Verdict {
        if self.step.fitted {
            return Ok(());
        }
        let mut expected = self.before;
        // Time goes on with every call.
        let (now, told) = (&stats.totals, &mut expected.totals);
        (told.limited_by_dials, told.limited_by_capacity) =
            (now.limited_by_dials, now.limited_by_capacity);
        match call {
            Call::Put(..) | Call::PutDrained(..) => expected.totals.put_unknown += 1,
            _ => expected.totals.stale_events += 1,
        }
        ensure!(*stats == expected, "9: a stale call changes only a counter", "{call:?}");
        let mut returned: Vec<(Token, u32)> = Vec::new();
        for action in actions {
            let Action::Close { token, connection, .. } = action else {
                ensure!(false, "9: a stale call changes only a counter", "{call:?}: {action:?}");
                continue;
            };
            returned.push((*token, *connection));
        }
        let handed_in: Vec<(Token, u32)> = call.hands_in().into_iter().collect();
        ensure!(
            returned == handed_in,
            "9: a stale connection goes back",
            "{actions:?} after {call:?}"
        );
        Ok(())
    }
}
