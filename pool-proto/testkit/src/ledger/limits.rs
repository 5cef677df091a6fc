//! 2, 3 and 7: limits, the tuner, the backoff.

use std::time::Duration;

use pool_proto::{
    Acquirer, CloseReason, ConnId, Event, HandshakeFailure, Rejected, State, Stats, Tuning,
};

use super::connections::NEVER;
use super::lives::Source;
use super::{Ledger, Life, Place};
use crate::call::{Call, Pool};
use crate::setup::Side;
use crate::violation::{Verdict, ensure};

/// The longest time between two dials that are spread.
const GAP: Duration = Duration::from_millis(40);

impl Ledger {
    /// 2: supply within capacity and limits.
    pub(super) fn check_limits(&self, stats: &Stats) -> Verdict {
        let setup = &self.setup;
        let unproven = self.unproven();
        let (all, most) = (self.lives.len() - stats.finished - unproven, setup.max_connections);
        // A finished connection that is leased counts again: only then there may be more.
        // Nor does a peer count that has only been accepted.
        let began = self.step.began && (self.side == Side::Client || self.step.admits);
        ensure!(!began || all <= most, "2: no more than max_connections", "{all} for {most}");
        // Where callers wait and all ready connections are the peer's, the client dials more.
        let both = self.side == Side::Client && setup.acquirer == Acquirer::Both;
        let most = if both { setup.max_connections } else { setup.capacity.1 };
        let idle = stats.idle;
        // A full pool keeps connections that the peer may have acquired again.
        let kept = match setup.acquirer {
            Acquirer::Peer | Acquirer::Both => self.out,
            Acquirer::Either | Acquirer::ThisEnd => 0,
        };
        // The capacity may have been lowered.
        let most_idle = most.max(self.before.idle).max(self.ready).saturating_add(kept);
        ensure!(idle <= most_idle, "2: stock within capacity", "{idle} for {most}");
        let ready = stats.handshaking - unproven + stats.idle;
        if self.side == Side::Server {
            // Connections that were becoming ready when the capacity was lowered come on top.
            let most = most.max(self.ready).saturating_add(kept);
            ensure!(ready <= most, "2: ready connections of a server", "{ready} for {most}");
            let most = setup.max_handshakes;
            ensure!(unproven <= most, "2: a server's handshakes", "{unproven} for {most}");
        }
        if self.step.dialled > 0 {
            let granted = stats.leased - self.lives.count(Place::Leased);
            let supply = ready + stats.dialing + stats.returning + granted;
            // Each idle connection that is to be replaced allows one more.
            let old = |life: &&Life| {
                let half = self.setup.idle_timeout.map(|whole| life.since + whole / 2);
                life.state == State::Idle && half.is_some_and(|half| half <= self.seen)
            };
            let old = match self.large {
                true => stats.idle,
                false => u32::try_from(self.lives.iter().filter(old).count()).unwrap_or(u32::MAX),
            };
            let waiting = u32::try_from(self.waiting.for_any()).unwrap_or(u32::MAX);
            // Waiters have a connection each, beside those that the law says.
            let waited = match setup.tuning {
                Tuning::NodePass => 0,
                _ => {
                    // Each end that acquires has one at least.
                    let least = if both { 2 } else { 1 };
                    let (capacity, largest) = (stats.capacity.max(least), setup.capacity.1);
                    // The dial for a caller may have begun before it was served in the same step.
                    let served = u32::from(self.step.woken);
                    let here =
                        capacity.saturating_add(waiting + served).max(self.waiting.for_stock());
                    let at_peer = capacity.saturating_add(stats.peer_waiters + served);
                    here.min(largest).max(at_peer.min(largest - largest / 4))
                }
            };
            let capacity = stats.capacity.max(waited);
            let most = match (both, waiting) {
                (false, _) => capacity,
                (true, 0) => capacity.max(2),
                (true, _) => capacity.max(2).max(stats.reserved.saturating_add(waiting)),
            };
            let most = most.saturating_add(old);
            let in_flight = stats.dialing + stats.handshaking;
            // A single dial may be for the control connection, whatever is in stock.
            let control = setup.control_connection && self.waiting.wants(ConnId::ZERO);
            let is_for_it = control && in_flight == 1;
            let fits = supply <= most || is_for_it;
            ensure!(fits, "2: supply within capacity", "{supply} for {most}");
            let most = if stats.failures_in_a_row > 0 { 1 } else { setup.max_dials };
            ensure!(in_flight <= most, "2: dials within their limit", "{in_flight} for {most}");
        }
        Ok(())
    }

    /// A server's handshakes, whose peers may be anybody.
    fn unproven(&self) -> u32 {
        match self.side {
            Side::Client => 0,
            Side::Server => {
                self.lives.count(Place::Accepted) + self.lives.count(Place::Handshaking)
            }
        }
    }

    /// All handshakes.
    pub(super) const fn handshakes(&self) -> u32 {
        let lives = &self.lives;
        lives.count(Place::Accepted)
            + lives.count(Place::Handshaking)
            + lives.count(Place::Admitted)
    }

