//! What is checked after every step: the invariants, from what the machine shows of itself.

use std::time::Duration;

use pool_proto::{
    CheckKind, CheckResult, CloseReason, Instant, Lease, Refusal, State, Stats, Token, Tuning,
};

use super::{End, Life, on};
use crate::violation::{Verdict, ensure};
use crate::world::options::Side;
use crate::world::tally::Tally;
use crate::world::waiting::Want;

impl End {
    pub(super) fn audit(&mut self, tally: &mut Tally) -> Verdict {
        let stats = self.stats();
        let waits = |waiter| on!(&self.machine, pool => pool.why(waiter)).is_some();
        if self.waiting.called() > 0 {
            self.waiting.connection_lost(waits);
        }
        self.check_waiters(&stats)?;
        self.check_limits(&stats)?;
        self.check_nothing_is_left_undone(&stats)?;
        self.check_tuning(&stats)?;
        self.check_backoff(&stats, tally)?;
        if !self.large || self.steps.is_multiple_of(u64::from(self.live / 4 + 1)) {
            self.look_at_all(&stats, tally)?;
        }
        self.before = stats;
        Ok(())
    }

    /// 1: every connection is in one state, which the machine's counters count, and has come there
    /// by an edge that there is. 6: nothing is due before `poll_timeout`.
    fn look_at_all(&mut self, stats: &Stats, tally: &mut Tally) -> Verdict {
        let mut counts = [0u32; State::ALL.len()];
        let mut first_due = None;
        for life in self.lives.iter_mut().flatten() {
            let token = life.token;
            let Some(state) = on!(&self.machine, pool => pool.state_of(token)) else {
                ensure!(false, "1: nothing ends without a word", "{token:?} was {:?}", life.state);
                continue;
            };
            if state != life.state {
                if !self.large {
                    tally.edge(self.side, Some(life.state), Some(state))?;
                }
                (life.state, life.since) = (state, self.seen);
            }
            counts[state as usize] += 1;
            let ready = matches!(state, State::Idle | State::Claimed);
            ensure!(
                !ready || life.id.is_none_or(|id| !self.waiting.wants(id)),
                "5: nobody waits for an id that is there",
                "{:?} is {state:?}",
                life.id
            );
            let end = self.bounds.end_of(life.established, state);
            first_due = end.into_iter().chain(first_due).min();
            if let Some(period) = self.bounds.period(state) {
                let due = life.since + period;
                first_due = Some(first_due.map_or(due, |first: Instant| first.min(due)));
            }
        }
        let count = |state: State| counts[state as usize];
        for (name, counted, told) in [
            ("dialing", count(State::Dialing), stats.dialing),
            ("handshaking", count(State::Handshaking), stats.handshaking),
            ("idle", count(State::Idle), stats.idle),
            ("claimed", count(State::Claimed), stats.claimed),
            ("leased", count(State::Leased) + count(State::Granted), stats.leased),
            ("returning", count(State::Resting) + count(State::Checking), stats.returning),
        ] {
            ensure!(counted == told, "1: the counters count", "{name}: {told} for {counted}");
        }
        let (promised, called) = (count(State::Granted), self.waiting.called());
        ensure!(
            promised as usize <= called,
            "5: what is promised is somebody's",
            "{promised} for {called}"
        );
        let inside = [State::Idle, State::Claimed, State::Granted, State::Resting];
        let inside: u32 = inside.map(count).iter().sum();
        ensure!(inside == self.inside, "1: one owner", "{inside} for {}", self.inside);
        let due = on!(&self.machine, pool => pool.poll_timeout());
        if let Some(first) = first_due.filter(|_| !self.large) {
            ensure!(
                due.is_some_and(|due| due <= first),
                "6: poll_timeout is the earliest deadline",
                "{due:?}, but something is due at {first:?}"
            );
        }
        Ok(())
    }

