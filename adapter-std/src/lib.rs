//! The blocking adapter of `pool`, on plain threads.
mod balancer;
mod client;
mod clock;
mod driver;
mod pool;
mod reactor;
mod server;
mod socket;
mod stream;

pub use balancer::Balancer;
pub use client::{ClientPool, ClientPoolBuilder};
pub use pool::Pool;
pub use pool_proto;
pub use pool_proto::shell::{AcquireError, Handle};
pub use pool_proto::tls::TlsFacts;
pub use pool_proto::transport::{BuildError, Revoked};
pub use rustls;
pub use server::{ServerPool, ServerPoolBuilder};
pub use stream::{PooledStream, ReadHalf, WriteHalf};
