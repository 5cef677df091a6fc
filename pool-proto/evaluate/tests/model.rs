//! The model on arrivals that are small enough to be worked out by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use pool_evaluate::advice::advise;
use pool_evaluate::cell::{Cell, Circumstances};
use pool_evaluate::law::Contender;
use pool_evaluate::load::{Arrival, Load};
use pool_evaluate::measure::Measures;
use pool_evaluate::network::{Network, Outage, OutageKind};
use pool_evaluate::patterns::Pattern;
use pool_evaluate::scenario::{Scenario, Taker};
use pool_evaluate::time::{MILLISECOND, Nanos, SECOND, from_seconds};

fn load(seconds: &[f64], end: Nanos) -> Load {
    let arrival = |at: &f64| Arrival { at: from_seconds(*at), hold: 0 };
    Load::new("by hand", seconds.iter().map(arrival).collect(), end)
}

fn run(law: &str, scenario: &Scenario<'_>) -> Measures {
    let law = Contender::parse(law, &[], None).unwrap();
    law.run(std::slice::from_ref(scenario), None).unwrap().measures()
}

fn close(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
}

/// The waits of callers that come with the first dials, which are as many.
fn first_waits(callers: usize, law: &str, network: Network, taker: Taker) -> Measures {
    let load = load(&vec![0.0; callers], SECOND);
    let mut scenario = Scenario::new(&load, network, taker);
    scenario.warm_up = 0.0;
    run(law, &scenario)
}

#[test]
fn a_dial_takes_three_and_a_half_round_trips_and_the_processor() {
    let network = Network::new(20 * MILLISECOND);
    assert_eq!(network.lead(), 70 * MILLISECOND + MILLISECOND / 2);
    for law in ["fixed:1", "go+capacity=1"] {
        close(first_waits(1, law, network, Taker::Client).max, 70.5);
        // The server has the connection one way earlier.
        close(first_waits(1, law, network, Taker::Server).max, 60.5);
        let plain = Network { tls: false, ..network };
        close(first_waits(1, law, plain, Taker::Client).max, 20.5);
    }
}

#[test]
fn dials_at_once_wait_for_the_processors() {
    let network = Network::new(20 * MILLISECOND);
    for law in ["fixed:5", "go+capacity=5"] {
        let measures = first_waits(5, law, network, Taker::Client);
        // Two at a time: 0.5, 0.5, 1.0, 1.0 and 1.5 ms of processor.
        close(measures.p50, 71.0);
        close(measures.max, 71.5);
    }
}

#[test]
fn takes_cost_the_processor_of_both_ends() {
    let load = load(&[10.0, 10.0, 10.0], 11 * SECOND);
    let mut network = Network::new(20 * MILLISECOND);
    (network.take_cost, network.cores) = (MILLISECOND, 1);
    let measures = run("fixed:3", &Scenario::new(&load, network, Taker::Client));
    close(measures.max, 3.0);
    // The last one is told after 10 ms, when the processor has nothing else to do.
    close(measures.both_p99, 3.0 + 10.0 + 1.0);
}

#[test]
fn the_measures_of_two_callers() {
    let load = load(&[10.0, 10.0], 20 * SECOND);
    let network = Network::new(20 * MILLISECOND);
    for taker in [Taker::Client, Taker::Server] {
        let mut scenario = Scenario::new(&load, network, taker);
        scenario.warm_up = 0.5;
        let measures = run("fixed:2", &scenario);
        // From the take until the replacement is there. A client hears of a take one way later.
        let missing = 0.0705;
        close(measures.idle, 2.0 * (10.0 - missing) / 10.0);
        close(measures.capacity, 2.0);
        close(measures.capacity_deviation, 0.0);
        close(measures.at_once, 1.0);
        close(measures.p99, 0.0);
        close(measures.both_p99, 10.0);
        close(measures.dials_per_served, 1.0);
        assert_eq!((measures.requests, measures.unserved, measures.dead), (2, 0, 0));
    }
}

