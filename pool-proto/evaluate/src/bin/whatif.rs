//! Compares settings of a pool on arrivals of its users, in virtual time, and recommends one.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pool_evaluate::advice::advise;
use pool_evaluate::cell::Cell;
use pool_evaluate::conditions::Conditions;
use pool_evaluate::law::Contender;
use pool_evaluate::load::{Load, LoadError};
use pool_evaluate::scenario::Taker;
use pool_evaluate::table::table;
use pool_evaluate::time::from_seconds;

/// Compares settings of a pool on your own arrivals, in virtual time, and recommends one.
#[derive(Parser)]
struct Arguments {
    /// The arrivals, as CSV: one a line, in seconds, and optionally the holding time in seconds.
    file: PathBuf,
    /// The round trip between the ends, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20.0)]
    rtt: f64,
    /// The end that takes any connection: client or server.
    #[arg(long, default_value_t = Taker::Server)]
    taker: Taker,
    /// A law to compare, such as go or default+max_dials=64. May be repeated; the first one is
    /// in use today.
    #[arg(long, default_values_t = ["default".to_owned()])]
    law: Vec<String>,
    /// A setting of all laws, such as capacity=4..=64. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The percentage of the callers that are to be served at once.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.9)]
    wanted: f64,
    /// Connections are put back after their use, and not closed.
    #[arg(long)]
    put_back: bool,
    #[command(flatten)]
    conditions: Conditions,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whatif: {error}");
            ExitCode::from(2)
        }
    }
}

/// Reads the arrivals: the one place that knows the formats of files.
fn read_load(file: &Path) -> Result<Load, LoadError> {
    Load::from_csv(file)
}

fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let laws: Vec<Contender> = arguments
        .law
        .iter()
        .map(|law| Contender::parse(law, &arguments.set))
        .collect::<Result<_, _>>()?;
    let load = Load { put_back: arguments.put_back, ..read_load(&arguments.file)? };
    let loads = [load];
    let rtt = from_seconds(arguments.rtt / 1e3);
    let cell = Cell { loads: &loads, rtt, taker: arguments.taker };
    let circumstances = arguments.conditions.circumstances(1);
    let advice = advise(&cell, &laws, &circumstances, arguments.wanted / 100.0)?;
    println!("{}", table(&advice.rows));
    if let Some(folder) = arguments.conditions.draw(&advice.rows)? {
        println!("\npictures: {}", folder.display());
    }
    println!();
    for note in &advice.notes {
        println!("note: {note}");
    }
    println!("recommended: {}", advice.recommendation);
    Ok(())
}
