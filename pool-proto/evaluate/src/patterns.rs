//! Patterns of demand, drawn from a seed.

use std::f64::consts::TAU;

use fastrand::Rng;

use crate::load::{Arrival, Load};
use crate::network::{Outage, OutageKind};
use crate::time::{MILLISECOND, Nanos, SECOND, from_seconds, seconds};

/// A pattern of demand.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    shape: Shape,
    /// The length of a run, in seconds.
    length: u64,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Poisson arrivals, so many a second.
    Poisson(f64),
    /// So many at once, at a distance in seconds.
    Bursts(u32, u64),
    /// Poisson arrivals for five of every twenty seconds.
    OnOff(f64),
    Diurnal,
    Flash,
    Cascade,
    HeavyHold,
    /// An outage of so many seconds under 50 arrivals a second.
    Outage(u64, OutageKind),
    IdleTrickle,
    /// Ten arrivals a second, while the server closes connections that are idle for 1.1 s.
    Reaper,
}

const fn pattern(name: &'static str, shape: Shape, length: u64, about: &'static str) -> Pattern {
    Pattern { name, about, shape, length }
}

/// Every pattern.
#[rustfmt::skip]
pub const PATTERNS: &[Pattern] = &[
    pattern("p1", Shape::Poisson(1.0), 900, "Poisson, 1 a second"),
    pattern("p10", Shape::Poisson(10.0), 300, "Poisson, 10 a second"),
    pattern("p100", Shape::Poisson(100.0), 180, "Poisson, 100 a second"),
    pattern("p500", Shape::Poisson(500.0), 120, "Poisson, 500 a second"),
    pattern("p1000", Shape::Poisson(1000.0), 60, "Poisson, 1,000 a second"),
    pattern("burst200", Shape::Bursts(200, 10), 200, "200 at once every 10 s"),
    pattern("burst50", Shape::Bursts(50, 10), 200, "50 at once every 10 s"),
    pattern("burst200x30", Shape::Bursts(200, 30), 600, "200 at once every 30 s"),
    pattern("onoff", Shape::OnOff(200.0), 200, "200 a second for 5 s of every 20 s"),
    pattern("diurnal", Shape::Diurnal, 600, "a sine from 5 to 200 a second over 300 s"),
    pattern("flash20x", Shape::Flash, 600, "20 a second, and 400 for 20 s now and then"),
    pattern("cascade", Shape::Cascade, 262, "self-similar (b-model, bias 0.65, cells of 16 ms), mean 50 a second"),
    pattern("heavyhold", Shape::HeavyHold, 300, "50 a second, put back after holding times of a Pareto law (1.3)"),
    pattern("out60refuse", Shape::Outage(60, OutageKind::Refuse), 240, "50 a second, 60 s without a server: dials are refused"),
    pattern("out60drop", Shape::Outage(60, OutageKind::Drop), 240, "50 a second, 60 s without a network: packets are dropped"),
    pattern("out5refuse", Shape::Outage(5, OutageKind::Refuse), 180, "50 a second, 5 s without a server: dials are refused"),
    pattern("idletrickle", Shape::IdleTrickle, 1100, "10 a second for a minute, nothing for 10 min, then one in 20 s"),
    pattern("idleburst", Shape::Bursts(50, 60), 900, "50 at once each minute"),
    pattern("reaper", Shape::Reaper, 300, "10 a second; the server closes what is idle for 1.1 s"),
];

/// The patterns of the main table: the varied ones, without outages.
pub const MAIN: [&str; 11] = [
    "p10",
    "p100",
    "p500",
    "burst200",
    "onoff",
    "diurnal",
    "flash20x",
    "cascade",
    "heavyhold",
    "idletrickle",
    "idleburst",
];

/// The patterns of a steady demand.
pub const STEADY: [&str; 3] = ["p10", "p100", "p500"];

