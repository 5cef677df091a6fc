//! SIGHUP reloads the settings, SIGTERM and SIGINT drain.

use std::io;
use std::path::Path;
use std::time::Duration;

use adapter_tokio::{AnyPool, Tokio};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tracing::{error, info};

use super::Outcome;

/// The time that visitors have to finish after SIGTERM. Service managers wait for 90 s (systemd) or 30 s
/// (Kubernetes) before they kill.
const DRAIN: Duration = Duration::from_secs(25);

pub(crate) enum Signal {
    Reload,
    Stop,
}

pub(crate) struct Signals([Stream; 3]);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()];
        let [hangup, terminate, interrupt] = kinds.map(signal);
        Ok(Self([hangup?, terminate?, interrupt?]))
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Signal {
        let [hangup, terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => Signal::Reload,
            _ = terminate.recv() => Signal::Stop,
            _ = interrupt.recv() => Signal::Stop,
        }
    }

    /// Waits until the last visitor has left, until the deadline, or until the next SIGTERM.
    pub(crate) async fn closed(&mut self, pool: &impl AnyPool<Runtime = Tokio>) {
        let pool = pool.pool();
        loop {
            tokio::select! {
                () = pool.closed() => return,
                signal = self.next() => if let Signal::Stop = signal { pool.close() },
            }
        }
    }
}

/// Serves nobody new, and lets visitors finish.
pub(crate) fn drain(pool: &impl AnyPool<Runtime = Tokio>) {
    let leased = pool.pool().stats().leased;
    info!("{leased} visitors have {DRAIN:?} to finish; the next signal ends them");
    pool.pool().graceful_shutdown(DRAIN);
}

/// Tells what has become of a reload.
pub(crate) fn reloaded(path: &Path, outcome: Outcome) {
    match outcome {
        Ok(()) => info!("{} is in force; a new address needs a restart", path.display()),
        Err(why) => error!("former settings stay in force; mend this and send SIGHUP: {why}"),
    }
}
