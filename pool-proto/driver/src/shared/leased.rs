//! A connection in a caller's hands.

use core::fmt;
use core::ops::Deref;
use std::sync::Arc;

use pool_proto::{ConnId, PutError, Role, Token};

use super::{AnyRole, PoolConnection, SharedMachine};

/// A connection taken from a pool. Dropping it closes the connection; [`put`](Self::put) returns it
/// for reuse.
pub struct Leased<C> {
    id: ConnId,
    /// Dropped before its lease ends, even if the drop panics.
    connection: C,
    hold: Hold<Arc<dyn AnyRole>>,
}

/// The lease of a connection, which ends when this is dropped.
pub(super) struct Hold<P: Deref<Target: AnyRole>> {
    pool: P,
    token: Token,
    /// Whether the machine has the connection again, or the caller reports its end.
    is_over: bool,
}

impl<P: Deref<Target: AnyRole>> Hold<P> {
    pub(super) const fn new(pool: P, token: Token) -> Self {
        Self { pool, token, is_over: false }
    }

    /// Leaves the end of the lease to the caller.
    pub(super) fn end(mut self) {
        self.is_over = true;
    }
}

impl<P: Deref<Target: AnyRole>> Drop for Hold<P> {
    fn drop(&mut self) {
        if !self.is_over {
            self.pool.released(self.token);
        }
    }
}

impl<C> Leased<C> {
    pub(super) fn new<R>(
        pool: Arc<SharedMachine<C, R>>,
        token: Token,
        id: ConnId,
        connection: C,
    ) -> Self
    where
        C: PoolConnection,
        R: Role,
    {
        Self { id, connection, hold: Hold::new(pool, token) }
    }

    /// Returns the connection's id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// Returns the connection.
    #[must_use]
    pub const fn get(&self) -> &C {
        &self.connection
    }

    /// Returns the connection.
    pub const fn get_mut(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Puts the connection back into `pool`. Data that has arrived by now and was not read is
    /// discarded.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the pool was closed or flushed meanwhile, or is not the pool that the
    /// connection was taken from. The connection is closed then.
    pub fn put<R: Role>(mut self, pool: &Arc<SharedMachine<C, R>>) -> Result<(), PutError>
    where
        C: PoolConnection,
    {
        if !core::ptr::addr_eq(Arc::as_ptr(&self.hold.pool), Arc::as_ptr(pool)) {
            return Err(pool.run(|machine, _| machine.put_foreign()));
        }
        // Drained while still leased: if the drain panics, the lease is released and not lost.
        let drained = pool.drains_at_put.then(|| self.connection.drain());
        let token = self.hold.token;
        pool.put(token, self.into_connection(), drained)
    }

    /// Takes the connection out. Ending the lease is then the caller's duty.
    pub(super) fn into_connection(self) -> C {
        let Self { connection, hold, .. } = self;
        hold.end();
        connection
    }
}

impl<C> fmt::Debug for Leased<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("id", &self.id).field("token", &self.hold.token).finish()
    }
}
