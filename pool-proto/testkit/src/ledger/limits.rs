//! 2, 3 and 7: limits, the tuner, the backoff.

use std::time::Duration;

use pool_proto::{Admission, Rejected, State, Stats, Tuning};

use super::lives::Source;
use super::{Ledger, Life, Place};
use crate::setup::Side;
use crate::violation::{Verdict, ensure};

impl Ledger {
    /// 2: supply within capacity and limits.
    pub(super) fn check_limits(&self, stats: &Stats) -> Verdict {
        let setup = &self.setup;
        let (all, most) = (self.lives.len() - stats.finished, setup.max_connections);
        // A finished connection that is leased counts again: only then there may be more.
        let began = self.step.began;
        ensure!(!began || all <= most, "2: no more than max_connections", "{all} for {most}");
        let (idle, most) = (stats.idle, setup.capacity.1);
        ensure!(idle <= most, "2: stock within capacity", "{idle} for {most}");
        let ready = stats.handshaking + stats.idle;
        if self.side == Side::Server {
            ensure!(ready <= most, "2: ready connections of a server", "{ready} for {most}");
            let (now, most) = (stats.handshaking, setup.max_handshakes);
            ensure!(now <= most, "2: a server's handshakes", "{now} for {most}");
        }
        if self.step.dialled > 0 {
            let granted = stats.leased - self.lives.count(Place::Leased);
            let supply = ready + stats.dialing + stats.returning + granted;
            let most = stats.capacity;
            ensure!(supply <= most, "2: supply within capacity", "{supply} for {most}");
            let in_flight = stats.dialing + stats.handshaking;
            let most = if stats.failures_in_a_row > 0 { 1 } else { setup.max_dials };
            ensure!(in_flight <= most, "2: dials within their limit", "{in_flight} for {most}");
        }
        Ok(())
    }

