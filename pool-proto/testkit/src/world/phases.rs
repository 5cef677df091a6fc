//! A world from beginning to end: faults and safety, then no faults and liveness, then the close.

use std::time::Duration;

use pool_proto::{
    Acquired, Acquirer, CheckResult, Event, HandshakeFailure, IdExchange, Refusal, State, Tuning,
};

use crate::setup::{Setup, Side};
use crate::violation::{Verdict, Violation, ensure};
use crate::world::faults::Fault;
use crate::world::handshake::dial_and_handshake;
use crate::world::network::{Segment, Stage, Transport, endpoint_of, nanos};
use crate::world::options::{Options, Takers};
use crate::world::source::Source;
use crate::world::tally::Tally;
use crate::world::users::Kind;
use crate::world::{What, World};

/// The result of a world.
pub struct Outcome {
    pub tally: Tally,
    pub log: Option<String>,
    pub violation: Option<Violation>,
}

/// Lives through the world of one seed.
pub fn live_seed(options: Options, log: bool) -> Outcome {
    let random = Source::seed(options.seed ^ 0x5eed);
    live(options, random, log)
}

/// Lives through the world of some bytes: its options, then its choices in the order in which they
/// come up.
pub fn live_bytes(bytes: &[u8], log: bool) -> Outcome {
    let mut random = Source::bytes(bytes);
    let options = Options::of_bytes(&mut random);
    live(options, random, log)
}

/// Lives through one world: its options, and the choices that are left.
fn live(options: Options, random: Source, log: bool) -> Outcome {
    let mut world = match World::new(options, random, log) {
        Ok(world) => world,
        Err(violation) => {
            return Outcome { tally: Tally::default(), log: None, violation: Some(violation) };
        }
    };
    let violation = world.live().err();
    world.note(|| format!("{violation:?}"));
    for (counts, end) in world.tally.sides.iter_mut().zip(&world.ends) {
        counts.merge(end.ledger.counts());
    }
    world.tally.seeds = 1;
    world.tally.simulated = Duration::from_nanos(world.now);
    Outcome { tally: world.tally, log: world.log, violation }
}

impl World {
    fn live(&mut self) -> Verdict {
        for side in Side::BOTH {
            self.ends[side as usize].start(self.options.oracle)?;
            self.carry_out(side)?;
        }
        self.plan_users();
        self.plan_faults();
        let end = nanos(self.options.duration);
        self.run(end, |_| false)?;
        self.note(|| "from here on nothing goes wrong".to_owned());
        self.stop_faults()?;
        if self.share_a_control_connection()? {
            self.serve_everybody()?;
            self.fill_up()?;
            self.hold_a_conversation()?;
        }
        for side in Side::BOTH {
            self.close(side)?;
        }
        Ok(())
    }

    // --- phase 1: safety ------------------------------------------------------------------------

