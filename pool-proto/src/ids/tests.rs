//! Tests of issued ids.

use std::collections::HashSet;
use std::format;
use std::vec::Vec;

use super::*;

fn ids(seed: u64) -> Ids {
    Ids::issued(&Entropy::of_seed(seed))
}

/// Issues `count` ids, each for a slot of its own number.
fn issue(ids: &mut Ids, count: u32) -> Vec<ConnId> {
    (0..count).map(|slot| ids.issue(slot, false, Told::default()).unwrap()).collect()
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

/// The next `count` draws of an end that makes its ids.
fn draws(ids: &Ids, count: usize) -> Vec<ConnId> {
    let Live::Issued(issuer, _) = &ids.live else { panic!("ids are received") };
    let mut issuer = issuer.clone();
    (0..count).map(|_| issuer.draw()).collect()
}

#[test]
fn an_id_whose_place_is_taken_is_passed_over() {
    let mut ids = ids(3);
    let place = |id: &ConnId| id.to_bytes()[3] as usize % FIRST_PLACES;
    let mut taken = HashSet::new();
    // All places stay taken until there are more of them.
    let all = draws(&ids, 1000);
    let expected: Vec<ConnId> = all.into_iter().filter(|id| taken.insert(place(id))).collect();
    assert_eq!(issue(&mut ids, 32), expected[..32]);
    assert_eq!(ids.len(), 32);
    // The place of an id that has ended is free.
    let next = draws(&ids, 1).remove(0);
    let former = expected[..32].iter().find(|id| place(id) == place(&next)).copied();
    ids.ended(former.unwrap_or(expected[0]), CloseReason::Released);
    assert_eq!(ids.issue(99, false, Told::default()), Some(next));
}

#[test]
fn places_double_when_half_of_them_are_taken() {
    let mut ids = ids(3);
    for (count, places) in [(1, 64), (31, 64), (1, 128), (31, 128), (1, 256)] {
        issue(&mut ids, count);
        let Live::Issued(_, held) = &ids.live else { panic!() };
        assert_eq!(held.places.len(), places, "{} ids", ids.len());
    }
}

#[test]
fn the_zero_id_is_issued_to_one_connection_that_may_have_it() {
    let mut ids = ids(3);
    assert_eq!(ids.issue(1, true, Told::default()), Some(ConnId::ZERO));
    assert_ne!(ids.issue(2, true, Told::default()), Some(ConnId::ZERO));
    assert_eq!(ids.find(ConnId::ZERO), Some(1));
    ids.ended(ConnId::ZERO, CloseReason::Released);
    assert_ne!(ids.issue(3, false, Told::default()), Some(ConnId::ZERO));
    assert_eq!(ids.issue(4, true, Told::default()), Some(ConnId::ZERO));
}

// --- attacks ----------------------------------------------------------------------------------------

// No test can show that a sequence cannot be predicted: that follows from the function, whose vector
// is tested above. These tests look for what a mistake in its use would leave behind.

/// How many ids an attacker sees.
const SEEN: usize = 1 << 16;

/// Ids as they follow each other in a pool of few connections, as numbers.
fn observed(entropy: Entropy) -> Vec<u32> {
    let mut ids = Ids::issued(&entropy);
    let next = |_| {
        let id = ids.issue(0, false, Told::default()).unwrap();
        ids.ended(id, CloseReason::Released);
        u32::from_be_bytes(id.to_bytes())
    };
    (0..SEEN).map(next).collect()
}

/// Asserts that a count of successes in independent trials is within six standard deviations of its
/// expectation: beyond that once in a billion times.
fn assert_by_chance(successes: usize, trials: usize, probability: f64, of: &str) {
    let expected = trials as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    let off = (successes as f64 - expected).abs() / deviation;
    assert!(off < 6.0, "{of}: {successes} of {trials}, {off:.1} deviations from {expected}");
}

/// Asserts that no bit of one number tells a bit of the other.
fn assert_independent(pairs: &[(u32, u32)], of: &str) {
    for turn in 0..u32::BITS {
        let mut equal = [0; u32::BITS as usize];
        for (one, other) in pairs {
            let same = !(one ^ other.rotate_left(turn));
            for (bit, count) in equal.iter_mut().enumerate() {
                *count += (same >> bit & 1) as usize;
            }
        }
        for (bit, equal) in equal.into_iter().enumerate() {
            assert_by_chance(
                equal,
                pairs.len(),
                0.5,
                &format!("{of}: bit {bit}, turned by {turn}"),
            );
        }
    }
}

#[test]
fn every_value_of_every_byte_is_as_frequent_as_by_chance() {
    let seen = observed(Entropy::new([7; 32]));
    for byte in 0..4 {
        let mut counts = [0; 256];
        for id in &seen {
            counts[id.to_be_bytes()[byte] as usize] += 1;
        }
        for count in counts {
            assert_by_chance(count, SEEN, 1.0 / 256.0, "a byte has a value");
        }
    }
}

#[test]
fn ids_do_not_repeat_sooner_than_by_chance() {
    let seen = observed(Entropy::new([7; 32]));
    // Of 2¹⁶ numbers below 2³², half a pair is equal by chance.
    let different = seen.iter().collect::<HashSet<_>>().len();
    assert!(SEEN - different < 6, "{} repeat", SEEN - different);
}

#[test]
fn no_id_tells_the_next_ones() {
    let seen = observed(Entropy::new([7; 32]));
    for lag in [1, 2, 3, 64] {
        let pairs: Vec<(u32, u32)> =
            seen.iter().copied().zip(seen[lag..].iter().copied()).collect();
        assert_independent(&pairs, &format!("ids {lag} apart"));
        // Nor do differences come back, as they would in a sequence with a step.
        let steps: HashSet<u32> = pairs.iter().map(|(one, next)| next.wrapping_sub(*one)).collect();
        assert!(pairs.len() - steps.len() < 6, "{} steps repeat", pairs.len() - steps.len());
    }
}

#[test]
fn ids_under_two_secrets_have_nothing_in_common() {
    let one = observed(Entropy::new([7; 32]));
    let mut bytes = [7; 32];
    for bit in [0, 100, 255] {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let other = observed(Entropy::new(bytes));
        let pairs: Vec<(u32, u32)> = one.iter().copied().zip(other.iter().copied()).collect();
        assert_independent(&pairs, "the n-th ids");
        let ids: HashSet<&u32> = one.iter().collect();
        // About one is shared by chance.
        let shared = other.iter().filter(|id| ids.contains(id)).count();
        assert!(shared < 10, "{shared} are shared");
    }
}

#[test]
fn one_seed_gives_the_same_ids_and_another_gives_others() {
    let [one, same, other] = [1, 1, 2].map(|seed| issue(&mut ids(seed), 1000));
    assert_eq!(one, same);
    let other: HashSet<ConnId> = other.into_iter().collect();
    assert_eq!(one.iter().filter(|id| other.contains(id)).count(), 0);
}
