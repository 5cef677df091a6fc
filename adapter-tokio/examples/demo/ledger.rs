//! The records of events at the two ends of a tunnel.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use adapter_tokio::AcquireError;
use adapter_tokio::pool_proto::ConnId;
use tokio::time::Instant;

use crate::tasks::lock;

/// A stream that a pool handed to its user.
#[derive(Clone, Copy)]
pub(crate) struct HandOver {
    /// A time before the pool's last check of the connection.
    pub(crate) began: Instant,
    /// Whether all data was carried, in both directions.
    pub(crate) complete: bool,
}

/// The records of one tunnel.
#[derive(Default)]
pub(crate) struct Records {
    /// The ids at the entry side, one for each visitor that got a pooled connection.
    pub(crate) entry_ids: Vec<ConnId>,
    /// The ids of connections that the exit side took, if the first bytes on the connection
    /// (written by the entry side) contained the same id.
    pub(crate) exit_ids: Vec<ConnId>,
    /// Connections whose two ends disagree about the id.
    pub(crate) id_mismatches: u64,
    /// Visitors whose first bytes were sent before the id was sent to the exit side.
    pub(crate) early: u64,
    /// Visitors that were refused at once, because waiting would be in vain.
    pub(crate) refused: u64,
    /// Visitors whose wait for a connection timed out.
    pub(crate) timed_out: u64,
    /// The pool's errors: an example of a refusal, and the longest timeout text.
    pub(crate) refusals: [Option<String>; 2],
    /// Streams that the entry side got.
    pub(crate) handed_over: Vec<HandOver>,
    /// Errors of putting a connection back, or shutting it down, after use.
    pub(crate) put_errors: Vec<String>,
    /// Connections that the exit side took, and that ended without a byte.
    pub(crate) empty_at_exit: Vec<HandOver>,
    /// Correct bytes that reached the service.
    pub(crate) service_bytes: u64,
    /// Descriptions of everything else that went wrong.
    pub(crate) faults: Vec<String>,
}

/// The records, shared by both ends of the tunnel.
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
            let text = error.to_string();
            if timeout.as_ref().is_none_or(|known| known.len() < text.len()) {
                *timeout = Some(text);
            }
            records.timed_out += 1;
        } else {
            *refusal = Some(error.to_string());
            records.refused += 1;
        }
    }
}

/// Awaits `future`, and returns the time at which its last poll began: its result is not older.
pub(crate) async fn stamped<F: Future>(future: F) -> (Instant, F::Output) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let began = Instant::now();
        future.as_mut().poll(cx).map(|output| (began, output))
    })
    .await
}
