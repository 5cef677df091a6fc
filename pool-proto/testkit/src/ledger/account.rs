//! Entries: connections that go into the machine and come out, and their holders.

use pool_proto::{
    Acquired, Action, CheckKind, CloseReason, Collected, ConnId, Event, Instant, PutError, State,
    Stock, Token, WaitOutcome,
};

use super::lives::{Holder, Source};
use super::{Ledger, Life, Place, Want};
use crate::call::{Answer, Call, Did, Pool};
use crate::ledger::edges::is_edge;
use crate::setup::{Setup, Side};
use crate::violation::{Verdict, ensure};

impl Ledger {
    /// Whether the subject of a call is where the call needs it.
    pub fn fits(&self, call: &Call) -> bool {
        use Place::*;

        let (token, places): (Token, &[Place]) = match *call {
            Call::Event(Event::Dialed { token } | Event::DialFailed { token }) => {
                (token, &[Dialing])
            }
            Call::Event(Event::FirstByte { token }) => (token, &[Accepted]),
            Call::Event(Event::Established { token, .. }) => match self.side {
                Side::Client => (token, &[Handshaking]),
                Side::Server => (token, &[Admitted]),
            },
            Call::Event(Event::HandshakeFailed { token, .. }) => {
                (token, &[Accepted, Handshaking, Admitted])
            }
            // A closed pool does not look at the token.
            Call::Admit(token, _) if !self.closed => (token, &[Accepted, Handshaking]),
            Call::Event(Event::Checked { token, .. }) => (token, &[Checking]),
            Call::Event(Event::Closed { token }) => (token, &[Pooled, Checking, Leased]),
            Call::Event(Event::Readable { token }) => {
                (token, &[Dialing, Accepted, Handshaking, Admitted, Pooled, Checking, Leased])
            }
            Call::Event(Event::AcceptEnded) => return self.side == Side::Server,
            Call::Put(token, _) | Call::PutDrained(token, ..) | Call::Reject(token, ..) => {
                (token, &[Leased])
            }
            _ => return true,
        };
        self.place(token).is_some_and(|place| places.contains(&place))
    }

    // --- before the call ------------------------------------------------------------------------

    /// Enters the reports of the driver and the users.
    pub(super) fn enter_call(&mut self, call: &Call) -> Verdict {
        if let Some((_, connection)) = call.hands_in() {
            self.give(connection)?;
        }
        let (now, drain_timeout) = (self.seen, self.setup.drain_timeout);
        match *call {
            Call::Timeout if self.deadline_is_over() => {
                self.closed = true;
                self.lose_checks(CloseReason::ShutDown, |_| true)
            }
            Call::Timeout => {
                let late = |life: &Life| life.since + drain_timeout <= now;
                self.lose_checks(CloseReason::DrainTimeout, late)
            }
            Call::Flush => self.lose_checks(CloseReason::Flushed, |_| true),
            Call::Close => {
                self.closed = true;
                self.lose_checks(CloseReason::PoolClosed, |_| true)
            }
            Call::SetCapacity(low, high) if self.setup.allows_capacity(low, high) => {
                self.setup.capacity = (low, high);
                self.ready = self.ready.max(self.supply(&self.before));
                Ok(())
            }
            Call::SetConfig(ref setup) => self.enter_setup(setup),
            Call::GracefulShutdown(deadline) if !self.closed => self.enter_shutdown(deadline),
            _ if !self.step.fitted => Ok(()),
            Call::Event(Event::AcceptEnded) => {
                self.accept_ended = true;
                Ok(())
            }
            Call::Event(Event::Dialed { token }) => {
                self.lives.relocate(token, Place::Handshaking);
                Ok(())
            }
            Call::Event(Event::FirstByte { token }) => {
                self.lives.relocate(token, Place::Handshaking);
                Ok(())
            }
            Call::Event(Event::DialFailed { token }) => self.ends(token, CloseReason::DialFailed),
            Call::Event(Event::HandshakeFailed { token, .. }) => {
                self.ends(token, CloseReason::HandshakeFailed)
            }
            Call::Event(Event::Established { token, connection, id }) => {
                self.lives.relocate(token, Place::Pooled);
                if let Some(life) = self.lives.get_mut(token) {
                    (life.connection, life.established) = (Some(connection), Some(now));
                    life.id = life.id.or(id);
                }
                Ok(())
            }
            Call::Event(Event::Checked { token, connection, .. })
            | Call::Put(token, connection)
            | Call::PutDrained(token, connection, _)
            | Call::Reject(token, connection, _) => {
                self.lives.relocate(token, Place::Pooled);
                if let Some(life) = self.lives.get_mut(token) {
                    life.connection = Some(connection);
                    life.note_use(call);
                }
                Ok(())
            }
            Call::Event(Event::Closed { token }) => self.enter_closed(token),
            _ => Ok(()),
        }
    }

