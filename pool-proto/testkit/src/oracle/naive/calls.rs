//! Every call, step by step.

use pool_proto::State::{self, *};
use pool_proto::{
    Acquired, Acquirer, Action, CheckKind, CheckResult, CloseReason, Collected, ConnId, Event,
    HandshakeFailure, Instant, PutError, Refusal, Stock, Token, WaitOutcome, WaitReason, WaiterId,
};

use super::waiters::{WaiterState, Want};
use super::{Choices, Naive};
use crate::call::{Answer, Call, Did};

impl Naive {
    /// Makes a call. Returns the answer and the actions.
    pub fn call(&mut self, now: Instant, call: &Call, choices: Choices) -> (Answer, Vec<Did>) {
        if !matches!(call, Call::Why(_) | Call::PutForeign | Call::AddError | Call::ResetError) {
            self.now = self.now.max(now);
        }
        self.choices = choices;
        let answer = match call.clone() {
            Call::Event(event) => self.event(event),
            Call::Timeout => self.timeout(),
            Call::Acquired => Answer::Acquired(self.acquire(false)),
            Call::AcquireAgain => Answer::Acquired(self.acquire(true)),
            Call::AcquireById(id) => Answer::Acquired(self.acquire_by_id(id)),
            Call::AcquireClaimed => Answer::Acquired(self.acquire_claimed()),
            Call::WaitReady(ready) => Answer::Stock(self.wait_ready(ready)),
            Call::Collect(waiter) => Answer::Collected(self.collect(waiter)),
            Call::Cancel(waiter) => Answer::Outcome(self.cancel(waiter)),
            Call::TimeOut(waiter) => Answer::Outcome(self.time_out(waiter)),
            Call::Why(waiter) => Answer::Reason(self.why(waiter)),
            Call::Put(token, connection) => Answer::Put(self.put(token, connection, None)),
            Call::PutDrained(token, connection, result) => {
                Answer::Put(self.put(token, connection, Some(result)))
            }
            Call::Reject(token, connection, result) => self.reject(token, connection, result),
            Call::PutForeign => {
                self.totals.put_unknown += 1;
                Answer::Foreign(PutError::Foreign)
            }
            Call::Clean => {
                let count = self.close_all(Idle, CloseReason::Cleaned);
                self.settle();
                Answer::Count(count)
            }
            Call::EndFinished => {
                let count = self.close_all(Finished, CloseReason::PeerClosed);
                self.settle();
                Answer::Count(count)
            }
            Call::Flush => {
                let count = self.close_everything(CloseReason::Flushed);
                if !self.is_ending() {
                    self.flushed();
                }
                self.settle();
                Answer::Count(count)
            }
            Call::Close => {
                self.end_pool(CloseReason::PoolClosed);
                Answer::Nothing
            }
            Call::GracefulShutdown(deadline) => self.graceful_shutdown(deadline),
            Call::AddError => {
                self.errors += 1;
                Answer::Nothing
            }
            Call::ResetError => {
                self.errors = 0;
                Answer::Nothing
            }
            Call::DialNow => self.dial_now(),
            Call::SetCapacity(low, high) => self.set_capacity(low, high),
            Call::SetConfig(ref setup) => self.set_config(setup),
            Call::Accept(address) => self.accept(address),
            Call::Admit(token, certificate) => self.admit(token, certificate),
        };
        (answer, std::mem::take(&mut self.did))
    }

    // --- events and time ------------------------------------------------------------------------

    /// Whether the event is about a live connection in one of these states; else it is stale, and a
    /// connection that came with it is closed.
    pub(super) fn fits(&mut self, token: Token, states: &[State], connection: Option<u32>) -> bool {
        let fits = self.state(token).is_some_and(|state| states.contains(&state));
        if fits {
            if connection.is_some() {
                self.get(token).held = connection;
            }
        } else {
            self.totals.stale_events += 1;
            if let Some(connection) = connection {
                self.did.push(Action::Close { token, connection, reason: CloseReason::Stale });
            }
        }
        fits
    }

