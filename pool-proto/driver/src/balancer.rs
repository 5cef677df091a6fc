//! Several pools as one.

use core::fmt;
use core::future::{Future, poll_fn};
use core::task::Poll;
use core::time::Duration;
use std::boxed::Box;
use std::vec::Vec;

use crate::pool::within;
use crate::shared::{AcquireAny, AcquireError, Leased, RoundRobin};
use crate::transport::{Pooled, Stream};
use crate::{Awaited, Pool, Runtime, Socket};
use pool_proto::Refusal;
use pool_proto::Role;

/// A connection, and the pool that it was taken from.
pub type Found<'a, N, R, C = Awaited> = (<N as Runtime>::Stream, &'a Pool<N, R, C>);

/// Spreads acquires over several pools: to several servers, or behind several listeners.
///
/// A pool with a ready connection serves at once, in turn; when none has one, the caller waits at
/// all of them, and the first connection wins. A pool that is closed, or whose peer is down, is
/// passed over by itself.
///
/// The other end must be told the id by way of the pool that the connection came from, which is why
/// [`acquire`](Self::acquire) returns that too.
pub struct Balancer<N: Runtime, R: Role + Send + 'static, C = Awaited> {
    pools: Vec<Pool<N, R, C>>,
    turns: RoundRobin,
}

impl<N: Runtime, R: Role + Send + 'static, C> Balancer<N, R, C> {
    /// A balancer over at least one pool.
    pub fn new(first: Pool<N, R, C>, others: impl IntoIterator<Item = Pool<N, R, C>>) -> Self {
        let pools = core::iter::once(first).chain(others).collect();
        Self { pools, turns: RoundRobin::default() }
    }

    /// The pools, in the order in which they were given.
    #[must_use]
    pub fn pools(&self) -> &[Pool<N, R, C>] {
        &self.pools
    }

    pub(super) fn first(&self) -> AcquireAny<Pooled<Socket<N>>, R> {
        self.turns.acquire(self.pools.iter().map(Pool::shared))
    }

    /// What [`first`](Self::first) has found, and its pool.
    pub(super) fn found(
        &self,
        (index, leased): (usize, Leased<Pooled<Socket<N>>>),
    ) -> Result<Found<'_, N, R, C>, AcquireError> {
        let pool = self.pools.get(index).ok_or(AcquireError::Refused(Refusal::PoolClosed))?;
        Ok((Stream::new(leased).into(), pool))
    }
}

impl<N: Runtime, R: Role + Send + 'static> Balancer<N, R, Awaited> {
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
    pub async fn acquire(&self, timeout: Duration) -> Result<Found<'_, N, R>, AcquireError> {
        self.found(within(timeout, self.time_is_up(timeout), self.first()).await?)
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

impl<N: Runtime, R: Role + Send + 'static, C> fmt::Debug for Balancer<N, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("pools", &self.pools).finish_non_exhaustive()
    }
}
