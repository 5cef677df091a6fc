//! What holds of every pool after every step, seen from outside. The naive pool is not asked.
//!
//! 1. Every connection is in one place and moves along [`EDGES`] only; each ends once, in a `Close`,
//!    an `Abort` or a report, and no action names it afterwards. The exception: what is being checked
//!    when it ends comes back once, and goes out as a stale `Close`. (The edges are asserted where
//!    the driver enters what it is told; [`law_1`] compares the places with the statistics.)
//! 2. A client that dials does not aim beyond its capacity, nor has more dials and handshakes under
//!    way than it may: one while it recovers from failures. A server holds no more than its capacity,
//!    handshakes and connections of one source.
//! 3. The capacity stays within its bounds; under the law of the reference it moves by one at the
//!    most, and the interval by 100 ms.
//! 4. No two live connections have one id; who asks for an id gets that one.
//! 5. A lease is of a connection that was in the pool and whose lifetime is not over. A waiter has an
//!    outcome once, and is woken only while it is not over; a wake means something: who is woken waits
//!    no longer, or has waited again since. Nobody waits for what is there: for any connection while
//!    one is idle, for one by its id while it is idle or claimed, for stock while as many are idle.
//! 6. There is no deadline when there is nothing to wait for, and none is left over by a timeout.
//! 7. (Whether a pool gets on is not seen in one step: the simulation tells.)
//! 8. A closed pool holds nothing, begins nothing and answers everybody; closing and flushing end
//!    everything that there was, once.
//! 9. What does not fit changes one counter and nothing else.
//! 10. The same configuration, seed and inputs lead to the same actions. (Where
//!     [`Checked`](super::Checked) runs a twin.)

use std::time::Duration;

use pool_proto::{
    Acquired, Action, Collected, ConnId, Event, Instant, Machine, Rejected, State, Stats, Stock,
    Token, Tuning, WaitOutcome, WaiterId,
};

use super::driver::{Driver, Waits, hands_in};
use crate::call::{Answer, Call, Did, Side};
use crate::setup::Setup;

/// Where a live connection is, as far as it is seen from outside: idle, claimed, granted and resting
/// ones are all in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Dialing,
    Handshaking,
    Pooled,
    Checking,
    Leased,
}

/// From where to where a connection can go; `None` is its end.
const EDGES: [(Place, Option<Place>); 11] = [
    (Place::Dialing, Some(Place::Handshaking)),
    (Place::Dialing, None),
    (Place::Handshaking, Some(Place::Pooled)),
    (Place::Handshaking, None),
    (Place::Pooled, Some(Place::Checking)),
    (Place::Pooled, Some(Place::Leased)),
    (Place::Pooled, None),
    (Place::Checking, Some(Place::Pooled)),
    (Place::Checking, None),
    (Place::Leased, Some(Place::Pooled)),
    (Place::Leased, None),
];

pub fn assert_edge(token: Token, from: Place, to: Option<Place>) {
    assert!(EDGES.contains(&(from, to)), "{token:?} went from {from:?} to {to:?}");
}

/// One step, from outside.
pub struct Step<'a, R: Side> {
    pub setup: &'a Setup,
    pub machine: &'a Machine<u32, R>,
    pub driver: &'a Driver,
    pub call: &'a Call,
    /// Whether what the call is about was where the call needs it.
    pub fitted: bool,
    /// Whether the pool was closed before the step.
    pub was_closed: bool,
    /// How many connections lived before it.
    pub lived: usize,
    pub answer: &'a Answer,
    pub actions: &'a [Did],
    pub before: &'a Stats,
    pub after: &'a Stats,
}

