//! What a driver knows of each connection, looked up by token.

use alloc::vec::Vec;

use crate::event::Token;

/// A table by [`Token`]: an entry is found only by the whole token, and is overwritten when its slot
/// is used again, so there are never more entries than slots.
#[derive(Clone, Debug)]
pub struct TokenMap<T>(Vec<Option<(Token, T)>>);

impl<T> TokenMap<T> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Enters what is known of a connection. Returns what was known of the former one in its slot,
    /// which has ended: an action that says so may still be on its way, and will find nothing. When
    /// it is the new one that has ended, because the slot is used by a later one already, that one
    /// stays, and `value` is returned.
    pub fn insert(&mut self, token: Token, value: T) -> Option<T> {
        if self.0.get(token.slot()).and_then(Option::as_ref).is_some_and(|(known, _)| {
            // Generations wrap: later is what is less than half way round ahead.
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

    /// Takes it out; `None` for a token that is not (or no longer) there.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let place = self.0.get_mut(token.slot())?;
        place.take_if(|(known, _)| *known == token).map(|(_, value)| value)
    }

    /// What is known of it, to be changed; `None` for a token that is not (or no longer) there.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.0.get_mut(token.slot())? {
            Some((known, value)) if *known == token => Some(value),
            _ => None,
        }
    }

    /// What is known of it; `None` for a token that is not (or no longer) there.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        match self.0.get(token.slot())? {
            Some((known, value)) if *known == token => Some(value),
            _ => None,
        }
    }
}

impl<T> Default for TokenMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