    /// 2: whether a peer is let in, before the evictions are entered.
    pub(super) fn check_admission(&self, peer: Source, verdict: Result<(), Rejected>) -> Verdict {
        // Where there are many to be counted, they are not.
        if self.large {
            return Ok(());
        }
        let held = self.held_by(peer);
        let full = self.setup.max_per_source.is_some_and(|most| held >= most as usize);
        // Before its handshake, a peer may have a certificate that holds nothing.
        let known = self.step.admits || !self.setup.certificates;
        match verdict {
            Ok(()) => {
                let open = !self.closed && self.shutdown.is_none();
                ensure!(open, "8: nobody is admitted after close or in a shutdown", "{peer:?}");
                // A peer that has no connection of its own gets one in place of one of this end's.
                let yields = self.setup.acquirer == Acquirer::Both && !self.has_its_own(peer);
                ensure!(
                    !full || !known || yields,
                    "2: no more than max_per_source of a peer",
                    "it holds {held}"
                );
                Ok(())
            }
            Err(Rejected::SourceFull { .. }) => {
                ensure!(full, "2: no more than max_per_source of a peer", "it holds only {held}");
                Ok(())
            }
            Err(Rejected::ShuttingDown) => {
                let right = self.shutdown.is_some();
                ensure!(right, "2: a peer is turned away for a reason", "there is no shutdown");
                Ok(())
            }
            Err(Rejected::PoolClosed | Rejected::NotAllowed { .. }) => Ok(()),
            Err(rejected) => {
                ensure!(!full, "2: a full peer is turned away for that", "{rejected:?}");
                match rejected {
                    Rejected::CapacityReached { .. } => {
                        self.check_no_lockout(peer, held, &[State::Idle, State::Resting])
                    }
                    Rejected::ConnectionsReached { .. } => {
                        let evictable = [State::Idle, State::Resting, State::Claimed];
                        self.check_no_lockout(peer, held, &evictable)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// How many connections a peer holds: past their handshakes, and neither leased nor finished.
    fn held_by(&self, peer: Source) -> usize {
        let outside = |life: &Life| matches!(life.state, State::Leased | State::Finished);
        self.lives.iter().filter(|life| life.peer == Some(peer) && !outside(life)).count()
    }

    /// Whether some of a peer's connections are ready, or become so, that are the peer's to acquire.
    fn has_its_own(&self, peer: Source) -> bool {
        let own = |life: &&Life| {
            let stock = !matches!(
                life.state,
                State::Accepted
                    | State::Handshaking
                    | State::Granted
                    | State::Leased
                    | State::Finished
                    | State::Claimed
            );
            stock && life.id.is_some_and(|id| !self.setup.owns(self.side, id))
        };
        self.lives.iter().filter(|life| life.peer == Some(peer)).any(|life| own(&life))
    }

    /// Turned away for want of a place: no other peer holds two more, of which one is `evictable`; and
    /// this peer has none to be replaced, unused for a second, or has lately replaced as many as it holds.
    fn check_no_lockout(&self, peer: Source, held: usize, evictable: &[State]) -> Verdict {
        let uncounted = [State::Accepted, State::Handshaking].map(|state| (Side::Server, state));
        let outside = |life: &&Life| {
            matches!(life.state, State::Leased | State::Finished | State::Claimed)
                || uncounted.contains(&(self.side, life.state))
        };
        let supply = self.lives.iter().filter(|life| !outside(life)).count();
        let counted = |life: &&Life| {
            !matches!(life.state, State::Finished | State::Accepted | State::Handshaking)
        };
        let held_by_all = self.lives.iter().filter(counted).count();
        let (capacity, most) = (self.setup.capacity.1, self.setup.max_connections);
        if supply > capacity as usize || held_by_all > most as usize {
            // Connections that were put back for waiters, and are being drained, come on top, and a limit
            // may have been lowered; one eviction would make no room then.
            return Ok(());
        }
        for heavy in self.lives.iter().filter(|life| evictable.contains(&life.state)) {
            let Some(of) = heavy.peer else { continue };
            let count = self.held_by(of);
            ensure!(
                count < held + 2,
                "2: no peer locks out another",
                "{peer:?} with {held} is turned away, {of:?} has {count}"
            );
            let replaced = self.counts.ends.of(CloseReason::Replaced);
            ensure!(
                of != peer
                    || heavy.state == State::Claimed
                    || heavy.since + Duration::from_secs(1) > self.seen
                    || replaced >= held as u64,
                "2: a peer comes back in place of its old connections",
                "{peer:?} with {held} is turned away, and {replaced} were replaced"
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
        let hinted = stats.peer_waiters;
        ensure!(hinted <= high - high / 4, "3: no hint asks for everything", "{hinted} of {high}");
        let within = (low..=high).contains(&capacity);
        ensure!(within, "3: capacity within its bounds", "{capacity} in {low}..={high}");
        if self.setup.tuning == Tuning::NodePass {
            let (shortest, longest) = self.setup.interval;
            let within = (shortest..=longest).contains(&interval);
            ensure!(within, "3: interval within its bounds", "{interval:?}");
            // Its bounds may have moved.
            let step = capacity.abs_diff(before.clamp(low, high));
            ensure!(step <= 1, "3: capacity moves by one", "{before} to {capacity}");
            let step = interval.abs_diff(former.clamp(shortest, longest));
            let most = Duration::from_millis(100);
            ensure!(step <= most, "3: the interval moves by 100 ms", "{former:?} to {interval:?}");
        }
        Ok(())
    }

    /// After a failure a client begins with one dial; the first success allows 16 at a time, and each other
    /// one two more.
    pub(super) const fn follow_window(&mut self, stats: &Stats) {
        if stats.failures_in_a_row > self.before.failures_in_a_row {
            self.window = 1;
        } else if stats.totals.established > self.before.totals.established {
            self.window = if self.window < 14 { 16 } else { self.window.saturating_add(2) };
        }
    }

    /// 7: a client that may dial, and lacks connections, dials, independently of its other dials.
    pub(super) fn check_nothing_is_left_undone(&self, stats: &Stats, pool: &impl Pool) -> Verdict {
        let paced = self.side == Side::Server || self.setup.tuning == Tuning::NodePass;
        if paced || self.closed || self.shutdown.is_some() || stats.failures_in_a_row > 0 {
            return Ok(());
        }
        let in_flight = stats.dialing + stats.handshaking;
        let ready = in_flight + stats.idle + stats.returning;
        let all = ready + stats.claimed + stats.leased;
        // Granted connections count as supply, and are told as leased.
        let supply = ready as usize + self.waiting.called();
        let most = self.setup.max_dials.min(self.window);
        let may = in_flight < most && all < self.setup.max_connections;
        // With more claimed connections than this, a client stops dialling.
        let flooded = stats.claimed >= self.setup.capacity.1.saturating_mul(2).max(64);
        // A full server does not keep the client from replacing connections that are taken.
        let capacity = stats.capacity;
        let waits = self.waiting.queued() > self.waiting.for_requests();
        if stats.idle > 0 && capacity > 16 && !waits {
            // While callers are served from stock, dials are spread; but the next one is near.
            let spread = supply < capacity as usize && stats.ceiling.is_none() && may && !flooded;
            let due = pool.poll_timeout().is_some_and(|due| due <= self.seen + GAP);
            ensure!(!spread || due, "7: a spread dial is near", "{supply} of {capacity}");
            return Ok(());
        }
        let aim = stats.ceiling.map_or(stats.capacity, |ceiling| ceiling.min(stats.capacity));
        ensure!(
            !may || flooded || supply >= aim as usize,
            "7: a client dials up to its capacity",
            "{supply} of {aim}, {in_flight} in flight"
        );
        Ok(())
    }

    /// 7: a failure begins a wait, which is drawn from the backoff. A full server is not a failure.
    pub(super) fn check_backoff(
        &mut self,
        call: &Call,
        stats: &Stats,
        pool: &impl Pool,
    ) -> Verdict {
        let (failures, before) = (stats.failures_in_a_row, self.before.failures_in_a_row);
        let dialled = self.step.dialled > 0;
        let awaited = self.waiting.for_supply() > 0;
        if dialled && let Some((since, bound)) = self.backing_off.take() {
            self.counts.waited(self.seen.since(since), bound);
        }
        let in_flight = stats.dialing + stats.handshaking;
        let supply = in_flight + stats.idle + stats.returning;
        let held = stats.idle + stats.claimed + stats.leased + stats.returning;
        // Where nothing else holds the client back, the next dial follows the wait. Granted connections
        // count as supply, and are told as leased.
        let missing = supply as usize + self.waiting.called() < stats.capacity as usize;
        let flooded = stats.claimed >= self.setup.capacity.1.saturating_mul(2).max(64);
        let free = missing && !flooded && in_flight + held < self.setup.max_connections;
        let paced = self.setup.tuning == Tuning::NodePass;
        let alone = free && in_flight == 0 && !paced && self.shutdown.is_none();
        if failures > before {
            let turned_away = matches!(
                call,
                Call::Event(Event::HandshakeFailed { failure, .. })
                    if *failure != HandshakeFailure::Tls
            );
            ensure!(!turned_away || held == 0, "7: full is not down", "it holds {held}");
            let (_, bound) = self.setup.wait(failures - 1, awaited);
            ensure!(!dialled, "7: no dial without its backoff", "failure {failures}");
            self.backing_off = (alone && !awaited).then_some((self.seen, bound));
        } else if failures == 0 || awaited || matches!(call, Call::DialNow) {
            // A waiter pulls the next dial nearer.
            self.backing_off = None;
        }
        if alone && awaited && failures > 0 {
            let (due, latest) = (pool.poll_timeout(), self.seen + self.setup.patience());
            // At the end of time no deadline comes any more.
            let soon = latest >= NEVER || due.is_some_and(|due| due <= latest);
            ensure!(soon, "7: with a waiter the next dial is near", "{due:?}, not {latest:?}");
        }
        Ok(())
    }
}