impl<R: Side> Step<'_, R> {
    pub fn assert_laws(&self) {
        self.law_1();
        self.law_2();
        self.law_3();
        self.law_4();
        self.law_5();
        self.law_5_of_what_is_there();
        self.law_5_of_wakes();
        self.law_6();
        self.law_8();
        self.law_9();
    }

    fn count(&self, place: Place) -> u32 {
        let lives = self.driver.lives.iter().filter(|life| life.place == place);
        u32::try_from(lives.count()).unwrap()
    }

    fn granted(&self) -> u32 {
        self.after.leased - self.count(Place::Leased)
    }

    fn lease(&self) -> Option<(Token, ConnId)> {
        match self.answer {
            Answer::Acquired(Acquired::Ready(lease))
            | Answer::Collected(Collected::Ready(lease)) => Some((lease.token, lease.id)),
            _ => None,
        }
    }

    fn woken(&self) -> impl Iterator<Item = WaiterId> {
        self.actions.iter().filter_map(|action| match action {
            Action::Wake { waiter } => Some(*waiter),
            _ => None,
        })
    }

    fn law_1(&self) {
        let stats = self.after;
        assert_eq!(stats.dialing, self.count(Place::Dialing));
        assert_eq!(stats.handshaking, self.count(Place::Handshaking));
        assert!(stats.leased >= self.count(Place::Leased), "{stats:?}");
        assert!(stats.returning >= self.count(Place::Checking), "{stats:?}");
        let resting = stats.returning - self.count(Place::Checking);
        let pooled = stats.idle + stats.claimed + self.granted() + resting;
        assert_eq!(pooled, self.count(Place::Pooled), "in the pool: {stats:?}");
        assert_eq!(stats.idle, self.machine.idle());
    }

    fn law_2(&self) {
        let stats = self.after;
        let ready = stats.handshaking + stats.idle;
        if !R::DIALS {
            assert!(ready <= stats.capacity, "{stats:?}");
            assert!(stats.handshaking <= self.setup.max_handshakes, "{stats:?}");
            return self.law_2_of_one_source();
        }
        if self.actions.iter().any(|action| matches!(action, Action::Dial { .. })) {
            let stock = ready + stats.dialing + stats.returning + self.granted();
            assert!(stock <= stats.capacity, "{stats:?}");
            let recovering = stats.failures_in_a_row > 0;
            let max_dials = if recovering { 1 } else { self.setup.max_dials };
            assert!(stats.dialing + stats.handshaking <= max_dials, "{stats:?}");
        }
        assert!(self.driver.lives.len() <= self.setup.max_connections as usize, "{stats:?}");
    }

    /// Only an admission is limited: what is put back comes on top.
    fn law_2_of_one_source(&self) {
        assert!(self.driver.lives.len() <= self.setup.max_connections as usize);
        let (Call::Admit(address), Some(limit)) = (self.call, self.setup.max_per_source) else {
            return;
        };
        let source = |address: std::net::IpAddr| match address.to_canonical() {
            std::net::IpAddr::V6(address) => (address.to_bits() >> 64, true),
            std::net::IpAddr::V4(address) => (address.to_bits().into(), false),
        };
        let theirs = self.driver.lives.iter().filter(|life| {
            life.place != Place::Leased && life.source.map(source) == Some(source(*address))
        });
        let theirs = u32::try_from(theirs.count()).unwrap();
        match self.answer {
            Answer::Admitted(Ok(_)) => assert!(theirs <= limit, "{address} has {theirs}"),
            Answer::Admitted(Err(Rejected::SourceFull { .. })) => {
                assert!(theirs >= limit, "{address} has {theirs}");
            }
            _ => {}
        }
    }

    fn law_3(&self) {
        let (before, after) = (self.before, self.after);
        let (min, max) = self.setup.capacity;
        if !R::DIALS {
            assert_eq!((after.capacity, after.interval), (max, Duration::ZERO));
            return;
        }
        assert!((min..=max).contains(&after.capacity), "{after:?}");
        let (short, long) = self.setup.interval;
        assert!((short..=long).contains(&after.interval), "{after:?}");
        if self.setup.tuning == Tuning::NodePass {
            assert!(before.capacity.abs_diff(after.capacity) <= 1, "{before:?} {after:?}");
            let moved = before.interval.abs_diff(after.interval);
            assert!(moved <= Duration::from_millis(100), "{before:?} {after:?}");
        }
    }

    fn law_4(&self) {
        let mut ids: Vec<ConnId> = self.driver.lives.iter().filter_map(|life| life.id).collect();
        let named = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), named, "two live connections have one id: {ids:?}");
        if let (Call::AcquireById(wanted), Some((_, id))) = (self.call, self.lease()) {
            assert_eq!(*wanted, id);
        }
        if let Answer::Admitted(Ok(admission)) = self.answer {
            assert_ne!(admission.id, ConnId::ZERO);
        }
    }

    fn law_5(&self) {
        if let Some((token, _)) = self.lease() {
            // That it was in the pool is the edge to a lease.
            let established = self.driver.life(token).and_then(|life| life.established);
            let established = established.expect("a lease of what was never established");
            let over = self
                .setup
                .max_lifetime
                .is_some_and(|life| established + life <= self.driver.latest);
            assert!(!over, "{token:?} is leased at the end of its lifetime");
        }
        if let Call::Collect(waiter) | Call::Cancel(waiter) = self.call {
            let unknown =
                [Answer::Collected(Collected::Unknown), Answer::Outcome(WaitOutcome::Unknown)];
            let open = self.driver.waiters.iter().any(|(other, _)| other == waiter);
            if unknown.contains(self.answer) {
                assert!(!open, "the machine has lost {waiter:?}");
            } else if matches!(self.answer, Answer::Collected(Collected::Waiting)) {
                assert!(open, "{waiter:?} waits, which is over");
            }
        }
        let waiting = self.waiting().count();
        assert_eq!(self.after.waiters as usize, waiting, "{:?}", self.after);
        // Each promised connection is promised to a waiter that has not collected it.
        let answered = self.driver.waiters.len() - waiting;
        assert!(self.granted() as usize <= answered, "{:?}", self.after);
    }

    fn law_5_of_what_is_there(&self) {
        let idle = self.after.idle;
        for (waiter, waits) in self.waiting() {
            let there = match waits {
                Waits::ForAny => idle > 0,
                Waits::ForStock(wanted) => idle >= wanted,
                Waits::ById(id) => self.is_ready(id),
            };
            assert!(!there, "{waiter:?} waits {waits:?}, which is there: {:?}", self.after);
        }
    }

    fn law_5_of_wakes(&self) {
        let collected = match self.call {
            Call::Collect(waiter) | Call::Cancel(waiter) => Some(*waiter),
            _ => None,
        };
        for waiter in self.woken() {
            let open = self.driver.waiters.iter().any(|(other, _)| *other == waiter);
            assert!(open || collected == Some(waiter), "{waiter:?} is woken, but is over");
            let ended = self.actions.iter().any(|action| matches!(action, Action::Close { .. }));
            let waits = self.machine.why(waiter).is_some();
            assert!(!waits || ended, "{waiter:?} is woken, but waits");
        }
    }

    /// Those who have no outcome yet.
    fn waiting(&self) -> impl Iterator<Item = (WaiterId, Waits)> {
        let waits = |(waiter, _): &(WaiterId, Waits)| self.machine.why(*waiter).is_some();
        self.driver.waiters.iter().copied().filter(waits)
    }

    fn is_ready(&self, id: ConnId) -> bool {
        let live = self.driver.lives.iter().find(|life| life.id == Some(id));
        let state = live.and_then(|life| self.machine.state_of(life.token));
        matches!(state, Some(State::Idle | State::Claimed))
    }

    fn law_6(&self) {
        let due = self.machine.poll_timeout();
        let all_leased = self.after.leased as usize == self.driver.lives.len();
        if all_leased && !R::DIALS && self.setup.max_lifetime.is_none() {
            assert_eq!(due, None, "nothing is waited for");
        }
        if matches!(self.call, Call::Timeout) {
            let now = self.driver.latest;
            assert!(due.is_none_or(|due| due > now), "{due:?} is left over at {now:?}");
        }
        let past = |due: &Instant| *due > self.driver.latest + Duration::from_secs(1 << 20);
        assert!(!due.as_ref().is_some_and(past), "{due:?} is no deadline of this setup");
    }

    fn law_8(&self) {
        match self.call {
            Call::Close if self.was_closed => {
                assert_eq!((self.actions, self.after), (&[][..], self.before), "closed twice");
            }
            Call::Flush if !self.was_closed => {
                let dialled = self.actions.iter().filter(|a| matches!(a, Action::Dial { .. }));
                assert_eq!(self.driver.lives.len(), dialled.count(), "older than the flush");
                assert_eq!(*self.answer, Answer::Count(u32::try_from(self.lived).unwrap()));
                let flushed = self.after.totals.flushed - self.before.totals.flushed;
                assert_eq!(flushed, self.lived as u64);
            }
            _ => {}
        }
        if !self.machine.is_closed() {
            return;
        }
        assert!(self.driver.lives.is_empty(), "{:?}", self.driver.lives);
        let stats = self.after;
        let live = stats.dialing + stats.handshaking + stats.idle + stats.claimed;
        assert_eq!((live, stats.leased, stats.returning, stats.waiters), (0, 0, 0, 0));
        assert_eq!(self.machine.poll_timeout(), None);
        let begins = |action: &Did| matches!(action, Action::Dial { .. } | Action::Check { .. });
        assert!(!self.actions.iter().any(begins), "{:?} of a closed pool", self.actions);
        if !self.was_closed {
            return;
        }
        assert_eq!(self.woken().count(), 0, "everybody was answered before");
        let begun = matches!(
            self.answer,
            Answer::Acquired(Acquired::Ready(_) | Acquired::Queued(_))
                | Answer::Stock(Stock::Ready | Stock::Queued(_))
                | Answer::Collected(Collected::Ready(_) | Collected::Waiting)
                | Answer::Admitted(Ok(_))
                | Answer::Put(Ok(()))
        );
        assert!(!begun, "{:?} of a closed pool", self.answer);
    }

    fn law_9(&self) {
        let inapplicable = R::DIALS && matches!(self.call, Call::Event(Event::AcceptEnded));
        if self.fitted && !inapplicable {
            return;
        }
        let mut expected = *self.before;
        match self.call {
            Call::Put(..) | Call::PutDrained(..) => expected.totals.put_unknown += 1,
            _ => expected.totals.stale_events += 1,
        }
        assert_eq!(*self.after, expected, "{:?} changed something", self.call);
        let returned = self.actions.iter().map(|action| match action {
            Action::Close { token, connection, .. } => (*token, *connection),
            other => panic!("{other:?} after {:?}", self.call),
        });
        assert!(returned.eq(hands_in(self.call)), "{:?} after {:?}", self.actions, self.call);
    }
}
