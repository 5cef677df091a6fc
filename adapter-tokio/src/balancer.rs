//! Several pools as one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pool_proto::shell::{Acquire, AcquireError};
use pool_proto::{Refusal, Role};

use crate::connection::Pooled;
use crate::pool::{Expire, Pool};
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
/// # async fn example(a: adapter_tokio::ClientPool, b: adapter_tokio::ClientPool)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use adapter_tokio::Balancer;
/// use std::time::Duration;
///
/// let balancer = Balancer::new(a, [b]);
/// let (stream, pool) = balancer.acquire(Duration::from_secs(1)).await?;
/// // … use it …
/// pool.put(stream)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Balancer<R: Role + Send + 'static> {
    pools: Vec<Pool<R>>,
    turn: AtomicUsize,
}

impl<R: Role + Send + 'static> Balancer<R> {
    /// A balancer over at least one pool.
    pub fn new(first: Pool<R>, others: impl IntoIterator<Item = Pool<R>>) -> Self {
        let pools = std::iter::once(first).chain(others).collect();
        Self { pools, turn: AtomicUsize::new(0) }
    }

    /// The pools, in the order in which they were given.
    #[must_use]
    pub fn pools(&self) -> &[Pool<R>] {
        &self.pools
    }

    /// Takes a ready connection of any pool, or waits up to `timeout` at all of them; returns the
    /// connection and its pool. Cancel safe.
    ///
    /// # Errors
    ///
    /// When every pool refuses or the time is up: the error of the pool that refused last.
    pub async fn acquire(
        &self,
        timeout: Duration,
    ) -> Result<(PooledStream, &Pool<R>), AcquireError> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.pools.len().max(1);
        let (before, after) = self.pools.split_at(start);
        let mut candidates: Vec<&Pool<R>> = after.iter().chain(before).collect();
        // Stable: in turn among those that can serve at once, and nobody queues where it need not.
        candidates.sort_by_cached_key(|pool| !pool.is_ready());
        let waits = candidates
            .into_iter()
            .map(|pool| Wait { pool, acquire: Some(pool.shell().acquire()) })
            .collect();
        let Some(pool) = self.pools.first() else {
            return Err(Refusal::PoolClosed.into());
        };
        pool.within(timeout, First(waits)).await
    }
}

struct Wait<'a, R: Role + Send + 'static> {
    pool: &'a Pool<R>,
    /// `None` once it was refused.
    acquire: Option<Acquire<Pooled, R>>,
}

/// The first connection, or the last error when there is nothing left to wait for.
struct First<'a, R: Role + Send + 'static>(Vec<Wait<'a, R>>);

impl<R: Role + Send + 'static> Expire for First<'_, R> {
    fn expire(&mut self) {
        self.0.iter_mut().filter_map(|wait| wait.acquire.as_mut()).for_each(Acquire::expire);
    }
}

impl<'a, R: Role + Send + 'static> Future for First<'a, R> {
    type Output = Result<(PooledStream, &'a Pool<R>), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = false;
        let mut refused = None;
        for Wait { pool, acquire } in &mut self.0 {
            let Some(pending) = acquire else { continue };
            match Pin::new(pending).poll(cx) {
                Poll::Pending => waiting = true,
                Poll::Ready(Ok(held)) => return Poll::Ready(Ok((PooledStream::new(held), pool))),
                Poll::Ready(Err(error)) => {
                    *acquire = None;
                    refused = Some(error);
                }
            }
        }
        match refused {
            Some(error) if !waiting => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }
}
