//! A generational slab whose entries carry the links of intrusive lists.
//!
//! Connections, waiters and sources live in slabs. Idle order, timers and queues are [`List`]s
//! threaded through the entries, so every operation is O(1). After a slab has grown to its working
//! size, nothing allocates.

use alloc::vec::Vec;

/// The index that stands for "no entry". A slab never grows to it.
pub(crate) const NIL: u32 = u32::MAX;

/// A key to one life of one entry. It is stale after the entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

const UNLINKED: Link = Link { previous: NIL, next: NIL };

#[derive(Clone)]
struct Entry<T, const LINKS: usize> {
    links: [Link; LINKS],
    generation: u32,
    value: Option<T>,
}

/// A slab of `T`s. Each entry can be in up to `LINKS` lists at once.
#[derive(Clone)]
pub(crate) struct Slab<T, const LINKS: usize> {
    entries: Vec<Entry<T, LINKS>>,
    /// Vacant entries, least recently vacated first. So an index rests as long as possible before it
    /// is used again, and a stale key is not mistaken for a new one when generations wrap.
    vacant: List<0>,
}

impl<T, const LINKS: usize> Slab<T, LINKS> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), vacant: List::new() }
    }

    /// The number of entries in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.vacant.len() as usize)
    }

    /// Inserts an entry; `None` when 2³² − 1 entries are in use.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let index = match self.vacant.front() {
            Some(index) => {
                let mut vacant = self.vacant;
                vacant.remove(self, index);
                self.vacant = vacant;
                index
            }
            None => {
                let index = u32::try_from(self.entries.len()).ok().filter(|i| *i != NIL)?;
                self.entries.push(Entry { links: [UNLINKED; LINKS], generation: 0, value: None });
                index
            }
        };
        let entry = self.entries.get_mut(index as usize)?;
        entry.value = Some(value);
        Some(Key { index, generation: entry.generation })
    }

    /// Removes an entry. It must be in no list.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        let mut vacant = self.vacant;
        vacant.push_back(self, index);
        self.vacant = vacant;
        Some(value)
    }

    /// The index of a key, if that life of the entry is not over.
    pub(crate) fn resolve(&self, key: Key) -> Option<u32> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.value.is_some()).then_some(key.index)
    }

    pub(crate) fn key(&self, index: u32) -> Option<Key> {
        let entry = self.entries.get(index as usize)?;
        entry.value.as_ref().map(|_| Key { index, generation: entry.generation })
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.value.as_mut()
    }

    /// An entry and its key.
    #[inline]
    pub(crate) fn entry_mut(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let entry = self.entries.get_mut(index as usize)?;
        let key = Key { index, generation: entry.generation };
        entry.value.as_mut().map(|value| (key, value))
    }

    /// All entries in use, in the order of their indices.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        let indices = (0..).take(self.entries.len());
        indices.filter_map(|index| Some((index, self.key(index)?)))
    }

    /// The links of an entry, one for each list that it can be in.
    pub(crate) fn links(&self, index: u32) -> Option<&[Link; LINKS]> {
        self.entries.get(index as usize).map(|entry| &entry.links)
    }

    fn link<const K: usize>(&mut self, index: u32) -> Option<&mut Link> {
        self.entries.get_mut(index as usize)?.links.get_mut(K)
    }
}

/// A doubly linked list through the `K`-th link of a slab's entries; it holds no memory of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<const K: usize> {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    len: u32,
}

impl<const K: usize> List<K> {
    pub(crate) const fn new() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn front(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    pub(crate) fn back(&self) -> Option<u32> {
        (self.tail != NIL).then_some(self.tail)
    }

    pub(crate) fn next<T, const L: usize>(&self, slab: &Slab<T, L>, index: u32) -> Option<u32> {
        let next = slab.entries.get(index as usize)?.links.get(K)?.next;
        (next != NIL).then_some(next)
    }

    #[inline]
    pub(crate) fn push_back<T, const L: usize>(&mut self, slab: &mut Slab<T, L>, index: u32) {
        if let Some(link) = slab.link::<K>(index) {
            *link = Link { previous: self.tail, next: NIL };
            match slab.link::<K>(self.tail) {
                Some(tail) => tail.next = index,
                None => self.head = index,
            }
            self.tail = index;
            self.len += 1;
        }
    }

    pub(crate) fn push_front<T, const L: usize>(&mut self, slab: &mut Slab<T, L>, index: u32) {
        if let Some(link) = slab.link::<K>(index) {
            *link = Link { previous: NIL, next: self.head };
            match slab.link::<K>(self.head) {
                Some(head) => head.previous = index,
                None => self.tail = index,
            }
            self.head = index;
            self.len += 1;
        }
    }

    /// Removes an entry that is in this list.
    #[inline]
    pub(crate) fn remove<T, const L: usize>(&mut self, slab: &mut Slab<T, L>, index: u32) {
        let Some(link) = slab.link::<K>(index) else {
            return;
        };
        let Link { previous, next } = core::mem::replace(link, UNLINKED);
        match slab.link::<K>(previous) {
            Some(link) => link.next = next,
            None => self.head = next,
        }
        match slab.link::<K>(next) {
            Some(link) => link.previous = previous,
            None => self.tail = previous,
        }
        self.len = self.len.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
