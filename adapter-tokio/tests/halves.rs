//! The halves of a stream, in two tasks.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::{PooledStream, ReadHalf, WriteHalf};
use common::{SOON, dial, serve, server_config, single};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