    /// 6: after a timeout, nothing is due.
    pub(super) fn check_nothing_is_overdue(&self) -> Verdict {
        let due = on!(&self.machine, pool => pool.poll_timeout());
        ensure!(
            due.is_none_or(|due| due > self.seen),
            "6: a timeout does what is due",
            "{due:?} at {:?}",
            self.seen
        );
        let overdue = |life: &Life| {
            let due = self.bounds.period(life.state).map(|period| life.since + period);
            let end = self.bounds.end_of(life.established, life.state);
            due.into_iter().chain(end).any(|due| due <= self.seen)
        };
        if !self.large {
            for life in self.lives.iter().flatten() {
                ensure!(!overdue(life), "6: a timeout does what is due", "{:?}", life.state);
            }
        }
        Ok(())
    }

    /// 5: nobody waits for what is there.
    fn check_waiters(&self, stats: &Stats) -> Verdict {
        let told = stats.waiters as usize;
        let waiting = self.waiting.len();
        ensure!(told == waiting, "5: each waiter is one", "{told} for {waiting}");
        let any = self.waiting.any();
        ensure!(
            any == 0 || stats.idle == 0,
            "5: never a waiter and an idle connection",
            "{any} wait, {} are idle",
            stats.idle
        );
        let supply_ended = self.accept_ended && !self.closed;
        let supply = self.waiting.for_supply();
        ensure!(!supply_ended || supply == 0, "5: nobody waits in vain", "{supply} wait for peers");
        let stock = self.waiting.least_stock();
        ensure!(
            stock.is_none_or(|wanted| wanted > stats.idle),
            "5: nobody waits for stock that is there",
            "{stock:?} of {}",
            stats.idle
        );
        Ok(())
    }

    /// 2: supply within capacity and limits.
    fn check_limits(&self, stats: &Stats) -> Verdict {
        let bounds = &self.bounds;
        let total = stats.dialing + stats.handshaking + stats.idle;
        let supply = total + stats.returning;
        let all = supply + stats.claimed + stats.leased;
        ensure!(
            all <= bounds.max_connections,
            "2: no more than max_connections",
            "{all} for {}",
            bounds.max_connections
        );
        let (idle, most) = (stats.idle, bounds.capacity.1);
        ensure!(idle <= most, "2: stock within capacity", "{idle} for {most}");
        if self.side == Side::Server {
            let ready = stats.handshaking + stats.idle;
            let most = bounds.capacity.1;
            ensure!(ready <= most, "2: a server's ready ones", "{ready} for {most}");
            let (now, most) = (stats.handshaking, bounds.max_handshakes);
            ensure!(now <= most, "2: a server's handshakes", "{now} for {most}");
        }
        if self.dialled {
            let most = stats.capacity;
            ensure!(supply <= most, "2: supply within capacity", "{supply} for {most}");
            let in_flight = stats.dialing + stats.handshaking;
            let most = if stats.failures_in_a_row > 0 { 1 } else { bounds.max_dials };
            ensure!(in_flight <= most, "2: dials within their limit", "{in_flight} for {most}");
        }
        let totals = &stats.totals;
        let known = (self.dials, self.leases, self.admitted);
        let told = (totals.dials, totals.leases, totals.admitted);
        ensure!(known == told, "1: the counters count", "dials, leases, admitted: {told:?}");
        Ok(())
    }

    /// 7: a client that may dial, and lacks connections, does, whatever its other dials are up to.
    fn check_nothing_is_left_undone(&self, stats: &Stats) -> Verdict {
        let paced = self.side == Side::Server || self.bounds.tuning == Tuning::NodePass;
        if paced || self.closed || stats.failures_in_a_row > 0 {
            return Ok(());
        }
        let in_flight = stats.dialing + stats.handshaking;
        let ready = in_flight + stats.idle + stats.returning;
        let all = ready + stats.claimed + stats.leased;
        // What is promised counts as supply, and is told as leased.
        let supply = ready as usize + self.waiting.called();
        let may = in_flight < self.bounds.max_dials && all < self.bounds.max_connections;
        ensure!(
            !may || supply >= stats.capacity as usize,
            "7: what can be dialled is dialled",
            "{supply} of {}, {in_flight} in flight",
            stats.capacity
        );
        Ok(())
    }

