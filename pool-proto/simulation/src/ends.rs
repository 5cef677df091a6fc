//! The pools of both sides, as users know them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pool_driver::Pool;
use pool_driver::exports::{Accepting, AcquireError, ConnId, Dialing, Stats};
use pool_driver::pool_proto::Instant;

use crate::engine::Side;
use crate::runtime::Simulated;
use crate::stream::PooledStream;

/// The pool of a side.
#[derive(Clone)]
pub enum End {
    /// Dials.
    Client(Pool<Simulated, Dialing>),
    /// Accepts.
    Server(Pool<Simulated, Accepting>),
}

/// Calls `$act` on either pool.
macro_rules! either {
    ($end:expr, $pool:ident => $act:expr) => {
        match $end {
            End::Client($pool) => $act,
            End::Server($pool) => $act,
        }
    };
}

impl End {
    pub(crate) async fn acquire(&self, timeout: Duration) -> Result<PooledStream, AcquireError> {
        either!(self, pool => pool.acquire(timeout).await)
    }

    pub(crate) async fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<PooledStream, AcquireError> {
        either!(self, pool => pool.acquire_by_id(id, timeout).await)
    }

    /// Waits for ready connections.
    ///
    /// # Errors
    ///
    /// Those of the pool.
    pub async fn wait_ready(&self, count: u32, timeout: Duration) -> Result<(), AcquireError> {
        either!(self, pool => pool.wait_ready(count, timeout).await)
    }

    pub(crate) fn put(&self, stream: PooledStream) -> bool {
        either!(self, pool => pool.put(stream).is_ok())
    }

    /// Returns the statistics of the pool.
    #[must_use]
    pub fn stats(&self) -> Stats {
        either!(self, pool => pool.stats())
    }

    /// Returns whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        either!(self, pool => pool.is_closed())
    }

    /// Returns the next deadline of the machine.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        either!(self, pool => pool.shared().run(|machine, _| machine.poll_timeout()))
    }

    /// Ends all connections.
    pub fn flush(&self) {
        either!(self, pool => pool.flush());
    }

    /// Closes idle connections.
    pub fn clean(&self) {
        either!(self, pool => pool.clean());
    }

    /// Closes the pool.
    pub fn close(&self) {
        either!(self, pool => pool.close());
    }

    /// Begins a graceful shutdown.
    pub fn graceful_shutdown(&self, timeout: Duration) {
        either!(self, pool => pool.graceful_shutdown(timeout));
    }

    /// Returns the reason of the last failure.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        either!(self, pool => pool.last_failure())
    }

    /// Waits until everything that the pool runs has ended.
    pub async fn closed(&self) {
        either!(self, pool => pool.closed().await);
    }
}

/// The pools of the world.
pub struct Ends {
    client: Mutex<Option<End>>,
    server: Mutex<Option<End>>,
}

impl Ends {
    /// No pools.
    #[must_use]
    pub const fn none() -> Self {
        Self { client: Mutex::new(None), server: Mutex::new(None) }
    }

    const fn slot(&self, side: Side) -> &Mutex<Option<End>> {
        match side {
            Side::Client => &self.client,
            Side::Server | Side::Stranger => &self.server,
        }
    }

    /// Returns the pool of a side.
    #[must_use]
    pub fn get(&self, side: Side) -> Option<End> {
        self.slot(side).lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the pool of a side.
    pub fn set(&self, side: Side, end: Option<End>) {
        let former = std::mem::replace(
            &mut *self.slot(side).lock().unwrap_or_else(PoisonError::into_inner),
            end,
        );
        drop(former);
    }
}
