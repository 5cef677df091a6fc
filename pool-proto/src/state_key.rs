//! Everything that a machine's future depends on, for model checkers: what they explore once must not
//! differ in anything that a later call could show.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use crate::event::{Token, WaiterId};
use crate::id::ConnId;
use crate::machine::Machine;
use crate::role::Role;
use crate::slab::Key;

/// What a model checker calls those whom a machine knows by tokens, ids and connections. A machine
/// never looks into them; so of two states that differ in them only, one is enough.
///
/// Names are below [`CanonicalNames::LIMIT`], and differ for what differs.
pub trait CanonicalNames<C> {
    /// Names are smaller.
    const LIMIT: u32 = u32::MAX - 1;

    /// The name of a live connection.
    fn connection(&self, token: Token) -> u32;

    /// The name of what the machine holds of a live connection.
    fn held(&self, token: Token, held: &C) -> u32;

    /// The name of a waiter that is not over.
    fn waiter(&self, waiter: WaiterId) -> u32;

    /// The name of an id, or `None` if no call will ever bring it again.
    fn id(&self, id: ConnId) -> Option<u32>;
}

impl<C, R: Role> Machine<C, R> {
    /// Feeds `hasher` with everything that the machine's answers, actions and deadlines depend on
    /// from now on. Two machines of one configuration that feed the same answer the same inputs
    /// alike, in other names: a model checker goes on with one of them. Ask when all actions are
    /// drained.
    ///
    /// Left out is what cannot matter: names, for which `names` stands; the time, of which only the
    /// distance from now counts; counters, which nothing reads; how many entries are vacant; the
    /// random generators as long as all that they choose between is equal. Two states count as one
    /// although they may forget an ended id at different times, some 256 ends later.
    pub fn hash_state<N: CanonicalNames<C>, H: Hasher>(&self, names: &N, hasher: &mut H) {
        let name = |key| names.connection(Token(key));
        let mut live: Vec<(u32, u32)> =
            self.slots.slab.live().map(|(index, key)| (name(key), index)).collect();
        live.sort_unstable();
        for (_, index) in live {
            self.slots.hash_slot(index, names, self.now, hasher);
            if let Some(slot) = self.slots.get(index) {
                hash_id(names, slot.id, hasher);
                self.waiters.slab().label(slot.waiter, &waiter_name(names)).hash(hasher);
                slot.id.map(|id| self.ids.leads_to(id, index)).hash(hasher);
            }
            R::hash_slot(self, index, hasher);
        }
        self.slots.hash_lists(&name, self.now, hasher);
        self.ids.hash_state(names, hasher);
        self.waiters.hash_state(names, |index| self.slots.slab.label(index, &name), hasher);
        if !self.closed {
            R::hash_state(self, names, hasher);
        }
        (self.closed, self.actions.len()).hash(hasher);
        if self.slots.is_jittered() {
            self.random().hash(hasher);
        }
    }
}

pub(crate) fn waiter_name<C, N: CanonicalNames<C>>(names: &N) -> impl Fn(Key) -> u32 {
    |key| names.waiter(WaiterId(key))
}

pub(crate) fn hash_id<C, N: CanonicalNames<C>, H: Hasher>(
    names: &N,
    id: Option<ConnId>,
    hasher: &mut H,
) {
    id.map(|id| names.id(id)).hash(hasher);
}
