//! The queues of waiters. A connection is handed off to its waiter directly.

use hashbrown::HashMap;

use crate::entropy::{Entropy, Use};
use crate::error::Refusal;
use crate::event::WaiterId;
use crate::id::ConnId;
use crate::keyed::TableKey;
use crate::slab::{List, Slab};

/// The thing that a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Any connection.
    Any,
    /// Any connection that the peer has begun to use.
    Claimed,
    /// The connection with this id.
    Id(ConnId),
    /// This number of idle connections.
    Stock(u32),
}

/// The kind of waiters that a connection serves if nobody waits for its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None: it is the control connection or the peer's to acquire, or it ended unused.
    IdOnly,
    /// Waiters for any connection.
    Any,
    /// Waiters for a connection that the peer has begun to use.
    Claimed,
}

/// The progress of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiterState {
    /// In its queue.
    Waiting,
    /// The connection in this slot is reserved for it.
    Granted(u32),
    /// The connection that was reserved for it was taken back. It asks again when it collects.
    Lapsed,
    /// The stock that it waited for was there.
    Stocked,
    Refused(Refusal),
}

#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) request: Request,
    pub(crate) state: WaiterState,
}

#[derive(Clone)]
pub(crate) struct Waiters {
    /// Link 0: the queue of its kind of request. Link 1: all that wait.
    pub(crate) slab: Slab<Waiter, 2>,
    pub(crate) all: List<1>,
    pub(crate) any: List<0>,
    pub(crate) claimed: List<0>,
    pub(crate) stock: List<0>,
    pub(crate) by_id: HashMap<ConnId, List<0>, TableKey>,
    limit: u32,
}

impl Waiters {
    pub(crate) fn new(limit: u32, entropy: &Entropy) -> Self {
        Self {
            slab: Slab::new(),
            all: List::new(),
            any: List::new(),
            claimed: List::new(),
            stock: List::new(),
            by_id: HashMap::with_hasher(TableKey::new(entropy.key(Use::WaiterTable))),
            limit,
        }
    }

    /// Sets the limit on waiters. Waiters beyond a lower limit stay.
    pub(crate) const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// The number of waiters in queues.
    pub(crate) const fn len(&self) -> u32 {
        self.all.len()
    }

    /// The number of waiters that want the pool to have more connections: all but those for a connection
    /// that the peer has begun to use.
    pub(crate) const fn for_supply(&self) -> u32 {
        self.len().saturating_sub(self.claimed.len())
    }

    /// The number of waiters for any connection.
    pub(crate) const fn any(&self) -> u32 {
        self.any.len()
    }

    /// Adds a waiter at the back of its queue, or, if it has waited before, at the front.
    pub(crate) fn enqueue(&mut self, request: Request, again: bool) -> Result<WaiterId, Refusal> {
        // Waiters whose outcome has not been collected count too: they take memory all the same.
        let full = Refusal::TooManyWaiters { limit: self.limit };
        if self.slab.len() >= self.limit as usize && !again {
            return Err(full);
        }
        let waiter = Waiter { request, state: WaiterState::Waiting };
        let key = self.slab.insert(waiter).ok_or(full)?;
        self.link(key.index, request, again);
        Ok(WaiterId(key))
    }

