//! The goals that the default law reaches, and must go on reaching. The others are printed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use pool_evaluate::cell::Circumstances;
use pool_evaluate::goals::{Course, check};
use pool_evaluate::law::Contender;
use pool_evaluate::network::Network;
use pool_evaluate::scenario::Taker;
use pool_evaluate::time::{MILLISECOND, SECOND};

/// Three, because a single seed leaves a p99 to chance where a cell has few callers.
const SEEDS: [u64; 3] = [1, 2, 3];

/// The goals that hold in every cell.
const REACHED: [&str; 2] =
    ["more is served at once than by Go's law", "the p99 wait (ms) is a tenth of that of Go's law"];

/// `cargo test -p pool-evaluate --test goals -- --nocapture` prints all of them.
#[test]
fn the_default_law_serves_more_than_gos_and_makes_callers_wait_a_tenth() {
    let rtts = [1, 20, 100].map(|rtt| rtt * MILLISECOND);
    let goals = check(&Course {
        contender: Contender::parse("default", &[], None).unwrap(),
        settings: &[],
        seeds: &SEEDS,
        rtts: &rtts,
        takers: &[Taker::Client, Taker::Server],
        circumstances: Circumstances {
            network: Network::new(MILLISECOND),
            patience: 10 * SECOND,
            warm_up: 0.2,
            clients: 1,
            assigned: false,
            traced: false,
        },
    })
    .unwrap();
    for goal in &goals {
        println!("{goal}");
    }
    for name in REACHED {
        let goal = goals.iter().find(|goal| goal.name == name).unwrap();
        assert_eq!((goal.cells, goal.held), (66, 66), "{goal}");
    }
}
