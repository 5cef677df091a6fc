//! The driver of a script: turns an [`Op`] into the [`Call`] that it means now, to a machine whose
//! ledger is at hand, and holds the leases and checks that a later step hands in.

mod state_key;

use pool_proto::{Acquired, Action, Collected, ConnId, Event, Instant, Token, WaiterId};

use super::names::{foreign, made, nth, nth_last, peer};
use super::op::{Given, Op, When, Who, Whom, WhoseId};
use crate::call::{Answer, Call, Did};
use crate::ledger::{Ledger, Life, Place};
use crate::setup::Side;

/// The driver of a machine, with the leases of its users.
#[derive(Clone)]
pub struct Driver {
    /// The driver's clock; it can be set back.
    pub now: Instant,
    pub ledger: Ledger,
    /// Leases of users, those included that the machine has ended.
    leases: Vec<(Token, u32)>,
    /// Checks under way, those included that the machine has ended.
    pub checks: Vec<(Token, u32)>,
    connections: u32,
    ids: u32,
}

impl Driver {
    pub const fn new(ledger: Ledger, now: Instant) -> Self {
        Self { now, ledger, leases: Vec::new(), checks: Vec::new(), connections: 0, ids: 0 }
    }

    // --- from steps to calls --------------------------------------------------------------------

    /// Returns the call that a step means now; `None` for a step without a subject, or one that only
    /// moves the clock.
    pub fn resolve(&mut self, op: &Op, due: Option<Instant>) -> Option<Call> {
        use Place::*;

        let dials = self.ledger.side() == Side::Client;
        let event = match *op {
            Op::Acquired => return Some(Call::Acquired),
            Op::AcquireAgain => return Some(Call::AcquireAgain),
            Op::AcquireById(whose) => return self.id(whose).map(Call::AcquireById),
            Op::AcquireClaimed => return Some(Call::AcquireClaimed),
            Op::WaitReady(ready) => return Some(Call::WaitReady(ready.into())),
            Op::Collect(who) => return self.waiter(who).map(Call::Collect),
            Op::Cancel(who) => return self.waiter(who).map(Call::Cancel),
            Op::TimeOut(who) => return self.waiter(who).map(Call::TimeOut),
            Op::Why(who) => return self.waiter(who).map(Call::Why),
            Op::Put(whom) => {
                let (token, connection) = self.lease(whom)?;
                return Some(Call::Put(token, connection));
            }
            Op::PutDrained(whom, result) => {
                let (token, connection) = self.lease(whom)?;
                return Some(Call::PutDrained(token, connection, result));
            }
            Op::Reject(whom, result) => {
                let (token, connection) = self.lease(whom)?;
                return Some(Call::Reject(token, connection, result));
            }
            Op::PutForeign => return Some(Call::PutForeign),
            Op::Clean => return Some(Call::Clean),
            Op::EndFinished => return Some(Call::EndFinished),
            Op::Flush => return Some(Call::Flush),
            Op::Close => return Some(Call::Close),
            Op::GracefulShutdown(span) => {
                let deadline = span.map(|span| self.now + span.duration());
                return Some(Call::GracefulShutdown(deadline));
            }
            Op::AddError => return Some(Call::AddError),
            Op::ResetError => return Some(Call::ResetError),
            Op::DialNow => return dials.then_some(Call::DialNow),
            Op::SetCapacity(most, fixed) => {
                let (low, high) = (if fixed { most } else { 1 }, most);
                return dials.then_some(Call::SetCapacity(low.into(), high.into()));
            }
            Op::SetConfig(which, to) => {
                return Some(Call::SetConfig(Box::new(self.ledger.setup().changed(which, to))));
            }
            Op::Accept(number) => return (!dials).then(|| Call::Accept(peer(number))),
            Op::Admit(whom, number) if !dials => {
                let token = self.token(whom, &[Accepted, Handshaking])?;
                return Some(Call::Admit(token, self.certificate(number)));
            }
            Op::Admit(..) => return None,
            Op::FirstByte(whom) => Event::FirstByte { token: self.token(whom, &[Accepted])? },
            Op::Timeout(when) => {
                let at = match when {
                    When::Now => self.now,
                    When::Early => due.map_or(self.now, |due| {
                        Instant::from_nanos(due.as_nanos().saturating_sub(1))
                    }),
                    When::Due => due.unwrap_or(self.now),
                    When::Late(span) => due.unwrap_or(self.now) + span.duration(),
                };
                self.now = self.now.max(at);
                return Some(Call::Timeout);
            }
            Op::Pass(span) => {
                self.now = self.now + span.duration();
                return None;
            }
            Op::Back(span) => {
                self.now = Instant::EPOCH + self.now.since(Instant::EPOCH + span.duration());
                return None;
            }
            Op::Dialed(whom) => Event::Dialed { token: self.token(whom, &[Dialing])? },
            Op::DialFailed(whom) => Event::DialFailed { token: self.token(whom, &[Dialing])? },
            Op::Established(whom, given) => {
                let token = self.token(whom, &[if dials { Handshaking } else { Admitted }])?;
                let id = if dials && self.ledger.setup().ids_exchanged() {
                    self.given(given)
                } else {
                    None
                };
                Event::Established { token, connection: self.connection(), id }
            }
            Op::HandshakeFailed(whom, failure) => {
                let token = self.token(whom, &[Accepted, Handshaking, Admitted])?;
                Event::HandshakeFailed { token, failure }
            }
            Op::Readable(whom) => Event::Readable { token: self.token(whom, &[Pooled])? },
            Op::Checked(whom, result) => {
                let (token, connection) = self.check(whom)?;
                Event::Checked { token, connection, result }
            }
            Op::Closed(whom) => {
                let token = self.token(whom, &[Pooled, Checking])?;
                // If it is a lease, its holder closes it.
                self.leases.retain(|(lease, _)| *lease != token);
                Event::Closed { token }
            }
            Op::Release(whom) => Event::Closed { token: self.lease(whom)?.0 },
            Op::AcceptEnded => Event::AcceptEnded,
        };
        Some(Call::Event(event))
    }

