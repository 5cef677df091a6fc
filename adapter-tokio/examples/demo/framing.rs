//! The framing between the two ends of the tunnel, on pooled and on fresh connections: pieces with a
//! length prefix, and an empty piece at the end. So a visitor's stream can end while its connection
//! stays open, and is put back.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest piece; with its length prefix, it fills a TLS record.
const PIECE: usize = 16 * 1024 - 2;

/// Sends one piece.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    let length = u16::try_from(piece.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(2 + piece.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(piece);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Receives one piece, and reads nothing beyond it.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut piece).await?;
    Ok(piece)
}

/// Passes on one read, up to a piece; returns `false` at EOF.
pub(crate) async fn pass(
    plain: &mut (impl AsyncRead + Unpin),
    tunnel: &mut (impl AsyncWrite + Unpin),
) -> io::Result<bool> {
    let mut buffer = [0; PIECE];
    let count = plain.read(&mut buffer).await?;
    send(tunnel, buffer.get(..count).unwrap_or_default()).await?;
    Ok(count > 0)
}

/// Carries data in both directions until both have ended.
pub(crate) async fn carry<S>(tunnel: &mut S, plain: &mut TcpStream) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_tunnel, mut to_tunnel) = tokio::io::split(tunnel);
    let (mut from_plain, mut to_plain) = plain.split();
    let out = async {
        while pass(&mut from_plain, &mut to_tunnel).await? {}
        Ok(())
    };
    let back = async {
        loop {
            let piece = receive(&mut from_tunnel).await?;
            if piece.is_empty() {
                return to_plain.shutdown().await;
            }
            to_plain.write_all(&piece).await?;
        }
    };
    tokio::try_join!(out, back).map(drop)
}
