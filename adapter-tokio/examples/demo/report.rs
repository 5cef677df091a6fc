//! Tables, numbers with units, and the checks.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};

/// The checks, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Checks {
    checks: Vec<Check>,
    /// The number of closed pools, and of connections that were live in them afterwards.
    closed: (u32, u32),
}

struct Check {
    holds: bool,
    claim: String,
    evidence: String,
}

impl Checks {
    /// Records whether `claim` holds, and the evidence.
    pub(crate) fn note(
        &mut self,
        holds: bool,
        claim: impl Into<String>,
        evidence: impl Into<String>,
    ) {
        self.checks.push(Check { holds, claim: claim.into(), evidence: evidence.into() });
    }

    /// Records that a pair of pools was closed, and that `live` connections were live afterwards.
    pub(crate) fn closed(&mut self, live: u32) {
        self.closed.0 += 2;
        self.closed.1 += live;
    }

    /// Prints all checks; returns their number, and the claims that do not hold.
    pub(crate) fn print(&mut self) -> (usize, Vec<&str>) {
        let (pools, live) = self.closed;
        let evidence = format!("{live} live in {pools} pools");
        self.note(live == 0, "closed pools are empty", evidence);
        println!("\nChecks");
        let mut failed = Vec::new();
        for check in &self.checks {
            let mark = if check.holds { '✓' } else { '✗' };
            println!("  {mark} {:<45} {}", check.claim, check.evidence);
            if !check.holds {
                failed.push(check.claim.as_str());
            }
        }
        (self.checks.len(), failed)
    }
}

/// Prints a table with words in its first column, and numbers in the others.
pub(crate) fn table(title: &str, header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY.with_rounded_corners());
    table.set_header(header);
    for row in rows {
        let cells = row.into_iter().enumerate().map(|(column, text)| {
            Cell::new(text).set_alignment(match column {
                0 => CellAlignment::Left,
                _ => CellAlignment::Right,
            })
        });
        table.add_row(cells);
    }
    println!("\n{title}");
    for line in table.to_string().lines() {
        println!("  {}", line.trim_end());
    }
}

/// Prints `text` in lines of less than 96 columns.
pub(crate) fn wrapped(text: &str) {
    let mut line = String::from("   ");
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() > 94 {
            println!("{line}");
            line = String::from("     ");
        }
        line.push(' ');
        line.push_str(word);
    }
    println!("{line}");
}

/// Formats a duration with three digits: 812 µs, 4.31 ms, 1.20 s.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        ..1e-3 => return format!("{} µs", duration.as_micros()),
        ..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Formats `theirs` as a multiple of `ours`.
pub(crate) fn ratio(ours: Duration, theirs: Duration) -> String {
    if ours.is_zero() {
        return "-".to_owned();
    }
    format!("{:.1}×", theirs.as_secs_f64() / ours.as_secs_f64())
}

/// Formats a number with a comma between thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats bytes as megabytes of 10⁶ bytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", count(bytes / 1_000_000))
}
