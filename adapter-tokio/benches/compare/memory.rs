//! Row 6: the heap of an idle connection, one end apart from the other.

use std::time::Duration;

use crate::Outcome;
use crate::ends::{Tls, wire};
use crate::mode::Mode;
use crate::parts::{connect, dialling, serve, serving};
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::Samples;

const BARE: &str = "the bare stream";

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    for (end, stretch) in [("client", 5.0), ("server", 4.3)] {
        for is_tls in [true, false] {
            let wire = wire(Tls::new(is_tls)?.as_ref());
            let mut samples = Vec::new();
            for (name, who) in [("ours", "pool"), (BARE, "bare")] {
                // The difference of two sizes is without the pool's own. Tables are full at both (7/8).
                let (few, many) = mode.pick((7, 14), (112, 448), (112, 896), (112, 896));
                let more = heap(end, who, is_tls, many)? - heap(end, who, is_tls, few)?;
                let unit = if is_tls { 1024.0 } else { 1.0 };
                let each = more / f64::from(many - few) / unit;
                samples.push(Samples { name: name.into(), values: vec![each] });
            }
            let goals = if is_tls {
                vec![
                    Goal::ratio(BARE, Limit::AtMost(1.0)),
                    Goal::figure(Limit::AtMost(stretch)).aside(),
                ]
            } else {
                vec![Goal::figure(Limit::AtMost(500.0))]
            };
            report.row(&Row {
                number: "6",
                what: format!("heap of an idle connection, {wire}, {end}"),
                unit: if is_tls { "KiB" } else { "bytes" },
                samples,
                goals,
            });
        }
    }
    Ok(())
}

/// The bytes that one end of `stock` idle connections holds; the other end is in another process. On
/// one thread, as the counter counts by thread.
fn heap(end: &'static str, who: &'static str, is_tls: bool, stock: u32) -> Outcome<f64> {
    let measured = std::thread::spawn(move || {
        let mut held = None;
        let info = allocation_counter::measure(|| held = Some(hold(end, who, is_tls, stock)));
        held.unwrap_or_else(|| Err("nothing was measured".into()))?;
        Outcome::Ok(info.bytes_current as f64)
    });
    measured.join().map_err(|_| "the thread has panicked")?
}

fn hold(end: &str, who: &str, is_tls: bool, stock: u32) -> Outcome<Box<dyn std::any::Any>> {
    let tls = Tls::new(is_tls)?;
    let wire = wire(tls.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (held, other): (Box<dyn std::any::Any>, _) = match end {
        "client" => {
            let (other, address) = serving(who, wire, stock)?;
            (connect(&runtime, who, tls.as_ref(), stock, &address)?, other)
        }
        _ => {
            let (address, mut served) = serve(&runtime, who, tls.as_ref(), stock)?;
            // It dials while this thread runs the runtime.
            let (who, wire) = (who.to_owned(), wire.to_owned());
            let dialled = runtime.block_on(async {
                let dialled =
                    tokio::task::spawn_blocking(move || dialling(&who, &wire, stock, &address));
                served.wait(stock).await?;
                dialled.await?
            });
            (Box::new(served), dialled?)
        }
    };
    // The tickets of TLS 1.3 arrive after the handshake.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
    Ok(Box::new((held, runtime, other)))
}
