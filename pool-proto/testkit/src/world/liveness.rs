//! Phase 2 of a world: nothing goes wrong any more, and everybody is served in time.

use std::time::Duration;

use pool_proto::{Acquirer, IdExchange, Tuning};

use crate::setup::Side;
use crate::violation::{Verdict, ensure};
use crate::world::World;
use crate::world::faults::Fault;
use crate::world::handshake::dial_and_handshake;
use crate::world::network::{Stage, Transport, endpoint_of, nanos};
use crate::world::options::Takers;
use crate::world::tally::Tally;
use crate::world::users::Kind;

impl World {
    /// Ends all faults and all use, and lets both ends notice the effects.
    pub(super) fn stop_faults(&mut self) -> Verdict {
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
        // Stuck connections end: keep-alive finds the half-open ones, and strangers go home.
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

    /// The time within which the client has connected again, whatever it is waiting for, if nothing goes wrong;
    /// `awaited`, if a caller at its end waits for that.
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
        // A client that owns all ready connections gives some to the server, one a second.
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
    /// and keep it. Returns whether that holds: otherwise the control connection sometimes takes up places that
    /// others wait for.
    pub(super) fn share_a_control_connection(&mut self) -> Verdict<bool> {
        if !self.options.has_control() {
            return Ok(true);
        }
        let [ours, theirs] = self.options.setups;
        let [client, server] = Side::BOTH.map(|side| self.end(side).stats());
        // More than the law wishes may be ready, as surplus is closed slowly, or not at all.
        let stock = client.capacity.max(ours.capacity.0).max(client.idle).max(server.idle);
        // The stock, the control connection, and a connection that ends just then.
        let more = stock + client.claimed + client.leased + 2;
        let has_room = |limit: u32| limit >= more + server.claimed + server.leased;
        let at_server = [theirs.max_connections, theirs.capacity.1, theirs.most_per_source()];
        let is_room = has_room(ours.max_connections) && at_server.into_iter().all(has_room);
        if !is_room || self.has_narrow_door() {
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
    pub(super) fn serve_everybody(&mut self) -> Verdict {
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
        // Old claims count against their own limit only.
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
        // To the client, connections that the server's users closed unused look like rejections of a full
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
    pub(super) fn fill_up(&mut self) -> Verdict {
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
        // Meanwhile one end discovers the connections that are stale at the other.
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
    pub(super) fn hold_a_conversation(&mut self) -> Verdict {
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
            // An accepting user could get it before the user that is told its id.
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
}
