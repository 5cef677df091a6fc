//! The model on arrivals that are small enough to be worked out by hand.

use std::time::Duration;

use pool_proto::Tuning;

use super::*;
use crate::load::Load;
use crate::network::Network;
use crate::time::MILLISECOND;

#[test]
fn a_round_waits_for_its_dials() {
    // Dials of 350 ms and a sleep of 100 ms: a round each 450 ms, with one caller each.
    let arrivals = (0..40).map(|n| Arrival { at: n * 225 * MILLISECOND, hold: 0 }).collect();
    let load = Load::new("even", arrivals, 9 * SECOND);
    let mut network = Network::new(100 * MILLISECOND);
    network.handshake_cost = 0;
    let mut scenario = Scenario::new(&load, network, Taker::Client);
    scenario.warm_up = 0.0;
    let interval = Duration::from_millis(100);
    let law = Tuner::new(Tuning::NodePass, 2..=2, interval..=interval);
    let measures = run(&scenario, law).measures();
    // 9 s hold 20 rounds of two dials.
    assert!((0.9..=1.0).contains(&measures.dials_per_served), "{measures:?}");
    assert_eq!((measures.in_flight_max, measures.unserved), (2, 0), "{measures:?}");
}
