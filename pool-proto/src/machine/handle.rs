//! Events of the driver, and deadlines.

use super::Machine;
use crate::event::{CheckKind, CheckResult, CloseReason, Event, HandshakeFailure, Token};
use crate::id::ConnId;
use crate::role::Role;
use crate::slots::LIFETIME_STEPS;
use crate::state::State;
use crate::time::Instant;

impl<C, R: Role> Machine<C, R> {
    /// Takes in an event of the driver. Drain [`poll_action`](Self::poll_action) afterwards.
    pub fn handle_event(&mut self, now: Instant, event: Event<C>) {
        let now = self.advance(now);
        match event {
            Event::Dialed { token } => {
                if let Some(index) = self.resolve(token, &[State::Dialing]) {
                    self.enter(index, State::Handshaking, now);
                }
            }
            Event::DialFailed { token } => {
                if let Some(index) = self.resolve(token, &[State::Dialing]) {
                    self.end(index, CloseReason::DialFailed);
                }
            }
            Event::FirstByte { token } => {
                if let Some(index) = self.resolve(token, &[State::Accepted]) {
                    self.enter(index, State::Handshaking, now);
                }
            }
            Event::Established { token, connection, id } => {
                self.establish(token, connection, id, now);
            }
            Event::HandshakeFailed { token, failure } => {
                let handshake = [State::Accepted, State::Handshaking, State::Admitted];
                if let Some(index) = self.resolve(token, &handshake) {
                    match failure {
                        HandshakeFailure::Tls => self.totals.tls_failures += 1,
                        HandshakeFailure::Id => self.totals.id_failures += 1,
                        HandshakeFailure::Transport => self.totals.transport_failures += 1,
                    }
                    R::handshake_failed(self, index, failure);
                    self.end(index, CloseReason::HandshakeFailed);
                }
            }
            Event::Readable { token } => self.readable(token, now),
            Event::Checked { token, connection, result } => {
                self.checked(token, connection, result, now);
            }
            Event::Closed { token } => self.closed_by_holder_or_peer(token),
            Event::AcceptEnded => {
                if !self.role.accept_ended() {
                    self.totals.stale_events += 1;
                }
            }
        }
        self.dispatch(now);
    }

