//! The end behind NAT: a connection to the service for each connection that the server uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::{ClientPool, PooledStream};
use tokio::net::TcpStream;
use tracing::{debug, error, info};

use super::Outcome;
use super::config::Agent;
use super::relay::Socket;
use super::signals::{self, Signal, Signals};
use super::web;

/// Serves what the server begins to use, until SIGTERM. The pool dials the server again by itself.
pub(crate) async fn run(path: &Path) -> Outcome {
    let mut signals = Signals::new()?;
    let (settings, config, tls) = Agent::load(path)?;
    let (server, service) = (settings.server, Arc::<str>::from(settings.service));
    let pool = ClientPool::builder().name("tunnel").config(config).tls(tls);
    let pool = pool.require_authentication().connect(&*server)?;
    let reporter = pool.clone();
    web::start(settings.http, move || reporter.report()).await?;
    info!("visitors of {server} reach {service}");
    loop {
        tokio::select! {
            accepted = pool.accept(Duration::MAX) => match accepted {
                Ok(stream) => drop(tokio::spawn(serve(stream, Arc::clone(&service)))),
                // While it drains, the pool hands out what the server has begun to use; then it refuses.
                Err(_) => break,
            },
            signal = signals.next() => match signal {
                Signal::Reload => signals::reloaded(path, reload(path, &pool)),
                Signal::Stop => signals::drain(&pool),
            },
        }
    }
    signals.closed(&pool).await;
    Ok(())
}

/// Reads all files before it changes anything.
fn reload(path: &Path, pool: &ClientPool) -> Outcome {
    let (_, config, tls) = Agent::load(path)?;
    pool.set_config(&config)?;
    pool.set_tls(tls)?;
    // If the last handshakes have failed, the new settings may mend that.
    pool.dial_now();
    Ok(())
}

async fn serve(stream: PooledStream, service: Arc<str>) {
    let served = async {
        let connected = TcpStream::connect(&*service).await;
        let socket = connected.inspect_err(|reason| {
            error!("the service {service} cannot be reached: {reason}; start it, or set `service`");
        })?;
        Socket::new(socket).relay(stream).await
    };
    if let Err(error) = served.await {
        debug!("a visitor was cut off: {error}");
    }
}