    /// 1: what was found decides what becomes of a connection.
    pub(super) fn check_finding(&mut self, token: Token, result: CheckResult) -> Verdict {
        let kind = self.life(token).and_then(|life| life.kind);
        let state = self.state(token);
        let right = match (kind, result) {
            (None, _) => true,
            (Some(CheckKind::Drain), CheckResult::Data) | (_, CheckResult::Closed) => {
                state.is_none()
            }
            (Some(CheckKind::Inspect), CheckResult::Data) => {
                let open = matches!(state, Some(State::Idle | State::Checking));
                let claims = on!(&self.machine, pool => pool.peer_claims());
                !claims || !open
            }
            (_, CheckResult::Quiet) => true,
        };
        ensure!(right, "1: a finding has its consequence", "{kind:?} {result:?}: {state:?}");
        Ok(())
    }

    /// 1: a connection ends for a reason that holds.
    pub(super) fn check_reason(&self, life: &Life, reason: CloseReason) -> Verdict {
        let due = self.bounds.period(life.state).map(|period| life.since + period);
        let right = match reason {
            _ if self.large => true,
            CloseReason::DialTimeout
            | CloseReason::HandshakeTimeout
            | CloseReason::IdleTimeout
            | CloseReason::DrainTimeout => due.is_some_and(|due| due <= self.seen),
            CloseReason::Expired => {
                let age = life.established.map(|established| self.seen.since(established));
                let most = self.bounds.max_lifetime;
                // A tenth of it is jitter.
                age.is_some_and(|age| most.is_some_and(|most| age >= most.mul_f64(0.899)))
            }
            CloseReason::DuplicateId => {
                life.id.is_some_and(|id| self.ids.get(&id).is_some_and(|of| *of != life.token))
            }
            CloseReason::PoolClosed => self.closed,
            _ => true,
        };
        ensure!(right, "1: a connection ends for a reason", "{reason} in {:?}", life.state);
        Ok(())
    }

    /// 2: whoever is turned away from a full server has no reason to complain of another source.
    /// From a server without a free handshake: nobody else has two more of them under way.
    pub(super) fn check_no_door_is_blocked(&self, source: u16) -> Verdict {
        let handshakes = |of: Option<u16>| {
            let theirs = |life: &&Life| life.source == of && life.state == State::Handshaking;
            self.lives.iter().flatten().filter(theirs).count()
        };
        let own = handshakes(Some(source));
        for heavy in self.lives.iter().flatten() {
            let count = handshakes(heavy.source);
            ensure!(
                count < own + 2,
                "2: no source locks out another",
                "{source} with {own} handshakes is turned away, {:?} has {count}",
                heavy.source
            );
        }
        Ok(())
    }

    /// 2: likewise from one without a free place, where what is `evictable` could make room.
    pub(super) fn check_nobody_is_locked_out(
        &self,
        source: u16,
        held: usize,
        evictable: &[State],
    ) -> Verdict {
        let outside = |life: &&Life| matches!(life.state, State::Leased | State::Claimed);
        let supply = self.lives.iter().flatten().filter(|life| !outside(life)).count();
        if supply > self.bounds.capacity.1 as usize {
            // What was put back for waiters, and is being drained, comes on top; one eviction would
            // make no room then.
            return Ok(());
        }
        for heavy in self.lives.iter().flatten().filter(|life| evictable.contains(&life.state)) {
            let theirs = |life: &&Life| life.source == heavy.source && life.state != State::Leased;
            let count = self.lives.iter().flatten().filter(theirs).count();
            ensure!(
                count < held + 2,
                "2: no source locks out another",
                "{source} with {held} is turned away, {:?} has {count}",
                heavy.source
            );
        }
        Ok(())
    }

