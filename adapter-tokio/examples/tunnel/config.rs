//! The files of settings. Everything is read and checked before anything is used, so a file with
//! a mistake changes nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use adapter_tokio::{
    Acquirer, ClientConfig, ClientConfigBuilder, ClientTls, Identity, Pin, ServerConfig,
    ServerConfigBuilder, ServerTls, TakeOrder,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Outcome;

/// The server's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// The address at which visitors connect.
    pub(crate) visitors: String,
    /// The address at which agents connect.
    pub(crate) agents: String,
    /// The address of `/status` and `/metrics`, if they are served.
    pub(crate) http: Option<SocketAddr>,
    tls: Tls,
    #[serde(default = "ServerConfig::builder")]
    pool: ServerConfigBuilder,
}

/// An agent's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// The server's address for agents.
    pub(crate) server: String,
    /// The address of the service.
    pub(crate) service: String,
    /// The address of `/status` and `/metrics`, if they are served.
    pub(crate) http: Option<SocketAddr>,
    tls: Tls,
    #[serde(default = "ClientConfig::builder")]
    pool: ClientConfigBuilder,
}

/// The identity of this end, and the accepted peers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// A file with a key and its certificate, relative to the file of settings.
    identity: PathBuf,
    /// The fingerprints of the peers.
    pins: Vec<Pin>,
}

impl Tls {
    fn identity(&self, beside: &Path) -> Outcome<Identity> {
        let path = beside.with_file_name(&self.identity);
        Ok(Identity::from_files(&path, &path)?)
    }
}

impl Server {
    /// Reads the file `path`, and the files that it names.
    pub(crate) fn load(path: &Path) -> Outcome<(Self, ServerConfig, ServerTls)> {
        let settings: Self = read(path)?;
        let tls = ServerTls::new(settings.tls.identity(path)?)?;
        let tls = tls.pinned_clients(settings.tls.pins.clone())?;
        // Visitors of some services wait for the first byte: an opening byte tells the agent.
        let config = settings.pool.clone().acquirer(Acquirer::ThisEnd).opening_byte(true);
        // An agent replaces a used connection by a new one, which is the last in this order: so
        // visitors go to all agents.
        let config = config.take_order(TakeOrder::OldestFirst).build()?;
        Ok((settings, config, tls))
    }
}

impl Agent {
    /// Reads the file `path`, and the files that it names.
    pub(crate) fn load(path: &Path) -> Outcome<(Self, ClientConfig, ClientTls)> {
        let settings: Self = read(path)?;
        let tls = ClientTls::self_signed()?.pinned_any(settings.tls.pins.clone())?;
        let tls = tls.client_certificate(settings.tls.identity(path)?);
        let config = settings.pool.clone().acquirer(Acquirer::Peer).opening_byte(true).build()?;
        Ok((settings, config, tls))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Outcome<T> {
    let named = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(&error))?;
    Ok(toml::from_str(&text).map_err(|error| named(&error))?)
}
