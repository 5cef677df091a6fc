//! The state key: everything that a machine's future depends on, for model checkers.
//!
//! A model checker explores states with equal keys once. So a key must contain everything that a
//! later call could show, and as little else as possible.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem::discriminant;
use core::time::Duration;

use crate::config::Acquirer;
use crate::error::Refusal;
use crate::event::{CloseReason, Token, WaiterId};
use crate::id::ConnId;
use crate::ids::Ids;
use crate::machine::Machine;
use crate::role::dialing::{PROBATION, RECOVERY, YIELDING};
use crate::role::sources::{Peer, REPLACING, Want};
use crate::role::{Accepting, Dialing, Role};
use crate::slab::{Key, List, NIL, Slab};
use crate::slots::Slots;
use crate::state::State;
use crate::time::{Instant, Period};
use crate::tuner::Tuning;
use crate::waiters::{Request, WaiterState, Waiters};

/// The names by which a model checker knows connections, waiters and ids.
///
/// A machine never looks into tokens, ids and connections. Of two states that differ in these only,
/// a model checker explores one; canonical names make the two equal.
///
/// Names are below [`CanonicalNames::LIMIT`]. Different things have different names.
pub trait CanonicalNames<C> {
    /// The bound of names: every name is smaller.
    const LIMIT: u32 = u32::MAX - 1;

    /// Returns the name of a live connection.
    fn connection(&self, token: Token) -> u32;

    /// Returns the name of the value that the machine holds of a live connection.
    fn held(&self, token: Token, held: &C) -> u32;

    /// Returns the name of a live waiter.
    fn waiter(&self, waiter: WaiterId) -> u32;

    /// Returns the name of an id, or `None` if no call will ever bring it again.
    fn id(&self, id: ConnId) -> Option<u32>;
}

/// In place of a name: the entry is vacant.
const VACANT: u32 = u32::MAX - 1;

impl<C, R: Role> Machine<C, R> {
    /// Feeds `hasher` with everything that the machine's answers, actions and deadlines depend on
    /// from now on.
    ///
    /// Two machines of one configuration that feed the same give the same outputs for the same inputs, up to
    /// names. Call it when all actions are drained.
    ///
    /// The key leaves out differences that cannot matter: names (`names` replaces them); the time (only
    /// distances from now count); counters, which nothing reads; the number of vacant entries; the
    /// random generators as long as all their choices are equal. Two states with the same key may
    /// forget an ended id at different times, some 256 ends later. The key also leaves out the settings,
    /// which all states of a model share, and state that matters only when they change: give a model one
    /// configuration.
    pub fn hash_state<N: CanonicalNames<C>, H: Hasher>(&self, names: &N, hasher: &mut H) {
        let name = |key| names.connection(Token(key));
        for index in by_name(&self.slots.slab, &name) {
            hash_connection(&self.slots, index, names, self.now, hasher);
            if let Some(slot) = self.slots.get(index) {
                hash_id(names, slot.id, hasher);
                label(&self.waiters.slab, slot.waiter, &waiter_name(names)).hash(hasher);
                slot.id.map(|id| self.ids.find(id) == Some(index)).hash(hasher);
            }
            R::hash_connection(self, index, hasher);
        }
        hash_timers(&self.slots, &name, self.now, hasher);
        hash_ended_ids(&self.ids, names, hasher);
        let connection = |index| label(&self.slots.slab, index, &name);
        hash_waiters(&self.waiters, names, connection, hasher);
        if !self.closed {
            R::hash_role(self, names, hasher);
            self.shutdown.map(|deadline| deadline.distance(self.now)).hash(hasher);
        }
        (self.closed, self.actions.len()).hash(hasher);
        // A longer time ago is as good as half of the timeout.
        if let Some(half) = self.half_of_idle_timeout().filter(|_| !self.is_ending()) {
            self.now.since(self.retired_at).min(half.duration()).hash(hasher);
        }
        // The generator draws steps of lifetimes only; without jitter all steps are equal.
        let [shortest, .., longest] = &self.slots.lifetimes;
        if shortest.period != longest.period {
            self.random.get_seed().hash(hasher);
        }
    }
}

