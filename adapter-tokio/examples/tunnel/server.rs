//! The public end: a connection of the pool for each visitor.

use std::io;
use std::path::Path;
use std::time::Duration;

use adapter_tokio::ServerPool;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Outcome;
use super::config::Server;
use super::relay::Socket;
use super::signals::{self, Signal, Signals};
use super::web;

/// The pause after a failed accept: the system lacks descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The time that a visitor waits for a connection to an agent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves visitors until SIGTERM.
pub(crate) async fn run(path: &Path) -> Outcome {
    let mut signals = Signals::new()?;
    let (settings, config, tls) = Server::load(path)?;
    let visitors = web::bind("visitors", &settings.visitors).await?;
    let pool = ServerPool::builder().name("tunnel").config(config).tls(tls);
    let pool = pool.require_authentication().bind(&settings.agents).await?;
    info!("agents connect to {}", pool.local_addr().ok_or("the listener has no address")?);
    let reporter = pool.clone();
    web::start(settings.http, move || reporter.report()).await?;
    info!("visitors connect to {}", visitors.local_addr()?);
    loop {
        tokio::select! {
            visitor = visitors.accept() => match visitor {
                Ok((visitor, _)) => drop(tokio::spawn(serve(pool.clone(), Socket::new(visitor)))),
                Err(error) => {
                    warn!("no visitor can be accepted: {error}");
                    sleep(PAUSE).await;
                }
            },
            signal = signals.next() => match signal {
                Signal::Reload => signals::reloaded(path, reload(path, &pool)),
                Signal::Stop => break,
            },
        }
    }
    // New visitors are refused from now on.
    drop(visitors);
    signals::drain(&pool);
    signals.closed(&pool).await;
    Ok(())
}

/// Reads all files before it changes anything.
fn reload(path: &Path, pool: &ServerPool) -> Outcome {
    let (_, config, tls) = Server::load(path)?;
    pool.set_config(&config)?;
    pool.set_tls(tls)?;
    // Ready connections began with the former settings. The agents replace them.
    pool.clean();
    Ok(())
}

async fn serve(pool: ServerPool, visitor: Socket) {
    let served = async {
        let stream = pool.acquire(PATIENCE).await.map_err(io::Error::other)?;
        visitor.relay(stream).await
    };
    if let Err(error) = served.await {
        debug!("a visitor was cut off: {error}");
    }
}
