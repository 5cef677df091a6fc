//! A few lives at each test run; the program lives through thousands.

use pool_simulation::options::Options;
use pool_simulation::world::live;
use pool_testkit::regressions;

fn unbroken(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let outcome = live(Options::new(seed), false);
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}", outcome.violation);
        assert!(outcome.visits > 0 && outcome.established > 0, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn lives_break_no_rule() {
    unbroken(1..=30);
}

#[test]
fn seeds_that_have_failed_once_break_no_rule() {
    unbroken(regressions::seeds(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions")));
}

#[test]
fn a_seed_has_one_life() {
    for seed in 100..105 {
        let [one, two] = [(); 2].map(|()| live(Options::new(seed), false).fingerprint);
        assert_eq!(one, two, "seed {seed}");
    }
}
