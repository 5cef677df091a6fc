//! Advice on the settings of a pool: candidates on the same arrivals, and the reasons for one of them.

use crate::cell::{Cell, Circumstances, Row, run_cell, scenarios};
use crate::law::{Contender, LawError};

/// The largest limit on dials, and the largest capacity, that are tried.
const LARGEST: u32 = 4096;

/// The part of its idle stock that a candidate must save before it is recommended instead of the law
/// in use.
const WORTHWHILE: f64 = 0.1;

/// Candidates, and what to make of them.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The rows: the laws that were given, then those that were searched for.
    pub rows: Vec<Row>,
    /// Limits that bind.
    pub notes: Vec<String>,
    /// The recommendation, with its reason.
    pub recommendation: String,
}

/// Compares laws on one load. The first one is in use today. Searches for more: the smallest fixed
/// capacities that serve 99 % and `share` at once, and limits that do not bind.
///
/// # Errors
///
/// [`LawError`], if a law cannot be run.
pub fn advise(
    cell: &Cell<'_>,
    laws: &[Contender],
    circumstances: &Circumstances,
    share: f64,
) -> Result<Advice, LawError> {
    let mut rows = run_cell(cell, laws, circumstances)?;
    let (Some(first), Some(law)) = (rows.first().cloned(), laws.first()) else {
        return Err(LawError::NothingToFit);
    };
    let (mut notes, wide) = widen(law, &first, cell, circumstances)?;
    let scenarios = scenarios(cell, circumstances);
    let mut more = vec![wide.clone()];
    for wanted in [0.99, share] {
        let (capacity, recorder) = wide.fit(&scenarios, wanted)?;
        if recorder.measures().at_once >= wanted {
            more.push(wide.fixed(capacity));
        } else if capacity < LARGEST {
            let wanted = 100.0 * wanted;
            notes.push(format!(
                "max_connections binds: it allows a capacity of {capacity}, too few for {wanted} % at once"
            ));
        }
    }
    more.dedup_by(|one, other| one.name == other.name);
    more.retain(|candidate| laws.iter().all(|law| law.name != candidate.name));
    rows.extend(run_cell(cell, &more, circumstances)?);
    let recommendation = recommend(&rows, share);
    Ok(Advice { rows, notes, recommendation })
}

/// Says which limits of the settings bind, and doubles them until none does. Returns the law with them.
fn widen(
    law: &Contender,
    row: &Row,
    cell: &Cell<'_>,
    circumstances: &Circumstances,
) -> Result<(Vec<String>, Contender), LawError> {
    let (mut law, mut row) = (law.clone(), row.clone());
    let mut notes = Vec::new();
    loop {
        let binding = binding(&law, &row)?;
        notes.extend(binding.iter().map(|limit| {
            let (name, value, time) = (limit.name, limit.value, 100.0 * limit.time);
            format!(
                "{name} binds: {} was at its limit of {value} for {time:.1} % of the time",
                law.name
            )
        }));
        let wider: Vec<String> = binding.into_iter().filter_map(|limit| limit.wider).collect();
        if wider.is_empty() {
            return Ok((notes, law));
        }
        for setting in &wider {
            law = law.with(setting)?;
        }
        let rows = run_cell(cell, std::slice::from_ref(&law), circumstances)?;
        row = rows.into_iter().next().unwrap_or(row);
    }
}

/// A limit that binds.
struct Limit {
    name: &'static str,
    value: u32,
    /// The part of the time in which it bound.
    time: f64,
    /// The setting of twice the limit, or of as much as can be; `None` if that is no more.
    wider: Option<String>,
}

/// The limits of a law that bound in a row.
fn binding(law: &Contender, row: &Row) -> Result<Vec<Limit>, LawError> {
    let (config, measures) = (law.config()?, &row.measures);
    let dials = config.max_dials();
    let (least, most) = (config.tuner().min_capacity(), config.tuner().max_capacity());
    let widen = |value: u32, largest: u32| {
        Some(largest.min(value.saturating_mul(2))).filter(|wider| *wider > value)
    };
    let room = LARGEST.min(config.max_connections());
    let dials = Limit {
        name: "max_dials",
        value: dials,
        time: measures.in_flight_at_max,
        wider: widen(dials, LARGEST).map(|wider| format!("max_dials={wider}")),
    };
    let capacity = Limit {
        name: "the maximum of the capacity",
        value: most,
        time: measures.capacity_at_max,
        wider: widen(most, room).map(|wider| format!("capacity={least}..={wider}")),
    };
    let dials = Some(dials).filter(|limit| measures.in_flight_max >= limit.value);
    // A fixed capacity is always at its maximum.
    let capacity = Some(capacity).filter(|_| least < most && measures.capacity_max >= most);
    Ok(dials.into_iter().chain(capacity).collect())
}

/// Recommends the row with the least idle stock of those that serve the wanted share at once; if there
/// is none, the one that serves the largest share.
fn recommend(rows: &[Row], share: f64) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let enough = || rows.iter().filter(|row| row.measures.at_once >= share);
    let least = enough().min_by(|a, b| a.measures.idle.total_cmp(&b.measures.idle));
    let largest =
        rows.iter().rev().max_by(|a, b| a.measures.at_once.total_cmp(&b.measures.at_once));
    let best = least.or(largest).unwrap_or(first);
    let saved = 1.0 - best.measures.idle / first.measures.idle.max(f64::MIN_POSITIVE);
    let wanted = 100.0 * share;
    let reaches = first.measures.at_once >= share;
    if best.law == first.law || (reaches && saved < WORTHWHILE) {
        let reason = if reaches {
            format!("no candidate serves {wanted} % at once with at least 10 % less idle stock")
        } else {
            format!("no candidate serves a larger share, and none reaches {wanted} %")
        };
        return format!("keep {}: {}; {reason}", first.law, figures(first));
    }
    let change = if saved >= 0.0 { "less" } else { "more" };
    let mut text = format!(
        "{}: {}, {:.0} % {change} idle stock than {} ({})",
        best.law,
        figures(best),
        100.0 * saved.abs(),
        first.law,
        figures(first)
    );
    if best.law.starts_with("fixed:") {
        text += ". A fixed capacity fits these arrivals, and does not follow a demand that changes";
    }
    text
}

fn figures(row: &Row) -> String {
    let measures = &row.measures;
    format!(
        "{:.2} % at once, p99 {:.1} ms, {:.1} idle",
        100.0 * measures.at_once,
        measures.p99,
        measures.idle
    )
}
