//! Arrivals from a file: CSV, or the tape of a pool.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use pool_proto::tape::{Input, Tape, TapeError, TapedRole};
use pool_tape::{ArrivalsError, arrivals, lead_times};

use crate::load::{Arrival, Load, LoadError};
use crate::measure::quantile;
use crate::scenario::Taker;
use crate::settings::Settings;
use crate::time::{Nanos, from_duration};

/// The arrivals of a file, and what else the file tells.
#[derive(Clone, Debug)]
pub struct Source {
    /// The arrivals.
    pub load: Load,
    /// The callers on the tape; `None` if the file is CSV.
    pub callers: Option<TapedCallers>,
    /// The client on the tape; `None` if the tape is of a server, or the file is CSV.
    pub client: Option<TapedClient>,
}

/// The callers on a tape, as they were served then.
#[derive(Clone, Debug)]
pub struct TapedCallers {
    /// The end that was recorded.
    pub taker: Taker,
    callers: usize,
    /// Callers that have named an id, as the other end had taken the connection.
    by_id: usize,
    unserved: usize,
    /// The waits of callers that were served, in order.
    waits: Vec<Nanos>,
}

/// The client on a tape.
#[derive(Clone, Debug)]
pub struct TapedClient {
    /// Its settings.
    pub settings: Settings,
    /// The lead times of its connections, in order.
    lead_times: Vec<Nanos>,
}

impl Source {
    /// Reads a file. A tape is known by its first bytes; any other file is CSV, as
    /// [`Load::parse`] reads it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the expected content.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        let bytes = read(path)?;
        let mut source = match Tape::read(&bytes) {
            Err(TapeError::NotATape) => {
                let text = str::from_utf8(&bytes);
                let text = text.map_err(|_| LoadError::NeitherFormat { file: file.clone() })?;
                Self { load: Load::parse(&file, text)?, callers: None, client: None }
            }
            tape => {
                let failed = |error| LoadError::Tape { file: file.clone(), error };
                Self::of_tape(&file, &tape.map_err(|error| failed(error.into()))?, &bytes)?
            }
        };
        if let Some(name) = path.file_name() {
            source.load.name = name.display().to_string();
        }
        Ok(source)
    }

    fn of_tape(file: &str, tape: &Tape<'_>, bytes: &[u8]) -> Result<Self, LoadError> {
        let failed = |error| LoadError::Tape { file: file.to_owned(), error };
        let taker = match tape.header().role() {
            TapedRole::Client => Taker::Client,
            TapedRole::Server => Taker::Server,
        };
        let taped = arrivals(bytes).map_err(failed)?;
        let inputs = tape.records().map_while(Result::ok).map(|record| record.input);
        let by_id = inputs.filter(|input| matches!(input, Input::AcquireById { .. })).count();
        let Some(first) = taped.first() else {
            return Err(LoadError::NoCallers { file: file.to_owned(), taker, by_id });
        };
        // A caller that got none, or kept it to the end, holds it as long as most.
        let usual = median(&sorted(taped.iter().filter_map(|caller| caller.held)));
        let arrival = |caller: &pool_tape::Arrival| Arrival {
            at: from_duration(caller.at.since(first.at)),
            hold: caller.held.map_or(usual, from_duration),
        };
        let used = taped.iter().filter(|caller| caller.held.is_some()).count();
        let mut load = Load::from_first(file, taped.iter().map(arrival).collect());
        load.put_back = 2 * taped.iter().filter(|caller| caller.put_back).count() > used;
        let waits = sorted(taped.iter().filter_map(|caller| caller.waited));
        let unserved = taped.len() - waits.len();
        let callers = TapedCallers { taker, callers: taped.len(), by_id, unserved, waits };
        let client = TapedClient::of(tape, bytes).map_err(failed)?;
        Ok(Self { load, callers: Some(callers), client })
    }
}

impl TapedClient {
    /// Reads the tape of a client.
    ///
    /// # Errors
    ///
    /// [`LoadError`], if the file is not the tape of a client.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        let bytes = read(path)?;
        let client = Tape::read(&bytes).map_err(ArrivalsError::from);
        let client = client.and_then(|tape| Self::of(&tape, &bytes));
        match client {
            Err(error) => Err(LoadError::Tape { file, error }),
            Ok(client) => client.ok_or(LoadError::NotAClient { file }),
        }
    }

    fn of(tape: &Tape<'_>, bytes: &[u8]) -> Result<Option<Self>, ArrivalsError> {
        let Some(builder) = tape.header().client()? else { return Ok(None) };
        let lead_times = sorted(lead_times(bytes)?.into_iter());
        Ok(Some(Self { settings: Settings::recorded(builder), lead_times }))
    }

    /// Returns the number of connections that it has established.
    #[must_use]
    pub const fn established(&self) -> usize {
        self.lead_times.len()
    }

    /// Returns the median of the lead times; `None` if it has established no connection.
    #[must_use]
    pub fn lead_time(&self) -> Option<Nanos> {
        (!self.lead_times.is_empty()).then(|| median(&self.lead_times))
    }
}

/// Two lines at most: how the callers were served, and those that cannot be simulated.
impl fmt::Display for TapedCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taker, callers, by_id, unserved, waits } = self;
        let at_once = waits.iter().filter(|wait| **wait == 0).count();
        let percent = 100.0 * share(at_once, *callers);
        let p99 = quantile(waits, 990);
        write!(
            f,
            "on the tape: {callers} callers of a {taker}: {percent:.1} % served at once, {unserved} not \
             served, p99 of the waits {p99:.1} ms"
        )?;
        if *by_id > 0 {
            write!(
                f,
                "\non the tape: {by_id} callers named an id, since the other end had taken the connection; \
                 they are not simulated"
            )?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError::Io { file: path.display().to_string(), error })
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Nanos> {
    let mut times: Vec<Nanos> = times.map(from_duration).collect();
    times.sort_unstable();
    times
}

/// The median of times in order; zero if there are none.
fn median(times: &[Nanos]) -> Nanos {
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "callers are far fewer than 2⁵³")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
