//! Compares settings of a pool on arrivals of its users, in virtual time, and recommends one.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pool_evaluate::advice::advise;
use pool_evaluate::cell::Cell;
use pool_evaluate::conditions::Conditions;
use pool_evaluate::law::Contender;
use pool_evaluate::load::Load;
use pool_evaluate::network::Network;
use pool_evaluate::scenario::Taker;
use pool_evaluate::source::{Source, TapedClient};
use pool_evaluate::table::table;
use pool_evaluate::time::{MILLISECOND, Nanos, from_seconds, millis};

/// Compares settings of a pool on your own arrivals, in virtual time, and recommends one.
///
/// The arrivals are those on the tape of a pool, or in a CSV file. The tape of a client has the settings
/// and the round trip, too; that of a server has not, but --client may name the tape of its client.
#[derive(Parser)]
struct Arguments {
    /// The tape of the end whose callers take any connection; or CSV: one arrival a line, in seconds, and
    /// optionally the holding time in seconds.
    file: PathBuf,
    /// The tape of a client, for its settings and its round trip.
    #[arg(long, value_name = "TAPE")]
    client: Option<PathBuf>,
    /// The round trip between the ends, in milliseconds. Default: the one at which dials take as long as
    /// on the tape of a client; otherwise 20.
    #[arg(long, value_name = "MS")]
    rtt: Option<f64>,
    /// The end that takes any connection: client or server. Default: the end on the tape; otherwise
    /// server.
    #[arg(long)]
    taker: Option<Taker>,
    /// A law to compare, such as go or recorded+keep=120s. May be repeated. The first row is the law in
    /// use: the recorded one where a tape has settings, and otherwise the first of these, or default.
    #[arg(long)]
    law: Vec<String>,
    /// A setting of all laws but the recorded one, such as capacity=4..=64. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The percentage of the callers that are to be served at once.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.9)]
    wanted: f64,
    /// Connections are put back after their use, and not closed. Most of those on a tape tell.
    #[arg(long)]
    put_back: bool,
    #[command(flatten)]
    conditions: Conditions,
}

/// The round trip where nothing tells it.
const USUAL_RTT: Nanos = 20 * MILLISECOND;

/// The precision of a round trip that dials tell.
const PRECISION: Nanos = MILLISECOND / 100;

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whatif: {error}");
            ExitCode::from(2)
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Source { load, callers, client } = Source::read(&arguments.file)?;
    let client = match &arguments.client {
        Some(tape) => Some(TapedClient::read(tape)?),
        None => client,
    };
    let laws = laws(arguments, client.as_ref())?;
    let circumstances = arguments.conditions.circumstances(1);
    let (rtt, reason) = round_trip(arguments.rtt, client.as_ref(), &circumstances.network);
    if let Some(callers) = &callers {
        println!("{callers}");
    }
    println!("round trip: {:.2} ms, {reason}\n", millis(rtt));

    let taken_at = callers.map_or(Taker::Server, |callers| callers.taker);
    let loads = [Load { put_back: arguments.put_back || load.put_back, ..load }];
    let cell = Cell { loads: &loads, rtt, taker: arguments.taker.unwrap_or(taken_at) };
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

/// The laws to compare, that in use first.
fn laws(
    arguments: &Arguments,
    client: Option<&TapedClient>,
) -> Result<Vec<Contender>, Box<dyn Error>> {
    let recorded = client.map(|client| &client.settings);
    let law = |text: &str, general: &[String]| Contender::parse(text, general, recorded);
    let named = arguments.law.iter().map(|text| law(text, &arguments.set));
    let mut laws: Vec<Contender> = named.collect::<Result<_, _>>()?;
    match recorded {
        Some(_) => {
            let first = law("recorded", &[])?;
            if laws.is_empty() && !arguments.set.is_empty() {
                let text = format!("recorded+{}", arguments.set.join("+"));
                laws.push(law(&text, &[])?);
            }
            laws.retain(|law| law.name != first.name);
            laws.insert(0, first);
        }
        None if laws.is_empty() => laws.push(law("default", &arguments.set)?),
        None => {}
    }
    Ok(laws)
}

/// The round trip, and how it is known.
fn round_trip(
    named: Option<f64>,
    client: Option<&TapedClient>,
    network: &Network,
) -> (Nanos, String) {
    let lead = client.and_then(|client| Some((client, client.lead_time()?)));
    match (named, lead) {
        (Some(named), _) => (from_seconds(named / 1e3), "by --rtt".to_owned()),
        (None, Some((client, lead))) => {
            let (count, lead_ms) = (client.established(), millis(lead));
            let reason =
                format!("at which a dial takes {lead_ms:.1} ms, the median of {count} on the tape");
            let rtt = network.rtt_of(lead);
            (rtt - rtt % PRECISION, reason)
        }
        (None, None) => (
            USUAL_RTT,
            "assumed: name yours by --rtt, or the tape of the client by --client".to_owned(),
        ),
    }
}
