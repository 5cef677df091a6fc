//! Tests of the slab and its lists.

use super::*;
use std::collections::VecDeque;

fn contents(list: &List<1>, slab: &Slab<char, 2>) -> Vec<char> {
    let mut all = Vec::new();
    let mut at = list.front();
    while let Some(index) = at {
        all.push(*slab.get(index).unwrap());
        at = list.next(slab, index);
    }
    assert_eq!(all.len(), list.len() as usize);
    all
}

#[test]
fn a_key_is_stale_once_its_entry_was_removed() {
    let mut slab = Slab::<char, 2>::new();
    let a = slab.insert('a').unwrap();
    assert_eq!(slab.resolve(a), Some(a.index));
    assert_eq!(slab.remove(a.index), Some('a'));
    assert_eq!(slab.resolve(a), None);
    let b = slab.insert('b').unwrap();
    assert_eq!((b.index, slab.resolve(a)), (a.index, None));
    assert_eq!(slab.remove(a.index), Some('b'));
    assert_eq!(slab.remove(a.index), None);
}

#[test]
fn the_longest_vacated_entry_is_used_first() {
    let mut slab = Slab::<char, 2>::new();
    let keys: Vec<Key> = "abc".chars().map(|c| slab.insert(c).unwrap()).collect();
    for at in [1, 0, 2] {
        slab.remove(keys[at].index);
    }
    let order: Vec<u32> = (0..3).map(|_| slab.insert('x').unwrap().index).collect();
    assert_eq!(order, [1, 0, 2]);
}

#[test]
fn lists_agree_with_a_deque_under_random_operations() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut slab = Slab::<char, 2>::new();
    let mut list = List::<1>::new();
    let mut model: VecDeque<(u32, char)> = VecDeque::new();
    for step in 0..10_000u32 {
        let name = char::from_u32(0x100 + step % 0x1000).unwrap();
        match random.u32(0..5) {
            0 => {
                let index = slab.insert(name).unwrap().index;
                list.push_back(&mut slab, index);
                model.push_back((index, name));
            }
            1 => {
                let index = slab.insert(name).unwrap().index;
                list.push_front(&mut slab, index);
                model.push_front((index, name));
            }
            2 => {
                let first = list.front();
                assert_eq!(first, model.pop_front().map(|(index, _)| index));
                if let Some(index) = first {
                    list.remove(&mut slab, index);
                    slab.remove(index);
                }
            }
            _ if model.is_empty() => {}
            _ => {
                let (index, name) = model.remove(random.usize(0..model.len())).unwrap();
                list.remove(&mut slab, index);
                assert_eq!(slab.remove(index), Some(name));
            }
        }
        assert_eq!(slab.len(), model.len());
        assert_eq!(list.back(), model.back().map(|(index, _)| *index));
        if step % 97 == 0 {
            let expected: Vec<char> = model.iter().map(|(_, name)| *name).collect();
            assert_eq!(contents(&list, &slab), expected);
        }
    }
}