    /// 2: an admission, or why there is none, before its evictions are entered.
    pub(super) fn check_admission(
        &self,
        source: Source,
        admitted: &Result<Admission, Rejected>,
    ) -> Verdict {
        // Where there are many to be counted, they are not.
        if self.large {
            return Ok(());
        }
        let outside = |life: &Life| matches!(life.state, State::Leased | State::Finished);
        let theirs = |life: &&Life| life.source == Some(source) && !outside(life);
        let held = self.lives.iter().filter(theirs).count();
        let full = self.setup.max_per_source.is_some_and(|most| held >= most as usize);
        match admitted {
            Ok(admission) => {
                ensure!(!self.closed, "8: nobody is admitted after close", "{admission:?}");
                ensure!(!full, "2: no more than max_per_source of a source", "it holds {held}");
                Ok(())
            }
            Err(Rejected::SourceFull { .. }) => {
                ensure!(full, "2: no more than max_per_source of a source", "it holds only {held}");
                Ok(())
            }
            Err(Rejected::PoolClosed | Rejected::NotAllowed { .. }) => Ok(()),
            Err(rejected) => {
                ensure!(!full, "2: a full source is turned away for that", "{rejected:?}");
                match rejected {
                    Rejected::CapacityReached { .. } => {
                        let evictable = [State::Handshaking, State::Idle, State::Resting];
                        self.check_no_lockout(source, held, &evictable)
                    }
                    Rejected::ConnectionsReached { .. } => {
                        let evictable =
                            [State::Handshaking, State::Idle, State::Resting, State::Claimed];
                        self.check_no_lockout(source, held, &evictable)
                    }
                    Rejected::HandshakesReached { .. } => self.check_no_blocked_door(source),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Turned away for want of a handshake: no other source has two more of them under way.
    fn check_no_blocked_door(&self, source: Source) -> Verdict {
        let handshakes = |of: Option<Source>| {
            let theirs = |life: &&Life| life.source == of && life.state == State::Handshaking;
            self.lives.iter().filter(theirs).count()
        };
        let own = handshakes(Some(source));
        for heavy in self.lives.iter() {
            let count = handshakes(heavy.source);
            ensure!(
                count < own + 2,
                "2: no source locks out another",
                "{source:?} with {own} handshakes is turned away, {:?} has {count}",
                heavy.source
            );
        }
        Ok(())
    }

    /// Turned away for want of a place: no other source holds two more, of which one is `evictable`.
    fn check_no_lockout(&self, source: Source, held: usize, evictable: &[State]) -> Verdict {
        let finished = |life: &Life| matches!(life.state, State::Leased | State::Finished);
        let outside = |life: &&Life| finished(life) || life.state == State::Claimed;
        let supply = self.lives.iter().filter(|life| !outside(life)).count();
        if supply > self.setup.capacity.1 as usize {
            // Connections that were put back for waiters, and are being drained, come on top; one
            // eviction would make no room then.
            return Ok(());
        }
        for heavy in self.lives.iter().filter(|life| evictable.contains(&life.state)) {
            let theirs = |life: &&Life| life.source == heavy.source && !finished(life);
            let count = self.lives.iter().filter(theirs).count();
            ensure!(
                count < held + 2,
                "2: no source locks out another",
                "{source:?} with {held} is turned away, {:?} has {count}",
                heavy.source
            );
        }
        Ok(())
    }

    /// 3: capacity and interval stay within their bounds, and move by steps.
    pub(super) fn check_tuning(&self, stats: &Stats) -> Verdict {
        let (low, high) = self.setup.capacity;
        let (capacity, before) = (stats.capacity, self.before.capacity);
        let (interval, former) = (stats.interval, self.before.interval);
        if self.side == Side::Server {
            let fixed = (capacity, interval) == (high, Duration::ZERO);
            ensure!(fixed, "3: a server's capacity is fixed", "{capacity} {interval:?}");
            return Ok(());
        }
        let within = (low..=high).contains(&capacity);
        ensure!(within, "3: capacity within its bounds", "{capacity} in {low}..={high}");
        let (low, high) = self.setup.interval;
        let within = (low..=high).contains(&interval);
        ensure!(within, "3: interval within its bounds", "{interval:?} in {low:?}..={high:?}");
        if self.setup.tuning == Tuning::NodePass {
            let step = capacity.abs_diff(before);
            ensure!(step <= 1, "3: capacity moves by one", "{before} to {capacity}");
            let step = interval.abs_diff(former);
            let most = Duration::from_millis(100);
            ensure!(step <= most, "3: the interval moves by 100 ms", "{former:?} to {interval:?}");
        }
        Ok(())
    }

    /// 7: a client that may dial, and lacks connections, does, whatever its other dials are up to.
    pub(super) fn check_nothing_is_left_undone(&self, stats: &Stats) -> Verdict {
        let paced = self.side == Side::Server || self.setup.tuning == Tuning::NodePass;
        if paced || self.closed || stats.failures_in_a_row > 0 {
            return Ok(());
        }
        let in_flight = stats.dialing + stats.handshaking;
        let ready = in_flight + stats.idle + stats.returning;
        let all = ready + stats.claimed + stats.leased;
        // Granted connections count as supply, and are told as leased.
        let supply = ready as usize + self.waiting.called();
        let may = in_flight < self.setup.max_dials && all < self.setup.max_connections;
        // With more claimed connections than this, a client stops dialling.
        let flooded = stats.claimed >= self.setup.capacity.1.saturating_mul(2).max(64);
        ensure!(
            !may || flooded || supply >= stats.capacity as usize,
            "7: a client dials up to its capacity",
            "{supply} of {}, {in_flight} in flight",
            stats.capacity
        );
        Ok(())
    }

    /// 7: a failure begins a wait, which is drawn from the backoff.
    pub(super) fn check_backoff(&mut self, stats: &Stats) -> Verdict {
        let (failures, before) = (stats.failures_in_a_row, self.before.failures_in_a_row);
        let dialled = self.step.dialled > 0;
        if dialled && let Some((since, bound)) = self.backing_off.take() {
            self.counts.waited(self.seen.since(since), bound);
        }
        if failures > before {
            let bound = self.setup.longest_wait(failures - 1);
            // A wait of so few nanoseconds may be drawn as zero.
            let brief = bound < Duration::from_micros(1);
            ensure!(brief || !dialled, "7: no dial without its backoff", "failure {failures}");
            // Where nothing else holds the client back, the next dial tells how long the wait was.
            let supply = stats.dialing + stats.handshaking + stats.idle + stats.returning;
            let alone = stats.dialing + stats.handshaking == 0 && supply < stats.capacity;
            let free = supply + stats.claimed + stats.leased < self.setup.max_connections;
            let paced = self.setup.tuning == Tuning::NodePass;
            self.backing_off = (alone && free && !paced).then_some((self.seen, bound));
        } else if failures == 0 {
            self.backing_off = None;
        }
        Ok(())
    }
}
