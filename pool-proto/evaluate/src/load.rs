//! The demand that a pool has to meet: arrivals, and what happens to the network meanwhile.

use pool_tape::ArrivalsError;

use crate::network::Outage;
use crate::scenario::Taker;
use crate::time::{Nanos, SECOND, from_seconds};

/// A caller that wants a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it comes.
    pub at: Nanos,
    /// How long it uses the connection, from the moment in which both ends have it.
    pub hold: Nanos,
}

/// The arrivals of a run, in order, and its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The name of the pattern, or of the file.
    pub name: String,
    /// The seed of the machines.
    pub seed: u64,
    /// The callers, the earliest first.
    pub arrivals: Vec<Arrival>,
    /// The end of the run.
    pub end: Nanos,
    /// Whether a connection is put back after its use, and not closed.
    pub put_back: bool,
    /// An outage of the network.
    pub outage: Option<Outage>,
    /// The time after which the server closes a connection that nobody has taken.
    pub reaper: Option<Nanos>,
}

/// The time before the first arrival of a file, in which the stock fills up.
const LEAD_IN: Nanos = 10 * SECOND;

/// Why a file of arrivals cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The file is neither a tape nor text.
    #[error(
        "{file}: expected the tape of a pool, which begins with \"pooltape\", or arrivals as CSV, one a \
         line in seconds; this is neither"
    )]
    NeitherFormat {
        /// The file.
        file: String,
    },
    /// The tape cannot be replayed.
    #[error("{file}: {error}")]
    Tape {
        /// The file.
        file: String,
        /// The error.
        error: ArrivalsError,
    },
    /// No caller on the tape has asked for any connection.
    #[error(
        "{file}: no caller of this {taker} asked for any connection, and {by_id} named an id: expected \
         the tape of the end whose callers take any connection"
    )]
    NoCallers {
        /// The file.
        file: String,
        /// The end that was recorded.
        taker: Taker,
        /// The callers that named an id.
        by_id: usize,
    },
    /// The tape is not of a client.
    #[error(
        "{file}: expected the tape of a client; this one is of a server, which has none of its settings"
    )]
    NotAClient {
        /// The file.
        file: String,
    },
    /// A field is not a time.
    #[error(
        "{file}, line {line}: the {column} is {found:?}; expected seconds as a decimal number from 0 \
         up, such as 12.345"
    )]
    NotATime {
        /// The file.
        file: String,
        /// The line, from 1 up.
        line: usize,
        /// The column.
        column: &'static str,
        /// The text of the field.
        found: String,
    },
    /// A line has a wrong number of fields.
    #[error(
        "{file}, line {line}: found {found} fields; expected the time of an arrival in seconds, and \
         optionally its holding time in seconds"
    )]
    Fields {
        /// The file.
        file: String,
        /// The line, from 1 up.
        line: usize,
        /// The number of fields.
        found: usize,
    },
    /// The file has no arrivals.
    #[error("{file}: no arrivals; expected one a line, as seconds")]
    Empty {
        /// The file.
        file: String,
    },
}

impl Load {
    /// Returns a load of these arrivals, which it sorts, in a run up to `end`.
    #[must_use]
    pub fn new(name: impl Into<String>, mut arrivals: Vec<Arrival>, end: Nanos) -> Self {
        arrivals.sort_by_key(|arrival| arrival.at);
        Self {
            name: name.into(),
            seed: 1,
            arrivals,
            end,
            put_back: false,
            outage: None,
            reaper: None,
        }
    }

    /// Returns a load of arrivals whose times are since the first of them. The run begins ten seconds
    /// before that, so that the stock is filled.
    #[must_use]
    pub fn from_first(name: impl Into<String>, mut arrivals: Vec<Arrival>) -> Self {
        for arrival in &mut arrivals {
            arrival.at = arrival.at.saturating_add(LEAD_IN);
        }
        let last = arrivals.iter().map(|arrival| arrival.at).max();
        Self::new(name, arrivals, last.unwrap_or(LEAD_IN).saturating_add(1))
    }

    /// Reads arrivals from CSV: one a line, the time in seconds as a decimal number, and optionally the
    /// holding time in seconds. Lines that begin with `#` are comments, and the first line may be a
    /// header. The order of the lines does not matter, and only the differences of the times count.
    /// `file` names the text in errors.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the line and the expected content.
    pub fn parse(file: &str, text: &str) -> Result<Self, LoadError> {
        let file = || file.to_owned();
        let (mut rows, mut header) = (Vec::new(), false);
        for (text, line) in text.lines().zip(1..) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> =
                text.split(',').map(|field| field.trim().trim_matches('"')).collect();
            let (at, hold) = match *fields.as_slice() {
                [at] => (at, "0"),
                [at, hold] => (at, hold),
                _ => return Err(LoadError::Fields { file: file(), line, found: fields.len() }),
            };
            let time = |column, text: &str| {
                let number = text.parse().ok().filter(|value: &f64| *value >= 0.0);
                let number = number.filter(|value| value.is_finite());
                let found = text.to_owned();
                number.ok_or_else(|| LoadError::NotATime { file: file(), line, column, found })
            };
            match time("time of the arrival", at) {
                // A header.
                Err(_) if rows.is_empty() && !header && at.starts_with(char::is_alphabetic) => {
                    header = true;
                }
                at => rows.push((at?, time("holding time", hold)?)),
            }
        }
        let first = rows.iter().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
        let arrival =
            |(at, hold)| Arrival { at: from_seconds(at - first), hold: from_seconds(hold) };
        let arrivals: Vec<Arrival> = rows.into_iter().map(arrival).collect();
        if arrivals.is_empty() {
            return Err(LoadError::Empty { file: file() });
        }
        Ok(Self::from_first(file(), arrivals))
    }
}
