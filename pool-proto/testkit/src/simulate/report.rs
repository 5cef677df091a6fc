//! The table at the end.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use pool_proto::{Edge, State};

use pool_testkit::ledger::Reasons;
use pool_testkit::ledger::edges::{is_edge, visible_edges};
use pool_testkit::setup::Side;
use pool_testkit::world::{Fault, Tally};

/// The mean wait before a dial after a failure, as a part of its bound: half of it with full jitter,
/// and more where the client was in no hurry.
const LEAST_MEAN_WAIT: f64 = 0.45;

pub(crate) fn print(tally: &Tally, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "for show")]
    let per_second = tally.steps() as f64 / took.as_secs_f64().max(1e-9);
    let mut table = new_table(&["what", "how many"]);
    let hours = tally.simulated.as_secs() / 3600;
    let all_faults: u64 = tally.faults.iter().sum();
    let rarest = Fault::ALL.iter().map(|fault| tally.faults[*fault as usize]).min().unwrap_or(0);
    let rarest_edge =
        edges().map(|(_, side, from, to)| tally.sides[side as usize].edge_count(from, to)).min();
    for (what, count) in [
        ("seeds", tally.seeds),
        ("events (calls of a machine, each checked)", tally.steps()),
        ("simulated hours", hours),
        ("faults", all_faults),
        ("the rarest kind of fault", rarest),
        ("the rarest edge", rarest_edge.unwrap_or(0)),
        ("connections dialled", tally.connections),
        ("the most of them on one machine at a time", tally.most().into()),
        ("conversations, both ways and whole", tally.conversations),
        ("conversations cut short", tally.broken_conversations),
        ("connections closed at once, taken by their ids", tally.ends_by_id),
        ("connections accepted without their ids", tally.accepted),
        ("bytes checked", tally.bytes),
        ("waiters served in time after the faults", tally.served),
        ("seeds with waiters after the faults", tally.serving_seeds),
        ("stocks filled up in time after the faults", tally.filled),
        ("conversations after the faults", tally.last_conversations),
        ("connections closed at once after the faults", tally.last_ends),
        ("events per second", rounded(per_second)),
    ] {
        table.add_row([what.to_owned(), thousands(count)]);
    }
    if let Some(mean) = tally.sides[0].mean_wait() {
        table.add_row(["mean wait after a failure, of its bound".to_owned(), format!("{mean:.3}")]);
    }
    println!("{}", right(table, &[1]));

    let mut table = new_table(&["fault", "times"]);
    for fault in Fault::ALL {
        table.add_row([fault.name().to_owned(), thousands(tally.faults[fault as usize])]);
    }
    println!("{}", right(table, &[1]));

    let mut table = new_table(&["edge", "client", "server"]);
    for (from, to) in covered_edges() {
        let count = |side: Side| match is_edge(side, (from, to)) {
            true => thousands(tally.sides[side as usize].edge_count(from, to)),
            false => String::new(),
        };
        table.add_row([edge(from, to), count(Side::Client), count(Side::Server)]);
    }
    println!("{}", right(table, &[1, 2]));

    let mut table = new_table(&["why connections ended", "client", "server"]);
    let [client, server] = tally.sides.each_ref().map(|counts| &counts.ends);
    let mut reasons: Vec<_> =
        client.iter().chain(server.iter()).map(|(reason, _)| reason).collect();
    reasons.sort_by_key(|reason| reason.to_string());
    reasons.dedup();
    for reason in reasons {
        let count = |ends: &Reasons| match ends.of(reason) {
            0 => String::new(),
            count => thousands(count),
        };
        table.add_row([reason.to_string(), count(client), count(server)]);
    }
    println!("{}", right(table, &[1, 2]));
}

/// Faults and edges that occurred less often than `times`, and averages that are out of bounds.
pub(crate) fn rarer_than(times: u64, tally: &Tally) -> Vec<String> {
    let mut rare = Vec::new();
    for fault in Fault::ALL {
        let count = tally.faults[fault as usize];
        if count < times {
            rare.push(format!("fault {}: {count} times", fault.name()));
        }
    }
    for (name, side, from, to) in edges() {
        let count = tally.sides[side as usize].edge_count(from, to);
        let times = times / rarity(from, to);
        if count < times {
            rare.push(format!("edge {name} of the {side:?}: {count} times"));
        }
    }
    for (what, count) in [
        ("waiters were served after the faults", tally.serving_seeds),
        ("the stock filled up after the faults", tally.filled),
        ("a conversation was held after the faults", tally.last_conversations),
        ("a connection was closed at once after the faults", tally.last_ends),
    ] {
        if times > 0 && 3 * count < tally.seeds {
            rare.push(format!("{what}: in {count} of {} seeds", tally.seeds));
        }
    }
    // There is one in an eighth of the worlds.
    if times > 0 && 50 * tally.last_controls < tally.seeds {
        let count = tally.last_controls;
        rare.push(format!("the control connection came to both ends: in {count} seeds"));
    }
    if let Some(mean) = tally.sides[0].mean_wait().filter(|mean| *mean < LEAST_MEAN_WAIT) {
        rare.push(format!("waits after failures: {mean:.3} of their bounds on average"));
    }
    rare
}

/// The edges that must occur. No world has a server without TLS, which alone admits a peer at once.
fn covered_edges() -> impl Iterator<Item = Edge> {
    let never = (Some(State::Accepted), Some(State::Admitted));
    visible_edges().filter(move |edge| *edge != never)
}

/// How many times rarer an edge is than others, as it takes a coincidence: a caller gives up, or a check
/// comes too late, at the moment in which the peer's data arrives; or a caller gives up that was told
/// the id before the connection was established here; or a granted connection ends while others wait to
/// be accepted.
const fn rarity(from: Option<State>, to: Option<State>) -> u64 {
    use State::{Claimed, Finished, Granted, Leased, Reserved};
    match (from, to) {
        (Some(Granted | Leased), Some(Claimed | Finished)) => 50,
        (Some(Claimed), Some(Granted)) => 50,
        (Some(Finished), Some(Granted)) => 1000,
        // Once in some ten thousand seeds. The random walks of the core take it each time.
        (Some(Granted), Some(Reserved)) => 10_000,
        _ => 1,
    }
}

fn edges() -> impl Iterator<Item = (String, Side, Option<State>, Option<State>)> {
    covered_edges().flat_map(|(from, to)| {
        let sides = Side::BOTH.into_iter().filter(move |side| is_edge(*side, (from, to)));
        sides.map(move |side| (edge(from, to), side, from, to))
    })
}

fn edge(from: Option<State>, to: Option<State>) -> String {
    let name = |state: Option<State>, none: &str| {
        state.map_or_else(|| none.to_owned(), |state| format!("{state:?}").to_lowercase())
    };
    format!("{} → {}", name(from, "new"), name(to, "closed"))
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY.with_rounded_corners()).set_header(header);
    table
}

fn right(mut table: Table, columns: &[usize]) -> Table {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive rate, for show"
)]
const fn rounded(number: f64) -> u64 {
    number as u64
}

fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}