    /// The machine gets another configuration, unless it changes what cannot change. Then everything happens
    /// that is due under it.
    fn enter_setup(&mut self, setup: &Setup) -> Verdict {
        if setup.fixed(self.side, &self.setup).is_some() {
            return Ok(());
        }
        self.setup = *setup;
        self.ready = self.ready.max(self.supply(&self.before));
        let (now, over) = (self.seen, self.deadline_is_over());
        self.closed |= over;
        let reason = if over { CloseReason::ShutDown } else { CloseReason::DrainTimeout };
        self.lose_checks(reason, |life| over || life.since + setup.drain_timeout <= now)
    }

    /// Whether the deadline of a graceful shutdown has passed.
    fn deadline_is_over(&self) -> bool {
        let deadline = self.shutdown.flatten().filter(|_| !self.closed);
        deadline.is_some_and(|deadline| deadline <= self.seen)
    }

    /// A graceful shutdown begins, or gets another deadline.
    fn enter_shutdown(&mut self, deadline: Option<Instant>) -> Verdict {
        let begins = self.shutdown.is_none();
        let deadlines = self.shutdown.flatten().into_iter().chain(deadline);
        self.shutdown = Some(deadlines.min());
        self.closed = self.deadline_is_over();
        let closed = self.closed;
        // A connection that is inspected may be in use at the peer.
        let drained = |life: &Life| begins && life.kind == Some(CheckKind::Drain);
        self.lose_checks(CloseReason::ShutDown, |life| closed || drained(life))
    }

    fn enter_closed(&mut self, token: Token) -> Verdict {
        let Some(life) = self.life(token).copied() else { return Ok(()) };
        match life.place {
            Place::Leased => {
                if let Some(connection) = life.connection {
                    self.holders.insert(connection, Holder::Nobody);
                }
                self.ends(token, CloseReason::Released)
            }
            // It comes back from its check as stale.
            Place::Checking => self.ends(token, CloseReason::PeerClosed),
            // The machine closes it.
            _ => Ok(()),
        }
    }

    /// Connections that are being checked end without an action; they come back as stale.
    fn lose_checks(&mut self, reason: CloseReason, lost: impl Fn(&Life) -> bool) -> Verdict {
        if self.lives.count(Place::Checking) == 0 {
            return Ok(());
        }
        let checking = |life: &&Life| life.place == Place::Checking && lost(life);
        let tokens: Vec<Token> =
            self.lives.iter().filter(checking).map(|life| life.token).collect();
        tokens.into_iter().try_for_each(|token| self.ends(token, reason))
    }

    // --- after the call -------------------------------------------------------------------------