#[test]
fn a_caller_beyond_the_stock_waits_for_the_next_dial_or_gives_up() {
    let load = load(&[10.0, 10.0, 10.0], 20 * SECOND);
    let mut scenario = Scenario::new(&load, Network::new(20 * MILLISECOND), Taker::Client);
    let measures = run("fixed:2", &scenario);
    close(measures.at_once, 2.0 / 3.0);
    close(measures.max, 70.5);
    assert_eq!((measures.longest_queue, measures.unserved), (1, 0));
    scenario.patience = 50 * MILLISECOND;
    let measures = run("fixed:2", &scenario);
    close(measures.max, 50.0);
    assert_eq!(measures.unserved, 1);
}

#[test]
fn a_connection_that_is_put_back_is_used_again() {
    let mut load = load(&[10.0, 11.0, 12.0], 20 * SECOND);
    load.put_back = true;
    let network = Network::new(20 * MILLISECOND);
    for taker in [Taker::Client, Taker::Server] {
        // The client dials one more connection for the first caller, and none for the others.
        let measures = run("default", &Scenario::new(&load, network, taker));
        assert_eq!(measures.requests, 3, "{taker}");
        assert!(measures.dials_per_served < 0.4, "{taker}: {measures:?}");
        assert_eq!(measures.dead, 0, "{taker}");
    }
}

#[test]
fn an_outage_ends_connections_and_refuses_dials() {
    let mut load = load(&[10.0, 35.0], 60 * SECOND);
    load.outage = Some(Outage { from: 20 * SECOND, until: 30 * SECOND, kind: OutageKind::Refuse });
    let scenario = Scenario::new(&load, Network::new(20 * MILLISECOND), Taker::Client);
    let ours = run("fixed:4", &scenario);
    let outage = ours.outage.unwrap();
    assert!((3.0..20.0).contains(&outage.dials), "{ours:?}");
    assert!((70.5..5_200.0).contains(&outage.full), "{ours:?}");
    close(ours.at_once, 0.5 + 0.5);
    // Go's law does not look at idle connections: the dead ones stay, and the next caller gets one.
    let go = run("go", &scenario);
    assert_eq!((go.dead, go.unserved), (1, 1), "{go:?}");
}

#[test]
fn the_reaper_closes_what_is_idle() {
    let quiet = load(&[50.1, 50.4, 50.7], 60 * SECOND);
    let reaped = Load { reaper: Some(2 * SECOND), ..quiet.clone() };
    let network = Network::new(20 * MILLISECOND);
    let dials =
        |load| run("fixed:2", &Scenario::new(load, network, Taker::Client)).dials_per_served;
    close(dials(&quiet), 1.0);
    assert!(dials(&reaped) > 10.0);
}

#[test]
fn clients_share_the_demand() {
    let load = Pattern::named("p100").unwrap().draw(1);
    for taker in [Taker::Client, Taker::Server] {
        let mut scenario = Scenario::new(&load, Network::new(20 * MILLISECOND), taker);
        scenario.clients = 10;
        let measures = run("fixed:8", &scenario);
        close(measures.capacity, 80.0);
        assert!(measures.at_once > 0.999, "{measures:?}");
    }
}

#[test]
fn the_clairvoyant_serves_everybody_with_less_than_any_stock() {
    for (name, cores) in [("burst200", 1), ("p100", 2), ("cascade", 2)] {
        let load = Pattern::named(name).unwrap().draw(1);
        let network = Network { cores, ..Network::new(20 * MILLISECOND) };
        for taker in [Taker::Client, Taker::Server] {
            let scenario = Scenario::new(&load, network, taker);
            let best = run("clairvoyant", &scenario);
            assert_eq!((best.at_once, best.unserved), (1.0, 0));
            assert!(best.in_flight_max <= 512);
            let stock = run("fixed:200", &scenario);
            assert!(best.idle < stock.idle / 10.0, "{name}: {best:?}");
        }
    }
    // 200 handshakes of 0.5 ms on one processor: the first connection waits for the last one, 99.5 ms,
    // the last one does not wait; in ten seconds.
    let load = Pattern::named("burst200").unwrap().draw(1);
    let network = Network { cores: 1, ..Network::new(20 * MILLISECOND) };
    let best = run("clairvoyant", &Scenario::new(&load, network, Taker::Client));
    let bursts = 15.0 / 160.0;
    assert!((best.idle - 200.0 * 0.0995 / 2.0 * bursts).abs() < 0.1, "{best:?}");
}