    fn event(&mut self, event: Event<u32>) -> Answer {
        match event {
            Event::Dialed { token } => {
                if self.fits(token, &[Dialing], None) {
                    self.enter(token, Handshaking);
                }
            }
            Event::DialFailed { token } => {
                if self.fits(token, &[Dialing], None) {
                    self.end(token, CloseReason::DialFailed);
                }
            }
            Event::FirstByte { token } => {
                if self.fits(token, &[Accepted], None) {
                    self.enter(token, Handshaking);
                }
            }
            Event::Established { token, connection, id } => {
                let last = if self.dials() { Handshaking } else { Admitted };
                if self.fits(token, &[last], Some(connection)) {
                    self.establish(token, id);
                }
            }
            Event::HandshakeFailed { token, failure } => {
                if self.fits(token, &[Accepted, Handshaking, Admitted], None) {
                    *match failure {
                        HandshakeFailure::Tls => &mut self.totals.tls_failures,
                        HandshakeFailure::Id => &mut self.totals.id_failures,
                        HandshakeFailure::Transport => &mut self.totals.transport_failures,
                        other => unreachable!("{other:?} is new"),
                    } += 1;
                    self.get(token).failure = Some(failure);
                    self.end(token, CloseReason::HandshakeFailed);
                }
            }
            Event::Readable { token } => match self.state(token) {
                Some(Idle | Claimed) => self.check(token, CheckKind::Inspect),
                Some(_) => self.get(token).stirred = true,
                None => self.totals.stale_events += 1,
            },
            Event::Checked { token, connection, result } => {
                if self.fits(token, &[Checking], Some(connection)) {
                    self.checked(token, result);
                }
            }
            Event::Closed { token } => {
                if self.state(token) == Some(Leased) {
                    self.end(token, CloseReason::Released);
                } else if self.fits(
                    token,
                    &[Idle, Claimed, Finished, Granted, Resting, Checking],
                    None,
                ) {
                    self.close_one(token, CloseReason::PeerClosed);
                }
            }
            Event::AcceptEnded => {
                if !self.end_listener() {
                    self.totals.stale_events += 1;
                }
            }
        }
        self.settle();
        Answer::Nothing
    }

    fn establish(&mut self, token: Token, id: Option<ConnId>) {
        if self.ids_received() {
            let Some(id) = id else {
                return self.close_one(token, CloseReason::MissingId);
            };
            match self.with_id(id).map(|other| (other, self.state(other))) {
                Some((finished, Some(Finished))) => {
                    self.close_one(finished, CloseReason::PeerClosed);
                }
                Some(_) => return self.close_one(token, CloseReason::DuplicateId),
                None => {}
            }
            self.get(token).id = Some(id);
        }
        self.totals.established += 1;
        self.arrived(token);
        let (now, ages) = (self.now, self.setup.max_lifetime.is_some());
        let connection = self.get(token);
        (connection.established, connection.ageing) = (Some(now), ages);
        self.succeeded(token);
        self.offer(token, false);
        self.drop_replaced();
    }

    fn checked(&mut self, token: Token, result: CheckResult) {
        match (self.get(token).kind, result) {
            (CheckKind::Drain, CheckResult::Closed | CheckResult::Finished) => {
                self.close_one(token, CloseReason::PeerClosed);
            }
            (CheckKind::Drain, CheckResult::Data) => self.close_one(token, CloseReason::Leftover),
            (CheckKind::Drain, CheckResult::Quiet) => self.offer(token, true),
            (CheckKind::Inspect, result) => {
                if self.inspected(token, result) {
                    self.offer(token, false);
                    self.drop_replaced();
                }
            }
        }
    }

    /// Applies the result of an inspection. Returns whether the connection lives on: an ended one is
    /// kept for an acquire by its id.
    fn inspected(&mut self, token: Token, result: CheckResult) -> bool {
        let over = matches!(result, CheckResult::Closed | CheckResult::Finished);
        if over && !self.peer_claims() {
            self.close_one(token, CloseReason::PeerClosed);
            return false;
        }
        if over {
            let before = self.get(token).clone();
            // From here on it does not count.
            self.enter(token, Finished);
            if result == CheckResult::Closed {
                self.consequences(&before, CloseReason::PeerClosed);
            }
        }
        let data = matches!(result, CheckResult::Data | CheckResult::Finished);
        let (now, claimed) = (self.now, data && self.peer_claims());
        let connection = self.get(token);
        if claimed {
            connection.claimed = connection.claimed.or(Some(now));
        }
        connection.finished = over;
        true
    }

