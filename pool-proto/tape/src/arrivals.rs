//! The callers on a tape, when they came and how long they held a connection; and how long its dials took.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pool_proto::tape::{Answer, Input, Replay, Step, Tape, TapeError};
use pool_proto::{Acquired, Action, Collected, Instant, Token, WaiterId};
use thiserror::Error;

/// A caller that has acquired any connection, or has tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The time of the call, by the clock of the driver.
    pub at: Instant,
    /// The time for which the caller waited; `None` if it got no connection.
    pub waited: Option<Duration>,
    /// The time from its getting a connection to its putting it back or closing it; `None` if it got none,
    /// or had it still at the end of the tape.
    pub held: Option<Duration>,
    /// Whether the connection was put back after its use, and not closed.
    pub put_back: bool,
}

/// The reason why the callers or the dials on a tape are not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArrivalsError {
    /// The tape cannot be read.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// This version behaves otherwise than on the tape, so it serves other callers.
    #[error(
        "this version answers input {input} otherwise than on the tape; take the version that has recorded it"
    )]
    Differs {
        /// The number of the input; 0 if the machine begins otherwise.
        input: u64,
    },
}

/// Returns the callers for any connection, in the order in which they came.
///
/// A driver that finds a connection unfit asks again for the same caller: that is one arrival. Callers that
/// name an id are not among them: their peer has chosen the connection. If the tape is cut off, the
/// callers up to there are returned.
///
/// # Errors
///
/// [`ArrivalsError`] if the bytes are not a tape, were changed, or this version replays it otherwise.
pub fn arrivals(bytes: &[u8]) -> Result<Vec<Arrival>, ArrivalsError> {
    let mut callers = Callers::default();
    follow(bytes, |at, input, answer, _| callers.follow(at, input, answer))?;
    Ok(callers.arrivals)
}

/// Returns the lead times of the connections that the client on a tape has established, in the order in
/// which they were: each the time from the dial until the connection was ready. A server dials none.
///
/// # Errors
///
/// As [`arrivals`].
pub fn lead_times(bytes: &[u8]) -> Result<Vec<Duration>, ArrivalsError> {
    let (mut dialed, mut times) = (HashMap::new(), Vec::new());
    follow(bytes, |at, input, _, actions| {
        if let Input::Established { token, .. } = input
            && let Some(since) = dialed.remove(&token)
        {
            times.push(at.since(since));
        }
        let dials = actions.iter().filter_map(|action| match action {
            Action::Dial { token } => Some((*token, at)),
            _ => None,
        });
        dialed.extend(dials);
    })?;
    Ok(times)
}

/// Shows each input with its time, and with the answer and the actions of the machine, up to the end of the
/// tape or to the place where it is cut off. The machine's first actions come with a timeout.
fn follow(
    bytes: &[u8],
    mut see: impl FnMut(Instant, Input, &Answer, &[Action<()>]),
) -> Result<(), ArrivalsError> {
    let tape = Tape::read(bytes)?;
    let mut replay = Replay::new(tape.header())?;
    if !replay.begins_alike() {
        return Err(ArrivalsError::Differs { input: 0 });
    }
    see(tape.header().began(), Input::Timeout, &Answer::None, replay.actions());
    for record in tape.records() {
        let record = match record {
            Err(TapeError::Truncated { .. }) => break,
            record => record?,
        };
        let Step::Same(answer) = replay.step(&record) else {
            return Err(ArrivalsError::Differs { input: record.number });
        };
        see(record.at, record.input, &answer, replay.actions());
    }
    Ok(())
}

/// The callers so far; each is known by its place in the list.
#[derive(Default)]
struct Callers {
    arrivals: Vec<Arrival>,
    waiting: HashMap<WaiterId, usize>,
    holding: HashMap<Token, (usize, Instant)>,
    /// Callers whose connection was found to be unfit, and that ask again.
    again: VecDeque<usize>,
}

impl Callers {
    fn follow(&mut self, at: Instant, input: Input, answer: &Answer) {
        match input {
            Input::Acquire => {
                let caller = self.arrivals.len();
                self.arrivals.push(Arrival { at, waited: None, held: None, put_back: false });
                self.answered(caller, at, answer);
            }
            Input::AcquireAgain => {
                if let Some(caller) = self.again.pop_front() {
                    self.answered(caller, at, answer);
                }
            }
            Input::Collect { waiter } => {
                if matches!(answer, Answer::Collected(Collected::Waiting)) {
                    return;
                }
                if let Some(caller) = self.waiting.remove(&waiter)
                    && let Answer::Collected(Collected::Ready(lease)) = answer
                {
                    self.serve(caller, lease.token, at);
                }
            }
            Input::Cancel { waiter } | Input::TimeOut { waiter } => {
                self.waiting.remove(&waiter);
            }
            Input::Put { token, .. } | Input::Closed { token } => {
                if let Some((caller, since)) = self.holding.remove(&token)
                    && let Some(arrival) = self.arrivals.get_mut(caller)
                {
                    arrival.held = Some(at.since(since));
                    arrival.put_back = matches!(input, Input::Put { .. });
                }
            }
            Input::Reject { token, .. } => {
                if let Some((caller, _)) = self.holding.remove(&token) {
                    if let Some(arrival) = self.arrivals.get_mut(caller) {
                        arrival.waited = None;
                    }
                    self.again.push_back(caller);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, caller: usize, at: Instant, answer: &Answer) {
        match answer {
            Answer::Acquired(Acquired::Ready(lease)) => self.serve(caller, lease.token, at),
            Answer::Acquired(Acquired::Queued(waiter)) => {
                self.waiting.insert(*waiter, caller);
            }
            _ => {}
        }
    }

    fn serve(&mut self, caller: usize, token: Token, at: Instant) {
        if let Some(arrival) = self.arrivals.get_mut(caller) {
            arrival.waited = Some(at.since(arrival.at));
            self.holding.insert(token, (caller, at));
        }
    }
}