/// The share of a role in the state key.
pub trait RoleKey: Sized {
    /// Feeds `hasher` with the role's knowledge of one connection.
    fn hash_connection<C, H: Hasher>(machine: &Machine<C, Self>, index: u32, hasher: &mut H);

    /// Feeds `hasher` with the role's other knowledge.
    fn hash_role<C, N: CanonicalNames<C>, H: Hasher>(
        machine: &Machine<C, Self>,
        names: &N,
        hasher: &mut H,
    );
}

impl RoleKey for Dialing {
    fn hash_connection<C, H: Hasher>(client: &Machine<C, Self>, index: u32, hasher: &mut H) {
        let Some(slot) = client.slots.get(index) else {
            return;
        };
        // Only the present epoch counts: former epochs do not come back.
        (slot.origin == client.role.epoch).hash(hasher);
        let established = !matches!(slot.state, State::Dialing | State::Handshaking);
        if !established && client.role.tuner.lead_time().is_some() {
            slot.established.distance(client.now).hash(hasher);
        }
        if established && !slot.used && slot.claimed.is_none() {
            client.now.since(slot.established).min(PROBATION).hash(hasher);
        }
    }

    fn hash_role<C, N: CanonicalNames<C>, H: Hasher>(
        client: &Machine<C, Self>,
        _names: &N,
        hasher: &mut H,
    ) {
        let (role, now) = (&client.role, client.now);
        let distance = |at: Option<Instant>| at.and_then(|at| at.distance(now));
        role.tuner.hash_state(now, hasher);
        role.hints.hash(hasher);
        if client.can_be_busy() {
            role.urgency.hash_state(now, hasher);
        }
        let backoff = &role.backoff;
        (backoff.failures, backoff.forgiven, backoff.random.get_seed()).hash(hasher);
        let probes = &role.probes;
        (probes.failures, probes.forgiven, probes.random.get_seed()).hash(hasher);
        (distance(role.retry_at), distance(role.next_round), role.relapsed).hash(hasher);
        (role.ceiling, role.allowance, role.window.min(role.max_dials)).hash(hasher);
        // Every time beyond RECOVERY counts alike, and none where there is nothing to revoke.
        for (revocable, at) in [(backoff, role.recovered_at), (probes, role.raised_at)] {
            let age = now.since(at).min(RECOVERY + Duration::from_nanos(1));
            (revocable.forgiven > 0).then_some(age).hash(hasher);
        }
        now.since(role.raised_at).min(PROBATION).hash(hasher);
        if role.tuner.tuning() == Tuning::NodePass {
            (role.created, role.quota).hash(hasher);
        }
        role.surplus.map(|surplus| surplus.key(now)).hash(hasher);
        role.share.hash(hasher);
        if client.slots.control {
            (role.control.begun, distance(role.control.next)).hash(hasher);
        }
        if client.acquirer == Acquirer::Both {
            now.since(role.yielded_at).min(YIELDING).hash(hasher);
        }
    }
}

impl RoleKey for Accepting {
    fn hash_connection<C, H: Hasher>(server: &Machine<C, Self>, index: u32, hasher: &mut H) {
        let source = server.slots.get(index).map(|slot| slot.origin);
        source.and_then(|source| server.role.sources.peer(source)).hash(hasher);
    }

    fn hash_role<C, N: CanonicalNames<C>, H: Hasher>(
        server: &Machine<C, Self>,
        names: &N,
        hasher: &mut H,
    ) {
        server.role.ended.hash(hasher);
        let (sources, name) = (&server.role.sources, |key| names.connection(Token(key)));
        let mut live: Vec<(Peer, u32)> = sources
            .slab
            .live()
            .filter_map(|(index, _)| sources.peer(index).map(|peer| (peer, index)))
            .collect();
        live.sort_unstable();
        for (peer, index) in &live {
            let Some(source) = sources.slab.get(*index) else { continue };
            hash_ends(&source.pooled, &server.slots.slab, &name, hasher);
            let known = sources.number(peer) == Some(*index);
            (peer, known, source.handshakes, source.live, source.share).hash(hasher);
            match source.want {
                Want::None => 0.hash(hasher),
                Want::Since(since) => (1, since.distance(server.now)).hash(hasher),
                Want::Answered => 2.hash(hasher),
            }
            // A count whose time is over starts again at zero.
            let replacing = server.now.since(source.replacing);
            let counts = source.replaced > 0 && replacing < REPLACING;
            counts.then_some((replacing, source.replaced)).hash(hasher);
        }
        (live.len(), sources.by_peer.len()).hash(hasher);
        // Sorted: their order matters only when there are very many.
        let mut known: Vec<Peer> = sources.known.iter().copied().collect();
        known.sort_unstable();
        known.hash(hasher);
        for (rank, source) in sources.ranked() {
            (rank, sources.peer(source)).hash(hasher);
        }
        for source in core::iter::successors(sources.wanting.front(), |at| {
            sources.wanting.next(&sources.slab, *at)
        }) {
            sources.peer(source).hash(hasher);
        }
    }
}

