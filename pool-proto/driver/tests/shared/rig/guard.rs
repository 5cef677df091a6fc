//! Tells whether the shell's mutex is held, without hanging when it is.

use std::cell::LazyCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use pool_driver::shared::SharedMachine;

use super::{Fake, Side};

/// How long a look may take before the mutex counts as held: for ever, for a thread that only has to
/// take a mutex that others hold for microseconds.
const LIMIT: Duration = Duration::from_secs(10);

trait Probe: Send + Sync {
    fn probe(&self);
}

impl<R: Side> Probe for SharedMachine<Fake, R> {
    fn probe(&self) {
        let _ = self.stats();
    }
}

/// Looks at a shell from another thread, because one that holds the mutex could only wait for itself.
struct Prober {
    ask: Sender<Arc<dyn Probe>>,
    answers: Receiver<()>,
}

impl Prober {
    fn start() -> Self {
        let (ask, questions) = channel::<Arc<dyn Probe>>();
        let (answer, answers) = channel();
        // Ends with the thread that it looks for.
        thread::spawn(move || {
            for shared in questions {
                shared.probe();
                // Not the last to hold it, and not counted as a holder when it is asked for them.
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

/// What is called by the shell asks this guard whether the shell's mutex is free.
#[derive(Clone)]
pub(crate) struct Guard {
    shared: Weak<dyn Probe>,
    violations: Arc<Mutex<Vec<String>>>,
}

impl Guard {
    pub(super) fn new<R: Side>(shared: Weak<SharedMachine<Fake, R>>) -> Self {
        Self { shared, violations: Arc::default() }
    }

    /// Fails the test if the mutex is held; remembers it where the thread panics already.
    pub(crate) fn assert_unlocked(&self, during: &str) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let answered = PROBER.try_with(|prober| {
            prober.ask.send(shared).is_ok() && prober.answers.recv_timeout(LIMIT).is_ok()
        });
        if answered == Ok(false) {
            self.violations.lock().unwrap().push(during.to_owned());
            assert!(thread::panicking(), "{during} while the shell's mutex was held");
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }
}
