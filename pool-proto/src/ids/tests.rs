//! Tests of issued ids.

use std::collections::HashSet;
use std::vec::Vec;

use super::*;

fn ids(seed: u64) -> Ids {
    Ids::issued(&Entropy::of_seed(seed))
}

/// Issues `count` ids, each for a slot of its own number.
fn issue(ids: &mut Ids, count: u32) -> Vec<ConnId> {
    (0..count).map(|slot| ids.issue(slot, false).unwrap()).collect()
}

/// The vectors of the reference implementation of SipHash-2-4 (Aumasson and Bernstein,
/// `vectors_sip64` in `vectors.h`): the key is the bytes 0 to 15, the input of the n-th vector the n
/// bytes from 0 on. The issuer hashes inputs of 8 bytes.
#[test]
fn the_function_is_siphash_2_4() {
    const OF_8_BYTES: u64 = 0x93f5_f579_9a93_2462;
    let halves = [*b"\x00\x01\x02\x03\x04\x05\x06\x07", *b"\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"];
    let [first, second] = halves.map(u64::from_le_bytes);
    let mut issuer = Issuer::new([first, second]);
    issuer.drawn = first;
    let [a, b, c, d, ..] = OF_8_BYTES.to_le_bytes();
    assert_eq!(issuer.draw(), ConnId::from_bytes([a, b, c, d]));
    assert_eq!(issuer.drawn, first + 1);
}

#[test]
fn every_id_leads_to_its_slot_until_it_ends() {
    let mut ids = ids(3);
    let issued = issue(&mut ids, 100_000);
    for (slot, id) in (0..).zip(&issued) {
        assert_eq!(ids.find(*id), Some(slot));
    }
    assert_eq!(issued.iter().collect::<HashSet<_>>().len(), issued.len());
    for id in &issued {
        ids.ended(*id, CloseReason::Released);
        assert_eq!(ids.find(*id), None);
        let gone = Refusal::Gone { id: *id, reason: CloseReason::Released };
        assert_eq!(ids.refusal(*id), Some(gone));
    }
    // Only the last ones are remembered.
    let forgotten = issued[issued.len() - REMEMBERED - 1];
    assert_eq!(ids.refusal(forgotten), Some(Refusal::UnknownId { id: forgotten }));
    assert!(matches!(ids.refusal(issued[issued.len() - REMEMBERED]), Some(Refusal::Gone { .. })));
    assert_eq!(ids.ended.capacity(), REMEMBERED);
}

#[test]
fn an_id_that_is_in_use_and_the_zero_id_are_passed_over() {
    let mut ids = ids(3);
    let mut coming = ids.issuer.clone().unwrap();
    let [first, second, third] = [coming.draw(), coming.draw(), coming.draw()];
    assert!(ids.enter(first, 7));
    assert_eq!(ids.issue(8, false), Some(second));
    assert_eq!((ids.find(first), ids.find(second)), (Some(7), Some(8)));
    ids.ended(first, CloseReason::Released);
    assert_eq!(ids.issue(9, false), Some(third));
}

#[test]
fn the_zero_id_is_issued_to_one_connection_that_may_have_it() {
    let mut ids = ids(3);
    assert_eq!(ids.issue(1, true), Some(ConnId::ZERO));
    assert_ne!(ids.issue(2, true), Some(ConnId::ZERO));
    assert_eq!(ids.find(ConnId::ZERO), Some(1));
    ids.ended(ConnId::ZERO, CloseReason::Released);
    assert_ne!(ids.issue(3, false), Some(ConnId::ZERO));
    assert_eq!(ids.issue(4, true), Some(ConnId::ZERO));
}

#[test]
fn one_seed_gives_the_same_ids_and_another_gives_others() {
    let [one, same, other] = [1, 1, 2].map(|seed| issue(&mut ids(seed), 1000));
    assert_eq!(one, same);
    let other: HashSet<ConnId> = other.into_iter().collect();
    assert_eq!(one.iter().filter(|id| other.contains(id)).count(), 0);
}
