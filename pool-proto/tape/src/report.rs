//! The outcome of a replay.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use pool_proto::tape::{Answer, Ending, Record, Replay, Step, Tape, TapeError, TapedRole};
use pool_proto::{Action, Instant};

/// The number of inputs that are shown before a difference.
const BEFORE: usize = 5;

/// The number of inputs that are shown after a difference: what the driver did next often tells how the
/// recorded machine had answered.
const AFTER: usize = 3;

/// The outcome of a replay, which `Display` shows in words.
#[derive(Debug)]
pub struct Report {
    /// The role of the machine.
    pub role: TapedRole,
    /// The version of pool-proto that has recorded the tape.
    pub version: String,
    /// The number of inputs that were answered as on the tape.
    pub identical: u64,
    /// The time from the creation of the machine to the last of them.
    pub lasted: Duration,
    /// The reason why the replay has ended.
    pub outcome: Outcome,
}

/// The end of a replay.
#[derive(Debug)]
pub enum Outcome {
    /// The tape is at its end, and this version behaves as it was recorded.
    Identical(Ending),
    /// This version behaves otherwise.
    Differs(Box<Difference>),
    /// The tape cannot be read to its end. This version behaves as it was recorded up to there.
    Unreadable(TapeError),
}

/// The first input to which this version answers otherwise than on the tape.
#[derive(Debug)]
pub struct Difference {
    /// The input; `None` if the actions at the creation of the machine differ.
    pub input: Option<Record>,
    /// The last inputs before it.
    pub before: VecDeque<Record>,
    /// The next inputs on the tape.
    pub after: Vec<Record>,
    /// The answer of this version; `None` if the input names something that this version does not have.
    pub answer: Option<Answer>,
    /// The actions of this version.
    pub actions: Vec<Action<()>>,
    began: Instant,
}

/// Replays a tape up to its end or the first difference.
///
/// # Errors
///
/// [`TapeError`] if the bytes are not a tape, or one of a machine that this version cannot make.
pub fn replay(bytes: &[u8]) -> Result<Report, TapeError> {
    let tape = Tape::read(bytes)?;
    let header = tape.header();
    let began = header.began();
    let mut replay = Replay::new(header)?;
    let mut report = Report {
        role: header.role(),
        version: header.version().to_owned(),
        identical: 0,
        lasted: Duration::ZERO,
        outcome: Outcome::Identical(Ending::Ended),
    };
    let mut before = VecDeque::new();
    let mut records = tape.records();
    let differs = |input, before, answer, replay: &Replay, after| {
        let actions = replay.actions().to_vec();
        Outcome::Differs(Box::new(Difference { input, before, after, answer, actions, began }))
    };
    if !replay.begins_alike() {
        let after = records.map_while(Result::ok).take(AFTER).collect();
        report.outcome = differs(None, before, Some(Answer::None), &replay, after);
        return Ok(report);
    }
    while let Some(record) = records.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                report.outcome = Outcome::Unreadable(error);
                return Ok(report);
            }
        };
        let answer = match replay.step(&record) {
            Step::Same(_) => {
                report.identical = record.number;
                report.lasted = record.at.since(began);
                if before.len() == BEFORE {
                    before.pop_front();
                }
                before.push_back(record);
                continue;
            }
            Step::Differs(answer) => Some(answer),
            Step::Impossible => None,
        };
        let after = records.map_while(Result::ok).take(AFTER).collect();
        report.outcome = differs(Some(record), before, answer, &replay, after);
        return Ok(report);
    }
    if let Some(ending) = records.ending() {
        report.outcome = Outcome::Identical(ending);
    }
    Ok(report)
}

/// Returns an input in one line: its number, its time since the creation of the machine, and the input in
/// words.
#[must_use]
pub fn line(record: &Record, began: Instant) -> String {
    let seconds = record.at.since(began).as_secs_f64();
    format!("{:>9}  {seconds:>13.6} s  {}", record.number, record.input)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, version, identical, lasted, outcome } = self;
        let role = match role {
            TapedRole::Client => "client",
            TapedRole::Server => "server",
        };
        writeln!(f, "a {role}, recorded by pool-proto {version}")?;
        match outcome {
            Outcome::Identical(ending) => {
                write!(f, "identical after {identical} inputs in {lasted:.3?}; {ending}")
            }
            Outcome::Unreadable(error) => {
                write!(f, "identical after {identical} inputs in {lasted:.3?}, but {error}")
            }
            Outcome::Differs(difference) => difference.fmt(f),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, before, after, answer, actions, began } = self;
        match input {
            Some(Record { number, offset, .. }) => {
                writeln!(
                    f,
                    "input {number}, at byte {offset} of the tape, has other outputs now:"
                )?;
            }
            None => writeln!(f, "the machine begins with other actions now:")?,
        }
        for record in before {
            writeln!(f, "  {}", line(record, *began))?;
        }
        if let Some(record) = input {
            writeln!(f, "> {}", line(record, *began))?;
            match answer {
                None => writeln!(f, "      now: it names something that is not there")?,
                Some(Answer::None) => {}
                Some(answer) => writeln!(f, "      now: {answer:?}")?,
            }
        }
        for action in actions {
            writeln!(f, "      now: {action:?}")?;
        }
        if actions.is_empty() && matches!(answer, Some(Answer::None)) {
            writeln!(f, "      now: neither an answer nor an action")?;
        }
        for record in after {
            writeln!(f, "  {}", line(record, *began))?;
        }
        write!(
            f,
            "A tape has a hash of the recorded outputs only. The inputs after that one often tell what the \
             outputs were."
        )
    }
}
