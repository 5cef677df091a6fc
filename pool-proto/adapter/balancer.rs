//! Several pools as one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::Poll;
use core::time::Duration;

use super::pool::within;
use super::{Pool, Runtime};
use crate::error::Refusal;
use crate::role::Role;
use crate::shell::{AcquireError, Turns};
use crate::transport::Stream;

/// Spreads acquires over several pools: to several servers, or behind several listeners.
///
/// A pool with a ready connection serves at once, in turn; when none has one, the caller waits at
/// all of them, and the first connection wins. A pool that is closed, or whose peer is down, is
/// passed over by itself.
///
/// The other end must be told the id by way of the pool that the connection came from, which is why
/// [`acquire`](Self::acquire) returns that too.
pub struct Balancer<N: Runtime, R: Role + Send + 'static> {
    pools: Vec<Pool<N, R>>,
    turns: Turns,
}

impl<N: Runtime, R: Role + Send + 'static> Balancer<N, R> {
    /// A balancer over at least one pool.
    pub fn new(first: Pool<N, R>, others: impl IntoIterator<Item = Pool<N, R>>) -> Self {
        let pools = core::iter::once(first).chain(others).collect();
        Self { pools, turns: Turns::default() }
    }

    /// The pools, in the order in which they were given.
    #[must_use]
    pub fn pools(&self) -> &[Pool<N, R>] {
        &self.pools
    }

    /// Takes a ready connection of any pool, or waits up to `timeout` at all of them; returns the
    /// connection and its pool. Cancel safe.
    ///
    /// ```ignore
    /// let balancer = Balancer::new(a, [b]);
    /// let (stream, pool) = balancer.acquire(Duration::from_secs(1)).await?;
    /// // … use it …
    /// pool.put(stream)?;
    /// ```
    ///
    /// # Errors
    ///
    /// When every pool refuses or the time is up: the error of the pool that refused last.
    pub async fn acquire(
        &self,
        timeout: Duration,
    ) -> Result<(N::Stream, &Pool<N, R>), AcquireError> {
        let closed = || AcquireError::Refused(Refusal::PoolClosed);
        let first = self.turns.acquire(self.pools.iter().map(Pool::shell));
        let (index, held) = within(timeout, self.time_is_up(timeout), first).await?;
        let pool = self.pools.get(index).ok_or_else(closed)?;
        Ok((Stream::new(held).into(), pool))
    }

    /// By the timer of any pool: some may have none any more.
    async fn time_is_up(&self, after: Duration) {
        let timers = self.pools.iter().map(|pool| Box::pin(pool.runtime().sleep(after)));
        let mut timers: Vec<_> = timers.collect();
        poll_fn(|cx| match timers.iter_mut().any(|timer| timer.as_mut().poll(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl<N: Runtime, R: Role + Send + 'static> fmt::Debug for Balancer<N, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("pools", &self.pools).finish_non_exhaustive()
    }
}
