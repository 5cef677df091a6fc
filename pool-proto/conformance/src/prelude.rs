//! Names that nearly every file of this package uses.

pub(super) use super::ends::{Ends, Modes};
pub(super) use super::facade::{Demand, Dial, Pool, Stream};
pub(super) use super::wait::{SOON, eventually, now};
