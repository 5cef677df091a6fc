//! What has happened at the two ends of a tunnel, written down where it happens.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use adapter_tokio::AcquireError;
use adapter_tokio::pool_proto::ConnId;
use tokio::time::Instant;

use crate::tasks::lock;

/// One stream that a pool gave to its user.
#[derive(Clone, Copy)]
pub(crate) struct HandOver {
    /// Not later than the pool's own last look at the connection.
    pub(crate) began: Instant,
    /// Everything was carried both ways.
    pub(crate) complete: bool,
}

/// The records.
#[derive(Default)]
pub(crate) struct Records {
    /// Ids as the entry side saw them, one for each visitor given a pooled connection.
    pub(crate) entry_ids: Vec<ConnId>,
    /// Ids of the connections that the exit side took, where the first bytes on the connection
    /// (written by the entry side) named the same id.
    pub(crate) exit_ids: Vec<ConnId>,
    /// Connections whose two ends disagree about the id.
    pub(crate) misnamed: u64,
    /// Visitors whose first bytes had left before the exit side was told the id.
    pub(crate) early: u64,
    /// Visitors that were refused at once, because there is nothing to wait for.
    pub(crate) refused: u64,
    /// Visitors whose wait for a connection timed out.
    pub(crate) timed_out: u64,
    /// Why, in the pool's words: one example of each, the one that tells most.
    pub(crate) refusals: [Option<String>; 2],
    /// At the entry.
    pub(crate) handed_over: Vec<HandOver>,
    /// What went wrong when a connection was given back after use.
    pub(crate) not_given_back: Vec<String>,
    /// At the exit: connections taken on which not one byte came before they ended.
    pub(crate) empty_at_exit: Vec<HandOver>,
    /// Bytes that reached the service and were right.
    pub(crate) service_bytes: u64,
    /// What was wrong with those that were not.
    pub(crate) faults: Vec<String>,
}

/// The records, shared by both ends.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Records>>);

impl Ledger {
    pub(crate) fn open(&self) -> MutexGuard<'_, Records> {
        lock(&self.0)
    }

    pub(crate) fn refused(&self, error: &AcquireError) {
        let mut records = self.open();
        let [refusal, timeout] = &mut records.refusals;
        if matches!(error, AcquireError::Timeout { .. }) {
            let told = error.to_string();
            if timeout.as_ref().is_none_or(|known| known.len() < told.len()) {
                *timeout = Some(told);
            }
            records.timed_out += 1;
        } else {
            *refusal = Some(error.to_string());
            records.refused += 1;
        }
    }
}

/// Awaits `future`, and says when the poll began that made it ready: what it found out, it found
/// out after that.
pub(crate) async fn stamped<F: Future>(future: F) -> (Instant, F::Output) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let began = Instant::now();
        future.as_mut().poll(cx).map(|output| (began, output))
    })
    .await
}
