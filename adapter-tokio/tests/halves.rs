//! The halves of a stream, in two tasks.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Poll;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::{PooledStream, ReadHalf, WriteHalf};
use common::{SOON, dial, serve, server_config, single, soon};
use tokio::io::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn};

/// More than the buffers of both ends hold: an end that either reads or writes would stop.
const LEN: usize = 8 * 1024 * 1024;

/// Sends and receives at the same time.
fn both_ways(stream: PooledStream) -> (JoinHandle<ReadHalf>, JoinHandle<WriteHalf>) {
    let (mut reader, mut writer) = stream.into_split();
    let reads = spawn(async move {
        let mut data = vec![0; LEN];
        reader.read_exact(&mut data).await.unwrap();
        assert!(data.iter().all(|byte| *byte == 7));
        reader
    });
    let writes = spawn(async move {
        writer.write_all(&vec![7; LEN]).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    (reads, writes)
}

#[tokio::test]
async fn halves_go_both_ways_at_once_and_are_put_back_together() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let (server, address) = serve(mode, server_config()).await;
        let client = dial(mode, single().max_connections(1), address);
        let theirs = client.acquire(SOON).await.unwrap();
        let ours = server.acquire_by_id(theirs.id(), SOON).await.unwrap();
        let (ours, theirs) = (both_ways(ours), both_ways(theirs));
        let (read, write) = (ours.0.await.unwrap(), ours.1.await.unwrap());
        let (their_read, their_write) = (theirs.0.await.unwrap(), theirs.1.await.unwrap());
        // Halves of two streams are not one.
        let (read, their_write) = read.reunite(their_write).unwrap_err();
        server.put(read.reunite(write).unwrap()).unwrap();
        client.put(their_read.reunite(their_write).unwrap()).unwrap();
        drop(client.acquire(SOON).await.unwrap());
        assert_eq!(client.stats().totals.reused, 1);
    }
}

#[tokio::test]
async fn a_writing_half_sends_slices_flushes_them_and_ends_its_direction() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let (server, address) = serve(mode, server_config()).await;
        let client = dial(mode, single(), address);
        let mut theirs = client.acquire(SOON).await.unwrap();
        let ours = server.acquire_by_id(theirs.id(), SOON).await.unwrap();
        assert!(theirs.is_write_vectored());
        // Nothing reads from it: a read would also send the remaining data.
        let (_reader, mut writer) = ours.into_split();
        assert!(writer.is_write_vectored());
        let slices = [IoSlice::new(b"one, "), IoSlice::new(b"two")];
        assert_eq!(writer.write_vectored(&slices).await.unwrap(), 8);
        // More than the kernel takes: the rest waits for a flush.
        let mut sent = slices.iter().map(|slice| slice.len()).sum();
        while let Poll::Ready(count) =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut writer).poll_write(cx, &[7; 64 * 1024]))).await
        {
            sent += count.unwrap();
        }
        let writes = spawn(async move {
            writer.flush().await.unwrap();
            writer
        });
        let mut data = vec![0; sent];
        soon(theirs.read_exact(&mut data)).await.unwrap();
        assert_eq!(&data[..8], b"one, two");
        let mut writer = writes.await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(soon(theirs.read(&mut data)).await.unwrap(), 0);
    }
}