    pub(super) fn timeout(&mut self) -> Answer {
        if self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.end_pool(CloseReason::ShutDown);
        }
        for (state, reason) in [
            (Dialing, CloseReason::DialTimeout),
            (Accepted, CloseReason::Silent),
            (Handshaking, CloseReason::HandshakeTimeout),
            (Admitted, CloseReason::HandshakeTimeout),
            (Idle, CloseReason::IdleTimeout),
            (Claimed, CloseReason::Unclaimed),
            (Finished, CloseReason::PeerClosed),
            (Checking, CloseReason::DrainTimeout),
        ] {
            while let Some(token) = self.overdue(state) {
                self.close_one(token, reason);
            }
        }
        while let Some(token) = self.overdue(Granted) {
            if let Some(waiter) = self.get(token).waiter.take() {
                self.waiter_mut(waiter).standing = WaiterState::Lapsed;
            }
            self.offer(token, true);
        }
        while let Some(token) = self.overdue(Resting) {
            self.check(token, CheckKind::Drain);
        }
        let due = self
            .connections
            .iter()
            .filter(|connection| self.lifetime_due(connection).is_some_and(|due| due <= self.now));
        let due: Vec<Token> = due.map(|connection| connection.token).collect();
        for token in due {
            self.get(token).ageing = false;
            // A connection outside of the pool is looked at when it comes back.
            if matches!(self.state(token), Some(Idle | Resting)) {
                self.close_one(token, CloseReason::Expired);
            }
        }
        if !self.is_ending() {
            self.supply_due();
            self.retire();
        }
        self.settle();
        Answer::Nothing
    }

    // --- taking ---------------------------------------------------------------------------------

    pub fn with_id(&self, id: ConnId) -> Option<Token> {
        self.connections.iter().find(|c| c.id == Some(id)).map(|c| c.token)
    }

    fn refused(&mut self, refusal: Refusal) -> Acquired<u32> {
        self.totals.refused += 1;
        Acquired::Refused(refusal)
    }

    fn served(&mut self, token: Token, want: Want) -> Acquired<u32> {
        let lease = self.hand_over(token, want);
        self.totals.served_at_once += 1;
        self.settle();
        Acquired::Ready(lease)
    }

    fn acquire(&mut self, again: bool) -> Acquired<u32> {
        if let Some(refusal) = self.ending() {
            return self.refused(refusal);
        }
        if !again {
            self.demanded();
        }
        while let Some(token) = self.next_idle() {
            match self.expiry(token) {
                Some(reason) => self.close_one(token, reason),
                None => return self.served(token, Want::Any),
            }
        }
        if self.listener_gone() {
            self.settle();
            return self.refused(Refusal::AcceptEnded);
        }
        match self.queue(Want::Any, again) {
            Ok(waiter) => Acquired::Queued(waiter),
            Err(refusal) => Acquired::Refused(refusal),
        }
    }

    fn acquire_by_id(&mut self, id: ConnId) -> Acquired<u32> {
        if let Some(token) = self.with_id(id)
            && self.is_there_by_id(token)
        {
            let Some(reason) = self.expiry(token) else {
                return self.served(token, Want::Id(id));
            };
            self.close_one(token, reason);
            self.settle();
            return self.refused(Refusal::Gone { id, reason });
        }
        if let Some(refusal) = self.refusal_by_id(id) {
            return self.refused(refusal);
        }
        match self.queue(Want::Id(id), false) {
            Ok(waiter) => Acquired::Queued(waiter),
            Err(refusal) => Acquired::Refused(refusal),
        }
    }

    fn acquire_claimed(&mut self) -> Acquired<u32> {
        if self.setup.acquirer == Acquirer::ThisEnd || !self.peer_claims() {
            return self.refused(Refusal::PeerNeverAcquires);
        }
        while let Some(token) = self.next_request() {
            match self.expiry(token) {
                Some(reason) => self.close_one(token, reason),
                None => return self.served(token, Want::Claimed),
            }
        }
        if let Some(refusal) = self.requests_ended() {
            self.settle();
            return self.refused(refusal);
        }
        match self.queue(Want::Claimed, false) {
            Ok(waiter) => Acquired::Queued(waiter),
            Err(refusal) => Acquired::Refused(refusal),
        }
    }

    fn wait_ready(&mut self, ready: u32) -> Stock {
        let refusal = if let Some(refusal) = self.ending() {
            Some(refusal)
        } else if self.count(Idle) >= ready {
            return Stock::Ready;
        } else if ready > self.limit() {
            Some(Refusal::StockBeyondCapacity { wanted: ready, capacity: self.limit() })
        } else {
            self.listener_gone().then_some(Refusal::AcceptEnded)
        };
        if let Some(refusal) = refusal {
            self.totals.refused += 1;
            return Stock::Refused(refusal);
        }
        self.require(ready);
        match self.queue(Want::Stock(ready), false) {
            Ok(waiter) => Stock::Queued(waiter),
            Err(refusal) => Stock::Refused(refusal),
        }
    }

    fn collect(&mut self, waiter: WaiterId) -> Collected<u32> {
        loop {
            let Some(found) = self.waiter(waiter).cloned() else {
                return Collected::Unknown;
            };
            let token = match found.standing {
                WaiterState::Waiting => return Collected::Waiting,
                WaiterState::Granted(token) => token,
                WaiterState::Lapsed => match self.ask_again(&found) {
                    Some(token) => token,
                    None => continue,
                },
                WaiterState::Stocked => {
                    self.remove(waiter);
                    return Collected::Stocked;
                }
                WaiterState::Refused(refusal) => {
                    self.remove(waiter);
                    return Collected::Refused(refusal);
                }
            };
            if let Some(reason) = self.expiry(token) {
                self.close_one(token, reason);
                self.settle();
                continue;
            }
            let lease = self.hand_over(token, found.want);
            self.remove(waiter);
            match found.want {
                Want::Claimed => self.totals.served_at_once += 1,
                _ => self.totals.served_after_waiting += 1,
            }
            self.settle();
            return Collected::Ready(lease);
        }
    }

    fn time_out(&mut self, waiter: WaiterId) -> WaitOutcome {
        let outcome = self.cancel(waiter);
        if let WaitOutcome::Waiting(reason) = outcome {
            let timeouts = &mut self.totals.timeouts;
            *match reason {
                WaitReason::Dialing { .. } => &mut timeouts.dialing,
                WaitReason::BackingOff { .. } => &mut timeouts.backing_off,
                WaitReason::Full { .. } => &mut timeouts.full,
                WaitReason::AllInUse { .. } => &mut timeouts.all_in_use,
                WaitReason::NextRound => &mut timeouts.next_round,
                WaitReason::Returning { .. } => &mut timeouts.returning,
                WaitReason::Handshaking { .. } => &mut timeouts.handshaking,
                WaitReason::Claimed { .. } => &mut timeouts.claimed,
                WaitReason::Reserved { .. } => &mut timeouts.reserved,
                WaitReason::NoPeer => &mut timeouts.no_peer,
                WaitReason::NotClaimed { .. } => &mut timeouts.not_claimed,
                WaitReason::IdNotSeen => &mut timeouts.id_not_seen,
                WaitReason::IdHandshaking => &mut timeouts.id_handshaking,
                WaitReason::IdLeased => &mut timeouts.id_leased,
                WaitReason::IdResting => &mut timeouts.id_resting,
                WaitReason::IdNotBegun => &mut timeouts.id_not_begun,
                WaitReason::IdChecking => &mut timeouts.id_checking,
                WaitReason::Stock { .. } => &mut timeouts.stock,
                other => panic!("a reason that the naive pool does not know: {other:?}"),
            } += 1;
        }
        outcome
    }

    fn cancel(&mut self, waiter: WaiterId) -> WaitOutcome {
        let reason = self.why(waiter);
        let Some(found) = self.waiter(waiter).cloned() else {
            return WaitOutcome::Unknown;
        };
        self.remove(waiter);
        let outcome = match found.standing {
            WaiterState::Waiting => {
                self.totals.cancelled += 1;
                WaitOutcome::Waiting(reason.unwrap())
            }
            WaiterState::Granted(token) => {
                self.totals.cancelled += 1;
                self.offer(token, true);
                WaitOutcome::Granted
            }
            WaiterState::Lapsed => {
                self.totals.cancelled += 1;
                WaitOutcome::Granted
            }
            WaiterState::Stocked => WaitOutcome::Granted,
            WaiterState::Refused(refusal) => WaitOutcome::Refused(refusal),
        };
        self.settle();
        outcome
    }

    fn why(&mut self, waiter: WaiterId) -> Option<WaitReason> {
        let found = self.waiter(waiter).filter(|found| found.standing == WaiterState::Waiting)?;
        Some(match found.want {
            Want::Claimed if self.count(Idle) > 0 => {
                WaitReason::NotClaimed { ready: self.count(Idle) }
            }
            Want::Any | Want::Claimed => self.wait_reason(),
            Want::Stock(wanted) => WaitReason::Stock { idle: self.count(Idle), wanted },
            Want::Id(id) => match self.with_id(id).and_then(|token| self.state(token)) {
                None => WaitReason::IdNotSeen,
                Some(Dialing | Handshaking | Admitted) => WaitReason::IdHandshaking,
                Some(Resting) => WaitReason::IdResting,
                Some(Checking) => WaitReason::IdChecking,
                Some(Idle) => WaitReason::IdNotBegun,
                Some(_) => WaitReason::IdLeased,
            },
        })
    }

    // --- giving back ----------------------------------------------------------------------------

    fn put(
        &mut self,
        token: Token,
        connection: u32,
        drained: Option<CheckResult>,
    ) -> Result<(), PutError> {
        if self.state(token) != Some(Leased) {
            self.totals.put_unknown += 1;
            let (reason, error) = if self.closed {
                (CloseReason::PoolClosed, PutError::PoolClosed)
            } else {
                (CloseReason::Stale, PutError::NotLeased)
            };
            self.did.push(Action::Close { token, connection, reason });
            return Err(error);
        }
        self.totals.put += 1;
        self.returned();
        let lease = self.get(token);
        lease.held = Some(connection);
        (lease.used, lease.claimed, lease.finished) = (true, None, false);
        let id = lease.id;
        let wanted = self.first_for(id, Some(Want::Any)).is_some();
        if let Some(reason) = self.expiry(token) {
            self.close_one(token, reason);
        } else if self.shutting_down {
            self.close_one(token, CloseReason::ShutDown);
        } else if self.is_barred(token) {
            self.close_one(token, CloseReason::NotAllowed);
        } else if !wanted && self.stock() >= self.limit() {
            self.close_one(token, CloseReason::Overflow);
        } else if matches!(drained, Some(CheckResult::Closed | CheckResult::Finished)) {
            self.close_one(token, CloseReason::PeerClosed);
        } else if !self.setup.reuse_delay.is_zero() {
            self.join(token);
            self.enter(token, Resting);
        } else if drained == Some(CheckResult::Data) {
            self.close_one(token, CloseReason::Leftover);
        } else {
            self.join(token);
            match drained {
                Some(_) => self.offer(token, false),
                None => self.check(token, CheckKind::Drain),
            }
        }
        self.settle();
        Ok(())
    }

    fn reject(&mut self, token: Token, connection: u32, result: CheckResult) -> Answer {
        if !self.fits(token, &[Leased], Some(connection)) {
            return Answer::Nothing;
        }
        self.join(token);
        // Out of the lease, so that it counts as stock.
        self.enter(token, Checking);
        if self.inspected(token, result) {
            let now = self.now;
            let lease = self.get(token);
            lease.claimed = lease.claimed.map(|_| now);
            self.offer(token, true);
        }
        self.settle();
        Answer::Nothing
    }
}
