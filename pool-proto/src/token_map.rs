//! A driver's table of connections, by token.

use alloc::vec::Vec;

use crate::event::Token;

/// A table by [`Token`].
///
/// Only the whole token finds an entry. An entry is overwritten when its slot is used again, so the
/// table never has more entries than slots.
#[derive(Clone, Debug)]
pub struct TokenMap<T>(Vec<Option<(Token, T)>>);

impl<T> TokenMap<T> {
    /// Creates an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Inserts the entry of a connection, and returns the entry that it replaces, if any.
    ///
    /// The connection of a replaced entry has ended. The action that says so may still be on its way,
    /// and will find nothing. If the table has a later connection of the same slot already, that entry
    /// stays, and `value` is returned.
    pub fn insert(&mut self, token: Token, value: T) -> Option<T> {
        if self.0.get(token.slot()).and_then(Option::as_ref).is_some_and(|(known, _)| {
            // Generations wrap: a later one is less than half the range ahead.
            let ahead = known.0.generation.wrapping_sub(token.0.generation);
            ahead != 0 && ahead < 1 << 31
        }) {
            return Some(value);
        }
        if self.0.len() <= token.slot() {
            self.0.resize_with(token.slot() + 1, || None);
        }
        let former = self.0.get_mut(token.slot())?.replace((token, value));
        former.map(|(_, value)| value)
    }

    /// Removes the entry of a token and returns it; `None` if there is none (any more).
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let place = self.0.get_mut(token.slot())?;
        place.take_if(|(known, _)| *known == token).map(|(_, value)| value)
    }

    /// Returns the entry of a token, mutably; `None` if there is none (any more).
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.0.get_mut(token.slot())? {
            Some((known, value)) if *known == token => Some(value),
            _ => None,
        }
    }

    /// Returns the entry of a token; `None` if there is none (any more).
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        match self.0.get(token.slot())? {
            Some((known, value)) if *known == token => Some(value),
            _ => None,
        }
    }

    /// Returns all entries, in no order that means anything.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().map(|(_, value)| value)
    }
}

impl<T> Default for TokenMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
