//! The end behind NAT: a connection to the service for each connection that the server uses.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::{ClientPool, PooledStream};
use tokio::net::TcpStream;
use tracing::{error, info};

use super::Outcome;
use super::config::Agent;
use super::relay::{self, Socket};
use super::signals::Signals;
use super::web;

/// Serves the connections that the server begins to use, until SIGTERM. The pool redials the
/// server by itself.
pub(crate) async fn run(path: &Path) -> Outcome {
    let mut signals = Signals::new()?;
    let (settings, config, tls) = Agent::load(path)?;
    let pool = ClientPool::builder().name("tunnel").config(config).tls(tls);
    let pool = pool.require_authentication().connect(&*settings.server)?;
    web::start(settings.http, pool.clone()).await?;
    info!("visitors of {} reach {}", settings.server, settings.service);
    tokio::spawn(accept(pool.clone(), settings.service.into()));
    signals.reload_until_stop(path, || reload(path, &pool)).await;
    signals.drain(&pool).await;
    Ok(())
}

/// While it drains, the pool hands out connections that the server has begun to use; then it
/// refuses.
async fn accept(pool: ClientPool, service: Arc<str>) {
    while let Ok(stream) = pool.accept(Duration::MAX).await {
        relay::spawn(serve(stream, Arc::clone(&service)));
    }
}

/// Reads all files before it changes anything.
fn reload(path: &Path, pool: &ClientPool) -> Outcome {
    let (_, config, tls) = Agent::load(path)?;
    pool.set_config(&config)?;
    pool.set_tls(tls)?;
    // If the last handshakes have failed, the new settings may fix that.
    pool.dial_now();
    Ok(())
}

async fn serve(stream: PooledStream, service: Arc<str>) -> io::Result<()> {
    let socket = TcpStream::connect(&*service).await.inspect_err(|reason| {
        error!("the service {service} cannot be reached: {reason}; start it, or set `service`");
    })?;
    Socket::new(socket).relay(stream).await
}
