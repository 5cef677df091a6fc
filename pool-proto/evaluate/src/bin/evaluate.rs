//! Evaluates laws of the stock: patterns of demand, round trips and takers, in virtual time.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pool_evaluate::cell::{Cell, run_all};
use pool_evaluate::conditions::Conditions;
use pool_evaluate::goals::{self, Course, Goal};
use pool_evaluate::law::{Contender, LAWS};
use pool_evaluate::load::Load;
use pool_evaluate::patterns::{MAIN, PATTERNS, Pattern};
use pool_evaluate::scenario::Taker;
use pool_evaluate::source::Source;
use pool_evaluate::table::{table, write_csv};
use pool_evaluate::time::{Nanos, from_seconds};

/// Evaluates laws that keep a stock of connections: on patterns of demand, in virtual time.
#[derive(Parser)]
#[command(after_help = lists())]
struct Arguments {
    /// The patterns of demand.
    #[arg(long, value_delimiter = ',', default_values_t = MAIN.map(str::to_owned))]
    patterns: Vec<String>,
    /// The round trips, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_values_t = [1.0, 20.0, 100.0])]
    rtt: Vec<f64>,
    /// The ends that take any connection: client, server.
    #[arg(long, value_delimiter = ',', default_values_t = [Taker::Client, Taker::Server])]
    takers: Vec<Taker>,
    /// The laws, such as default,go,fixed:16,default+max_dials=64.
    #[arg(long, value_delimiter = ',', default_values_t = ["default".to_owned(), "go".to_owned()])]
    laws: Vec<String>,
    /// A setting of all laws, such as capacity=2..=256. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How many seeds each cell has.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// Arrivals from a file instead of the patterns: the tape of a pool, or CSV with one a line, in
    /// seconds, and optionally the holding time in seconds.
    #[arg(long, value_name = "FILE")]
    arrivals: Option<PathBuf>,
    /// The number of clients, which share the demand.
    #[arg(long, default_value_t = 1)]
    clients: u32,
    /// Checks the goals of the first law, and fails if one does not hold.
    #[arg(long, conflicts_with_all = ["arrivals", "patterns", "clients", "csv", "svg"])]
    goals: bool,
    /// Writes the rows to a CSV file, with every column.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    conditions: Conditions,
}

/// The patterns and the laws, for the help.
fn lists() -> String {
    let mut text = String::from("Patterns:\n");
    for pattern in PATTERNS {
        text += &format!("  {:<12} {}\n", pattern.name, pattern.about);
    }
    text += "\nLaws:\n";
    for (name, about) in LAWS {
        text += &format!("  {name:<12} {about}\n");
    }
    text
}

fn main() -> ExitCode {
    match evaluate(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("evaluate: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the table, or checks the goals. Returns whether all is well.
fn evaluate(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let source = arguments.arrivals.as_deref().map(Source::read).transpose()?;
    let client = source.as_ref().and_then(|source| source.client.as_ref());
    let recorded = client.map(|client| &client.settings);
    let laws: Vec<Contender> = arguments
        .laws
        .iter()
        .map(|law| Contender::parse(law, &arguments.set, recorded))
        .collect::<Result<_, _>>()?;
    let rtts: Vec<Nanos> = arguments.rtt.iter().map(|rtt| from_seconds(rtt / 1e3)).collect();
    if let (true, Some(contender)) = (arguments.goals, laws.first()) {
        return check_goals(arguments, contender, &rtts);
    }
    let loads = loads(arguments, source.as_ref())?;
    let cells = Cell::all(&loads, &rtts, &arguments.takers);
    let rows = run_all(&cells, &laws, &arguments.conditions.circumstances(arguments.clients))?;
    println!("{}", table(&rows));
    if let Some(path) = &arguments.csv {
        let error = |error: &dyn Error| format!("{}: {error}", path.display());
        let file = File::create(path).map_err(|e| error(&e))?;
        write_csv(&rows, file).map_err(|e| error(&e))?;
    }
    arguments.conditions.draw(&rows)?;
    Ok(true)
}

/// Checks the goals, and returns whether all hold.
fn check_goals(
    arguments: &Arguments,
    contender: &Contender,
    rtts: &[Nanos],
) -> Result<bool, Box<dyn Error>> {
    let seeds: Vec<u64> = seeds(arguments).collect();
    let goals = goals::check(&Course {
        contender: contender.clone(),
        settings: &arguments.set,
        seeds: &seeds,
        rtts,
        takers: &arguments.takers,
        circumstances: arguments.conditions.circumstances(1),
    })?;
    for goal in &goals {
        println!("{goal}");
    }
    Ok(goals.iter().all(Goal::holds))
}

fn seeds(arguments: &Arguments) -> impl Iterator<Item = u64> + use<> {
    let start = arguments.start;
    (0..arguments.seeds).map(move |n| start.wrapping_add(n))
}

/// The loads of each pattern, by seeds; or those of the file.
fn loads(arguments: &Arguments, source: Option<&Source>) -> Result<Vec<Vec<Load>>, Box<dyn Error>> {
    if let Some(Source { load, .. }) = source {
        return Ok(vec![seeds(arguments).map(|seed| Load { seed, ..load.clone() }).collect()]);
    }
    let draw = |name: &String| {
        let Some(pattern) = Pattern::named(name) else {
            let names: Vec<&str> = PATTERNS.iter().map(|pattern| pattern.name).collect();
            return Err(format!("no pattern is called {name:?}; expected {}", names.join(", ")));
        };
        Ok(seeds(arguments).map(|seed| pattern.draw(seed)).collect())
    };
    Ok(arguments.patterns.iter().map(draw).collect::<Result<_, _>>()?)
}
