//! The bytes of a visitor, both ways.

use std::io;

use adapter_tokio::PooledStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::TcpStream;

/// The byte that each end writes first, without waiting for that of the other. The server's lets the agent
/// notice the visitor at once: of some services, visitors wait for the first byte. The agent's says that
/// it has the visitor: a stopping agent closes, in good order, what the server has acquired a moment ago.
const OPENING: u8 = b'+';

/// The socket of a visitor, or to the service. It ends by a reset unless both directions have ended in
/// good order, so that nobody takes a part for the whole: not even if this program stops in between.
pub(crate) struct Socket {
    tcp: TcpStream,
    complete: bool,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, complete: false }
    }

    /// Copies both ways until both ends have finished. The end of one direction is passed on, and the
    /// other goes on. The stream is dropped in any case; after a failure, it ends without a close_notify.
    pub(crate) async fn relay(mut self, stream: PooledStream) -> io::Result<()> {
        self.tcp.set_nodelay(true)?;
        let (mut from_peer, mut to_peer) = stream.into_split();
        let (mut from_tcp, mut to_tcp) = self.tcp.split();
        let there = async {
            to_peer.write_u8(OPENING).await?;
            to_peer.flush().await?;
            copy(&mut from_tcp, &mut to_peer).await?;
            to_peer.shutdown().await
        };
        let back = async {
            if from_peer.read_u8().await? != OPENING {
                return Err(io::Error::other("the other end of the tunnel is another program"));
            }
            copy(&mut from_peer, &mut to_tcp).await?;
            to_tcp.shutdown().await
        };
        tokio::try_join!(there, back)?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.complete {
            // Fails only where there is no connection any more.
            let _ = self.tcp.set_zero_linger();
        }
    }
}
