//! The bytes of a visitor, both ways.

use std::io;

use adapter_tokio::PooledStream;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// The byte that the server writes first, so that the agent notices the visitor at once: of some
/// services, visitors wait for the first byte.
pub(crate) const OPENING: u8 = b'+';

/// Copies both ways until both ends have finished. The end of one direction is passed on, and the other
/// goes on.
///
/// The stream is dropped in any case. If something has failed, it ends without a close_notify and the
/// socket by a reset, so that nobody takes a part for the whole.
pub(crate) async fn relay(mut stream: PooledStream, mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let copied = copy_bidirectional(&mut stream, &mut socket).await;
    if copied.is_err() {
        socket.set_zero_linger()?;
    }
    copied.map(|_| ())
}
