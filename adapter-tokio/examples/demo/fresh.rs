//! The baseline: a new connection for every visitor.
//!
//! How it is fair: the same visitors, entry side, exit side, service, control channel, proxies and
//! framing as with the pools; the same rustls configurations (TLS 1.3, the same certificate and
//! pin, no resumption, as in a tunnel whose two ends do not keep tickets) and TCP_NODELAY; the same
//! end dials. The id is not needed: the new connection says for which visitor it was made right
//! after the handshake, in the same flight as the client's Finished. The exit side connects to the
//! service while it dials. And the proxy cannot delay a SYN, which spares the baseline a round trip
//! that it would cost in earnest.

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

/// Connections that are being made, by the number of their visitor.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<HashMap<u64, oneshot::Sender<Accepted>>>>);

impl Arrivals {
    pub(crate) fn expect(&self, call: u64) -> oneshot::Receiver<Accepted> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).insert(call, sender);
        receiver
    }

    /// Accepts connections and hands each to its visitor.
    pub(crate) fn open(&self, tasks: &Tasks, listener: TcpListener, tls: &ServerTls) {
        let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
        let (arrivals, jobs) = (self.clone(), tasks.clone());
        tasks.service(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (arrivals, acceptor) = (arrivals.clone(), acceptor.clone());
                jobs.job(async move {
                    // A visitor whose connection does not come says so.
                    let _ = arrivals.welcome(tcp, &acceptor).await;
                });
            }
        });
    }

    async fn welcome(&self, tcp: TcpStream, acceptor: &TlsAcceptor) -> Result<(), Failure> {
        tcp.set_nodelay(true)?;
        let mut stream = acceptor.accept(tcp).await?;
        let call = stream.read_u64().await?;
        if let Some(waiting) = lock(&self.0).remove(&call) {
            // The visitor may have given up.
            let _ = waiting.send(stream);
        }
        Ok(())
    }
}

/// Makes the connection for the visitor `call`.
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
