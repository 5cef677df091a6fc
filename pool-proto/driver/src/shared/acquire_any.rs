//! Waiting at several pools at once.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::sync::Arc;
use std::vec::Vec;

use super::{Acquire, AcquireError, Connection, Deadline, Leased, SharedMachine};
use pool_proto::Refusal;
use pool_proto::Role;

/// Whose turn it is among several pools.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// Asks all of `shells`: in turn, but those with a ready connection before the others, so that
    /// nobody queues where it need not.
    pub fn acquire<'a, C: Connection, R: Role + 'a>(
        &self,
        shells: impl IntoIterator<Item = &'a Arc<SharedMachine<C, R>>>,
    ) -> AcquireAny<C, R> {
        let mut shells: Vec<_> = shells.into_iter().enumerate().collect();
        let start = self.0.fetch_add(1, Ordering::Relaxed) % shells.len().max(1);
        shells.rotate_left(start);
        // Stable: in turn among those that can serve at once.
        shells.sort_by_cached_key(|(_, shared)| shared.stats().idle == 0);
        AcquireAny(
            shells.into_iter().map(|(index, shared)| (index, Some(shared.acquire()))).collect(),
        )
    }
}

/// The first connection and the index of its pool, or the last error when there is nothing left to
/// wait for. Cancel safe.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireAny<C: Connection, R: Role>(Vec<(usize, Option<Acquire<C, R>>)>);

impl<C: Connection, R: Role + Send + 'static> Deadline for AcquireAny<C, R> {
    fn expire(&mut self) {
        self.0.iter_mut().filter_map(|(_, wait)| wait.as_mut()).for_each(Deadline::expire);
    }
}

impl<C: Connection, R: Role + Send + 'static> Future for AcquireAny<C, R> {
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
