//! Everybody outside of the machine: the driver with its dials, handshakes and checks, the users
//! with their leases and waiters. Knows only what the machine has said, and turns an [`Op`] into the
//! [`Call`] that it means to them now.

mod state_key;

use std::net::IpAddr;
use std::time::Duration;

use pool_proto::{
    Acquired, Action, Admission, CloseReason, Collected, ConnId, Event, Instant, Lease, Stock,
    Token, WaitOutcome, WaiterId,
};

use super::laws::{Place, assert_edge};
use super::names::{foreign, made, nth, nth_last, peer};
use super::op::{Given, Op, When, Who, Whom, WhoseId};
use crate::call::{Answer, Call, Did};
use crate::setup::Setup;

/// One live connection, from outside.
#[derive(Clone, Debug)]
pub struct Life {
    pub token: Token,
    pub place: Place,
    /// When it came there.
    pub since: Instant,
    pub id: Option<ConnId>,
    /// What the machine took over.
    pub connection: Option<u32>,
    pub established: Option<Instant>,
    pub source: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    ForAny,
    ById(ConnId),
    ForStock(u32),
}

#[derive(Clone, Debug)]
pub struct Driver {
    /// The driver's clock; it can be set back.
    pub now: Instant,
    /// The latest time that the machine was told.
    pub latest: Instant,
    pub lives: Vec<Life>,
    pub ended: Vec<Token>,
    ended_ids: Vec<ConnId>,
    /// What users hold, those included that the machine has ended.
    leases: Vec<(Token, u32)>,
    /// What is being checked, that included which the machine has ended.
    pub checks: Vec<(Token, u32)>,
    /// Those that have not collected their outcome.
    pub waiters: Vec<(WaiterId, Waits)>,
    pub over: Vec<WaiterId>,
    ids_exchanged: bool,
    drain_timeout: Duration,
    connections: u32,
    ids: u32,
}

impl Driver {
    pub const fn new(setup: &Setup, now: Instant) -> Self {
        Self {
            now,
            latest: now,
            lives: Vec::new(),
            ended: Vec::new(),
            ended_ids: Vec::new(),
            leases: Vec::new(),
            checks: Vec::new(),
            waiters: Vec::new(),
            over: Vec::new(),
            ids_exchanged: setup.ids_exchanged,
            drain_timeout: setup.drain_timeout,
            connections: 0,
            ids: 0,
        }
    }

    // --- from steps to calls --------------------------------------------------------------------