    fn link(&mut self, index: u32, request: Request, front: bool) {
        let list = match request {
            Request::Any => &mut self.any,
            Request::Claimed => &mut self.claimed,
            Request::Stock(_) => &mut self.stock,
            Request::Id(id) => self.by_id.entry(id).or_insert_with(List::new),
        };
        if front {
            list.push_front(&mut self.slab, index);
            self.all.push_front(&mut self.slab, index);
        } else {
            list.push_back(&mut self.slab, index);
            self.all.push_back(&mut self.slab, index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(request) = self.request(index) else {
            return;
        };
        self.all.remove(&mut self.slab, index);
        match request {
            Request::Any => self.any.remove(&mut self.slab, index),
            Request::Claimed => self.claimed.remove(&mut self.slab, index),
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

    pub(crate) fn request(&self, index: u32) -> Option<Request> {
        self.slab.get(index).map(|waiter| waiter.request)
    }

    /// Ends a waiter in any state.
    pub(crate) fn remove(&mut self, waiter: WaiterId) -> Option<Waiter> {
        let index = self.slab.resolve(waiter.0)?;
        if self.slab.get(index)?.state == WaiterState::Waiting {
            self.unlink(index);
        }
        self.slab.remove(index)
    }

    /// The first waiter of a kind.
    #[inline]
    pub(crate) fn first_of(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::IdOnly => None,
            Kind::Any => self.any.front(),
            Kind::Claimed => self.claimed.front(),
        }
    }

    #[inline]
    pub(crate) fn first_by_id(&self, id: ConnId) -> Option<u32> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.get(&id)?.front()
    }

    /// The name of the first waiter for an id.
    pub(crate) fn named_by(&self, id: ConnId) -> Option<WaiterId> {
        self.slab.key(self.first_by_id(id)?).map(WaiterId)
    }

    /// The first waiter for any connection or for stock: requests that only new peers can satisfy.
    pub(crate) fn first_for_supply(&self) -> Option<u32> {
        self.any.front().or_else(|| self.stock.front())
    }

    /// The first waiter of all. Waiters of one kind come in the order in which they would be served.
    pub(crate) fn first(&self) -> Option<u32> {
        // Waiters for one id are in the order of their queue in the list of all, too.
        self.first_for_supply().or_else(|| self.all.front())
    }

    /// The waiter that came next after this one, of all that wait.
    pub(crate) fn next(&self, index: u32) -> Option<u32> {
        self.all.next(&self.slab, index)
    }

    /// The first waiter for stock that `idle` ready connections satisfy.
    pub(crate) fn first_satisfied(&self, idle: u32) -> Option<u32> {
        let mut at = self.stock.front();
        while let Some(index) = at {
            if let Some(Waiter { request: Request::Stock(wanted), .. }) = self.slab.get(index)
                && *wanted <= idle
            {
                return Some(index);
            }
            at = self.stock.next(&self.slab, index);
        }
        None
    }

    /// The largest stock that a waiter waits for.
    pub(crate) fn largest_stock(&self) -> Option<u32> {
        self.stocks().map(|(_, wanted)| wanted).max()
    }

    /// The first waiter for a stock of more than `most`, and that stock.
    pub(crate) fn first_beyond(&self, most: u32) -> Option<(u32, u32)> {
        self.stocks().find(|(_, wanted)| *wanted > most)
    }

    /// The waiters for stock, with the stock that they wait for.
    fn stocks(&self) -> impl Iterator<Item = (u32, u32)> {
        let next = |index: &u32| self.stock.next(&self.slab, *index);
        core::iter::successors(self.stock.front(), next).filter_map(|index| {
            match self.request(index) {
                Some(Request::Stock(wanted)) => Some((index, wanted)),
                _ => None,
            }
        })
    }

    /// Takes a waiter out of its queue with an outcome. It lives until the outcome is collected.
    pub(crate) fn complete(&mut self, index: u32, outcome: WaiterState) -> Option<WaiterId> {
        self.unlink(index);
        self.slab.get_mut(index)?.state = outcome;
        self.slab.key(index).map(WaiterId)
    }

    /// Puts a waiter whose granted connection has ended back to the front of its queue.
    pub(crate) fn requeue(&mut self, index: u32) {
        if let Some(waiter) = self.slab.get_mut(index) {
            waiter.state = WaiterState::Waiting;
            let request = waiter.request;
            self.link(index, request, true);
        }
    }

    /// Replaces the outcome of a granted waiter.
    pub(crate) fn set_outcome(&mut self, index: u32, outcome: WaiterState) {
        if let Some(waiter) = self.slab.get_mut(index) {
            waiter.state = outcome;
        }
    }
}
