//! Detects whether the mutex of the shared machine is locked, without a deadlock if it is.

use std::cell::LazyCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use pool_driver::shared::SharedMachine;

use super::{Fake, Side};

/// The time after which the mutex counts as locked by the caller. Other threads lock it for
/// microseconds only.
const LIMIT: Duration = Duration::from_secs(10);

trait Probe: Send + Sync {
    fn probe(&self);
}

impl<R: Side> Probe for SharedMachine<Fake, R> {
    fn probe(&self) {
        let _ = self.stats();
    }
}

/// Locks the mutex from another thread: the calling thread may hold it, and would deadlock.
struct Prober {
    ask: Sender<Arc<dyn Probe>>,
    answers: Receiver<()>,
}

impl Prober {
    fn start() -> Self {
        let (ask, questions) = channel::<Arc<dyn Probe>>();
        let (answer, answers) = channel();
        // Ends with the thread that uses it.
        thread::spawn(move || {
            for shared in questions {
                shared.probe();
                // Drop before answering, so that the test's count of references is right, and the
                // last reference is not dropped here.
                drop(shared);
                if answer.send(()).is_err() {
                    break;
                }
            }
        });
        Self { ask, answers }
    }
}

thread_local! {
    static PROBER: LazyCell<Prober> = LazyCell::new(Prober::start);
}

/// A guard for code that the shared machine calls: it checks that the mutex is unlocked.
#[derive(Clone)]
pub(crate) struct Guard {
    shared: Weak<dyn Probe>,
    violations: Arc<Mutex<Vec<String>>>,
}

impl Guard {
    pub(super) fn new<R: Side>(shared: Weak<SharedMachine<Fake, R>>) -> Self {
        Self { shared, violations: Arc::default() }
    }

    /// Fails the test if the mutex is locked; if the thread is panicking already, records the
    /// violation.
    pub(crate) fn assert_unlocked(&self, during: &str) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let answered = PROBER.try_with(|prober| {
            prober.ask.send(shared).is_ok() && prober.answers.recv_timeout(LIMIT).is_ok()
        });
        if answered == Ok(false) {
            self.violations.lock().unwrap().push(during.to_owned());
            assert!(thread::panicking(), "{during} while the mutex was locked");
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }
}