/// Feeds `hasher` with one connection, except for the knowledge of machine, role and waiters.
fn hash_connection<C, N: CanonicalNames<C>, H: Hasher>(
    slots: &Slots<C>,
    index: u32,
    names: &N,
    now: Instant,
    hasher: &mut H,
) {
    let (Some(slot), Some(token)) = (slots.get(index), slots.token(index)) else {
        return;
    };
    let held = slot.connection.as_ref().map(|held| names.held(token, held));
    (slot.state, held, slot.ageing, slot.used, slot.finished, slot.doubted, slot.readable)
        .hash(hasher);
    (slot.state == State::Leased && slot.acquired, slot.barred).hash(hasher);
    slot.claimed.map(|since| since.distance(now)).hash(hasher);
    if slots.states.get(slot.state as usize).is_some_and(|timed| timed.period != Period::NEVER) {
        slot.since.distance(now).hash(hasher);
    }
    let lifetime = slots.lifetimes.get(usize::from(slot.lifetime_step)).map(|timed| timed.period);
    if let Some(lifetime) = lifetime.filter(|lifetime| *lifetime != Period::NEVER) {
        (lifetime, slot.established.distance(now)).hash(hasher);
    }
    if slot.state == State::Checking {
        slot.check.hash(hasher);
    }
    hash_links(&slots.slab, index, &|key| names.connection(Token(key)), hasher);
}

/// Feeds `hasher` with the lists of connections and their deadlines.
fn hash_timers<C, H: Hasher>(
    slots: &Slots<C>,
    name: &impl Fn(Key) -> u32,
    now: Instant,
    hasher: &mut H,
) {
    hash_ends(&slots.requests, &slots.slab, name, hasher);
    (slots.slab.len(), slots.next_lifetime_due.distance(now)).hash(hasher);
    for (timed, due) in slots.states.iter().zip(&slots.state_due) {
        hash_ends(&timed.list, &slots.slab, name, hasher);
        due.distance(now).hash(hasher);
    }
    // Sorted by first entry: the order of two lists with equal periods does not matter.
    let mut lifetimes: Vec<_> = slots.lifetimes.iter().zip(&slots.lifetime_due).collect();
    lifetimes.retain(|(timed, due)| !timed.list.is_empty() || **due != Instant::NEVER);
    lifetimes
        .sort_by_key(|(timed, _)| timed.list.front().map(|first| label(&slots.slab, first, name)));
    for (timed, due) in lifetimes {
        hash_ends(&timed.list, &slots.slab, name, hasher);
        (timed.period, due.distance(now)).hash(hasher);
    }
}

/// Feeds `hasher` with the number of ids, and with the ended ids that a caller may still ask for.
fn hash_ended_ids<C, N: CanonicalNames<C>, H: Hasher>(ids: &Ids, names: &N, hasher: &mut H) {
    let named = ids.ended.iter().rev().filter(|(id, _)| ids.find(*id).is_none());
    let named = named.filter_map(|(id, reason)| Some((names.id(*id)?, reason)));
    let mut ended: Vec<(u32, &CloseReason)> = Vec::new();
    for (name, reason) in named {
        if ended.iter().all(|(other, _)| *other != name) {
            ended.push((name, reason));
        }
    }
    ended.sort_unstable_by_key(|(name, _)| *name);
    (ids.len(), ended).hash(hasher);
}

