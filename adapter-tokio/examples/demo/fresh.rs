//! The baseline: a new connection for every visitor.
//!
//! The comparison is fair for these reasons. Visitors, entry side, exit side, service, control
//! channel, proxies and framing are those of the pools. So are the rustls configurations (TLS 1.3,
//! the same certificates and pins; no resumption, as in a tunnel whose ends do not keep tickets),
//! TCP_NODELAY, and the end that dials. An id is not needed: the new connection carries the number
//! of its visitor right after the handshake, in the same flight as the client's Finished. The exit
//! side connects to the service while it dials. The proxy cannot delay a SYN, which saves the
//! baseline a round trip that it would have on a real path.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use adapter_tokio::pool_driver::tls::{ClientTls, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::Failure;
use crate::tasks::{Tasks, lock};

type Accepted = server::TlsStream<TcpStream>;

/// Connections that are being established, by the number of their visitor.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<HashMap<u64, oneshot::Sender<Accepted>>>>);

impl Arrivals {
    pub(crate) fn expect(&self, call: u64) -> oneshot::Receiver<Accepted> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).insert(call, sender);
        receiver
    }

    /// Accepts connections, and hands each of them to its visitor.
    pub(crate) fn open(&self, tasks: &Tasks, listener: TcpListener, tls: &ServerTls) {
        let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
        let (arrivals, jobs) = (self.clone(), tasks.clone());
        tasks.service(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (arrivals, acceptor) = (arrivals.clone(), acceptor.clone());
                jobs.job(async move {
                    // Its visitor reports a connection that does not arrive.
                    let _ = arrivals.hand_over(tcp, &acceptor).await;
                });
            }
        });
    }

    async fn hand_over(&self, tcp: TcpStream, acceptor: &TlsAcceptor) -> Result<(), Failure> {
        tcp.set_nodelay(true)?;
        let mut stream = acceptor.accept(tcp).await?;
        let call = stream.read_u64().await?;
        if let Some(waiting) = lock(&self.0).remove(&call) {
            // Fails if the visitor has stopped waiting.
            let _ = waiting.send(stream);
        }
        Ok(())
    }
}

/// Dials the connection for visitor number `call`.
pub(crate) async fn dial(
    address: SocketAddr,
    tls: &ClientTls,
    call: u64,
) -> Result<client::TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(tls.config()));
    let mut stream = connector.connect(tls.server_name().clone(), tcp).await?;
    stream.write_u64(call).await?;
    stream.flush().await?;
    Ok(stream)
}
