//! The handle by which the pool ends a connection that a caller holds.

use core::fmt;
use std::sync::{Arc, OnceLock, Weak};

use pool_proto::CloseReason;

/// Whether the pool has revoked a connection, and why. Shared by the pool and the holder.
#[derive(Clone, Debug, Default)]
pub struct Revocation(Arc<OnceLock<CloseReason>>);

impl Revocation {
    /// Returns why the pool has revoked the connection, if it has.
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        self.0.get().copied()
    }

    /// Makes all later reads and writes of the connection fail with this reason.
    pub fn set(&self, reason: CloseReason) {
        // A connection is revoked once; should it be again, the first reason stands.
        let _ = self.0.set(reason);
    }
}

/// Ends pending calls of a holder.
pub trait Interrupt: Send + Sync {
    /// Ends pending reads and writes of a revoked connection, without the mutex. At the deadline of a
    /// graceful shutdown ([`CloseReason::ShutDown`]), ends the connection in good order before, if no call
    /// of the holder is under way. Must not block.
    fn interrupt(&self);
}

/// Revokes a connection while a caller holds it, in two steps.
///
/// The first is done under the mutex, so that no thread sees the lease ended and the connection in
/// use. It touches the mark only: a pool may end thousands of leases in one call.
pub struct Revoker {
    revocation: Revocation,
    holder: Weak<dyn Interrupt>,
}

impl Revoker {
    /// Creates a revoker from the mark that the holder looks at, and from what its pending calls wait for.
    #[must_use]
    pub const fn new(revocation: Revocation, holder: Weak<dyn Interrupt>) -> Self {
        Self { revocation, holder }
    }

    /// Takes the first step.
    pub(super) fn revoke(&self, reason: CloseReason) {
        self.revocation.set(reason);
    }

    /// Returns why the connection is revoked, if it is.
    pub(super) fn reason(&self) -> Option<CloseReason> {
        self.revocation.reason()
    }

    /// Takes the second step: ends the pending calls of the holder, if it still has the connection.
    pub fn interrupt(&self) {
        if let Some(holder) = self.holder.upgrade() {
            holder.interrupt();
        }
    }
}

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revoker").field(&self.revocation.reason()).finish()
    }
}
