//! Connections without I/O: entries in a book that says what to find and notes what was done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use pool_driver::shared::{PoolConnection, Revoke};
use pool_proto::{CheckResult, CloseReason};

use super::Guard;

/// What happens during a look at a connection.
type Incident = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Entry {
    /// What the next looks find; quiet after that.
    checks: VecDeque<CheckResult>,
    drains: VecDeque<CheckResult>,
    /// What happens during the next look.
    incident: Option<Incident>,
    pub(crate) checked: u32,
    pub(crate) drained: u32,
    pub(crate) dropped: u32,
    /// Why the driver was told to close it.
    pub(crate) reason: Option<CloseReason>,
    /// Why the pool revoked it.
    revoked: Option<CloseReason>,
}

/// Every connection there ever was.
pub(crate) struct Book {
    entries: Mutex<Vec<Entry>>,
    guard: Guard,
}

impl Book {
    pub(super) fn new(guard: Guard) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), guard })
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }

    pub(crate) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    pub(crate) fn open(self: &Arc<Self>) -> Fake {
        let mut entries = self.entries();
        entries.push(Entry::default());
        let number = entries.len() - 1;
        let revoker = Arc::new(Revoker { number, book: Arc::clone(self) });
        Fake { number, book: Arc::clone(self), revoker }
    }

    /// A new connection whose first look finds this.
    pub(crate) fn open_with(self: &Arc<Self>, result: CheckResult) -> Fake {
        let connection = self.open();
        self.next_check(connection.number, result);
        connection
    }

    /// Closes a connection, as the driver was ordered to.
    pub(crate) fn close(&self, connection: Fake, reason: CloseReason) {
        let former = self.entries()[connection.number].reason.replace(reason);
        assert_eq!(former, None, "{connection:?} was to be closed twice");
    }

    pub(crate) fn next_check(&self, number: usize, result: CheckResult) {
        self.entries()[number].checks.push_back(result);
    }

    pub(crate) fn next_drain(&self, number: usize, result: CheckResult) {
        self.entries()[number].drains.push_back(result);
    }

    /// Has something happen in the middle of the next look.
    pub(crate) fn during_next_check(
        &self,
        number: usize,
        incident: impl FnOnce() + Send + 'static,
    ) {
        self.entries()[number].incident = Some(Box::new(incident));
    }

    pub(crate) fn checked(&self, number: usize) -> u32 {
        self.entries()[number].checked
    }

    pub(crate) fn drained(&self, number: usize) -> u32 {
        self.entries()[number].drained
    }

    pub(crate) fn is_open(&self, number: usize) -> bool {
        self.entries()[number].dropped == 0
    }

    /// Why the driver closed it, if it did.
    pub(crate) fn reason(&self, number: usize) -> Option<CloseReason> {
        self.entries()[number].reason
    }

    /// Why the pool revoked it, if it did.
    pub(crate) fn revoked(&self, number: usize) -> Option<CloseReason> {
        self.entries()[number].revoked
    }

    pub(crate) fn revoked_count(&self) -> u32 {
        self.entries().iter().map(|entry| u32::from(entry.revoked.is_some())).sum()
    }

    pub(crate) fn open_count(&self) -> u32 {
        self.entries().iter().map(|entry| u32::from(entry.dropped == 0)).sum()
    }

    /// No connection was dropped twice, and nothing of the tests' was called under the mutex.
    pub(crate) fn assert_sound(&self, what: &str) {
        let twice = self.entries().iter().position(|entry| entry.dropped > 1);
        assert_eq!(twice, None, "{what}: a connection was dropped twice");
        assert_eq!(self.guard.violations(), Vec::<String>::new(), "{what}");
    }

    fn look(&self, number: usize, drain: bool) -> CheckResult {
        self.guard.assert_unlocked(if drain { "a drain" } else { "a check" });
        let mut entries = self.entries();
        let entry = &mut entries[number];
        let incident = entry.incident.take();
        let findings = if drain {
            entry.drained += 1;
            &mut entry.drains
        } else {
            entry.checked += 1;
            &mut entry.checks
        };
        let result = findings.pop_front().unwrap_or(CheckResult::Quiet);
        drop(entries);
        if let Some(incident) = incident {
            incident();
        }
        result
    }
}

/// A connection.
pub(crate) struct Fake {
    number: usize,
    book: Arc<Book>,
    revoker: Arc<Revoker>,
}

impl Fake {
    pub(crate) const fn number(&self) -> usize {
        self.number
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection {}", self.number)
    }
}

struct Revoker {
    number: usize,
    book: Arc<Book>,
}

impl Revoke for Revoker {
    fn revoke(&self, reason: CloseReason) {
        self.book.guard.assert_unlocked("a revocation");
        let former = self.book.entries()[self.number].revoked.replace(reason);
        assert_eq!(former, None, "connection {} was revoked twice", self.number);
    }
}

impl PoolConnection for Fake {
    fn check(&mut self) -> CheckResult {
        self.book.look(self.number, false)
    }

    fn drain(&mut self) -> CheckResult {
        self.book.look(self.number, true)
    }

    fn revoker(&self) -> Weak<dyn Revoke> {
        let revoker: Weak<Revoker> = Arc::downgrade(&self.revoker);
        revoker
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.book.guard.assert_unlocked("a connection's drop");
        self.book.entries()[self.number].dropped += 1;
    }
}
