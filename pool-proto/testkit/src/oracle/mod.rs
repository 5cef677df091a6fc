//! The oracle: a naive pool that is obviously right, and a real machine that is compared with it, and
//! checked by its ledger, after every step.
//!
//! | file | content |
//! |---|---|
//! | `op.rs` | a step of a script, which names its subjects by small ordinals |
//! | `driver.rs` | the driver of a script: turns an [`Op`](op::Op) into a [`Call`](crate::call::Call) |
//! | `names.rs` | names that no machine at hand gave |
//! | `naive.rs`, `naive/` | the specification: plain `Vec`s, linear searches, recomputation |
//! | `shadow.rs` | the comparison of a naive pool with a machine |
//! | `checked.rs` | a machine with its ledger, its naive pool, and a twin with the same seed |
//! | `state_key.rs`, `*/state_key.rs` | the key of a state, the same for every choice of names |
//!
//! # What the comparison covers
//!
//! Answers, statistics with every counter, and deadlines are compared exactly. Of the actions of one
//! step, the wakes of one queue (for any connection, for stock, for one id) are compared in order,
//! because waiters are served first come first served. All others are compared as a multiset: the
//! order in which different connections end is not promised.
//!
//! The machine may choose three things, and the naive pool learns them by looking: the names (tokens,
//! waiters, ids), which the ledger checks to be new; the random wait after a failure, of which the
//! naive pool knows the bounds only ([`Retry`](naive::client::Retry)); and the source that makes room
//! when several hold equally much. Lifetimes are exact unless there is jitter; a setup with both is
//! checked by the ledger alone.

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
