//! Acquiring at several pools at once.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::vec::Vec;

use pool_proto::{Refusal, Role};

use super::{Acquire, AcquireError, Deadline, Leased, PoolConnection, SharedMachine};
use crate::sync::AtomicUsize;

/// Chooses among several pools in turn.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// Acquires at all of `pools`: in turn, but at pools with an idle connection before the others,
    /// so no caller queues without need.
    pub fn acquire<'a, C: PoolConnection, R: Role + 'a>(
        &self,
        pools: impl IntoIterator<Item = &'a Arc<SharedMachine<C, R>>>,
    ) -> AcquireAny<C, R> {
        let mut pools: Vec<_> = pools.into_iter().enumerate().collect();
        let start = self.0.fetch_add(1, Ordering::Relaxed) % pools.len().max(1);
        pools.rotate_left(start);
        // A stable sort keeps the turn among pools that can serve at once.
        pools.sort_by_cached_key(|(_, pool)| {
            let stats = pool.stats();
            stats.idle == stats.reserved
        });
        AcquireAny(pools.into_iter().map(|(index, pool)| (index, Some(pool.acquire()))).collect())
    }
}

/// Resolves to the first connection and the index of its pool, or to the last error when every pool
/// has refused. Cancel safe.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireAny<C: PoolConnection, R: Role>(Vec<(usize, Option<Acquire<C, R>>)>);

impl<C: PoolConnection, R: Role> Deadline for AcquireAny<C, R> {
    fn expire(&mut self) {
        self.0.iter_mut().filter_map(|(_, wait)| wait.as_mut()).for_each(Deadline::expire);
    }
}

impl<C: PoolConnection, R: Role> Future for AcquireAny<C, R> {
    type Output = Result<(usize, Leased<C>), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = false;
        let mut refused = AcquireError::Refused(Refusal::PoolClosed);
        for (index, wait) in &mut self.0 {
            let Some(pending) = wait else { continue };
            match Pin::new(pending).poll(cx) {
                Poll::Pending => waiting = true,
                Poll::Ready(Ok(leased)) => return Poll::Ready(Ok((*index, leased))),
                Poll::Ready(Err(error)) => {
                    *wait = None;
                    refused = error;
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(Err(refused)) }
    }
}
