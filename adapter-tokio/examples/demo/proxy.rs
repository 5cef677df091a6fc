//! A proxy that delays data: every byte is delivered, in order, a fixed time after it was read.
//! Data in flight waits in a queue with its time of delivery, so that the delay does not limit the
//! throughput. The proxy cannot delay a SYN: connecting through it does not take a delayed round
//! trip.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use crate::tasks::Tasks;
use crate::tunnel::listen;

/// The most bytes in a read.
const READ: usize = 16 * 1024;
/// The most reads in flight. With [`READ`], 4 MiB in 20 ms: more than any connection here carries.
const IN_FLIGHT: usize = 256;

/// Returns the address of a proxy that delays data to and from `upstream`; without a delay, returns
/// `upstream` itself.
pub(crate) fn distant(
    tasks: &Tasks,
    upstream: SocketAddr,
    delay: Duration,
) -> Result<SocketAddr, Failure> {
    if delay.is_zero() {
        return Ok(upstream);
    }
    let (listener, address) = listen()?;
    let connections = tasks.clone();
    tasks.service(async move {
        while let Ok((near, _)) = listener.accept().await {
            connections.service(async move {
                // On any error, both sides see their connection end.
                let _ = relay(near, upstream, delay).await;
            });
        }
    });
    Ok(address)
}

async fn relay(mut near: TcpStream, upstream: SocketAddr, delay: Duration) -> io::Result<()> {
    let mut far = TcpStream::connect(upstream).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    tokio::try_join!(delayed(near_read, far_write, delay), delayed(far_read, near_write, delay))
        .map(drop)
}

/// Carries one direction; EOF is delayed like data.
async fn delayed(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (enter, mut leave) = mpsc::channel::<(Instant, Bytes)>(IN_FLIGHT);
    let fill = async move {
        let mut buffer = [0; READ];
        loop {
            let count = from.read(&mut buffer).await?;
            let data = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
            let sent = enter.send((Instant::now() + delay, data)).await;
            if count == 0 || sent.is_err() {
                return Ok(());
            }
        }
    };
    let drain = async move {
        while let Some((due, data)) = leave.recv().await {
            sleep_until(due).await;
            if data.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&data).await?;
        }
        Ok(())
    };
    tokio::try_join!(fill, drain).map(drop)
}
