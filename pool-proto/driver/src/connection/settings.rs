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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Settings with a user's code, which looks at the settings in force when it is dropped.
    #[derive(Clone)]
    struct Custom {
        name: &'static str,
        #[expect(dead_code, reason = "only its drop matters")]
        looks: Option<Arc<Looks>>,
    }

    struct Looks {
        settings: Mutex<Option<TlsSettings<Custom>>>,
        seen: mpsc::Sender<&'static str>,
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let settings = self.settings.get_mut().ok().and_then(Option::take);
            let seen = settings.map_or("nothing", |settings| settings.get().name);
            // Fails if the test has ended.
            let _ = self.seen.send(seen);
        }
    }

    #[test]
    fn former_settings_may_look_at_the_new_ones_when_they_are_dropped() {
        let (seen, sees) = mpsc::channel();
        let looks = Arc::new(Looks { settings: Mutex::default(), seen });
        let settings = TlsSettings::new(Custom { name: "former", looks: Some(Arc::clone(&looks)) });
        *looks.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings.clone());
        drop(looks);
        thread::spawn(move || settings.set(Custom { name: "new", looks: None }));
        assert_eq!(sees.recv_timeout(Duration::from_secs(20)), Ok("new"));
    }
}
