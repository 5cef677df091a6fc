//! The driver's account of every connection of one end: what goes in, what comes out, who has it.

use pool_proto::{Acquired, Action, CloseReason, ConnId, Instant, Lease, State, Token, WaiterId};

use super::{End, Life, Place, on};
use crate::violation::{Verdict, ensure};
use crate::world::tally::Tally;
use crate::world::waiting::Want;

impl End {
    /// The id of a live connection, as far as it is known.
    pub(crate) fn id(&self, token: Token) -> Option<ConnId> {
        self.lives.get(token.slot())?.as_ref().filter(|life| life.token == token)?.id
    }

    pub(super) fn step(&mut self, now: u64) -> Instant {
        let clock = self.clock(now);
        self.seen = self.seen.max(clock);
        self.steps += 1;
        (self.dialled, self.bereft) = (false, false);
        self.waiting.step();
        clock
    }

    pub(super) fn life(&mut self, token: Token) -> Option<&mut Life> {
        let life = self.lives.get_mut(token.slot())?.as_mut()?;
        (life.token == token).then_some(life)
    }

    /// The state of a connection; `None` if it has ended.
    pub(crate) fn state(&self, token: Token) -> Option<State> {
        on!(&self.machine, pool => pool.state_of(token))
    }

    pub(super) fn enter(
        &mut self,
        token: Token,
        state: State,
        source: Option<u16>,
        tally: &mut Tally,
    ) -> Verdict {
        if self.lives.len() <= token.slot() {
            self.lives.resize(token.slot() + 1, None);
        }
        let since = self.seen;
        let (established, kind, id) = (None, None, None);
        let life = Life { token, state, since, established, kind, id, source };
        let former = self.lives[token.slot()].replace(life);
        ensure!(former.is_none(), "1: a token is not used twice", "{token:?}");
        self.live += 1;
        tally.most = tally.most.max(self.live);
        tally.edge(self.side, None, Some(state))
    }

    /// A live connection has this id from now on.
    pub(super) fn name(&mut self, token: Token, id: ConnId) -> Verdict {
        if let Some(life) = self.life(token) {
            life.id = Some(id);
        }
        let former = self.ids.insert(id, token);
        ensure!(former.is_none(), "4: ids are unique", "{former:?} and {token:?} have {id}");
        Ok(())
    }

    /// The driver passes a connection to the machine.
    pub(super) fn give(&mut self, connection: u32) -> Verdict {
        let place = self.places.entry(connection).or_insert(Place::Driver);
        ensure!(*place == Place::Driver, "1: one owner", "{connection} was not the driver's");
        *place = Place::Machine;
        self.inside += 1;
        Ok(())
    }

    fn take(&mut self, connection: u32, to: Place) -> Verdict {
        let Some(place) = self.places.get_mut(&connection) else {
            ensure!(false, "1: one owner", "{connection} came out and never went in");
            return Ok(());
        };
        ensure!(*place == Place::Machine, "1: one owner", "{connection} came out twice");
        *place = to;
        self.inside -= 1;
        Ok(())
    }

    pub(super) fn answered(&mut self, answer: &Acquired<u32>, want: Want, again: bool) -> Verdict {
        match answer {
            Acquired::Ready(lease) => self.leased(lease, want),
            Acquired::Queued(waiter) => self.queued(*waiter, want, again),
            Acquired::Refused(refusal) => self.check_refusal(*refusal, want, false),
        }
    }

    pub(super) fn leased(&mut self, lease: &Lease<u32>, want: Want) -> Verdict {
        self.take(lease.connection, Place::Driver)?;
        self.leases += 1;
        self.check_lease(lease, want)
    }

    /// Somebody is let in to wait: within the limit, unless it had waited before.
    pub(super) fn queued(&mut self, waiter: WaiterId, want: Want, again: bool) -> Verdict {
        let (all, most) = (self.waiting.all(), self.bounds.max_waiters as usize);
        ensure!(again || all < most, "10: waiters are bounded", "{all} for {most}");
        self.waiting.queue(waiter, want, again);
        Ok(())
    }

    /// Carries the machine's actions into the account, and checks it.
    pub(super) fn settle(&mut self, tally: &mut Tally) -> Verdict {
        self.account(tally)?;
        tally.steps += 1;
        self.audit(tally)
    }

    pub(super) fn account(&mut self, tally: &mut Tally) -> Verdict {
        while let Some(action) = on!(&mut self.machine, pool => pool.poll_action()) {
            self.account_for(&action, tally)?;
            self.did.push_back(action);
        }
        Ok(())
    }

    fn account_for(&mut self, action: &Action<u32>, tally: &mut Tally) -> Verdict {
        match *action {
            Action::Dial { token } => {
                ensure!(!self.closed, "8: no dial after close", "{action:?}");
                self.dials += 1;
                self.dialled = true;
                self.enter(token, State::Dialing, None, tally)
            }
            Action::Check { token, connection, kind } => {
                ensure!(!self.closed, "8: no check after close", "{action:?}");
                self.take(connection, Place::Driver)?;
                self.checking += 1;
                let seen = self.seen;
                let Some(life) = self.life(token) else {
                    ensure!(false, "1: no action names what has ended", "{action:?}");
                    return Ok(());
                };
                // Checked again, it enters its state again.
                (life.since, life.kind) = (seen, Some(kind));
                Ok(())
            }
            Action::Close { token, connection, reason } => {
                self.take(connection, Place::Ended)?;
                if self.life(token).is_some() {
                    return self.ended(token, reason, tally);
                }
                let late = matches!(reason, CloseReason::Stale | CloseReason::PoolClosed);
                ensure!(late, "1: a transport ends once", "{action:?}");
                Ok(())
            }
            Action::Abort { token, reason } => {
                let state = self.life(token).map(|life| life.state);
                let with_driver =
                    matches!(state, Some(State::Dialing | State::Handshaking | State::Leased));
                ensure!(
                    with_driver || self.large,
                    "1: only what the driver has is aborted",
                    "{state:?}"
                );
                self.ended(token, reason, tally)
            }
            Action::Wake { waiter } => self.waiting.woken(waiter, self.bereft),
        }
    }

    pub(super) fn ended(
        &mut self,
        token: Token,
        reason: CloseReason,
        tally: &mut Tally,
    ) -> Verdict {
        let life = self.lives.get_mut(token.slot()).and_then(Option::take);
        let Some(life) = life.filter(|life| life.token == token) else {
            ensure!(false, "1: a transport ends once", "{token:?}: {reason}");
            return Ok(());
        };
        self.check_reason(&life, reason)?;
        self.live -= 1;
        self.bereft |= life.state == State::Granted;
        if let Some(id) = life.id
            && self.ids.get(&id) == Some(&token)
        {
            self.ids.remove(&id);
        }
        self.ends.add(reason, 1);
        tally.end(self.side, reason);
        // With many connections, states are looked at now and then only.
        if self.large { Ok(()) } else { tally.edge(self.side, Some(life.state), None) }
    }

    /// What is being checked ends without an action, and comes back as stale.
    pub(super) fn end_checks(
        &mut self,
        reason: CloseReason,
        tally: &mut Tally,
        which: impl Fn(&Life) -> bool,
    ) -> Verdict {
        if self.checking == 0 {
            return Ok(());
        }
        let checking =
            |life: &&Life| self.state(life.token) == Some(State::Checking) && which(life);
        let tokens = self.lives.iter().flatten().filter(checking).map(|life| life.token);
        for token in tokens.collect::<Vec<_>>() {
            self.ended(token, reason, tally)?;
        }
        Ok(())
    }
}
