//! The driver's own account of every connection, and its comparison with the machine's.

use super::*;

impl<R: Role> Harness<R> {
    pub fn begin(&mut self) {
        self.step_began = self.log.len();
        // The very last instant does not come.
        self.clock = self.clock.max(self.now).min(Instant::from_nanos(u64::MAX - 1));
    }

    pub(super) fn life(&mut self, token: Token) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| life.token == token)
    }

    pub(super) fn held(&self, token: Token) -> Option<Held> {
        let life = self.lives.iter().find(|life| life.token == token);
        life.map(|life| life.held)
    }

    pub fn new_connection(&mut self) -> u32 {
        self.places.push(Place::Driver);
        u32::try_from(self.places.len()).unwrap() - 1
    }

    /// The driver passes a connection to the machine.
    pub fn give(&mut self, connection: u32) {
        self.moved(connection, Place::Driver, Place::Machine);
    }

    pub(super) fn moved(&mut self, connection: u32, from: Place, to: Place) {
        let place = &mut self.places[connection as usize];
        assert_eq!(*place, from, "connection {connection} on its way to {to:?}");
        *place = to;
        self.inside += u32::from(to == Place::Machine);
        self.inside -= u32::from(from == Place::Machine);
    }

    /// A connection ends, and no action says so.
    pub fn silent_end(&mut self, token: Token, reason: CloseReason) {
        self.lives.retain(|life| life.token != token);
        assert!(self.dead.insert(token), "{token:?} ended twice");
        *self.ends.entry(reason).or_insert(0) += 1;
    }

    /// The machine gives up what is being checked; the connections come back by and by.
    pub fn end_checks(&mut self, reason: CloseReason) {
        let lives = self.lives.clone();
        for life in lives {
            if matches!(life.held, Held::Checking(_)) {
                self.silent_end(life.token, reason);
            }
        }
    }

    pub fn leased(&mut self, lease: &Lease<u32>) {
        self.moved(lease.connection, Place::Machine, Place::Driver);
        self.leases += 1;
        let life = self.life(lease.token).expect("a lease of a live connection");
        assert_eq!(life.held, Held::Machine, "{lease:?}");
        life.held = Held::Leased;
        assert_eq!(*life.id.get_or_insert(lease.id), lease.id);
    }

    pub fn acquired(&mut self, answer: Acquired<u32>, any: bool) -> Acquired<u32> {
        match &answer {
            Acquired::Ready(lease) => self.leased(lease),
            Acquired::Queued(waiter) => self.waiters.push((*waiter, any)),
            Acquired::Refused(_) => {}
        }
        self.settle();
        answer
    }

    /// Carries out what the machine wants, and checks the books.
    pub fn settle(&mut self) {
        let mut dialled = false;
        while let Some(action) = self.machine.poll_action() {
            dialled |= matches!(action, Action::Dial { .. });
            self.carry_out(&action);
            self.log.push(action);
        }
        self.audit(dialled);
        if let Some(result) = self.auto
            && !self.checks.is_empty()
        {
            let began = self.step_began;
            self.checked(result);
            self.step_began = began;
        }
    }

    fn carry_out(&mut self, action: &Did) {
        let closed = self.machine.is_closed();
        match *action {
            Action::Dial { token } => {
                assert!(!closed, "{action:?} of a closed pool");
                assert!(!self.server, "{action:?} of a server");
                assert!(!self.dead.contains(&token), "{token:?} was used before");
                assert_eq!(self.held(token), None);
                self.dials += 1;
                self.lives.push(Life { token, held: Held::Dialing, id: None, address: None });
            }
            Action::Check { token, connection, kind } => {
                assert!(!closed, "{action:?} of a closed pool");
                let until = self.clock + self.drain_timeout;
                let life = self.life(token).expect("a check of a live connection");
                assert_eq!(life.held, Held::Machine);
                life.held = Held::Checking(until);
                self.moved(connection, Place::Machine, Place::Driver);
                self.checks.push((token, connection, kind));
            }
            Action::Close { token, connection, reason } => {
                self.moved(connection, Place::Machine, Place::Ended);
                if reason == CloseReason::Stale || self.dead.contains(&token) {
                    let late = matches!(reason, CloseReason::Stale | CloseReason::PoolClosed);
                    assert!(late, "{action:?} of a connection that had ended");
                } else {
                    assert_eq!(self.held(token), Some(Held::Machine), "{action:?}");
                    self.silent_end(token, reason);
                }
            }
            Action::Abort { token, reason } => {
                let held = self.held(token);
                let aborts = [Held::Dialing, Held::Handshaking, Held::Leased];
                let right = held.is_some_and(|held| aborts.contains(&held));
                assert!(right, "{action:?} of {held:?}");
                self.silent_end(token, reason);
            }
            Action::Wake { .. } => {}
        }
    }

    fn audit(&self, dialled: bool) {
        let stats = self.stats();
        let count = |wanted: fn(Held) -> bool| {
            let lives = self.lives.iter().filter(|life| wanted(life.held));
            u32::try_from(lives.count()).unwrap()
        };
        let leased = count(|held| held == Held::Leased);
        let checking = count(|held| matches!(held, Held::Checking(_)));
        let inside = count(|held| held == Held::Machine);
        assert_eq!(stats.dialing, count(|held| held == Held::Dialing));
        assert_eq!(stats.handshaking, count(|held| held == Held::Handshaking));
        let (granted, resting) = (stats.leased - leased, stats.returning - checking);
        assert_eq!(stats.idle + stats.claimed + granted + resting, inside);
        assert_eq!(stats.idle, self.machine.idle());
        assert_eq!(self.inside, inside, "connections with the machine");

        let waits = |waiter| self.machine.why(waiter).is_some();
        let waiting = self.waiters.iter().filter(|(waiter, _)| waits(*waiter));
        let any = waiting.clone().filter(|(_, any)| *any).count();
        let waiting = waiting.count();
        assert_eq!(stats.waiters as usize, waiting);
        assert!(any == 0 || stats.idle == 0, "{any} wait, {stats:?}");
        assert!(granted as usize <= self.waiters.len() - waiting, "{stats:?}");

        let ready = stats.handshaking + stats.idle;
        let (min, max) = self.capacity;
        assert!((min..=max).contains(&stats.capacity));
        assert!(!self.server || ready <= stats.capacity, "{stats:?}");
        if dialled {
            let supply = ready + stats.dialing + stats.returning;
            assert!(supply <= stats.capacity, "{stats:?}");
            assert!(stats.dialing + stats.handshaking <= self.max_dials);
        }
        let mut ids: Vec<ConnId> = self.lives.iter().filter_map(|life| life.id).collect();
        let named = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), named, "two live connections have one id");

        assert_eq!(stats.totals.dials, self.dials);
        assert_eq!(stats.totals.leases, self.leases);
        self.audit_ends(&stats);
    }

    fn audit_ends(&self, stats: &Stats) {
        let totals = &stats.totals;
        let flushed = self.ended(CloseReason::Flushed) + self.ended(CloseReason::PoolClosed);
        assert_eq!(totals.flushed, flushed);
        let failures = totals.tls_failures + totals.transport_failures + totals.id_failures;
        let failed = self.ended(CloseReason::HandshakeFailed) + self.ended(CloseReason::MissingId);
        assert_eq!(failures, failed);
        for (reason, counter) in [
            (CloseReason::DialFailed, totals.dial_failures),
            (CloseReason::DialTimeout, totals.dial_timeouts),
            (CloseReason::HandshakeTimeout, totals.handshake_timeouts),
            (CloseReason::DuplicateId, totals.duplicate_ids),
            (CloseReason::PeerClosed, totals.peer_closed),
            (CloseReason::IdleTimeout, totals.idle_timeouts),
            (CloseReason::Expired, totals.expired),
            (CloseReason::Unclaimed, totals.unclaimed),
            (CloseReason::Overflow, totals.overflowed),
            (CloseReason::Leftover, totals.leftover),
            (CloseReason::DrainTimeout, totals.drain_timeouts),
            (CloseReason::Evicted, totals.evicted),
            (CloseReason::Cleaned, totals.cleaned),
            (CloseReason::Released, totals.released),
        ] {
            assert_eq!(counter, self.ended(reason), "{reason:?}");
        }
    }
}

/// At the end of a test everything must come out: a connection that does not has leaked.
impl<R: Role> Drop for Harness<R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.auto = None;
        self.close();
        let began = self.log.len();
        self.close();
        assert_eq!(self.log.len(), began, "closing twice");
        while !self.checks.is_empty() {
            self.checked(CheckResult::Quiet);
        }
        assert_eq!(self.inside, 0, "connections that did not come out");
        assert!(self.lives.is_empty(), "{:?}", self.lives);
        assert_eq!(self.machine.poll_timeout(), None);
        assert_eq!(self.stats().waiters, 0);
    }
}
