//! docs
mod client;
mod clock;
mod connection;
mod driver;
mod handshake;
mod pool;
mod server;
mod socket;
mod stream;

pub use client::{ClientPool, ClientPoolBuilder};
pub use pool::{BuildError, Pool};
pub use pool_proto;
pub use server::{ServerPool, ServerPoolBuilder};
pub use stream::{PooledStream, Revoked, TlsFacts};
