//! Several pools as one.

use core::fmt;
use core::future::pending;
use core::time::Duration;
use std::vec::Vec;

use pool_proto::Refusal;

use super::driver::PoolConnectionOf;
use super::{Configured, Pool, within};
use crate::runtime::Runtime;
use crate::shared::{AcquireAny, AcquireError, Leased, RoundRobin};

/// A pool of either role: the concrete pool types of an adapter, and [`Pool`] itself. For code that is
/// generic over the role, such as a [`Balancer`].
pub trait AnyPool: Clone + fmt::Debug + Send + Sync + 'static {
    /// The runtime of the pool.
    type Runtime: Runtime;
    /// The role of the pool.
    type Role: Configured;

    /// Returns the pool behind the concrete type. It has the same calls.
    fn pool(&self) -> &Pool<Self::Runtime, Self::Role>;
}

impl<N: Runtime, R: Configured> AnyPool for Pool<N, R> {
    type Runtime = N;
    type Role = R;

    fn pool(&self) -> &Self {
        self
    }
}

/// A stream that a balancer has acquired, and its pool.
#[derive(Debug)]
#[must_use = "dropping the stream closes its connection"]
pub struct Balanced<'a, S, P> {
    /// The stream.
    pub stream: S,
    /// The pool of the stream. The stream is put back into it, and the id is told to its other end.
    pub pool: &'a P,
    /// The index of the pool among the balancer's `pools()`, for data that a caller keeps for each pool,
    /// such as a control channel.
    pub index: usize,
}

type BalancedOf<'a, P> = Balanced<'a, <<P as AnyPool>::Runtime as Runtime>::Stream, P>;

/// Spreads acquires over several pools.
#[derive(Debug)]
pub struct Balancer<P> {
    pools: Vec<P>,
    turns: RoundRobin,
}

impl<P: AnyPool> Balancer<P> {
    /// A balancer over at least one pool.
    pub fn new(first: P, others: impl IntoIterator<Item = P>) -> Self {
        let pools = core::iter::once(first).chain(others).collect();
        Self { pools, turns: RoundRobin::default() }
    }

    /// Returns the pools in the order in which they were given.
    #[must_use]
    pub fn pools(&self) -> &[P] {
        &self.pools
    }

    /// Starts an acquire at all pools, without a deadline.
    pub fn acquire_any(&self) -> AcquireAny<PoolConnectionOf<P::Runtime>, P::Role> {
        self.turns.acquire(self.pools.iter().map(|pool| pool.pool().shared()))
    }

    /// Names the stream of a finished acquire, and its pool.
    ///
    /// # Errors
    ///
    /// None for an index that [`acquire_any`](Self::acquire_any) has returned.
    pub fn found(
        &self,
        (index, leased): (usize, Leased<PoolConnectionOf<P::Runtime>>),
    ) -> Result<BalancedOf<'_, P>, AcquireError> {
        let pool = self.pools.get(index).ok_or(AcquireError::Refused(Refusal::PoolClosed))?;
        Ok(Balanced { stream: leased.into(), pool, index })
    }

    /// Acquires an idle connection of any pool, or waits up to `timeout` at all of them. Cancel safe.
    ///
    /// # Errors
    ///
    /// When every pool refuses or the deadline passes: the error of the pool that refused last.
    pub async fn acquire(&self, timeout: Duration) -> Result<BalancedOf<'_, P>, AcquireError> {
        self.found(within(timeout, self.sleep(timeout), self.acquire_any()).await?)
    }

    /// Sleeps by the timer of the first pool, which does not depend on that pool.
    async fn sleep(&self, time: Duration) {
        match self.pools.first() {
            Some(pool) => pool.pool().runtime().sleep(time).await,
            None => pending().await,
        }
    }
}
