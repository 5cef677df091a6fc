//! What a pool should do, said twice: a naive pool that is obviously right, and laws that hold
//! whatever it does; and a real machine that is compared with both after every step.
//!
//! | file | what is in it |
//! |---|---|
//! | `setup.rs` | a configuration in plain numbers |
//! | `op.rs` | one step of a script; it names its subjects by small ordinals |
//! | `driver.rs` | who outside of the machine holds what; turns an [`Op`] into a [`Call`] |
//! | `names.rs` | names that no machine at hand gave |
//! | `call.rs` | every call of the public interface, with its answer |
//! | `naive.rs`, `naive/` | the specification: plain `Vec`s, linear searches, recomputation |
//! | `laws.rs` | what holds of every pool, seen from outside and without the naive pool |
//! | `checked.rs` | a machine, the naive pool and the laws, side by side |
//! | `state_key.rs`, `*/state_key.rs` | what tells two states apart, whatever their connections are called |
//! | `pair.rs` | a client and a server, back to back |
//!
//! It depends on nothing but `std` and `pool_proto`, so a fuzzer can include it by its path and
//! feed [`Checked`] with [`Op`]s that it [decodes](Op::arbitrary) from bytes.
//!
//! # What is compared, and what is not
//!
//! Answers, statistics with every counter, and deadlines are compared exactly. Of the actions of one
//! step, the wakes of one queue (for any connection, for stock, for one id) are compared in order,
//! because waiters are served first come first served; all others as a multiset, because nothing is
//! promised about the order in which different connections end.
//!
//! Three things are the machine's to choose, and the naive pool learns them by looking: the names
//! (tokens, waiters, ids), which the laws check to be new; the random wait after a failure, of which
//! the naive pool knows the bounds only ([`Retry`](naive::client::Retry)); and which of several
//! sources that hold equally much makes room. Lifetimes are exact as long as there is no jitter;
//! where a setup has both, only the laws are checked.

pub mod checked;
pub mod driver;
pub mod naive;
pub mod names;
pub mod op;
mod shadow;
pub mod state_key;

pub use crate::setup::Setup;
pub use checked::Checked;
pub use shadow::Shadow;
