//! Who waits for what, in order; a connection is handed to its waiter directly.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem::discriminant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::error::Refusal;
use crate::event::WaiterId;
use crate::id::ConnId;
use crate::slab::{List, Slab};
use crate::state_key::{CanonicalNames, hash_id, waiter_name};

/// What a waiter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Any,
    Id(ConnId),
    Stock(u32),
}

/// How far a waiter has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiterState {
    Waiting,
    /// The connection in this slot is reserved for it.
    Granted(u32),
    Stocked,
    Refused(Refusal),
}

#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) want: Request,
    pub(crate) standing: WaiterState,
}

#[derive(Clone)]
pub(crate) struct Waiters {
    /// Link 0: the queue of its kind. Link 1: everybody who waits.
    slab: Slab<Waiter, 2>,
    everybody: List<1>,
    any: List<0>,
    stock: List<0>,
    by_id: HashMap<ConnId, List<0>, FixedState>,
    limit: u32,
}

impl Waiters {
    pub(crate) fn new(limit: u32, random: &mut fastrand::Rng) -> Self {
        Self {
            slab: Slab::new(),
            everybody: List::new(),
            any: List::new(),
            stock: List::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(random.u64(..))),
            limit,
        }
    }

    pub(crate) const fn slab(&self) -> &Slab<Waiter, 2> {
        &self.slab
    }

    /// Feeds a model checker's hasher with everybody who waits and with the queues.
    pub(crate) fn hash_state<C, N: CanonicalNames<C>, H: Hasher>(
        &self,
        names: &N,
        connection: impl Fn(u32) -> u32,
        hasher: &mut H,
    ) {
        let name = waiter_name(names);
        let mut live: Vec<(u32, u32)> =
            self.slab.live().map(|(index, key)| (name(key), index)).collect();
        live.sort_unstable();
        live.len().hash(hasher);
        for (_, index) in live {
            let Some(waiter) = self.slab.get(index) else { continue };
            discriminant(&waiter.want).hash(hasher);
            match waiter.want {
                Request::Any => {}
                Request::Stock(ready) => ready.hash(hasher),
                Request::Id(id) => {
                    hash_id(names, Some(id), hasher);
                    if let Some(list) = self.by_id.get(&id) {
                        list.hash_ends(&self.slab, &name, hasher);
                    }
                }
            }
            discriminant(&waiter.standing).hash(hasher);
            match waiter.standing {
                WaiterState::Waiting | WaiterState::Stocked => {}
                WaiterState::Granted(index) => connection(index).hash(hasher),
                WaiterState::Refused(refusal) => {
                    discriminant(&refusal).hash(hasher);
                    if let Refusal::Gone { id, reason } = refusal {
                        (names.id(id), reason).hash(hasher);
                    }
                }
            }
            self.slab.hash_links(index, &name, hasher);
        }
        self.everybody.hash_ends(&self.slab, &name, hasher);
        self.any.hash_ends(&self.slab, &name, hasher);
        self.stock.hash_ends(&self.slab, &name, hasher);
        self.by_id.len().hash(hasher);
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> u32 {
        self.everybody.len()
    }

    pub(crate) const fn any(&self) -> u32 {
        self.any.len()
    }

    /// Adds a waiter at the back of its queue, or at the front if it has been there before.
    pub(crate) fn queue(&mut self, want: Request, again: bool) -> Result<WaiterId, Refusal> {
        // Outcomes that nobody has collected yet count too: they take memory all the same.
        let full = Refusal::TooManyWaiters { limit: self.limit };
        if self.slab.len() >= self.limit as usize && !again {
            return Err(full);
        }
        let key = self.slab.insert(Waiter { want, standing: WaiterState::Waiting }).ok_or(full)?;
        self.link(key.index, want, again);
        Ok(WaiterId(key))
    }

    fn link(&mut self, index: u32, want: Request, front: bool) {
        self.everybody.push_back(&mut self.slab, index);
        let list = match want {
            Request::Any => &mut self.any,
            Request::Stock(_) => &mut self.stock,
            Request::Id(id) => self.by_id.entry(id).or_insert_with(List::new),
        };
        if front {
            list.push_front(&mut self.slab, index);
        } else {
            list.push_back(&mut self.slab, index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(want) = self.slab.get(index).map(|waiter| waiter.want) else {
            return;
        };
        self.everybody.remove(&mut self.slab, index);
        match want {
            Request::Any => self.any.remove(&mut self.slab, index),
            Request::Stock(_) => self.stock.remove(&mut self.slab, index),
            Request::Id(id) => {
                if let Some(list) = self.by_id.get_mut(&id) {
                    list.remove(&mut self.slab, index);
                    if list.is_empty() {
                        self.by_id.remove(&id);
                    }
                }
            }
        }
    }

    pub(crate) fn get(&self, waiter: WaiterId) -> Option<Waiter> {
        self.slab.get(self.slab.resolve(waiter.0)?).copied()
    }

    /// Ends a waiter, whatever its standing.
    pub(crate) fn remove(&mut self, waiter: WaiterId) -> Option<Waiter> {
        let index = self.slab.resolve(waiter.0)?;
        if self.slab.get(index)?.standing == WaiterState::Waiting {
            self.unlink(index);
        }
        self.slab.remove(index)
    }

    /// The first waiter that a connection with this id would serve: by id before any.
    #[inline]
    pub(crate) fn first_for(&self, id: ConnId, claimed: bool) -> Option<u32> {
        match self.first_by_id(id) {
            Some(index) => Some(index),
            None if claimed => None,
            None => self.any.front(),
        }
    }

    #[inline]
    pub(crate) fn first_by_id(&self, id: ConnId) -> Option<u32> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.get(&id)?.front()
    }

    /// The first waiter for any connection or for stock, which need peers that are yet to come.
    pub(crate) fn first_for_supply(&self) -> Option<u32> {
        self.any.front().or_else(|| self.stock.front())
    }

    /// The first waiter of all; of one kind, in the order in which they would be served.
    pub(crate) fn first(&self) -> Option<u32> {
        // By id nobody comes back to the front, so who came first is first there.
        self.first_for_supply().or_else(|| self.everybody.front())
    }

    /// The first waiter for stock that `idle` ready connections satisfy.
    pub(crate) fn first_stocked(&self, idle: u32) -> Option<u32> {
        let mut at = self.stock.front();
        while let Some(index) = at {
            if let Some(Waiter { want: Request::Stock(wanted), .. }) = self.slab.get(index)
                && *wanted <= idle
            {
                return Some(index);
            }
            at = self.stock.next(&self.slab, index);
        }
        None
    }

    /// The most ready connections that a waiter for stock waits for.
    pub(crate) fn most_stock(&self) -> Option<u32> {
        let next = |index: &u32| self.stock.next(&self.slab, *index);
        core::iter::successors(self.stock.front(), next)
            .filter_map(|index| match self.want(index) {
                Some(Request::Stock(wanted)) => Some(wanted),
                _ => None,
            })
            .max()
    }

    /// Takes a waiter out of its queue with an outcome; it stays until it has collected it.
    pub(crate) fn resolve(&mut self, index: u32, standing: WaiterState) -> Option<WaiterId> {
        self.unlink(index);
        self.slab.get_mut(index)?.standing = standing;
        self.slab.key(index).map(WaiterId)
    }

    /// Puts a waiter whose connection ended before it was collected back to the front.
    pub(crate) fn requeue(&mut self, index: u32) {
        if let Some(waiter) = self.slab.get_mut(index) {
            waiter.standing = WaiterState::Waiting;
            let want = waiter.want;
            self.link(index, want, true);
        }
    }

    /// Gives a granted waiter another outcome.
    pub(crate) fn set_outcome(&mut self, index: u32, standing: WaiterState) {
        if let Some(waiter) = self.slab.get_mut(index) {
            waiter.standing = standing;
        }
    }

    pub(crate) fn want(&self, index: u32) -> Option<Request> {
        self.slab.get(index).map(|waiter| waiter.want)
    }
}