    /// 3: capacity and interval stay within their bounds, and move by steps.
    fn check_tuning(&self, stats: &Stats) -> Verdict {
        let (low, high) = self.bounds.capacity;
        let (capacity, before) = (stats.capacity, self.before.capacity);
        let within = (low..=high).contains(&capacity);
        ensure!(within, "3: capacity within its bounds", "{capacity} in {low}..={high}");
        if self.side == Side::Server {
            return Ok(());
        }
        let (low, high) = self.bounds.interval;
        let (interval, former) = (stats.interval, self.before.interval);
        let within = (low..=high).contains(&interval);
        ensure!(within, "3: interval within its bounds", "{interval:?} in {low:?}..={high:?}");
        if self.bounds.tuning == Tuning::NodePass {
            let step = capacity.abs_diff(before);
            ensure!(step <= 1, "3: capacity moves by one", "{before} to {capacity}");
            let step = interval.abs_diff(former);
            let most = Duration::from_millis(100);
            ensure!(step <= most, "3: the interval moves by 100 ms", "{former:?} to {interval:?}");
        }
        Ok(())
    }

    /// 7: while attempts fail, there is one at a time, after a wait that is drawn from the backoff.
    fn check_backoff(&mut self, stats: &Stats, tally: &mut Tally) -> Verdict {
        let (failures, before) = (stats.failures_in_a_row, self.before.failures_in_a_row);
        if self.dialled
            && let Some((since, bound)) = self.backing_off.take()
        {
            tally.waited(self.seen.since(since), bound);
        }
        if failures > before {
            ensure!(!self.dialled, "7: no dial without its backoff", "failure {failures}");
            // Where nothing else holds the client back, the next dial tells how long the wait was.
            let supply = stats.dialing + stats.handshaking + stats.idle + stats.returning;
            let alone = stats.dialing + stats.handshaking == 0 && supply < stats.capacity;
            let free = supply + stats.claimed + stats.leased < self.bounds.max_connections;
            let paced = self.bounds.tuning == Tuning::NodePass;
            let bound = self.bounds.longest_wait(failures - 1);
            self.backing_off = (alone && free && !paced).then_some((self.seen, bound));
        } else if failures == 0 {
            self.backing_off = None;
        }
        Ok(())
    }

    /// 4 and 5: a lease is what was asked for, fit to be handed out, and nobody else's.
    pub(super) fn check_lease(&mut self, lease: &Lease<u32>, want: Want) -> Verdict {
        ensure!(!self.closed, "8: no lease after close", "{lease:?}");
        let (seen, bounds, large) = (self.seen, self.bounds, self.large);
        let Some(life) = self.life(lease.token).copied() else {
            ensure!(false, "5: nothing closed is leased", "{lease:?}");
            return Ok(());
        };
        let id = lease.id;
        match life.id {
            Some(known) => {
                ensure!(id == known, "4: an id is a connection's for life", "{id}, not {known}");
            }
            None => self.name(lease.token, id)?,
        }
        ensure!(life.established.is_some(), "4: only what is established is leased", "{id}");
        let fits = match (want, life.state) {
            (Want::Id(wanted), State::Idle | State::Claimed | State::Granted) => wanted == id,
            // In one step, a waiter's connection may expire and another take its place.
            (Want::Any, State::Idle | State::Granted) => true,
            // With many connections, states are looked at now and then only.
            (Want::Any, _) => large,
            (Want::Id(wanted), _) => large && wanted == id,
            _ => false,
        };
        ensure!(fits, "4: a lease is what was asked for", "{want:?} got {id}, {:?}", life.state);
        let age = life.established.map(|established| seen.since(established));
        let expired = bounds.max_lifetime.is_some_and(|most| age.is_some_and(|age| age >= most));
        ensure!(!expired, "5: nothing expired is leased", "{age:?} old");
        let unused = life.state == State::Idle && !large;
        let idle = seen.since(life.since);
        let expired = unused && bounds.idle_timeout.is_some_and(|most| idle >= most);
        ensure!(!expired, "5: nothing expired is leased", "{idle:?} idle");
        Ok(())
    }

