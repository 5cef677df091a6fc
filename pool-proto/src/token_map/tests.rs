//! Tests of the table by token.

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
fn an_entry_can_be_changed() {
    let mut table = TokenMap::new();
    table.insert(token(0, 1), 'a');
    *table.get_mut(token(0, 1)).unwrap() = 'b';
    assert_eq!(table.get(token(0, 1)), Some(&'b'));
    assert_eq!(table.get_mut(token(0, 0)), None);
    assert_eq!(table.get_mut(token(0, 2)), None);
}

#[test]
fn an_empty_table_has_no_entries() {
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
fn the_same_token_replaces_its_entry() {
    let mut table = TokenMap::new();
    table.insert(token(0, 5), 'a');
    assert_eq!(table.insert(token(0, 5), 'b'), Some('a'));
    assert_eq!(table.get(token(0, 5)), Some(&'b'));
}

#[test]
fn a_later_generation_is_less_than_half_the_range_ahead() {
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
