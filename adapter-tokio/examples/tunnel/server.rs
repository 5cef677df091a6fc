//! The public end: a connection of the pool for each visitor.

use std::io;
use std::path::Path;
use std::time::Duration;

use adapter_tokio::ServerPool;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Outcome;
use super::config::Server;
use super::relay::{self, Socket};
use super::signals::Signals;
use super::web;

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
    web::start(settings.http, pool.clone()).await?;
    info!("visitors connect to {}", visitors.local_addr()?);
    tokio::select! {
        () = accept(visitors, &pool) => {}
        () = signals.reload_until_stop(path, || reload(path, &pool)) => {}
    }
    // The listener is dropped: new visitors are refused from now on.
    signals.drain(&pool).await;
    Ok(())
}

async fn accept(visitors: TcpListener, pool: &ServerPool) {
    loop {
        match visitors.accept().await {
            Ok((visitor, _)) => relay::spawn(serve(pool.clone(), Socket::new(visitor))),
            Err(error) => {
                warn!("no visitor can be accepted: {error}");
                // The system lacks descriptors or memory.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
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

async fn serve(pool: ServerPool, visitor: Socket) -> io::Result<()> {
    let stream = pool.acquire(PATIENCE).await.map_err(io::Error::other)?;
    visitor.relay(stream).await
}
