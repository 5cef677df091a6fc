//! Row 10: many idle connections: processor time and memory of both ends, each in a process of its own.

use std::time::Duration;

use crate::Outcome;
use crate::mode::Mode;
use crate::parts::{dialling, serving};
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::Samples;
use crate::system::{Other, resident, used};

const BARE: &str = "the bare streams";

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let stock = mode.pick(10, 500, 9_000, 9_000);
    let time = Duration::from_secs(mode.pick(0, 2, 10, 10));
    let (mut costs, mut client, mut server) = (Vec::new(), Vec::new(), Vec::new());
    for (name, who) in [("ours", "pool"), (BARE, "bare")] {
        let (serving, address) = serving(who, "TLS", stock)?;
        let empty = resident(serving.id())?;
        let dialling = dialling(who, "TLS", stock, &address)?;
        // The last tickets arrive, and the first timers fire.
        std::thread::sleep(Duration::from_secs(mode.pick(0, 1, 1, 1)));
        let both = |of: fn(&Other) -> Outcome<f64>| Outcome::Ok(of(&serving)? + of(&dialling)?);
        let before = both(|other| used(other.id()))?;
        std::thread::sleep(time);
        let cost = (both(|other| used(other.id()))? - before) / 1e6;
        let sample = |value: f64| Samples { name: name.into(), values: vec![value] };
        costs.push(sample(cost));
        let each = |bytes: f64| (bytes - empty) / 1024.0 / f64::from(stock);
        server.push(sample(each(resident(serving.id())?)));
        client.push(sample(each(resident(dialling.id())?)));
    }
    report.row(&Row {
        number: "10",
        what: format!("{stock} idle TLS connections for {time:?}: processor time of both ends"),
        unit: "ms",
        samples: costs,
        // A thousandth of a processor.
        goals: vec![Goal::figure(Limit::AtMost(10.0))],
    });
    for (end, samples) in [("client", client), ("server", server)] {
        report.row(&Row {
            number: "10",
            what: format!("{stock} idle TLS connections: resident memory, {end}"),
            unit: "KiB each",
            samples,
            goals: vec![Goal::ratio(BARE, Limit::AtMost(1.05))],
        });
    }
    Ok(())
}
