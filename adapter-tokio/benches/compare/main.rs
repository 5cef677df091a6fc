//! The speed of the project, beside that of others: one command, one table.
//!
//! ```sh
//! cargo bench -p adapter-tokio --bench compare              # some minutes
//! cargo bench -p adapter-tokio --bench compare -- --full    # for publication: more rounds; renews the docs
//! cargo bench -p adapter-tokio --bench compare -- --renew   # renews the docs from the shorter run
//! cargo bench -p adapter-tokio --bench compare -- 1 3       # these rows only
//! ```
//!
//! Everything that is compared runs in one process, in alternating rounds, so that all see the same load. A
//! ratio is taken in each round; its median is judged. The median, the tenth and the ninetieth percentile
//! are printed. A goal that is not reached is marked `MISS`: benchmarks do not fail builds.
//!
//! | file | rows |
//! |---|---|
//! | `take.rs`, `tasks.rs`, `by_id.rs` | 1–3: the shared machine in memory (`fake.rs`), beside other pools (`peers.rs`) |
//! | `events.rs` | 4: the machine itself |
//! | `fill.rs` | 5: filling a pool, beside a loop by hand (`ends.rs`) and the Go pool (`go.rs`) |
//! | `memory.rs`, `idle.rs` | 6, 10: idle connections, with one end in another process (`parts.rs`) |
//! | `exchange.rs` | 7, 8: bulk and ping-pong |
//! | `adapters.rs` | 9, 12: the three adapters |
//! | `wait.rs`, `request.rs` | 11, 13: an acquire that waits; a whole request |
//! | `rounds.rs`, `report.rs`, `plot.rs` | the alternating rounds; the table and the files; the picture |

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some figures are Linux's"))]

mod adapters;
mod by_id;
mod ends;
mod events;
mod exchange;
mod fake;
mod fill;
mod go;
mod idle;
mod memory;
mod mode;
mod parts;
mod peers;
mod plot;
mod report;
mod request;
mod rounds;
mod system;
mod take;
mod tasks;
mod wait;

use std::error::Error;

use mode::Mode;
use report::Report;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A row: its number in the table, and what measures it.
type Measure = fn(Mode, &mut Report) -> Outcome;

const ROWS: [(&str, Measure); 13] = [
    ("1", take::row),
    ("2", tasks::row),
    ("3", by_id::row),
    ("4", events::row),
    ("5", fill::row),
    ("6", memory::row),
    ("7", exchange::bulk),
    ("8", exchange::ping_pong),
    ("9", adapters::take),
    ("10", idle::row),
    ("11", wait::row),
    ("12", adapters::beside),
    ("13", request::row),
];

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--part", part)) = arguments.split_first().map(|(first, rest)| (&**first, rest)) {
        return parts::play(&part.iter().map(|argument| &**argument).collect::<Vec<_>>());
    }
    let mode = Mode::from_arguments();
    let chosen: Vec<&String> =
        arguments.iter().filter(|argument| argument.parse::<u32>().is_ok()).collect();
    let mut report = Report::new(mode)?;
    for (number, measure) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|chosen| *chosen == number) {
            measure(mode, &mut report)?;
        }
    }
    report.finish()
}
