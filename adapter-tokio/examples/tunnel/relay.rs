//! The bytes of a visitor, both ways.

use std::io;

use adapter_tokio::PooledStream;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tracing::debug;

/// Serves a visitor in a task of its own.
pub(crate) fn spawn(visit: impl Future<Output = io::Result<()>> + Send + 'static) {
    tokio::spawn(async {
        if let Err(error) = visit.await {
            debug!("a visitor was cut off: {error}");
        }
    });
}

/// The socket of a visitor, or to the service. It ends by a reset unless both directions have ended
/// in good order, so that nobody takes a part for the whole: not even if this program stops before.
pub(crate) struct Socket {
    tcp: TcpStream,
    complete: bool,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, complete: false }
    }

    /// Copies both ways until both ends have finished. The end of one direction is passed on, and
    /// the other goes on. After a failure, the stream ends without a close_notify.
    pub(crate) async fn relay(mut self, mut stream: PooledStream) -> io::Result<()> {
        self.tcp.set_nodelay(true)?;
        copy_bidirectional(&mut self.tcp, &mut stream).await?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.complete {
            // Fails only if the connection is gone already.
            let _ = self.tcp.set_zero_linger();
        }
    }
}