    /// Each refusal has its condition. One that is `late` was decided when its waiter was woken.
    pub(super) fn check_refusal(&self, refusal: Refusal, want: Want, late: bool) -> Verdict {
        let right = match refusal {
            Refusal::PoolClosed => self.closed,
            Refusal::UnknownId { id } | Refusal::Gone { id, .. } => {
                let gone = late || !self.ids.contains_key(&id) || self.has_ended(id);
                want == Want::Id(id) && gone
            }
            Refusal::TooManyWaiters { limit } => {
                limit == self.bounds.max_waiters && self.waiting.all() >= limit as usize
            }
            Refusal::AcceptEnded => self.accept_ended,
            Refusal::StockBeyondCapacity { wanted, capacity } => {
                want == Want::Stock(wanted) && wanted > capacity
            }
            _ => false,
        };
        ensure!(right, "5: a refusal is true", "{refusal:?} to {want:?}");
        Ok(())
    }

    /// Whether the machine has ended the connection with this id in the step under way, whose
    /// actions have not been accounted for.
    fn has_ended(&self, id: pool_proto::ConnId) -> bool {
        let token = self.ids.get(&id).copied();
        token.is_some_and(|token| on!(&self.machine, pool => pool.state_of(token)).is_none())
    }

    /// 1 and 8: everything that went in has come out, and the machine's own count of ends agrees.
    pub(crate) fn final_audit(&self) -> Verdict {
        ensure!(self.live == 0, "8: close ends everything", "{} live", self.live);
        ensure!(self.inside == 0, "1: everything comes out", "{} inside", self.inside);
        let due = on!(&self.machine, pool => pool.poll_timeout());
        ensure!(due.is_none(), "6: nothing is due after close", "{due:?}");
        let all = self.waiting.all();
        ensure!(all == 0, "8: waiters are answered by close", "{all} are left");
        let totals = self.stats().totals;
        let ended = |reason| self.ends.of(reason);
        let failures = totals.tls_failures + totals.id_failures + totals.transport_failures;
        let handshakes = ended(CloseReason::HandshakeFailed) + ended(CloseReason::MissingId);
        let flushed = ended(CloseReason::Flushed) + ended(CloseReason::PoolClosed);
        for (what, told, known) in [
            ("dial failures", totals.dial_failures, ended(CloseReason::DialFailed)),
            ("dial timeouts", totals.dial_timeouts, ended(CloseReason::DialTimeout)),
            ("handshake failures", failures, handshakes),
            ("handshake timeouts", totals.handshake_timeouts, ended(CloseReason::HandshakeTimeout)),
            ("duplicate ids", totals.duplicate_ids, ended(CloseReason::DuplicateId)),
            ("closed by the peer", totals.peer_closed, ended(CloseReason::PeerClosed)),
            ("idle timeouts", totals.idle_timeouts, ended(CloseReason::IdleTimeout)),
            ("expired", totals.expired, ended(CloseReason::Expired)),
            ("unclaimed", totals.unclaimed, ended(CloseReason::Unclaimed)),
            ("overflowed", totals.overflowed, ended(CloseReason::Overflow)),
            ("leftover", totals.leftover, ended(CloseReason::Leftover)),
            ("drain timeouts", totals.drain_timeouts, ended(CloseReason::DrainTimeout)),
            ("evicted", totals.evicted, ended(CloseReason::Evicted)),
            ("cleaned", totals.cleaned, ended(CloseReason::Cleaned)),
            ("released", totals.released, ended(CloseReason::Released)),
            ("flushed", totals.flushed, flushed),
        ] {
            ensure!(told == known, "1: the counters count", "{what}: {told} for {known}");
        }
        Ok(())
    }
}
