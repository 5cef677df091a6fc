//! 4 and 5: leases, waiters, refusals.

use pool_proto::{Acquirer, Action, ConnId, Lease, Refusal, State, Stats, WaiterId};

use super::lives::Holder;
use super::{Ledger, Life, Place, Want};
use crate::call::{Did, Pool};
use crate::setup::Side;
use crate::violation::{Verdict, ensure};

impl Ledger {
    pub(super) fn enter_lease(&mut self, lease: &Lease<u32>, want: Want) -> Verdict {
        self.take(lease.connection, Holder::Driver)?;
        self.counts.leases += 1;
        self.check_lease(lease, want)?;
        self.lives.relocate(lease.token, Place::Leased);
        if let Some(life) = self.lives.get_mut(lease.token) {
            life.acquired = want == Want::Any;
        }
        Ok(())
    }

    /// A caller is let in to wait: within the limit, unless it has waited before.
    pub(super) fn enter_waiter(&mut self, waiter: WaiterId, want: Want, again: bool) -> Verdict {
        let (all, most) = (self.waiting.open().len(), self.setup.max_waiters as usize);
        ensure!(again || all < most, "10: waiters are bounded", "{all} for {most}");
        self.waiting.enqueue(waiter, want, again)
    }

    /// A lease is of a suitable connection that is fit to be handed out, and nobody else's.
    fn check_lease(&mut self, lease: &Lease<u32>, want: Want) -> Verdict {
        ensure!(!self.closed, "8: no lease after close", "{lease:?}");
        let Some(life) = self.life(lease.token).copied() else {
            ensure!(false, "5: nothing closed is leased", "{lease:?}");
            return Ok(());
        };
        let id = lease.id;
        let whole = life.inside() == Some(lease.connection);
        ensure!(whole, "1: one owner", "{lease:?} of {life:?}");
        match life.id {
            Some(known) => {
                ensure!(id == known, "4: an id is a connection's for life", "{id}, not {known}");
            }
            None => self.name(lease.token, id)?,
        }
        ensure!(life.established.is_some(), "4: a lease is of an established connection", "{id}");
        let fits = match (want, life.state) {
            (Want::Id(wanted), State::Claimed | State::Finished | State::Granted) => wanted == id,
            (Want::Id(wanted), State::Idle | State::Reserved) => {
                wanted == id && !self.setup.opening_byte
            }
            // In one call, a waiter's connection may expire and another take its place.
            (Want::Any, State::Idle | State::Granted) => true,
            // With many connections, states are looked at now and then only.
            (Want::Claimed, State::Granted) => life.begun,
            (Want::Claimed, _) => life.is_request(self.setup.control_connection) || self.large,
            (Want::Any, _) => self.large,
            (Want::Id(wanted), _) => self.large && wanted == id,
            _ => false,
        };
        ensure!(fits, "4: a lease is what was asked for", "{want:?} got {id}, {:?}", life.state);
        let by_id = matches!(want, Want::Id(_));
        let control = self.setup.control_connection && !by_id && id == ConnId::ZERO;
        ensure!(!control, "4: the control connection is taken by its id only", "{lease:?}");
        let owned = want != Want::Any || self.setup.owns(self.side, id);
        ensure!(owned, "4: what is the peer's to acquire is taken by its id only", "{lease:?}");
        let age = life.established.map(|established| self.seen.since(established));
        let most = self.setup.max_lifetime.filter(|_| self.setup.owns(self.side, id));
        let expired = most.is_some_and(|most| age.is_some_and(|age| age >= most));
        ensure!(!expired, "5: nothing expired is leased", "{age:?} old");
        let unused = life.state == State::Idle && !self.large;
        let idle = self.seen.since(life.since);
        let expired = unused && self.setup.idle_timeout.is_some_and(|most| idle >= most);
        ensure!(!expired, "5: nothing expired is leased", "{idle:?} idle");
        Ok(())
    }