    /// Certificate number n of three, where peers are known by theirs.
    fn certificate(&self, number: u8) -> Option<[u8; 32]> {
        self.ledger.setup().certificates.then_some([number % 3; 32])
    }

    fn token(&self, whom: Whom, places: &[Place]) -> Option<Token> {
        let all = |fits: &dyn Fn(&Life) -> bool| -> Vec<Token> {
            self.ledger
                .lives()
                .into_iter()
                .filter(|life| fits(life))
                .map(|life| life.token)
                .collect()
        };
        match whom {
            Whom::Nth(number) => nth(&all(&|life| places.contains(&life.place)), number),
            Whom::Any(number) => nth(&all(&|_| true), number),
            Whom::Ended(number) => nth_last(self.ledger.ended(), number),
            Whom::Foreign => Some(foreign().0),
        }
    }

    fn waiter(&self, who: Who) -> Option<WaiterId> {
        match who {
            Who::Nth(number) => nth(self.ledger.waiters(), number).map(|(waiter, _)| waiter),
            Who::Over(number) => nth_last(self.ledger.past_waiters(), number),
            Who::Foreign => Some(foreign().1),
        }
    }

    fn id(&self, whose: WhoseId) -> Option<ConnId> {
        match whose {
            WhoseId::Live(number) => {
                let lives = self.ledger.lives();
                let ids: Vec<ConnId> = lives.iter().filter_map(|life| life.id).collect();
                nth(&ids, number)
            }
            WhoseId::Ended(number) => nth_last(self.ledger.ended_ids(), number),
            WhoseId::Made(number) => Some(made(number)),
        }
    }

    fn given(&mut self, given: Given) -> Option<ConnId> {
        let same = match given {
            Given::Missing => return None,
            Given::Fresh => None,
            Given::Same(whose) => self.id(whose),
        };
        Some(same.unwrap_or_else(|| {
            self.ids += 1;
            ConnId::from_bytes(self.ids.to_be_bytes())
        }))
    }

    const fn connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections
    }

    /// A lease is given back. With a token that is none, some other connection comes.
    fn lease(&mut self, whom: Whom) -> Option<(Token, u32)> {
        let token = match whom {
            Whom::Nth(number) => nth(&self.leases, number)?.0,
            other => self.token(other, &[])?,
        };
        Some(self.take_lease(token).unwrap_or_else(|| (token, self.connection())))
    }

    fn check(&mut self, whom: Whom) -> Option<(Token, u32)> {
        let token = match whom {
            Whom::Nth(number) => nth(&self.checks, number)?.0,
            other => self.token(other, &[])?,
        };
        Some(self.take_check(token).unwrap_or_else(|| (token, self.connection())))
    }

    fn take_lease(&mut self, token: Token) -> Option<(Token, u32)> {
        let held = self.leases.iter().position(|(lease, _)| *lease == token)?;
        Some(self.leases.remove(held))
    }

    fn take_check(&mut self, token: Token) -> Option<(Token, u32)> {
        let held = self.checks.iter().position(|(check, _)| *check == token)?;
        Some(self.checks.remove(held))
    }

    // --- what the machine says ------------------------------------------------------------------

    /// Takes leases and checks.
    pub fn receive(&mut self, answer: &Answer, actions: &[Did]) {
        if let Answer::Acquired(Acquired::Ready(lease))
        | Answer::Collected(Collected::Ready(lease)) = answer
        {
            self.leases.push((lease.token, lease.connection));
        }
        for action in actions {
            if let Action::Check { token, connection, .. } = *action {
                self.checks.push((token, connection));
            }
        }
    }
}
