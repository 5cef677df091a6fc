//! A world from beginning to end: faults and safety, then no faults and liveness, then the close.

use std::time::Duration;

use pool_proto::{Acquired, CheckResult, Event, HandshakeFailure, Refusal, State};

use crate::setup::{Setup, Side};
use crate::violation::{Verdict, Violation, ensure};
use crate::world::faults::Fault;
use crate::world::network::{Segment, Stage, nanos};
use crate::world::options::Options;
use crate::world::source::Source;
use crate::world::tally::Tally;
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
            // The end without a listener has to go.
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
        // Both ends rest for the same time. And a server that closes young connections looks like a full
        // one.
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

    // --- phase 3: the close ---------------------------------------------------------------------

    pub(super) fn close_and_reopen(&mut self, side: Side) -> Verdict {
        self.close(side)?;
        let later = self.random.u64(..10_000_000_000);
        self.at(self.now + later, What::Open(side));
        Ok(())
    }

    /// A graceful shutdown, with a deadline or without. Connections that are left after some time are
    /// closed.
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
    pub(super) fn close(&mut self, side: Side) -> Verdict {
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