    pub(super) fn enter_answer(
        &mut self,
        call: &Call,
        answer: &Answer,
        pool: &impl Pool,
    ) -> Verdict {
        match (call, answer) {
            (_, Answer::Acquired(acquired)) => {
                let (want, again) = match *call {
                    Call::AcquireById(id) => (Want::Id(id), false),
                    Call::AcquireAgain => (Want::Any, true),
                    Call::AcquireClaimed => (Want::Claimed, false),
                    _ => (Want::Any, false),
                };
                match acquired {
                    Acquired::Ready(lease) => self.enter_lease(lease, want),
                    Acquired::Queued(waiter) => self.enter_waiter(*waiter, want, again),
                    Acquired::Refused(refusal) => self.check_refusal(*refusal, want, false, pool),
                }
            }
            (Call::WaitReady(ready), Answer::Stock(stock)) => match stock {
                Stock::Queued(waiter) => self.enter_waiter(*waiter, Want::Stock(*ready), false),
                Stock::Ready => {
                    let idle = self.before.idle;
                    ensure!(idle >= *ready, "5: stock is there", "{idle} of {ready} are ready");
                    Ok(())
                }
                Stock::Refused(refusal) => {
                    self.check_refusal(*refusal, Want::Stock(*ready), false, pool)
                }
            },
            (Call::Collect(waiter), Answer::Collected(collected)) => {
                let want = self.waiting.collected(*waiter, collected)?.unwrap_or(Want::Any);
                match collected {
                    Collected::Ready(lease) => self.enter_lease(lease, want),
                    Collected::Refused(refusal) => self.check_refusal(*refusal, want, true, pool),
                    _ => Ok(()),
                }
            }
            (call @ (Call::Cancel(waiter) | Call::TimeOut(waiter)), Answer::Outcome(outcome)) => {
                if matches!((call, outcome), (Call::TimeOut(_), WaitOutcome::Waiting(_))) {
                    self.counts.timeouts += 1;
                }
                let waited = self.waiting.cancelled(*waiter);
                let known = *outcome != WaitOutcome::Unknown;
                ensure!(
                    waited == known,
                    "5: one outcome for each waiter",
                    "{waiter:?}: {outcome:?}"
                );
                Ok(())
            }
            (_, Answer::Put(put)) => {
                let expected = match (self.step.fitted, self.closed) {
                    (true, _) => Ok(()),
                    (false, true) => Err(PutError::PoolClosed),
                    (false, false) => Err(PutError::NotLeased),
                };
                ensure!(*put == expected, "5: only a lease is put back", "{call:?}: {put:?}");
                Ok(())
            }
            (Call::Accept(address), Answer::Accepted(accepted)) => {
                let peer = Source::of(*address);
                self.check_admission(peer, accepted.as_ref().map(drop).map_err(|error| *error))
            }
            (Call::Admit(token, certificate), Answer::Admitted(admitted)) => {
                let source = self.life(*token).and_then(|life| life.source);
                match certificate.map(Source::with_certificate).or(source) {
                    Some(peer) if self.step.fitted => {
                        let verdict = admitted.as_ref().map(drop).map_err(|error| *error);
                        self.check_admission(peer, verdict)?;
                        if let Some(life) = self.lives.get_mut(*token) {
                            life.peer = Some(peer);
                        }
                    }
                    _ => ensure!(admitted.is_err(), "9: a stale peer is not admitted", "{token:?}"),
                }
                Ok(())
            }
            (_, Answer::Count(count)) => {
                let whole = match call {
                    Call::Clean => self.before.idle - self.before.reserved,
                    Call::EndFinished => self.before.finished,
                    _ => self.step.lived,
                };
                ensure!(
                    *count == whole,
                    "8: clean, end_finished and flush end all",
                    "{call:?}: {count} of {whole}"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn enter_action(&mut self, call: &Call, action: &Did) -> Verdict {
        if matches!(call, Call::Accept(_)) {
            let handshake = matches!(
                action,
                Action::Abort { token, reason: CloseReason::HandshakeEvicted }
                    if matches!(self.place(*token), Some(Place::Accepted | Place::Handshaking))
            );
            ensure!(handshake, "2: a handshake costs nothing proven", "{action:?}");
        }
        match *action {
            Action::Dial { token } => {
                let open = !self.closed && self.shutdown.is_none();
                ensure!(open, "8: no dial after close or in a shutdown", "{action:?}");
                ensure!(self.side == Side::Client, "1: only a client dials", "{action:?}");
                self.counts.dials += 1;
                self.step.dialled += 1;
                self.begins(token, State::Dialing, None)
            }
            Action::Check { token, connection, kind } => {
                ensure!(!self.closed, "8: no check after close", "{action:?}");
                self.take(connection, Holder::Driver)?;
                self.check_held(token, connection, action)?;
                self.lives.relocate(token, Place::Checking);
                let seen = self.seen;
                if let Some(life) = self.lives.get_mut(token) {
                    // Checked again, it enters its state again.
                    (life.since, life.kind) = (seen, Some(kind));
                }
                Ok(())
            }
            Action::Close { token, connection, reason } => {
                self.take(connection, Holder::Nobody)?;
                if !self.step.fitted && call.hands_in() == Some((token, connection)) {
                    let late = matches!(reason, CloseReason::Stale | CloseReason::PoolClosed);
                    ensure!(late, "1: a transport ends once", "{action:?}");
                    return Ok(());
                }
                self.check_held(token, connection, action)?;
                self.ends(token, reason)
            }
            Action::Abort { token, reason } => {
                let place = self.place(token);
                let outside = [
                    Place::Dialing,
                    Place::Accepted,
                    Place::Handshaking,
                    Place::Admitted,
                    Place::Leased,
                ];
                let right = place.is_some_and(|place| outside.contains(&place));
                ensure!(
                    right,
                    "1: an abort names a connection of the driver",
                    "{action:?} of {place:?}"
                );
                self.ends(token, reason)
            }
            Action::Wake { waiter } => {
                self.step.woken = true;
                self.waiting.woken(waiter, self.step.grant_lost)
            }
        }
    }

    /// New connections and ids, after the actions: an eviction makes room for the id, too.
    pub(super) fn enter_names(&mut self, call: &Call, answer: &Answer) -> Verdict {
        match (call, answer) {
            (Call::Accept(address), Answer::Accepted(Ok(token))) => {
                self.begins(*token, State::Accepted, Some(Source::of(*address)))
            }
            (Call::Admit(token, _), Answer::Admitted(Ok(id))) => {
                self.counts.admitted += 1;
                self.step.began = true;
                let control = self.setup.control_connection;
                let named = control || *id != ConnId::ZERO;
                ensure!(named, "4: the zero id is the control connection's", "{token:?}");
                self.lives.relocate(*token, Place::Admitted);
                self.name(*token, *id)
            }
            (Call::Admit(token, _), Answer::Admitted(Err(_)))
                if self.step.fitted && !self.closed =>
            {
                self.ends(*token, CloseReason::Rejected)
            }
            (Call::Event(Event::Established { token, id: Some(id), .. }), _)
                if self.step.fitted && self.life(*token).is_some() =>
            {
                self.name(*token, *id)
            }
            _ => Ok(()),
        }
    }

    // --- connections ----------------------------------------------------------------------------

    fn begins(&mut self, token: Token, state: State, source: Option<Source>) -> Verdict {
        let fresh = self.used.insert(token);
        ensure!(fresh, "1: a token is not used twice", "{token:?}");
        let place = super::place_of(state);
        let former = self.lives.insert(token, place, state, self.seen, source);
        ensure!(former.is_none(), "1: a slot has one connection", "{token:?} after {former:?}");
        self.step.began = true;
        self.enter_edge(None, Some(state))
    }

    pub(super) fn ends(&mut self, token: Token, reason: CloseReason) -> Verdict {
        let Some(life) = self.lives.remove(token) else {
            ensure!(false, "1: a transport ends once", "{token:?}: {reason}");
            return Ok(());
        };
        self.check_reason(&life, reason)?;
        self.step.ended = true;
        self.step.grant_lost |= life.state == State::Granted;
        self.ended.push(token);
        if let Some(id) = life.id {
            self.ended_ids.push(id);
            if self.ids.get(&id) == Some(&token) {
                self.ids.remove(&id);
            }
        }
        self.counts.ends.add(reason, 1);
        // With many connections, states are looked at now and then only.
        if self.large { Ok(()) } else { self.enter_edge(Some(life.state), None) }
    }

    pub(super) fn enter_edge(&mut self, from: Option<State>, to: Option<State>) -> Verdict {
        let known = is_edge(self.side, (from, to));
        ensure!(known, "1: only edges that there are", "{:?}: {from:?} to {to:?}", self.side);
        self.counts.edge(from, to);
        Ok(())
    }

    /// A live connection has this id from now on.
    pub(super) fn name(&mut self, token: Token, id: ConnId) -> Verdict {
        if let Some(life) = self.lives.get_mut(token) {
            life.id = Some(id);
        }
        let former = self.ids.insert(id, token);
        ensure!(former.is_none(), "4: ids are unique", "{former:?} and {token:?} have {id}");
        Ok(())
    }

    /// The driver passes a connection to the machine.
    fn give(&mut self, connection: u32) -> Verdict {
        let holder = self.holders.entry(connection).or_insert(Holder::Driver);
        ensure!(*holder == Holder::Driver, "1: one owner", "{connection} was not the driver's");
        *holder = Holder::Machine;
        self.inside += 1;
        Ok(())
    }

    /// The machine passes a connection to the driver, or to nobody.
    pub(super) fn take(&mut self, connection: u32, to: Holder) -> Verdict {
        let Some(holder) = self.holders.get_mut(&connection) else {
            ensure!(false, "1: one owner", "{connection} came out and never went in");
            return Ok(());
        };
        ensure!(*holder == Holder::Machine, "1: one owner", "{connection} came out twice");
        *holder = to;
        self.inside -= 1;
        Ok(())
    }

    /// The connection that an action names is in the pool, under its own number.
    fn check_held(&self, token: Token, connection: u32, action: &Did) -> Verdict {
        let inside = self.life(token).map(Life::inside);
        ensure!(
            inside == Some(Some(connection)),
            "1: an action names a connection of the pool",
            "{action:?}"
        );
        Ok(())
    }
}
