//! Tests of the permutation of issued ids.

use super::*;
use std::collections::HashSet;

#[test]
fn every_slot_and_generation_has_its_own_id_that_leads_back() {
    for slots in [1, 2, 3, 1000, 65_536, 1 << 24] {
        let permutation = Permutation::new(slots, &mut fastrand::Rng::with_seed(3));
        let mut seen = HashSet::new();
        for generation in 0..64 {
            for index in (0..slots).step_by((slots as usize / 100).max(1)) {
                let id = permutation.id(Key { index, generation });
                assert_eq!(permutation.slot(id), index);
                assert!(seen.insert(id), "{id} twice");
            }
        }
    }
}

#[test]
fn the_zero_id_is_passed_over() {
    use crate::{Instant, Server, ServerConfig};

    // With 256 generations of a slot, all can be gone through: here slots below 64 have zero.
    let slots = crate::MAX_CONNECTIONS;
    let zero = |seed: &u64| {
        let mut random = fastrand::Rng::with_seed(*seed);
        Permutation::new(slots, &mut random).slot(ConnId::ZERO) < 64
    };
    let seed = (0..).find(zero).unwrap();
    let config = ServerConfig::builder().seed(seed).max_connections(slots).capacity(64);
    let mut server = Server::<()>::new(&config.build().unwrap(), Instant::EPOCH);
    let peer = core::net::IpAddr::from([10, 0, 0, 1]);
    for generation in 0..256 {
        for _ in 0..64 {
            let admission = server.admit(Instant::EPOCH, peer).unwrap();
            assert_ne!(admission.id, ConnId::ZERO, "in generation {generation}");
        }
        server.flush(Instant::EPOCH);
        while server.poll_action().is_some() {}
    }
}

#[test]
fn ids_of_two_seeds_have_nothing_in_common() {
    let ids = |seed| -> HashSet<ConnId> {
        let permutation = Permutation::new(65_536, &mut fastrand::Rng::with_seed(seed));
        (0..1000).map(|index| permutation.id(Key { index, generation: 0 })).collect()
    };
    let shared = ids(1).intersection(&ids(2)).count();
    assert!(shared < 5, "{shared} of 1000 ids are equal");
}
