//! TODO docs
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod allow;
mod backoff;
mod client;
mod config;
mod error;
mod event;
pub mod id;
mod ids;
mod keep_alive;
mod machine;
mod server;
#[cfg(feature = "std")]
pub mod shell;
mod slab;
mod slots;
mod sources;
mod stats;
mod time;
#[cfg(feature = "tls")]
pub mod tls;
mod tuner;
mod waiters;

pub use allow::{AllowList, AllowListError};
pub use backoff::Backoff;
pub use client::{Client, Dialing};
pub use config::{
    ClientConfig, ClientConfigBuilder, MAX_CONNECTIONS, ServerConfig, ServerConfigBuilder,
    TakeOrder,
};
pub use error::{ConfigError, PutError, Refusal, Rejected};
pub use event::{
    Acquire, Action, CloseReason, Collected, Event, Finding, HandshakeFailure, Lease, Purpose,
    Stock, Token, WaitOutcome, WaitReason, WaiterId,
};
pub use id::{ConnId, IdError, IdExchange, IdFormat, IdReader, IdWriter};
pub use keep_alive::KeepAlive;
pub use machine::{Machine, Role};
pub use server::{Accepting, Admission, Server};
pub use stats::{Stats, Totals};
pub use time::Instant;
pub use tuner::{Tuner, Tuning};