    /// All faults that come at some time, rather than on some occasion.
    fn plan_faults(&mut self) {
        let end = nanos(self.options.duration);
        for fault in Fault::ALL {
            if !fault.is_timed() {
                continue;
            }
            for _ in 0..self.options.faults[fault as usize] {
                let at = self.random.u64(..end);
                self.at(at, What::Strike(fault));
            }
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) -> Verdict {
        if !self.faulty {
            return Ok(());
        }
        let side = if self.random.bool() { Side::Client } else { Side::Server };
        let side = if fault == Fault::KnownDead { self.side_of_most_use(side) } else { side };
        let (now, up) = (self.now, self.up[side as usize]);
        self.note(|| format!("fault: {} ({side:?})", fault.name()));
        match fault {
            Fault::PartitionToServer => self.cut_off(&[Side::Server]),
            Fault::PartitionToClient => self.cut_off(&[Side::Client]),
            Fault::Partition => self.cut_off(&Side::BOTH),
            Fault::Reset => {
                let Some(transport) = self.some_transport() else { return Ok(()) };
                self.reset(transport);
            }
            Fault::HalfOpen => {
                let Some(transport) = self.some_transport() else { return Ok(()) };
                // An end is forgotten, and the other end is not told.
                self.transports[transport].cut = [true; 2];
            }
            Fault::ServerCrash if self.up[Side::Server as usize] => self.crash(Side::Server),
            Fault::ClientCrash if self.up[Side::Client as usize] => self.crash(Side::Client),
            Fault::ListenerLost if self.up[Side::Server as usize] && self.listening => {
                self.listening = false;
                self.event(Side::Server, Event::AcceptEnded)?;
                let later = self.random.u64(..20_000_000_000);
                self.at(now + later, What::Strike(Fault::Close));
            }
            Fault::Strangers => self.strangers(),
            Fault::ClockForward => {
                let jump = self.random.i64(0..30_000_000_000);
                self.end(side).skew += jump;
                self.carry_out(side)?;
            }
            Fault::ClockBackward => {
                let jump = self.random.i64(0..5_000_000_000);
                self.end(side).skew -= jump;
                self.carry_out(side)?;
            }
            Fault::Flush if up => {
                self.ends[side as usize].flush(now)?;
                self.carry_out(side)?;
            }
            Fault::Clean if up => {
                self.ends[side as usize].clean(now)?;
                self.carry_out(side)?;
            }
            Fault::Configure if up => {
                let setup = self.changed_setup(side);
                self.ends[side as usize].set_config(now, &setup)?;
                self.carry_out(side)?;
            }
            // The one without a listener is the one that has to go.
            Fault::Close if !self.listening => self.close_and_reopen(Side::Server)?,
            Fault::Close if up => self.close_and_reopen(side)?,
            Fault::GracefulShutdown if up => self.shut_down_and_reopen(side)?,
            Fault::StaleEvent if up => return self.stale_event(side),
            Fault::KnownDead if up => return self.known_dead(side),
            _ => return Ok(()),
        }
        self.tally.fault(fault);
        Ok(())
    }

    /// The setup of an end with a setting that is another one; or as it was at first.
    fn changed_setup(&mut self, side: Side) -> Setup {
        let setup = self.options.setups[side as usize];
        let (which, to) = (self.random.u8(..25), self.random.u8(..255));
        let changed = setup.changed(which, to);
        // Both ends rest for the same time. And a server that closes what is young looks like a full one.
        let young = [changed.idle_timeout, changed.max_lifetime].into_iter().flatten();
        let young = young.min().is_some_and(|least| least < Duration::from_millis(2100));
        match changed.reuse_delay == setup.reuse_delay && !(side == Side::Server && young) {
            true => changed,
            false => setup,
        }
    }

    fn cut_off(&mut self, towards: &[Side]) {
        let until =
            (self.now + self.random.u64(..20_000_000_000)).min(nanos(self.options.duration));
        for side in towards {
            self.partition[*side as usize] = until;
        }
    }

    /// A host stops, and comes back. Its peers learn of it at once, or when they next send.
    fn crash(&mut self, side: Side) {
        drop(self.take_checks(side));
        for part in self.open_parts(side) {
            self.part_over(part, false);
        }
        let told = self.random.bool();
        for at in self.endpoints_of(side) {
            if !matches!(self.endpoint(at).stage, Stage::Closed | Stage::Gone) {
                if told {
                    self.send(at, Segment::End);
                }
                let end = self.endpoint(at);
                (end.stage, end.token) = (Stage::Gone, None);
                end.inbox.clear();
            }
        }
        self.up[side as usize] = false;
        let later = self.random.u64(..30_000_000_000);
        self.at(self.now + later, What::Open(side));
    }

    /// The side at which somebody has been called and has not come yet; else `side`.
    fn side_of_most_use(&self, side: Side) -> Side {
        let called = |side: Side| self.ends[side as usize].ledger.called() > 0;
        if called(side.other()) && !called(side) { side.other() } else { side }
    }

    /// The driver learns, by some way of its own, that a connection in the pool is dead: rather one
    /// that is promised to somebody, or rests, if there is one.
    fn known_dead(&mut self, side: Side) -> Verdict {
        let state = |at: u32| {
            let end = &self.endpoints[at as usize];
            let token = end.token.filter(|_| end.stage == Stage::Pooled)?;
            Some((token, self.ends[side as usize].state(token)?))
        };
        let all: Vec<_> = self.endpoints_of(side).filter_map(state).collect();
        let of = |wanted| all.iter().find(|(_, state)| *state == wanted);
        let rest = self.random.bool();
        let rare = of(State::Granted).or_else(|| of(State::Resting).filter(|_| rest));
        let some = rare.or_else(|| self.random.choice(&all)).copied();
        let Some((token, _)) = some else { return Ok(()) };
        self.tally.fault(Fault::KnownDead);
        self.event(side, Event::Closed { token })
    }

    /// Something is reported of a connection that has ended, or that does not fit one that lives.
    fn stale_event(&mut self, side: Side) -> Verdict {
        let state = |at: u32| {
            let token = self.endpoints[at as usize].token?;
            Some((token, self.ends[side as usize].state(token)))
        };
        let all: Vec<_> = self.endpoints_of(side).filter_map(state).collect();
        let Some((token, state)) = self.random.choice(&all).copied() else { return Ok(()) };
        let event = match (state, self.random.u8(..4)) {
            (Some(State::Dialing), _) => {
                Event::HandshakeFailed { token, failure: HandshakeFailure::Tls }
            }
            (_, 0) => Event::DialFailed { token },
            (None, 1) => Event::Readable { token },
            (None, 2) => Event::Closed { token },
            (Some(State::Handshaking), 3) => Event::Closed { token },
            _ => Event::Dialed { token },
        };
        self.tally.fault(Fault::StaleEvent);
        let now = self.now;
        self.note(|| format!("  {side:?} is told {event:?}, which is stale: {state:?}"));
        self.ends[side as usize].event(now, event)?;
        self.carry_out(side)
    }

    // --- phase 2: liveness ----------------------------------------------------------------------

    /// Ends all faults and all use, and lets both ends notice the effects.
    fn stop_faults(&mut self) -> Verdict {
        self.faulty = false;
        let now = self.now;
        for side in Side::BOTH {
            if self.options.faults[Fault::Configure as usize] > 0 && self.up[side as usize] {
                let setup = self.options.setups[side as usize];
                self.ends[side as usize].set_config(now, &setup)?;
                self.carry_out(side)?;
            }
        }
        self.partition = [0; 2];
        // Whatever is stuck ends: keep-alive finds the half-open ones, and strangers go home.
        for transport in 0..self.transports.len() {
            let stages = Side::BOTH.map(|side| self.endpoint(endpoint_of(transport, side)).stage);
            let Transport { cut, spoiled, .. } = self.transports[transport];
            let idle = stages == [Stage::Pooled; 2] && cut == [false; 2] && !spoiled;
            let over = stages.iter().all(|stage| matches!(stage, Stage::Closed | Stage::Gone));
            self.transports[transport].endless = false;
            if !idle && !over {
                self.reset(transport);
            }
        }
        for side in Side::BOTH {
            if self.ends[side as usize].is_ending() {
                self.close(side)?;
            }
            self.open(side)?;
            // A clock that was set back catches up.
            let now = self.now;
            let end = self.end(side);
            end.catch_up(now);
            self.carry_out(side)?;
        }
        if !self.listening {
            self.close_and_reopen(Side::Server)?;
            self.open(Side::Server)?;
        }
        // Segments and messages on their way arrive. A message may make a user begin, who leaves, too.
        for _ in 0..3 {
            for side in Side::BOTH {
                for part in self.open_parts(side) {
                    self.give_up(part)?;
                }
            }
            let until = self.all_arrived();
            self.run(until, |_| false)?;
        }
        Ok(())
    }

    /// By when the client has connected again, whatever it is waiting for, if nothing goes wrong;
    /// `awaited`, if somebody at its end waits for that.
    fn bound(&mut self, awaited: bool) -> Duration {
        let options = &self.options;
        let one = dial_and_handshake(options.delay, options.jitter);
        let client = &self.ends[Side::Client as usize];
        let (stats, setup) = (client.stats(), client.setup());
        let backoff = match stats.ceiling {
            _ if awaited => setup.patience(),
            Some(_) => setup.backoff.1,
            // The wait may have been drawn under another backoff, and cut to the cap of this one.
            None if options.faults[Fault::Configure as usize] > 0 => setup.backoff.1,
            None => setup.wait(stats.failures_in_a_row, false).1,
        };
        let rounds = setup.capacity.1.div_ceil(setup.max_dials) + 2;
        let interval = match setup.tuning {
            // Rounds begin no dial while one is missing from the last one.
            Tuning::NodePass => setup.interval.1 * 3,
            _ => Duration::ZERO,
        };
        let rest = setup.rest() * 2 + setup.drain_timeout;
        // A client of which all that is ready is its own gives some to the server, one a second.
        let yields = match setup.acquirer {
            Acquirer::Both => Duration::from_secs(1),
            _ => Duration::ZERO,
        };
        yields + backoff + interval + rest + one * rounds + Duration::from_millis(10)
    }

    /// Whether the server does fewer handshakes at a time than the client dials: then the client's
    /// dials evict each other's handshakes, and chance decides how many come through.
    const fn has_narrow_door(&self) -> bool {
        let [ours, theirs] = &self.options.setups;
        // A client that reads no id has done its part of the handshake earlier than the server, and
        // may dial the next one meanwhile.
        let more = if matches!(self.options.ids, IdExchange::None) { 1 } else { 0 };
        theirs.max_handshakes < ours.max_dials + more
    }

    /// 7: where there is a control connection, users of both ends get it, even if the client's stock is full,
    /// and keep it. Returns whether that is so: otherwise it takes up places that others wait for, now and then.
    fn share_a_control_connection(&mut self) -> Verdict<bool> {
        if !self.options.has_control() {
            return Ok(true);
        }
        let [ours, theirs] = self.options.setups;
        let [client, server] = Side::BOTH.map(|side| self.end(side).stats());
        // One more than the stock, and one more for one that ends just then.
        let more = client.capacity.max(ours.capacity.0) + client.claimed + client.leased + 2;
        let has_room = |limit: u32| limit >= more + server.claimed + server.leased;
        let limits = [ours.max_connections, theirs.max_connections, theirs.capacity.1];
        let has_room = limits.into_iter().chain([theirs.most_per_source()]).all(has_room);
        if !has_room || self.has_narrow_door() {
            return Ok(false);
        }
        // After dials that came to nothing, the waits double up to the claim timeout.
        let bound = self.bound(true) + ours.claim_timeout;
        let until = self.now + nanos(bound);
        let parts = [self.keep_control_on(Side::Server)?, self.keep_control_on(Side::Client)?];
        let shared = self.run(until, |world| parts.iter().all(|part| world.has_lease(*part)))?;
        let has = parts.map(|part| self.has_lease(part));
        let stats = self.brief();
        ensure!(
            shared,
            "7: the control connection comes to both ends",
            "server and client have it: {has:?} after {bound:?}: {stats:?}"
        );
        self.tally.last_controls += 1;
        Ok(true)
    }

    /// 7: the first `capacity` waiters are served within the bound.
    fn serve_everybody(&mut self) -> Verdict {
        if self.has_narrow_door() {
            return Ok(());
        }
        let [client, server] = Side::BOTH.map(|side| self.end(side).stats());
        let [ours, theirs] = self.options.setups;
        if client.ceiling.is_some() && ours.max_lifetime.is_some() {
            // A connection that expires while a dial beyond the ceiling is out hides its success, and the
            // next one comes after another wait: a weakness that is known.
            return Ok(());
        }
        // Claims of former times are in nobody's way but their limit's.
        let room = ours.max_connections.saturating_sub(client.claimed + client.leased);
        let places = theirs.max_connections.saturating_sub(server.claimed + server.leased);
        let most = client.capacity.min(room).min(places).min(theirs.capacity.1);
        let places = self.places_of_a_source();
        let most = most.min(ours.max_waiters).min(theirs.max_waiters).min(places);
        // The client does not see the leases of the server: its stock may sink to the minimum meanwhile.
        let side = if self.random.bool() { Side::Client } else { Side::Server };
        let side = if self.options.acquires(side) { side } else { side.other() };
        let most = match side {
            Side::Client => most,
            Side::Server => most.min(ours.capacity.0),
        };
        // Where both acquire, neither end sees the leases of the other, nor that their stock is used up.
        // Each has at least one.
        let most = if ours.acquirer == Acquirer::Both { most.min(1) } else { most };
        let bound = self.bound(side == Side::Client);
        let until = self.now + nanos(bound);
        self.note(|| format!("{most} at the {side:?}'s end are to be served within {bound:?}"));
        let mut parts = Vec::new();
        for _ in 0..most {
            parts.push(self.take_and_hold(side)?);
        }
        let served = self.run(until, |world| parts.iter().all(|part| world.was_served(*part)))?;
        let waiting = parts.iter().filter(|part| !self.was_served(**part)).count();
        let stats = self.brief();
        ensure!(
            served,
            "7: waiters are served in time",
            "{waiting} of {most} at the {side:?}'s end wait after {bound:?}: {stats:?}"
        );
        self.tally.served += u64::from(most);
        self.tally.serving_seeds += u64::from(most > 0);
        for part in parts {
            self.give_up(part)?;
        }
        // To the client, what the server's users took and closed without a word looks like a full
        // server: it backs off again.
        let until = self.all_arrived();
        self.run(until, |_| false)?;
        Ok(())
    }

    /// The most connections of one source, without the control connection.
    fn places_of_a_source(&self) -> u32 {
        let control = u32::from(self.options.has_control());
        self.options.setups[Side::Server as usize].most_per_source().saturating_sub(control)
    }

    /// 7: the stock fills up again.
    fn fill_up(&mut self) -> Verdict {
        let [ours, theirs] = self.options.setups;
        let least = ours.capacity.0.min(theirs.capacity.1).min(self.places_of_a_source());
        let [client, server] = Side::BOTH.map(|side| self.end(side).stats());
        let least = least.min(ours.max_connections.saturating_sub(client.claimed + client.leased));
        let least =
            least.min(theirs.max_connections.saturating_sub(server.claimed + server.leased));
        let lifetimes = Side::BOTH.map(|side| {
            let setup = &self.options.setups[side as usize];
            setup.max_lifetime.into_iter().chain(setup.idle_timeout).min()
        });
        // Connections may end faster than they come.
        let bound = self.bound(false);
        let brief = lifetimes.iter().flatten().any(|life| *life < bound * 2);
        if brief || self.has_narrow_door() {
            return Ok(());
        }
        // Whatever is stale on one end is found out on the other meanwhile.
        let bound = bound * 3 + Duration::from_secs(2);
        let until = self.now + nanos(bound);
        let full =
            move |world: &Self| world.ends[Side::Client as usize].ledger.stats().idle >= least;
        let mut filled = self.run(until, full)?;
        if !filled {
            // A success that was under way may have been revoked since, which lengthens the wait.
            let until = self.now + nanos(self.bound(false));
            filled = self.run(until, full)?;
        }
        let stats = self.brief();
        self.tally.filled += u64::from(filled);
        ensure!(filled, "7: the stock fills up", "not {least} within {bound:?}: {stats:?}");
        Ok(())
    }

    /// 4 and 7: one end takes any connection, the other is told its id and takes it, and all bytes
    /// arrive; then again, with one that is closed before its id is told. Now and then its lifetime ends
    /// just then, and connections that were dialled together end together. Where nothing says which end
    /// acquires, the other end may close just those for their age that are acquired next: each try of
    /// such a seed fails with a chance of about a third. So many may try.
    fn hold_a_conversation(&mut self) -> Verdict {
        if self.options.ids == IdExchange::None || self.has_narrow_door() {
            return Ok(());
        }
        let side = match self.options.takers {
            Takers::Server => Side::Server,
            Takers::Client => Side::Client,
            Takers::Both if self.random.bool() => Side::Server,
            Takers::Both => Side::Client,
        };
        self.options.timeout = 60_000..=60_000;
        let heard = self.try_to(side, Kind::First, |tally| tally.conversations)?;
        let stats = self.brief();
        ensure!(heard, "4: a conversation is heard", "not in thirty conversations: {stats:?}");
        self.tally.last_conversations += 1;
        if self.options.accepts && self.options.opens() {
            // Whoever accepts could get it before who is told its id.
            return Ok(());
        }
        let seen = self.try_to(side, Kind::Hasty, |tally| tally.ends_by_id)?;
        let stats = self.brief();
        ensure!(seen, "4: an end is had by its id", "not in thirty connections: {stats:?}");
        self.tally.last_ends += 1;
        Ok(())
    }

    /// Up to ten users try until `successes` grows; returns whether it has.
    fn try_to(
        &mut self,
        side: Side,
        kind: Kind,
        successes: impl Fn(&Tally) -> u64,
    ) -> Verdict<bool> {
        let before = successes(&self.tally);
        for _ in 0..30 {
            let bound =
                self.bound(side == Side::Client) + (self.options.delay + self.options.jitter) * 8;
            let until = self.now + nanos(bound);
            self.take(side, kind)?;
            if self.run(until, |world| successes(&world.tally) > before)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn brief(&self) -> [String; 2] {
        Side::BOTH.map(|side| {
            let stats = self.ends[side as usize].stats();
            format!(
                "{side:?}: {} dialing, {} handshaking, {} idle, {} claimed, {} leased, \
                 {} returning, {} waiting, capacity {}, {} failures",
                stats.dialing,
                stats.handshaking,
                stats.idle,
                stats.claimed,
                stats.leased,
                stats.returning,
                stats.waiters,
                stats.capacity,
                stats.failures_in_a_row
            )
        })
    }

    // --- phase 3: the close ---------------------------------------------------------------------

    fn close_and_reopen(&mut self, side: Side) -> Verdict {
        self.close(side)?;
        let later = self.random.u64(..10_000_000_000);
        self.at(self.now + later, What::Open(side));
        Ok(())
    }

    /// A graceful shutdown, with a deadline or without. What is left after some time is closed.
    fn shut_down_and_reopen(&mut self, side: Side) -> Verdict {
        let now = self.now;
        let timeout = self.random.bool().then(|| self.random.u64(..5_000_000_000));
        self.note(|| format!("{side:?} shuts down within {timeout:?} ns"));
        self.ends[side as usize].graceful_shutdown(now, timeout)?;
        self.carry_out(side)?;
        let later = self.random.u64(..10_000_000_000);
        let epoch = self.epoch[side as usize];
        self.at(now + later, What::Reopen(side, epoch));
        Ok(())
    }

    /// The end of the graceful shutdown of a machine, unless the machine has gone meanwhile.
    pub(crate) fn reopen(&mut self, side: Side, epoch: u32) -> Verdict {
        if epoch != self.epoch[side as usize] || !self.up[side as usize] {
            return Ok(());
        }
        self.close(side)?;
        self.open(side)
    }

    /// 8: after a close everything has come out, and nothing begins any more.
    fn close(&mut self, side: Side) -> Verdict {
        if !self.up[side as usize] {
            return Ok(());
        }
        let now = self.now;
        self.note(|| format!("{side:?} closes"));
        self.ends[side as usize].close(now)?;
        self.carry_out(side)?;
        for part in self.open_parts(side) {
            if self.waits(part) {
                self.collect(part)?;
            }
            ensure!(!self.waits(part), "8: waiters are answered by close", "part {part}");
        }
        // Checks under way come back late.
        for (token, connection) in self.take_checks(side) {
            let result = CheckResult::Quiet;
            self.event(side, Event::Checked { token, connection, result })?;
        }
        let answer = self.ends[side as usize].acquire(now, false)?;
        let refused = matches!(answer, Acquired::Refused(Refusal::PoolClosed));
        ensure!(refused, "8: no lease after close", "{answer:?}");
        self.ends[side as usize].flush(now)?;
        if side == Side::Server {
            let accepted = self.ends[side as usize].accept(now, 1)?;
            ensure!(accepted.is_err(), "8: nobody is admitted after close", "{accepted:?}");
        }
        self.carry_out(side)?;
        self.ends[side as usize].check_end()?;
        self.up[side as usize] = false;
        Ok(())
    }
}
