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

pub(crate) struct Signals {
    hangup: Stream,
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }

    /// Lets visitors finish until the deadline, or until the second SIGTERM.
    pub(crate) async fn drain(&mut self, pool: &impl AnyPool<Runtime = Tokio>) {
        let pool = pool.pool();
        info!(
            "{} visitors have {DRAIN:?} to finish; the next signal ends them",
            pool.stats().leased
        );
        pool.graceful_shutdown(DRAIN);
        loop {
            tokio::select! {
                () = pool.closed() => break,
                signal = self.next() => if let Signal::Stop = signal { pool.close() },
            }
        }
        info!("stopped");
    }
}

/// Tells what has become of a reload.
pub(crate) fn reloaded(path: &Path, outcome: Outcome) {
    match outcome {
        Ok(()) => info!("{} is in force; addresses change by a restart", path.display()),
        Err(why) => {
            error!("the former settings stay in force; mend this and send SIGHUP again: {why}")
        }
    }
}
