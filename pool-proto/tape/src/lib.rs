//! Replays tapes of pools, and reads from them when callers came and how long dials took.
//!
//! A tape has every input of the state machine of a pool, from its creation on. A pool records one if its
//! builder is told to. [`pool_proto::tape`] documents the format, and the information that a tape contains.
//!
//! ```
//! use pool_tape::{Outcome, replay};
//!
//! fn is_as_recorded(tape: &[u8]) -> Result<bool, pool_proto::tape::TapeError> {
//!     Ok(matches!(replay(tape)?.outcome, Outcome::Identical(_)))
//! }
//! # assert!(is_as_recorded(b"no tape").is_err());
//! ```

mod arrivals;
mod report;

pub use arrivals::{Arrival, ArrivalsError, arrivals, lead_times};
pub use report::{Difference, Outcome, Report, line, replay};
