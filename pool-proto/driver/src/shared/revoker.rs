//! The mark by which the pool revokes its leases, and the handles by which it ends their pending calls.

use core::fmt;
use std::sync::{Arc, Weak};

use pool_proto::CloseReason;

use crate::sync::OnceLock;

/// Whether the pool has revoked its leases, and why.
///
/// The machine ends all leases or none, so its connections share a mark: a pool may end thousands of leases
/// in one call, and a mark for each would cost a cache miss for each. Connections that are established
/// later have another mark. It says nothing of connections that were not leased: these are closed in good
/// order.
#[derive(Clone, Debug, Default)]
pub struct Revocation(Arc<OnceLock<CloseReason>>);

impl Revocation {
    /// Returns why the pool has revoked its leases, if it has.
    #[inline]
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        self.0.get().copied()
    }

    /// Makes all later reads and writes of the leases fail with this reason.
    ///
    /// Under the mutex, so that no thread sees a lease ended and its connection in use.
    pub(super) fn set(&self, reason: CloseReason) {
        // Once for each lease that ends, always with the same reason.
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

/// Ends the pending calls of a holder whose lease the pool has revoked.
pub struct Revoker {
    revocation: Revocation,
    holder: Weak<dyn Interrupt>,
}

impl Revoker {
    /// Creates a revoker from the mark of the lease, and from the handle that interrupts its pending calls.
    #[must_use]
    pub const fn new(revocation: Revocation, holder: Weak<dyn Interrupt>) -> Self {
        Self { revocation, holder }
    }

    /// Returns why the lease is revoked, if it is.
    pub(super) fn reason(&self) -> Option<CloseReason> {
        self.revocation.reason()
    }

    /// Ends the pending calls of the holder, if it still has the connection.
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
