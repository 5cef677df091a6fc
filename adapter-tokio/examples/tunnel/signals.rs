//! SIGHUP reloads the settings, SIGTERM and SIGINT drain.

use std::io;
use std::path::Path;
use std::time::Duration;

use adapter_tokio::{AnyPool, Tokio};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use super::Outcome;

/// The time that visitors have to finish after SIGTERM. Service managers wait for 90 s (systemd) or
/// 30 s (Kubernetes) before they kill.
const DRAIN: Duration = Duration::from_secs(25);

pub(crate) struct Signals {
    reload: Signal,
    stop: [Signal; 2],
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { reload: signal(SignalKind::hangup())?, stop })
    }

    /// Reloads the settings of `path` at each SIGHUP, until a signal says stop.
    pub(crate) async fn reload_until_stop(&mut self, path: &Path, reload: impl Fn() -> Outcome) {
        let path = path.display();
        loop {
            tokio::select! {
                _ = self.reload.recv() => match reload() {
                    Ok(()) => info!("{path} is in force; a new address needs a restart"),
                    Err(why) => error!("former settings stay in force until SIGHUP: {why}"),
                },
                () = any(&mut self.stop) => return,
            }
        }
    }

    /// Serves nobody new. Waits until the last visitor has left, the deadline, or the next signal.
    pub(crate) async fn drain(&mut self, pool: &impl AnyPool<Runtime = Tokio>) {
        let pool = pool.pool();
        let leased = pool.stats().leased;
        info!("{leased} visitors have {DRAIN:?} to finish; the next signal ends them");
        pool.graceful_shutdown(DRAIN);
        tokio::select! {
            () = pool.closed() => return,
            () = any(&mut self.stop) => pool.close(),
        }
        pool.closed().await;
    }
}

async fn any([first, second]: &mut [Signal; 2]) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}
