//! Row 5: connections per second while an empty pool is filled, both ends in this process.
#![expect(clippy::indexing_slicing, reason = "of JSON, where a name that is missing is null")]

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::ends::{self, Care, Pools, SOON, Tls, ends_with, runtime};
use crate::go::Go;
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, alternate_kinds};
use crate::system::{now, processor};

pub(crate) const BARE: &str = "a loop of tokio and tokio-rustls";
const WITH_CARE: &str = "the same loop, with keep-alive, deadlines and wakers";
const GO: &str = "the Go pool";

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let runtime = runtime(2)?;
    let go = Go::build();
    if let Err(why) = &go {
        report.skip("5 the Go pool", &why.to_string());
    }
    for stock in mode.pick(&[20][..], &[1_000], &[1_000, 9_000], &[1_000, 9_000]) {
        for is_tls in [false, true] {
            at(&runtime, go.as_ref().ok(), *stock, Tls::new(is_tls)?, mode, report)?;
        }
    }
    Ok(())
}

fn at(
    runtime: &Runtime,
    go: Option<&Go>,
    stock: u32,
    tls: Option<Tls>,
    mode: Mode,
    report: &mut Report,
) -> Outcome {
    let rounds = if stock > 1_000 { mode.pick(1, 1, 3, 9) } else { mode.pick(1, 3, 9, 21) };
    let tls = tls.as_ref();
    let mut contestants = vec![
        Contestant::with_kinds("ours", || {
            let begun = (now(), processor());
            let pools = runtime.block_on(Pools::new(stock, tls))?;
            let figures = figures(stock, begun);
            runtime.block_on(pools.close());
            Ok(figures)
        }),
        by_hand(BARE, runtime, stock, tls, Care::None),
        by_hand(WITH_CARE, runtime, stock, tls, Care::OfPools),
    ];
    // It is slow: filling 9,000 takes it half a minute.
    let go = go.filter(|_| stock <= 1_000 || mode == Mode::Full);
    if let Some(go) = go {
        contestants.push(Contestant::with_kinds(GO, move || {
            Ok([go_rate(go, stock, tls.is_some())?, f64::NAN])
        }));
    }
    let [mut rates, mut costs] = alternate_kinds(rounds, stock <= 1_000, contestants)?;
    rates.retain(|samples| samples.values.iter().all(|value| !value.is_nan()));
    costs.retain(|samples| samples.values.iter().all(|value| !value.is_nan()));
    let wire = ends::wire(tls);
    let least = if tls.is_some() { 1.0 } else { 0.97 };
    let mut goals = vec![Goal::ratio(BARE, Limit::AtLeast(least))];
    if go.is_some() {
        goals.push(Goal::ratio(GO, Limit::AtLeast(2.0)));
    }
    report.row(&Row {
        number: "5",
        what: format!("fill {stock}, {wire}"),
        unit: "connections/s",
        samples: rates,
        goals,
    });
    report.row(&Row {
        number: "5",
        what: format!("fill {stock}, {wire}: processor time, both ends"),
        unit: "µs per connection",
        samples: costs,
        goals: vec![Goal::ratio(BARE, Limit::AtMost(1.05))],
    });
    Ok(())
}

fn by_hand<'a>(
    name: &str,
    runtime: &'a Runtime,
    stock: u32,
    tls: Option<&'a Tls>,
    care: Care,
) -> Contestant<'a, 2> {
    Contestant::with_kinds(name, move || {
        let begun = (now(), processor());
        let ends = runtime.block_on(ends_with(stock, tls, care))?;
        let figures = figures(stock, begun);
        drop(ends);
        Ok(figures)
    })
}

/// Connections per second, and microseconds of processor time for each.
fn figures(stock: u32, (clock, used): (u64, u64)) -> [f64; 2] {
    let stock = f64::from(stock);
    [stock * 1e9 / (now() - clock) as f64, (processor() - used) as f64 / 1e3 / stock]
}

/// Fills a client and a server of the Go package, in one process, as its programs do.
fn go_rate(go: &Go, stock: u32, is_tls: bool) -> Outcome<f64> {
    let mut program = go.start()?;
    let mut settings = json!({
        "do": "server", "address": "127.0.0.1:0", "max": stock, "keep_alive_ms": 15_000,
    });
    if is_tls {
        let authority = program.call(json!({ "do": "authority" }))?;
        for name in ["certificate", "key"] {
            settings[name] = authority[name].clone();
        }
    }
    let server = program.call(settings)?;
    let begun = now();
    let client = program.call(json!({
        "do": "client", "address": server["address"], "tls": if is_tls { "1" } else { "0" },
        "min": stock, "max": stock, "min_ms": 1, "max_ms": 1000, "keep_alive_ms": 15_000,
    }))?;
    loop {
        let mut filled = true;
        for pool in [&client["pool"], &server["pool"]] {
            let answer = program.call(json!({ "do": "stats", "pool": pool }))?;
            filled &= answer["stats"]["active"].as_u64() >= Some(u64::from(stock));
        }
        if filled {
            return Ok(f64::from(stock) * 1e9 / (now() - begun) as f64);
        }
        if now() - begun > u64::try_from(SOON.as_nanos())? {
            return Err(format!("the Go pool has not been filled within {SOON:?}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
