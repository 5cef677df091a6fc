//! An application that uses rustls with rustls' default features for itself, beside a pool.
//!
//! `.ci/beside-rustls` runs it with each set of the pool's features that [`pool_driver::tls`] tells
//! such an application to choose from.
//!
//! [`pool_driver::tls`]: adapter_tokio::pool_driver::tls

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::{ClientPool, ClientTls, Identity, ServerPool, ServerTls, roots_from_pem};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity::self_signed(["localhost"])?;
    let roots = roots_from_pem(identity.certificate_pem().as_bytes())?;

    exchange_a_byte(&identity, ClientTls::verified("localhost", roots.clone())?).await?;
    assert!(CryptoProvider::get_default().is_none(), "the pool has installed a provider");
    println!("a pool works before the application has set up rustls");

    exchange_a_byte(&identity, own_settings(roots)?).await?;
    println!("a pool works beside the application's own rustls, and with its configuration");
    Ok(())
}

/// A configuration as an application makes it that has never heard of the pool.
fn own_settings(roots: RootCertStore) -> Result<ClientTls, Box<dyn Error>> {
    if cfg!(feature = "pool-defaults") {
        // The remedy for a build with both providers.
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.install_default().map_err(|_| "another provider is installed")?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(ClientTls::custom(Arc::new(config), ServerName::try_from("localhost")?))
}

async fn exchange_a_byte(identity: &Identity, tls: ClientTls) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server = ServerPool::builder().tls(ServerTls::new(identity.clone())?).listen(listener)?;
    let client = ClientPool::builder().tls(tls).connect(address)?;

    let mut ours = server.acquire(SOON).await?;
    ours.write_all(b"!").await?;
    ours.flush().await?;
    let mut theirs = client.acquire_by_id(ours.id(), SOON).await?;
    assert_eq!(theirs.read_u8().await?, b'!');
    assert!(theirs.tls().is_some(), "without TLS");
    Ok(())
}