    /// What a step means now; `None` when it has no subject, or is no call.
    pub fn resolve(&mut self, op: &Op, due: Option<Instant>, dials: bool) -> Option<Call> {
        use Place::*;

        let event = match *op {
            Op::Acquired => return Some(Call::Acquired),
            Op::AcquireAgain => return Some(Call::AcquireAgain),
            Op::AcquireById(whose) => return self.id(whose).map(Call::AcquireById),
            Op::WaitReady(ready) => return Some(Call::WaitReady(ready.into())),
            Op::Collect(who) => return self.waiter(who).map(Call::Collect),
            Op::Cancel(who) => return self.waiter(who).map(Call::Cancel),
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
            Op::Flush => return Some(Call::Flush),
            Op::Close => return Some(Call::Close),
            Op::AddError => return Some(Call::AddError),
            Op::ResetError => return Some(Call::ResetError),
            Op::Admit(number) => return (!dials).then(|| Call::Admit(peer(number))),
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
                let token = self.token(whom, &[Handshaking])?;
                let id = if dials && self.ids_exchanged { self.given(given) } else { None };
                Event::Established { token, connection: self.connection(), id }
            }
            Op::HandshakeFailed(whom, failure) => {
                Event::HandshakeFailed { token: self.token(whom, &[Handshaking])?, failure }
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

    fn token(&self, whom: Whom, places: &[Place]) -> Option<Token> {
        let all = |fits: &dyn Fn(&Life) -> bool| -> Vec<Token> {
            self.lives.iter().filter(|life| fits(life)).map(|life| life.token).collect()
        };
        match whom {
            Whom::Nth(number) => nth(&all(&|life| places.contains(&life.place)), number),
            Whom::Any(number) => nth(&all(&|_| true), number),
            Whom::Ended(number) => nth_last(&self.ended, number),
            Whom::Foreign => Some(foreign().0),
        }
    }

    fn waiter(&self, who: Who) -> Option<WaiterId> {
        match who {
            Who::Nth(number) => nth(&self.waiters, number).map(|(waiter, _)| waiter),
            Who::Over(number) => nth_last(&self.over, number),
            Who::Foreign => Some(foreign().1),
        }
    }

    fn id(&self, whose: WhoseId) -> Option<ConnId> {
        match whose {
            WhoseId::Live(number) => {
                let ids: Vec<ConnId> = self.lives.iter().filter_map(|life| life.id).collect();
                nth(&ids, number)
            }
            WhoseId::Ended(number) => nth_last(&self.ended_ids, number),
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

    pub fn take_lease(&mut self, token: Token) -> Option<(Token, u32)> {
        let held = self.leases.iter().position(|(lease, _)| *lease == token)?;
        Some(self.leases.remove(held))
    }

    pub fn take_check(&mut self, token: Token) -> Option<(Token, u32)> {
        let held = self.checks.iter().position(|(check, _)| *check == token)?;
        Some(self.checks.remove(held))
    }

    // --- what the machine says ------------------------------------------------------------------

    pub fn life(&self, token: Token) -> Option<&Life> {
        self.lives.iter().find(|life| life.token == token)
    }

    fn place(&self, token: Token) -> Option<Place> {
        self.life(token).map(|life| life.place)
    }

    fn begin(&mut self, token: Token, place: Place) -> &mut Life {
        assert!(!self.ended.contains(&token), "{token:?} is used again");
        assert!(self.life(token).is_none(), "{token:?} names two connections");
        let since = self.latest;
        self.lives.push(Life {
            token,
            place,
            since,
            id: None,
            connection: None,
            established: None,
            source: None,
        });
        self.lives.last_mut().unwrap()
    }

    fn moves(&mut self, token: Token, to: Place) -> &mut Life {
        let since = self.latest;
        let life = self.lives.iter_mut().find(|life| life.token == token);
        let life = life.unwrap_or_else(|| panic!("{token:?}, which does not live, to {to:?}"));
        assert_edge(token, life.place, Some(to));
        (life.place, life.since) = (to, since);
        life
    }

    fn ends(&mut self, token: Token) -> Life {
        let at = self.lives.iter().position(|life| life.token == token);
        let at = at.unwrap_or_else(|| panic!("{token:?} ends, which does not live"));
        let life = self.lives.remove(at);
        assert_edge(token, life.place, None);
        self.ended.push(token);
        self.ended_ids.extend(life.id);
        life
    }

    /// Whether what a call is about is where the call needs it.
    pub fn fits(&self, call: &Call) -> bool {
        use Place::*;

        let (token, places): (Token, &[Place]) = match *call {
            Call::Event(Event::Dialed { token } | Event::DialFailed { token }) => {
                (token, &[Dialing])
            }
            Call::Event(
                Event::Established { token, .. } | Event::HandshakeFailed { token, .. },
            ) => (token, &[Handshaking]),
            Call::Event(Event::Checked { token, .. }) => (token, &[Checking]),
            Call::Event(Event::Closed { token }) => (token, &[Pooled, Checking, Leased]),
            Call::Event(Event::Readable { token }) => {
                (token, &[Dialing, Handshaking, Pooled, Checking, Leased])
            }
            Call::Put(token, _) | Call::PutDrained(token, ..) | Call::Reject(token, ..) => {
                (token, &[Leased])
            }
            _ => return true,
        };
        self.place(token).is_some_and(|place| places.contains(&place))
    }

    /// Enters what a call says of itself: the reports of the driver and the users.
    pub fn report(&mut self, call: &Call) {
        if !matches!(call, Call::Why(_) | Call::PutForeign | Call::AddError | Call::ResetError) {
            self.latest = self.latest.max(self.now);
        }
        let (now, timeout) = (self.latest, self.drain_timeout);
        match *call {
            Call::Timeout => self.lose_checks(|life| life.since + timeout <= now),
            Call::Flush | Call::Close => self.lose_checks(|_| true),
            _ if !self.fits(call) => {}
            Call::Event(Event::Dialed { token }) => {
                self.moves(token, Place::Handshaking);
            }
            Call::Event(Event::DialFailed { token } | Event::HandshakeFailed { token, .. }) => {
                self.ends(token);
            }
            Call::Event(Event::Established { token, connection, .. }) => {
                let life = self.moves(token, Place::Pooled);
                (life.connection, life.established) = (Some(connection), Some(now));
            }
            Call::Event(Event::Checked { token, connection, .. })
            | Call::Put(token, connection)
            | Call::PutDrained(token, connection, _)
            | Call::Reject(token, connection, _) => {
                self.moves(token, Place::Pooled).connection = Some(connection);
            }
            // A pooled one goes out as Close; of one that is being checked nothing is said.
            Call::Event(Event::Closed { token }) if self.place(token) != Some(Place::Pooled) => {
                self.ends(token);
            }
            _ => {}
        }
    }

    /// The machine gives up what is being checked, and says nothing: it closes it when it is back.
    fn lose_checks(&mut self, lost: impl Fn(&Life) -> bool) {
        let checks = self.lives.iter().filter(|life| life.place == Place::Checking && lost(life));
        let checks: Vec<Token> = checks.map(|life| life.token).collect();
        for token in checks {
            self.ends(token);
        }
    }

    /// Enters what the machine said. `fitted` is whether the call fitted before.
    pub fn note(&mut self, call: &Call, fitted: bool, answer: &Answer, actions: &[Did]) {
        match answer {
            Answer::Acquired(Acquired::Ready(lease)) => self.leased(lease),
            Answer::Collected(Collected::Ready(lease)) => self.leased(lease),
            _ => {}
        }
        for action in actions {
            self.act(call, fitted, action);
        }
        self.note_waiter(call, answer);
        match (call, answer) {
            (Call::Admit(address), Answer::Admitted(Ok(Admission { token, id }))) => {
                let life = self.begin(*token, Place::Handshaking);
                (life.id, life.source) = (Some(*id), Some(*address));
            }
            (Call::Event(Event::Established { token, id: Some(id), .. }), _) if fitted => {
                if let Some(life) = self.lives.iter_mut().find(|life| life.token == *token) {
                    life.id = Some(*id);
                }
            }
            _ => {}
        }
    }

    fn leased(&mut self, lease: &Lease<u32>) {
        let life = self.moves(lease.token, Place::Leased);
        assert_eq!(life.connection.take(), Some(lease.connection), "{lease:?}");
        assert_eq!(*life.id.get_or_insert(lease.id), lease.id, "{lease:?}");
        self.leases.push((lease.token, lease.connection));
    }

    fn note_waiter(&mut self, call: &Call, answer: &Answer) {
        match (call, answer) {
            (
                _,
                Answer::Acquired(Acquired::Queued(waiter)) | Answer::Stock(Stock::Queued(waiter)),
            ) => {
                let new = self.waiters.iter().all(|(other, _)| other != waiter);
                assert!(new && !self.over.contains(waiter), "{waiter:?} is used again");
                let waits = match *call {
                    Call::AcquireById(id) => Waits::ById(id),
                    Call::WaitReady(wanted) => Waits::ForStock(wanted),
                    _ => Waits::ForAny,
                };
                self.waiters.push((*waiter, waits));
            }
            (Call::Collect(_), Answer::Collected(Collected::Waiting | Collected::Unknown))
            | (Call::Cancel(_), Answer::Outcome(WaitOutcome::Unknown)) => {}
            (Call::Collect(waiter) | Call::Cancel(waiter), _) => {
                self.waiters.retain(|(other, _)| other != waiter);
                self.over.push(*waiter);
            }
            _ => {}
        }
    }

    fn act(&mut self, call: &Call, fitted: bool, action: &Did) {
        match *action {
            Action::Dial { token } => {
                self.begin(token, Place::Dialing);
            }
            Action::Check { token, connection, .. } => {
                let life = self.moves(token, Place::Checking);
                assert_eq!(life.connection.take(), Some(connection), "{action:?}");
                self.checks.push((token, connection));
            }
            Action::Close { token, connection, reason }
                if !fitted && hands_in(call) == Some((token, connection)) =>
            {
                let late = [CloseReason::Stale, CloseReason::PoolClosed];
                assert!(late.contains(&reason), "{action:?} of what came too late");
            }
            Action::Close { token, connection, .. } => {
                let life = self.ends(token);
                assert_eq!(life.place, Place::Pooled, "{action:?} of what the pool does not hold");
                assert_eq!(life.connection, Some(connection), "{action:?}");
            }
            Action::Abort { token, .. } => {
                let place = self.ends(token).place;
                let outside = [Place::Dialing, Place::Handshaking, Place::Leased];
                assert!(outside.contains(&place), "{action:?} of what is {place:?}");
            }
            Action::Wake { .. } => {}
        }
    }
}

/// The connection that a call brings.
pub const fn hands_in(call: &Call) -> Option<(Token, u32)> {
    match *call {
        Call::Event(
            Event::Established { token, connection, .. } | Event::Checked { token, connection, .. },
        )
        | Call::Put(token, connection)
        | Call::PutDrained(token, connection, _)
        | Call::Reject(token, connection, _) => Some((token, connection)),
        _ => None,
    }
}