    /// Each refusal has its condition. A `late` one was decided when its waiter was woken.
    pub(super) fn check_refusal(
        &self,
        refusal: Refusal,
        want: Want,
        late: bool,
        pool: &impl Pool,
    ) -> Verdict {
        // The machine may have ended it in this call, whose actions have not been entered.
        let has_ended =
            |id: ConnId| self.ids.get(&id).is_none_or(|token| pool.state_of(*token).is_none());
        let right = match refusal {
            Refusal::PoolClosed => self.closed,
            Refusal::ShuttingDown => self.shutdown.is_some(),
            Refusal::UnknownId { id } | Refusal::Gone { id, .. } => {
                want == Want::Id(id) && (late || has_ended(id))
            }
            Refusal::AcquiredHere { id } => {
                let life = self.ids.get(&id).and_then(|token| self.life(*token));
                let acquired = |life: &Life| match life.state {
                    State::Leased => life.acquired,
                    state => state == State::Granted || self.large,
                };
                want == Want::Id(id) && (late || life.is_some_and(acquired))
            }
            Refusal::PeerAcquires => self.setup.acquirer == Acquirer::Peer && want == Want::Any,
            Refusal::TooManyWaiters { limit } => {
                limit == self.setup.max_waiters && self.waiting.open().len() >= limit as usize
            }
            Refusal::PeerNeverAcquires => {
                let never = self.setup.acquirer == Acquirer::ThisEnd
                    || (self.side == Side::Client && !self.setup.ids_exchanged());
                want == Want::Claimed && never
            }
            Refusal::AcceptEnded => self.accept_ended,
            Refusal::StockBeyondCapacity { wanted, capacity } => {
                want == Want::Stock(wanted) && wanted > capacity
            }
            _ => false,
        };
        ensure!(right, "5: a refusal is true", "{refusal:?} to {want:?}");
        Ok(())
    }

    /// There is never a waiter together with a connection or stock that suits it. (Ids are checked with
    /// the states.)
    pub(super) fn check_waiters(
        &self,
        stats: &Stats,
        actions: &[Did],
        pool: &impl Pool,
    ) -> Verdict {
        let (told, queued) = (stats.waiters as usize, self.waiting.queued());
        ensure!(told == queued, "5: each waiter is one", "{told} for {queued}");
        let (told, accepts) = (stats.accept_waiters as usize, self.waiting.for_claimed());
        ensure!(told == accepts, "5: each waiter is one", "{told} accept for {accepts}");
        let any = self.waiting.for_any();
        ensure!(
            any == 0 || stats.idle == stats.reserved,
            "5: never a waiter and an idle connection",
            "{any} wait, {} are idle, {} reserved",
            stats.idle,
            stats.reserved
        );
        let supply_ended = self.accept_ended && !self.closed;
        let supply = self.waiting.for_supply();
        ensure!(!supply_ended || supply == 0, "5: nobody waits in vain", "{supply} wait for peers");
        // The next connection would be the control connection.
        let control = self.ids.get(&ConnId::ZERO).and_then(|token| pool.state_of(*token));
        let waits = supply_ended && control.is_none() && self.waiting.wants(ConnId::ZERO);
        ensure!(!waits, "5: nobody waits in vain", "for the control connection");
        self.check_waiters_for_requests(supply_ended)?;
        let stock = self.waiting.least_stock();
        ensure!(
            stock.is_none_or(|ready| ready > stats.idle),
            "5: never a waiter and its stock",
            "{stock:?} are wanted, {} are idle",
            stats.idle
        );
        let closes = actions.iter().any(|action| matches!(action, Action::Close { .. }));
        for action in actions {
            if let Action::Wake { waiter } = action {
                let waits = pool.why(*waiter).is_some();
                ensure!(!waits || closes, "5: a wake means something", "{waiter:?} still waits");
            }
        }
        Ok(())
    }

    /// No caller waits to accept while there is a connection that the peer has begun to use, or when
    /// none can come any more.
    fn check_waiters_for_requests(&self, supply_ended: bool) -> Verdict {
        let waiting = self.waiting.for_requests();
        if waiting == 0 || self.large {
            return Ok(());
        }
        let control = self.setup.control_connection;
        let request = self.lives.iter().find(|life| life.is_request(control));
        ensure!(request.is_none(), "5: never a waiter and a request", "{waiting} and {request:?}");
        let in_vain = self.closed
            || (supply_ended && self.lives.iter().next().is_none())
            || (self.shutdown.is_some() && self.lives.count(Place::Checking) == 0);
        ensure!(!in_vain, "5: nobody waits in vain", "{waiting} wait for requests");
        Ok(())
    }
}
