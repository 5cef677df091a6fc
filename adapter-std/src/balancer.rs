//! Several pools as one.

use std::fmt;
use std::time::Duration;

use pool_proto::shell::{AcquireError, Turns};
use pool_proto::transport::Stream;
use pool_proto::{Refusal, Role};

use crate::pool::{Pool, within};
use crate::stream::PooledStream;

/// Spreads acquires over several pools: to several servers, or behind several listeners.
///
/// A pool with a ready connection serves at once, in turn; when none has one, the caller waits at
/// all of them, and the first connection wins. A pool that is closed, or whose peer is down, is
/// passed over by itself.
///
/// The other end must be told the id by way of the pool that the connection came from, which is why
/// [`acquire`](Self::acquire) returns that too.
///
/// ```
/// # fn example(a: adapter_std::ClientPool, b: adapter_std::ClientPool)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use adapter_std::Balancer;
/// use std::time::Duration;
///
/// let balancer = Balancer::new(a, [b]);
/// let (stream, pool) = balancer.acquire(Duration::from_secs(1))?;
/// // … use it …
/// pool.put(stream)?;
/// # Ok(()) }
/// ```
pub struct Balancer<R: Role + Send + 'static> {
    pools: Vec<Pool<R>>,
    turns: Turns,
}

impl<R: Role + Send + 'static> Balancer<R> {
    /// A balancer over at least one pool.
    pub fn new(first: Pool<R>, others: impl IntoIterator<Item = Pool<R>>) -> Self {
        let pools = std::iter::once(first).chain(others).collect();
        Self { pools, turns: Turns::default() }
    }

    /// The pools, in the order in which they were given.
    #[must_use]
    pub fn pools(&self) -> &[Pool<R>] {
        &self.pools
    }

    /// Takes a ready connection of any pool, or waits up to `timeout` at all of them; returns the
    /// connection and its pool.
    ///
    /// # Errors
    ///
    /// When every pool refuses or the time is up: the error of the pool that refused last.
    pub fn acquire(&self, timeout: Duration) -> Result<(PooledStream, &Pool<R>), AcquireError> {
        let closed = || AcquireError::Refused(Refusal::PoolClosed);
        let first = self.turns.acquire(self.pools.iter().map(|pool| pool.0.shell()));
        let (index, held) = within(timeout, first)?;
        let pool = self.pools.get(index).ok_or_else(closed)?;
        Ok((Stream::new(held).into(), pool))
    }
}

impl<R: Role + Send + 'static> fmt::Debug for Balancer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("pools", &self.pools).finish_non_exhaustive()
    }
}
