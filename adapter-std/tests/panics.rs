//! Panics in the user's code.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapter_std::pool_driver::tls::{ClientTls, ServerTls};
use adapter_std::rustls::server::{ClientHello, ResolvesServerCert};
use adapter_std::rustls::sign::CertifiedKey;
use adapter_std::{ClientPool, ServerPool};

/// A certificate resolver that panics at its first call.
#[derive(Debug)]
struct PanicsOnce {
    called: AtomicBool,
    inner: Arc<dyn ResolvesServerCert>,
}

impl ResolvesServerCert for PanicsOnce {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        assert!(self.called.swap(true, Ordering::Relaxed), "intended panic at the first call");
        self.inner.resolve(hello)
    }
}

#[test]
fn a_panicking_handshake_fails_its_own_connection_only() -> Result<(), Box<dyn Error>> {
    let mut config = (**ServerTls::self_signed()?.config()).clone();
    let inner = Arc::clone(&config.cert_resolver);
    config.cert_resolver = Arc::new(PanicsOnce { called: AtomicBool::new(false), inner });

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let server = ServerPool::builder().tls(ServerTls::custom(Arc::new(config))).listen(listener)?;
    let client = ClientPool::builder().tls(ClientTls::self_signed()?).connect(address)?;
    let ready = server.wait_ready(1, Duration::from_secs(10));
    assert!(ready.is_ok() && !server.is_closed(), "{ready:?}");
    drop(client);
    Ok(())
}
