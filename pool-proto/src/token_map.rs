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
mod tests {
    use super::*;
    use crate::slab::Key;

    const fn token(index: u32, generation: u32) -> Token {
        Token(Key { index, generation })
    }

    #[test]
    fn only_the_whole_token_finds_an_entry() {
        let token = |generation| token(3, generation);
        let mut table = TokenMap::new();
        assert_eq!(table.insert(token(1), 'a'), None);
        assert_eq!((table.get(token(1)), table.get(token(2))), (Some(&'a'), None));
        assert_eq!(table.insert(token(2), 'b'), Some('a'));
        assert_eq!(table.insert(token(1), 'c'), Some('c'));
        assert_eq!((table.remove(token(1)), table.remove(token(2))), (None, Some('b')));
        assert_eq!(table.remove(token(2)), None);
    }

    #[test]
    fn what_is_known_can_be_changed() {
        let mut table = TokenMap::new();
        table.insert(token(0, 1), 'a');
        *table.get_mut(token(0, 1)).unwrap() = 'b';
        assert_eq!(table.get(token(0, 1)), Some(&'b'));
        assert_eq!(table.get_mut(token(0, 0)), None);
        assert_eq!(table.get_mut(token(0, 2)), None);
    }

    #[test]
    fn an_empty_table_knows_nobody() {
        let mut table = TokenMap::<char>::default();
        for token in [token(0, 0), token(9, 0)] {
            assert_eq!(table.get(token), None);
            assert_eq!(table.get_mut(token), None);
            assert_eq!(table.remove(token), None);
        }
    }

    #[test]
    fn each_slot_has_its_own_entry() {
        let mut table = TokenMap::new();
        for (index, value) in [(2, 'c'), (0, 'a'), (1, 'b'), (3, 'd')] {
            assert_eq!(table.insert(token(index, 7), value), None);
        }
        assert_eq!(table.remove(token(1, 7)), Some('b'));
        let left = [0, 1, 2, 3].map(|index| table.get(token(index, 7)).copied());
        assert_eq!(left, [Some('a'), None, Some('c'), Some('d')]);
    }

    #[test]
    fn it_grows_no_further_than_the_slots_that_are_used() {
        let mut table = TokenMap::new();
        table.insert(token(4, 0), ());
        assert_eq!(table.0.len(), 5);
        table.insert(token(4, 1), ());
        table.insert(token(0, 0), ());
        assert_eq!(table.0.len(), 5);
    }

    #[test]
    fn the_same_token_replaces_what_is_known_of_it() {
        let mut table = TokenMap::new();
        table.insert(token(0, 5), 'a');
        assert_eq!(table.insert(token(0, 5), 'b'), Some('a'));
        assert_eq!(table.get(token(0, 5)), Some(&'b'));
    }

    #[test]
    fn later_is_less_than_half_way_round_ahead() {
        const HALF: u32 = 1 << 31;
        for (known, new, stays) in [
            (0, u32::MAX, true),
            (u32::MAX, 0, false),
            (HALF - 1, 0, true),
            (HALF, 0, false),
            (0, HALF + 1, true),
            (0, HALF - 1, false),
        ] {
            let mut table = TokenMap::new();
            table.insert(token(0, known), 'k');
            let returned = table.insert(token(0, new), 'n');
            let expected = if stays { ('n', known) } else { ('k', new) };
            assert_eq!(returned, Some(expected.0), "{new} after {known}");
            assert!(table.get(token(0, expected.1)).is_some(), "{new} after {known}");
        }
    }
}
