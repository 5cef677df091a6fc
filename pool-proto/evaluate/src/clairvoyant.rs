//! The bound that no law can beat: a client that knows all arrivals, and begins each dial just in time.

use crate::measure::Recorder;
use crate::scenario::{Scenario, Taker};
use crate::time::Nanos;

/// Runs a scenario in which every caller is served at once, with the least idle stock that the
/// processors and the limit on dials at a time permit.
///
/// Every connection is dialled for one caller. Dials may begin before the run. Outages, and the
/// processor time of takes, do not count.
#[must_use]
pub fn run(scenario: &Scenario<'_>, max_dials: u32) -> Recorder {
    let network = &scenario.network;
    // A server has the connection one way before the client, and the client is told one way after the
    // take.
    let told = match scenario.taker {
        Taker::Client => 0,
        Taker::Server => network.one_way(),
    };
    let arrivals = &scenario.load.arrivals;
    let cores = network.cores.max(1) as usize;
    let limit = max_dials.max(1) as usize;
    let after_work = signed(network.to_admission() + network.one_way());
    let (before_work, cost) = (signed(network.to_processor()), signed(network.handshake_cost));
    // The begin and the end of each dial. From the last to the first, each as late as possible: equal
    // jobs with ordered deadlines leave no better order.
    let mut dials: Vec<(i64, i64)> = vec![(0, 0); arrivals.len()];
    for (number, arrival) in arrivals.iter().enumerate().rev() {
        let later = |distance: usize| dials.get(number + distance).map(|(begin, _)| *begin);
        let free = later(limit).map_or(i64::MAX, |begin| begin - after_work);
        let core = later(cores).map_or(i64::MAX, |begin| begin + before_work);
        let done = (signed(arrival.at + told) - after_work).min(free).min(core);
        if let Some(dial) = dials.get_mut(number) {
            *dial = (done - cost - before_work, done + after_work);
        }
    }
    record(scenario, &dials, told)
}

fn signed(time: Nanos) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Records the dials, and callers that are served at once.
fn record(scenario: &Scenario<'_>, dials: &[(i64, i64)], told: Nanos) -> Recorder {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Change {
        Dialed,
        Ready,
        Taken,
    }

    let mut recorder = Recorder::new(scenario);
    let mut changes = Vec::with_capacity(3 * dials.len());
    let one_way = scenario.network.one_way();
    for (&(begin, end), arrival) in dials.iter().zip(&scenario.load.arrivals) {
        changes.push((begin, Change::Dialed));
        changes.push((end, Change::Ready));
        changes.push((signed(arrival.at + told), Change::Taken));
        recorder.served(arrival.at, 0, true, arrival.at + one_way);
    }
    changes.sort_unstable();
    let (mut idle, mut in_flight) = (0, 0);
    for (at, change) in changes {
        let now = Nanos::try_from(at).unwrap_or(0);
        match change {
            Change::Dialed => {
                in_flight += 1;
                recorder.dial(now);
            }
            Change::Ready => (idle, in_flight) = (idle + 1, in_flight - 1),
            Change::Taken => idle -= 1,
        }
        recorder.stock(now, idle, 0, in_flight);
    }
    recorder.finish();
    recorder
}
