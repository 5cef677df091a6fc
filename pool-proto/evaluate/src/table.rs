//! Rows as a table for people, and as CSV.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::cell::Row;
use crate::measure::{Measures, OutageMeasures};
use crate::time::millis;

/// A figure of a row.
struct Column {
    name: &'static str,
    /// Whether the table for people shows it. CSV has every column.
    shown: Shown,
    text: fn(&Measures) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    Never,
    WithOutages,
}

const fn column(name: &'static str, shown: Shown, text: fn(&Measures) -> String) -> Column {
    Column { name, shown, text }
}

/// The figures, in the order of the columns. Waits are in milliseconds.
const COLUMNS: &[Column] = &[
    column("requests", Shown::Never, |m| m.requests.to_string()),
    column("at_once_%", Shown::Always, |m| format!("{:.2}", 100.0 * m.at_once)),
    column("p50_ms", Shown::Never, |m| format!("{:.2}", m.p50)),
    column("p99_ms", Shown::Always, |m| format!("{:.1}", m.p99)),
    column("p99.9_ms", Shown::Always, |m| format!("{:.1}", m.p999)),
    column("max_ms", Shown::Always, |m| format!("{:.1}", m.max)),
    column("both_p99_ms", Shown::Never, |m| format!("{:.2}", m.both_p99)),
    column("unserved", Shown::Always, |m| m.unserved.to_string()),
    column("dead", Shown::Always, |m| m.dead.to_string()),
    column("idle", Shown::Always, |m| format!("{:.2}", m.idle)),
    column("dials/served", Shown::Always, |m| format!("{:.3}", m.dials_per_served)),
    column("capacity", Shown::Always, |m| format!("{:.1}", m.capacity)),
    column("deviation", Shown::Always, |m| format!("{:.2}", m.capacity_deviation)),
    column("capacity_max", Shown::Never, |m| m.capacity_max.to_string()),
    column("dials_max", Shown::Always, |m| m.in_flight_max.to_string()),
    column("queue_max", Shown::Always, |m| m.longest_queue.to_string()),
    column("outage_dials", Shown::WithOutages, |m| outage(m, |o| format!("{:.1}", o.dials))),
    column("served_ms", Shown::WithOutages, |m| outage(m, |o| format!("{:.0}", o.first_served))),
    column("full_ms", Shown::WithOutages, |m| outage(m, |o| format!("{:.0}", o.full))),
];

/// The columns that say which row it is.
const KEYS: [&str; 4] = ["pattern", "rtt_ms", "taker", "law"];

fn outage(measures: &Measures, text: fn(&OutageMeasures) -> String) -> String {
    measures.outage.as_ref().map(text).unwrap_or_default()
}

fn key(row: &Row) -> [String; 4] {
    [row.pattern.clone(), millis(row.rtt).to_string(), row.taker.to_string(), row.law.clone()]
}

/// Returns the rows as a table. Columns of outages are there if a row has one.
#[must_use]
pub fn table(rows: &[Row]) -> Table {
    let outages = rows.iter().any(|row| row.measures.outage.is_some());
    let columns = || {
        COLUMNS.iter().filter(|column| match column.shown {
            Shown::Always => true,
            Shown::Never => false,
            Shown::WithOutages => outages,
        })
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(KEYS.into_iter().chain(columns().map(|column| column.name)));
    for row in rows {
        let figures = columns().map(|column| (column.text)(&row.measures));
        table.add_row(key(row).into_iter().chain(figures));
    }
    for column in table.column_iter_mut().skip(KEYS.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes the rows as CSV, with every column.
///
/// # Errors
///
/// Those of the writer.
pub fn write_csv(rows: &[Row], writer: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(writer);
    writer.write_record(KEYS.into_iter().chain(COLUMNS.iter().map(|column| column.name)))?;
    for row in rows {
        let figures = COLUMNS.iter().map(|column| (column.text)(&row.measures));
        writer.write_record(key(row).into_iter().chain(figures))?;
    }
    writer.flush()?;
    Ok(())
}