/// Feeds `hasher` with the waiters and their queues.
fn hash_waiters<C, N: CanonicalNames<C>, H: Hasher>(
    waiters: &Waiters,
    names: &N,
    connection: impl Fn(u32) -> u32,
    hasher: &mut H,
) {
    let name = waiter_name(names);
    let live = by_name(&waiters.slab, &name);
    live.len().hash(hasher);
    for index in live {
        let Some(waiter) = waiters.slab.get(index) else { continue };
        discriminant(&waiter.request).hash(hasher);
        match waiter.request {
            Request::Any | Request::Claimed => {}
            Request::Stock(ready) => ready.hash(hasher),
            Request::Id(id) => {
                hash_id(names, Some(id), hasher);
                if let Some(list) = waiters.by_id.get(&id) {
                    hash_ends(list, &waiters.slab, &name, hasher);
                }
            }
        }
        discriminant(&waiter.state).hash(hasher);
        match waiter.state {
            WaiterState::Waiting | WaiterState::Stocked | WaiterState::Lapsed => {}
            WaiterState::Granted(index) => connection(index).hash(hasher),
            WaiterState::Refused(refusal) => {
                discriminant(&refusal).hash(hasher);
                if let Refusal::Gone { id, reason } = refusal {
                    (names.id(id), reason).hash(hasher);
                }
            }
        }
        hash_links(&waiters.slab, index, &name, hasher);
    }
    hash_ends(&waiters.all, &waiters.slab, &name, hasher);
    hash_ends(&waiters.any, &waiters.slab, &name, hasher);
    hash_ends(&waiters.claimed, &waiters.slab, &name, hasher);
    hash_ends(&waiters.stock, &waiters.slab, &name, hasher);
    waiters.by_id.len().hash(hasher);
}

fn hash_id<C, N: CanonicalNames<C>, H: Hasher>(names: &N, id: Option<ConnId>, hasher: &mut H) {
    id.map(|id| names.id(id)).hash(hasher);
}

fn waiter_name<C, N: CanonicalNames<C>>(names: &N) -> impl Fn(Key) -> u32 {
    |key| names.waiter(WaiterId(key))
}

/// The live entries of a slab, in the order of their names.
fn by_name<T, const LINKS: usize>(slab: &Slab<T, LINKS>, name: &impl Fn(Key) -> u32) -> Vec<u32> {
    let mut live: Vec<(u32, u32)> = slab.live().map(|(index, key)| (name(key), index)).collect();
    live.sort_unstable();
    live.into_iter().map(|(_, index)| index).collect()
}

/// The name of the entry at an index, or one of two labels that are not names.
fn label<T, const LINKS: usize>(
    slab: &Slab<T, LINKS>,
    index: u32,
    name: &impl Fn(Key) -> u32,
) -> u32 {
    match slab.key(index) {
        Some(key) => name(key),
        None if index == NIL => NIL,
        None => VACANT,
    }
}

fn hash_links<T, const LINKS: usize, H: Hasher>(
    slab: &Slab<T, LINKS>,
    index: u32,
    name: &impl Fn(Key) -> u32,
    hasher: &mut H,
) {
    for link in slab.links(index).into_iter().flatten() {
        (label(slab, link.previous, name), label(slab, link.next, name)).hash(hasher);
    }
}

fn hash_ends<const K: usize, T, const LINKS: usize, H: Hasher>(
    list: &List<K>,
    slab: &Slab<T, LINKS>,
    name: &impl Fn(Key) -> u32,
    hasher: &mut H,
) {
    (label(slab, list.head, name), label(slab, list.tail, name), list.len()).hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_name_and_other_indices_have_labels_that_are_not_names() {
        let mut slab = Slab::<char, 1>::new();
        let (a, b) = (slab.insert('a').unwrap(), slab.insert('b').unwrap());
        slab.remove(a.index);
        let name = |key: Key| if key == b { 17 } else { panic!("{key:?}") };
        assert_eq!(label(&slab, b.index, &name), 17);
        let others = [label(&slab, a.index, &name), label(&slab, NIL, &name)];
        // Names are below `CanonicalNames::LIMIT`.
        assert_eq!(others, [u32::MAX - 1, u32::MAX]);
    }
}
