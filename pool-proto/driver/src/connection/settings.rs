//! Settings of TLS that may be replaced while a pool runs.

use std::sync::{Arc, PoisonError, RwLock};

/// The settings of TLS in force, shared by a pool and its handshakes.
///
/// A handshake takes a copy when it begins, so the lock is never held for cryptography.
#[derive(Debug)]
pub struct TlsSettings<T>(Arc<RwLock<T>>);

impl<T> Clone for TlsSettings<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> TlsSettings<T> {
    pub(super) fn new(settings: T) -> Self {
        Self(Arc::new(RwLock::new(settings)))
    }

    /// Returns the settings in force.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings. Handshakes that begin when this has returned use the new ones.
    pub fn set(&self, settings: T) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let former = core::mem::replace(&mut *current, settings);
        drop(current);
        // Behind the lock: the drop of a custom configuration may be a user's code.
        drop(former);
    }
}
