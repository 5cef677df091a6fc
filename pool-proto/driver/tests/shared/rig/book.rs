//! Fake connections: entries in a book that determines the results of checks, and records all calls.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use pool_driver::shared::{Interrupt, PoolConnection, Revocation, Revoker};
use pool_proto::{CheckResult, CloseReason};

use super::Guard;

/// An action during a check of a connection.
type Incident = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Entry {
    /// The results of the next checks; later ones are quiet.
    checks: VecDeque<CheckResult>,
    drains: VecDeque<CheckResult>,
    /// The action during the next check or drain.
    incident: Option<Incident>,
    last_incident: Option<Incident>,
    pub(crate) checked: u32,
    pub(crate) drained: u32,
    pub(crate) dropped: u32,
    /// The reason with which the driver was commanded to close it.
    pub(crate) reason: Option<CloseReason>,
    /// The mark by which the pool revokes it, once it is established.
    revocation: Option<Revocation>,
    /// How many connections were revoked when its pending reads and writes were ended, if they were.
    interrupted: Option<u32>,
}

impl Entry {
    fn revoked(&self) -> Option<CloseReason> {
        self.revocation.as_ref().and_then(Revocation::reason)
    }
}

/// The records of all connections of a test.
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
        let number = entries.len();
        entries.push(Entry::default());
        let calls = Arc::new(Calls { number, book: Arc::clone(self) });
        Fake { number, book: Arc::clone(self), calls }
    }

    /// Opens a connection whose first check has this result.
    pub(crate) fn open_with(self: &Arc<Self>, result: CheckResult) -> Fake {
        let connection = self.open();
        self.next_check(connection.number, result);
        connection
    }

    /// Closes a connection, as the driver does on command.
    pub(crate) fn close(&self, connection: Fake, reason: CloseReason) {
        let former = self.entries()[connection.number].reason.replace(reason);
        assert_eq!(former, None, "{connection:?} was closed twice");
    }

    pub(crate) fn next_check(&self, number: usize, result: CheckResult) {
        self.entries()[number].checks.push_back(result);
    }

    pub(crate) fn next_drain(&self, number: usize, result: CheckResult) {
        self.entries()[number].drains.push_back(result);
    }

    /// Runs `incident` during the next check or drain.
    pub(crate) fn during_next_check(
        &self,
        number: usize,
        incident: impl FnOnce() + Send + 'static,
    ) {
        self.entries()[number].incident = Some(Box::new(incident));
    }

    /// Runs `incident` during the drop.
    pub(crate) fn during_drop(&self, number: usize, incident: impl FnOnce() + Send + 'static) {
        self.entries()[number].last_incident = Some(Box::new(incident));
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

    /// Returns the reason with which the driver closed it, if it did.
    pub(crate) fn reason(&self, number: usize) -> Option<CloseReason> {
        self.entries()[number].reason
    }

    /// Returns the reason with which the pool revoked it, if it did.
    pub(crate) fn revoked(&self, number: usize) -> Option<CloseReason> {
        self.entries()[number].revoked()
    }

    pub(crate) fn revoked_count(&self) -> u32 {
        self.entries().iter().map(|entry| u32::from(entry.revoked().is_some())).sum()
    }

    /// Returns, for each connection whose pending reads and writes were ended, how many were revoked by
    /// then.
    pub(crate) fn interrupted(&self) -> Vec<u32> {
        self.entries().iter().filter_map(|entry| entry.interrupted).collect()
    }

    pub(crate) fn open_count(&self) -> u32 {
        self.entries().iter().map(|entry| u32::from(entry.dropped == 0)).sum()
    }

    /// Checks that no connection was dropped twice, and that no code of the tests was called while
    /// the mutex was locked.
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

/// A fake connection.
pub(crate) struct Fake {
    number: usize,
    book: Arc<Book>,
    calls: Arc<Calls>,
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

/// The pending reads and writes of a fake connection.
struct Calls {
    number: usize,
    book: Arc<Book>,
}

impl Interrupt for Calls {
    fn interrupt(&self) {
        self.book.guard.assert_unlocked("an interruption");
        let revoked = self.book.revoked_count();
        let former = self.book.entries()[self.number].interrupted.replace(revoked);
        assert_eq!(former, None, "connection {} was interrupted twice", self.number);
    }
}

impl PoolConnection for Fake {
    fn check(&mut self) -> CheckResult {
        self.book.look(self.number, false)
    }

    fn drain(&mut self) -> CheckResult {
        self.book.look(self.number, true)
    }

    fn open(&mut self) -> bool {
        panic!("the rig sets no opening byte")
    }

    fn take_opening(&mut self) -> bool {
        panic!("the rig sets no opening byte")
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        self.book.entries()[self.number].revocation = Some(revocation.clone());
        let calls: Weak<Calls> = Arc::downgrade(&self.calls);
        Revoker::new(revocation.clone(), calls)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.book.guard.assert_unlocked("a connection's drop");
        let incident = {
            let entry = &mut self.book.entries()[self.number];
            entry.dropped += 1;
            entry.last_incident.take()
        };
        incident.into_iter().for_each(|incident| incident());
    }
}