    /// Does everything that is due by `now`. Drain [`poll_action`](Self::poll_action) afterwards.
    ///
    /// Then [`poll_timeout`](Self::poll_timeout) is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        const ENDS: [(State, CloseReason); 8] = [
            (State::Dialing, CloseReason::DialTimeout),
            (State::Accepted, CloseReason::Silent),
            (State::Handshaking, CloseReason::HandshakeTimeout),
            (State::Admitted, CloseReason::HandshakeTimeout),
            (State::Idle, CloseReason::IdleTimeout),
            (State::Claimed, CloseReason::Unclaimed),
            (State::Finished, CloseReason::PeerClosed),
            (State::Checking, CloseReason::DrainTimeout),
        ];
        let now = self.advance(now);
        if self.shutdown.is_some_and(|deadline| deadline <= now) {
            self.end_pool(CloseReason::ShutDown);
        }
        for (state, reason) in ENDS {
            while let Some(index) = self.slots.overdue(state, now) {
                self.close_one(index, reason);
            }
        }
        while let Some(index) = self.slots.overdue(State::Granted, now) {
            self.lapse(index, now);
        }
        while let Some(index) = self.slots.overdue(State::Resting, now) {
            self.check(index, CheckKind::Drain, now);
        }
        while let Some(index) = self.slots.pop_expired(now) {
            // In other states its lifetime is looked at when it is offered or handed out.
            let rests = matches!(self.state(index), Some(State::Idle | State::Resting));
            if rests && self.is_ours(index) {
                self.close_one(index, CloseReason::Expired);
            }
        }
        if !self.is_ending() {
            R::handle_timeout(self, now);
            self.retire(now);
        }
        self.dispatch(now);
    }

    fn establish(&mut self, token: Token, connection: C, id: Option<ConnId>, now: Instant) {
        let Some(index) = self.reclaim(token, &[R::LAST_STEP], connection) else {
            return;
        };
        if self.ids.are_received() {
            let Some(id) = id else { return self.close_one(index, CloseReason::MissingId) };
            // At the peer, a finished connection is over, and its id free.
            if let Some(finished) = self.ids.find(id)
                && self.state(finished) == Some(State::Finished)
            {
                self.close_one(finished, CloseReason::PeerClosed);
            }
            if !self.ids.enter(id, index) {
                return self.close_one(index, CloseReason::DuplicateId);
            }
            if let Some(slot) = self.slots.get_mut(index) {
                slot.id = Some(id);
            }
        }
        self.totals.established += 1;
        if let Some(slot) = self.slots.get(index) {
            R::established(self, slot.established, id, now);
        }
        let step = self.random.u8(0..LIFETIME_STEPS);
        self.slots.start_ageing(index, step, now);
        self.offer(index, false, now);
        R::came_in(self, now);
    }

    /// Data or EOF has arrived. An idle or claimed connection is inspected now, any other when it would
    /// become idle: until then it may still be drained, or its holder may read it.
    fn readable(&mut self, token: Token, now: Instant) {
        let Some(index) = self.resolve(token, State::ALL) else { return };
        if matches!(self.state(index), Some(State::Idle | State::Reserved | State::Claimed)) {
            self.check(index, CheckKind::Inspect, now);
        } else if let Some(slot) = self.slots.get_mut(index) {
            slot.readable = true;
        }
    }

    fn checked(&mut self, token: Token, connection: C, result: CheckResult, now: Instant) {
        let Some(index) = self.reclaim(token, &[State::Checking], connection) else {
            return;
        };
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        match (slot.check, result) {
            (CheckKind::Inspect, result) if self.keeps(index, result) => {
                self.note_result(index, result, now);
                self.offer(index, false, now);
                R::came_in(self, now);
            }
            (CheckKind::Drain, CheckResult::Quiet) => self.offer(index, true, now),
            (CheckKind::Drain, CheckResult::Data) => self.close_one(index, CloseReason::Leftover),
            _ => self.close_one(index, CloseReason::PeerClosed),
        }
    }

    /// Whether an inspected connection stays. If the peer has ended it, only an acquire by its id can
    /// still use it, and only if the peer can have acquired it.
    pub(super) fn keeps(&self, index: u32, result: CheckResult) -> bool {
        let control = self.is_control(self.slots.get(index).and_then(|slot| slot.id));
        match result {
            CheckResult::Quiet | CheckResult::Data => true,
            CheckResult::Finished => self.peer_claims,
            // A control connection without data is useless, and keeps out the next one.
            CheckResult::Closed => self.peer_claims && !control,
        }
    }

    /// Takes in the result of an inspection of a connection that stays. Data, and an end, mean that the
    /// peer has taken it.
    pub(super) fn note_result(&mut self, index: u32, result: CheckResult, now: Instant) {
        if result == CheckResult::Closed {
            R::ended_by_peer(self, index);
        }
        let data = matches!(result, CheckResult::Data | CheckResult::Finished);
        let claims = self.peer_claims && data;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let is_news = slot.claimed.is_none();
        if claims {
            slot.claimed.get_or_insert(now);
        }
        slot.finished = matches!(result, CheckResult::Finished | CheckResult::Closed);
        if claims && is_news {
            self.acquired_by_peer(index);
        }
    }

    fn closed_by_holder_or_peer(&mut self, token: Token) {
        let pooled = [
            State::Idle,
            State::Reserved,
            State::Claimed,
            State::Finished,
            State::Granted,
            State::Resting,
            State::Checking,
        ];
        if let Some(index) = self.slots.resolve(token, &[State::Leased]) {
            self.end(index, CloseReason::Released);
        } else if let Some(index) = self.resolve(token, &pooled) {
            self.close_one(index, CloseReason::PeerClosed);
        }
    }
}
