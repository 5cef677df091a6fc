//! A connection in a caller's hands.

use core::fmt;
use std::sync::Arc;

use pool_proto::{ConnId, PutError, Role, Token};

use super::{AnyRole, PoolConnection, SharedMachine};

/// A connection taken from a pool. Dropping it closes the connection; [`put`](Self::put) returns it
/// for reuse.
pub struct Leased<C> {
    pool: Arc<dyn AnyRole>,
    token: Token,
    id: ConnId,
    /// Present until it is put back or dropped.
    connection: Option<C>,
}

impl<C> Leased<C> {
    pub(super) fn new<R>(
        pool: &Arc<SharedMachine<C, R>>,
        token: Token,
        id: ConnId,
        connection: C,
    ) -> Self
    where
        C: PoolConnection,
        R: Role,
    {
        let pool = Arc::<SharedMachine<C, R>>::clone(pool);
        Self { pool, token, id, connection: Some(connection) }
    }

    /// Returns the connection's id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// Returns the connection; `None` only while this value is being taken apart.
    #[must_use]
    pub const fn get(&self) -> Option<&C> {
        self.connection.as_ref()
    }

    /// Returns the connection; `None` only while this value is being taken apart.
    pub const fn get_mut(&mut self) -> Option<&mut C> {
        self.connection.as_mut()
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
        if !core::ptr::addr_eq(Arc::as_ptr(&self.pool), Arc::as_ptr(pool)) {
            return Err(pool.run(|machine, _| machine.put_foreign()));
        }
        // Drained while still leased: if the drain panics, the lease is released and not lost.
        let drained = self.connection.as_mut().filter(|_| pool.drains_at_put).map(C::drain);
        match self.connection.take() {
            Some(connection) => pool.put(self.token, connection, drained),
            None => Ok(()),
        }
    }

    /// Takes the connection out. Ending the lease is then the caller's duty.
    pub(super) fn into_connection(mut self) -> Option<C> {
        self.connection.take()
    }
}

impl<C> Drop for Leased<C> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.pool.released(self.token);
        }
    }
}

impl<C> fmt::Debug for Leased<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("id", &self.id).field("token", &self.token).finish()
    }
}
