//! The crate is `no_std`; what is here is not.

pub(super) use std::borrow::ToOwned;
pub(super) use std::boxed::Box;
pub(super) use std::string::{String, ToString};
pub(super) use std::vec::Vec;
pub(super) use std::{eprintln, format, println, vec};

pub(super) use super::ends::{Ends, Modes};
pub(super) use super::facade::{Dial, Pool, Stream};
pub(super) use super::wait::{SOON, eventually, now};
