//! `replay TAPE`: tells whether this version of the pool behaves as it did when the tape was recorded.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pool_proto::tape::Tape;
use pool_tape::{Outcome, line, replay};

/// Replays the tape of a pool, and tells whether this version behaves as it did then
///
/// Exits with 0 if the replay is identical up to the end of the tape, with 1 if it differs, and with 2 if
/// the tape cannot be read to its end.
#[derive(Parser)]
#[command(name = "replay")]
struct Arguments {
    /// Prints the inputs in words, instead of replaying them
    #[arg(long)]
    print: bool,
    /// The file with the tape, as the builder of a pool has recorded it
    tape: PathBuf,
}

const DIFFERENT: u8 = 1;
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    let Arguments { print, tape } = Arguments::parse();
    match if print { print_inputs(&tape) } else { report(&tape) } {
        Ok(code) => code,
        Err(error) => {
            eprintln!("replay: {}: {error}", tape.display());
            ExitCode::from(UNREADABLE)
        }
    }
}

fn report(tape: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let report = replay(&std::fs::read(tape)?)?;
    println!("{}: {report}", tape.display());
    Ok(match report.outcome {
        Outcome::Identical(_) => ExitCode::SUCCESS,
        Outcome::Differs(_) => ExitCode::from(DIFFERENT),
        Outcome::Unreadable(_) => ExitCode::from(UNREADABLE),
    })
}

fn print_inputs(tape: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let bytes = std::fs::read(tape)?;
    let tape = Tape::read(&bytes)?;
    let began = tape.header().began();
    let mut out = BufWriter::new(io::stdout().lock());
    for record in tape.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        };
        match writeln!(out, "{}", line(&record, began)) {
            // The reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