#[test]
fn a_fitted_stock_is_the_smallest() {
    let load = Pattern::named("p100").unwrap().draw(1);
    let scenarios = [Scenario::new(&load, Network::new(20 * MILLISECOND), Taker::Client)];
    let law = Contender::parse("default", &[], None).unwrap();
    for share in [0.9, 0.99] {
        let (capacity, recorder) = law.fit(&scenarios, share).unwrap();
        let at_once = |capacity: u32| run(&format!("fixed:{capacity}"), &scenarios[0]).at_once;
        assert!(recorder.measures().at_once >= share);
        assert!(at_once(capacity) >= share);
        assert!(at_once(capacity - 1) < share);
    }
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let load = Pattern::named("cascade").unwrap().draw(7);
    let scenario = Scenario::new(&load, Network::new(20 * MILLISECOND), Taker::Server);
    for law in ["default", "go", "nodepass"] {
        assert_eq!(run(law, &scenario), run(law, &scenario));
    }
}

#[test]
fn advice_names_the_limit_that_binds_and_a_stock_that_is_enough() {
    let loads = [Pattern::named("p100").unwrap().draw(1)];
    let cell = Cell { loads: &loads, rtt: 100 * MILLISECOND, taker: Taker::Server };
    let circumstances = Circumstances {
        network: Network::new(cell.rtt),
        patience: 10 * SECOND,
        warm_up: 0.2,
        clients: 1,
        assigned: false,
        traced: false,
    };
    let few = ["max_connections=40".to_owned()];
    let few = Contender::parse("fixed:32", &few, None).unwrap();
    let advice = advise(&cell, &[few], &circumstances, 0.999).unwrap();
    let said = "max_connections binds: it allows a capacity of 40, too few for 99.9 % at once";
    assert!(advice.notes.iter().any(|note| note == said), "{:?}", advice.notes);
    let tight = Contender::parse("fixed:64", &["max_dials=16".to_owned()], None).unwrap();
    let advice = advise(&cell, &[tight], &circumstances, 0.999).unwrap();
    assert!(advice.notes[0].starts_with("max_dials binds: fixed:64 was at its limit of 16 for"));
    let recommended = advice.recommendation.split(':').nth(1).unwrap();
    let capacity: u32 = recommended.split('+').next().unwrap().parse().unwrap();
    assert!((45..=64).contains(&capacity), "{}", advice.recommendation);
    assert!(advice.recommendation.contains("max_dials=64"), "{}", advice.recommendation);
}

#[test]
fn errors_of_a_file_name_the_line_and_what_was_expected() {
    let said = |text: &str| Load::parse("a.csv", text).unwrap_err().to_string();
    let expected = "expected seconds as a decimal number from 0 up, such as 12.345";
    assert_eq!(
        said("1.0\n\n# a comment\nsoon\n"),
        format!("a.csv, line 4: the time of the arrival is \"soon\"; {expected}")
    );
    assert_eq!(said("1,-2\n"), format!("a.csv, line 1: the holding time is \"-2\"; {expected}"));
    assert_eq!(
        said("seconds,hold\n1,2,3\n"),
        "a.csv, line 2: found 3 fields; expected the time of an arrival in seconds, and optionally \
         its holding time in seconds"
    );
    assert!(said("at\n").contains("a.csv: no arrivals"));
    assert!(said("1\ninf\n").contains("a.csv, line 2: the time of the arrival is \"inf\""));
}

#[test]
fn a_file_may_have_a_header_comments_and_any_order() {
    let load = Load::parse("a.csv", "at,hold\n# one\n1700000002.5, 0.25\n1700000001\n");
    let expected = [(10.0, 0.0), (11.5, 0.25)]
        .map(|(at, hold)| Arrival { at: from_seconds(at), hold: from_seconds(hold) });
    assert_eq!(load.unwrap().arrivals, expected);
}