impl Pattern {
    /// Returns the pattern with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PATTERNS.iter().find(|pattern| pattern.name == name)
    }

    /// Draws the arrivals of a run. The same seed gives the same arrivals.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Load {
        let mut rng = Rng::with_seed(seed);
        let end = self.length * SECOND;
        let steady = |rate: f64| move |_: f64| rate;
        let times = match self.shape {
            Shape::Poisson(rate) => poisson(&mut rng, 0, end, rate, steady(rate)),
            Shape::Bursts(count, distance) => {
                let bursts = (1..).map(|n| n * distance * SECOND).take_while(|at| *at < end);
                bursts.flat_map(|at| (0..count).map(move |_| at)).collect()
            }
            Shape::OnOff(rate) => {
                poisson(&mut rng, 0, end, rate, |at| if at % 20.0 < 5.0 { rate } else { 0.0 })
            }
            Shape::Diurnal => {
                poisson(&mut rng, 0, end, 200.0, |at| 102.5 - 97.5 * (at / 300.0 * TAU).cos())
            }
            Shape::Flash => {
                let begins: Vec<f64> =
                    (0..5).map(|n| f64::from(n) * 120.0 + 20.0 + 70.0 * rng.f64()).collect();
                poisson(&mut rng, 0, end, 400.0, |at| {
                    let flash = begins.iter().any(|begin| (*begin..begin + 20.0).contains(&at));
                    if flash { 400.0 } else { 20.0 }
                })
            }
            Shape::Cascade => cascade(&mut rng, end),
            Shape::HeavyHold | Shape::Outage(..) => poisson(&mut rng, 0, end, 50.0, steady(50.0)),
            Shape::IdleTrickle => {
                let (warm, idle) = (60 * SECOND, 600 * SECOND);
                let mut times = poisson(&mut rng, 0, warm, 10.0, steady(10.0));
                times.extend(poisson(&mut rng, warm + idle, end, 0.05, steady(0.05)));
                times
            }
            Shape::Reaper => poisson(&mut rng, 0, end, 10.0, steady(10.0)),
        };
        let holds = matches!(self.shape, Shape::HeavyHold);
        let arrivals = times.into_iter().map(|at| {
            let hold = if holds { pareto(&mut rng) } else { 0 };
            Arrival { at, hold }
        });
        let mut load = Load::new(self.name, arrivals.collect(), end);
        load.seed = seed;
        load.put_back = holds;
        if let Shape::Outage(length, kind) = self.shape {
            let from = end / 2;
            load.outage = Some(Outage { from, until: from + length * SECOND, kind });
        }
        load.reaper = matches!(self.shape, Shape::Reaper).then_some(SECOND + 100 * MILLISECOND);
        load
    }
}

/// Poisson arrivals at a rate that varies with the time in seconds, up to `most` a second, by thinning.
fn poisson(
    rng: &mut Rng,
    from: Nanos,
    until: Nanos,
    most: f64,
    rate: impl Fn(f64) -> f64,
) -> Vec<Nanos> {
    let (mut at, mut times) = (seconds(from), Vec::new());
    loop {
        // From 0 up to 1, excluding 1, so that its logarithm is finite.
        at -= (1.0 - rng.f64()).ln() / most;
        if at >= seconds(until) {
            return times;
        }
        if rng.f64() * most < rate(at) {
            times.push(from_seconds(at));
        }
    }
}

/// Arrivals of the b-model: the arrivals of an interval are split between its halves, 65 to 35, again
/// and again down to cells of 16 ms. (Wang et al., "Data mining meets performance evaluation: fast
/// algorithms for modeling bursty traffic", ICDE 2002.)
fn cascade(rng: &mut Rng, end: Nanos) -> Vec<Nanos> {
    const BIAS: f64 = 0.65;
    const CELL: Nanos = 16 * MILLISECOND;
    const MEAN: f64 = 50.0;
    let mut cells = vec![MEAN * seconds(end)];
    let mut width = end;
    while width >= 2 * CELL {
        width /= 2;
        cells = cells
            .iter()
            .flat_map(|count| {
                let left = if rng.bool() { BIAS } else { 1.0 - BIAS };
                [count * left, count * (1.0 - left)]
            })
            .collect();
    }
    let mut times = Vec::new();
    let mut begin = 0;
    for mean in cells {
        let rate = mean / seconds(width);
        times.extend(poisson(rng, begin, begin + width, rate.max(1e-9), |_| rate));
        begin += width;
    }
    times
}

/// A holding time of a Pareto law with the exponent 1.3: at least 100 ms, 433 ms on average, and at most
/// 30 s.
fn pareto(rng: &mut Rng) -> Nanos {
    let least = 0.1;
    from_seconds((least * (1.0 - rng.f64()).powf(-1.0 / 1.3)).min(30.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_drawn_from_the_seed_with_their_mean_rates() {
        let mean = |name: &str| {
            let load = Pattern::named(name).unwrap().draw(1);
            assert_eq!(load, Pattern::named(name).unwrap().draw(1));
            assert!(load.arrivals.is_sorted_by_key(|arrival| arrival.at));
            load.arrivals.len() as f64 / seconds(load.end)
        };
        for (name, rate) in [
            ("p10", 10.0),
            ("p100", 100.0),
            ("onoff", 50.0),
            ("diurnal", 102.5),
            ("cascade", 50.0),
            ("heavyhold", 50.0),
            ("burst200", 19.0),
            ("flash20x", 83.3),
            ("reaper", 10.0),
        ] {
            let found = mean(name);
            assert!((found / rate - 1.0).abs() < 0.1, "{name}: {found} a second, not {rate}");
        }
        assert_ne!(Pattern::named("p10").unwrap().draw(1), Pattern::named("p10").unwrap().draw(2));
        assert!(MAIN.iter().all(|name| Pattern::named(name).is_some()));
    }

    #[test]
    fn a_cascade_is_burstier_than_poisson() {
        let spread = |name: &str| {
            let load = Pattern::named(name).unwrap().draw(3);
            let mut bins = vec![0.0_f64; 262];
            for arrival in &load.arrivals {
                if let Some(bin) = bins.get_mut((arrival.at / SECOND) as usize) {
                    *bin += 1.0;
                }
            }
            let mean = bins.iter().sum::<f64>() / 262.0;
            bins.iter().map(|bin| (bin - mean).powi(2)).sum::<f64>() / 262.0 / mean
        };
        assert!(spread("cascade") > 10.0 * spread("heavyhold"));
    }
}
