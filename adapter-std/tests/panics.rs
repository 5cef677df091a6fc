//! What a user's code does to a pool when it panics.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapter_std::pool_driver::tls::{ClientTls, ServerTls};
use adapter_std::rustls::server::{ClientHello, ResolvesServerCert};
use adapter_std::rustls::sign::CertifiedKey;
use adapter_std::{ClientPool, ServerPool};

/// Panics when it is asked first.
#[derive(Debug)]
struct Nervous {
    asked: AtomicBool,
    calm: Arc<dyn ResolvesServerCert>,
}

impl ResolvesServerCert for Nervous {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        assert!(self.asked.swap(true, Ordering::Relaxed), "asked for the first time");
        self.calm.resolve(hello)
    }
}

#[test]
fn a_handshake_that_panics_costs_its_own_connection_only() -> Result<(), Box<dyn Error>> {
    let mut config = (**ServerTls::self_signed()?.config()).clone();
    let calm = Arc::clone(&config.cert_resolver);
    config.cert_resolver = Arc::new(Nervous { asked: AtomicBool::new(false), calm });

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let server = ServerPool::builder().tls(ServerTls::custom(Arc::new(config))).listen(listener)?;
    let client = ClientPool::builder().tls(ClientTls::self_signed()?).connect(address)?;
    let ready = server.wait_ready(1, Duration::from_secs(10));
    assert!(ready.is_ok() && !server.is_closed(), "{ready:?}");
    drop(client);
    Ok(())
}
