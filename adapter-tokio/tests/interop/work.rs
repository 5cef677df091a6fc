//! Use of a connection whose other end is in the Go program: echoes and half-closes.

use std::sync::Arc;

use adapter_tokio::PooledStream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::Peer;
use crate::rig::soon;

/// Computes 64-bit FNV-1a, which is in Go's library too, so that each end computes its own sum.
fn sum(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn random(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect()
}

/// The two ends of a connection: our stream, and the Go program's number for its own.
pub(crate) struct Ends {
    pub(crate) peer: Arc<Peer>,
    pub(crate) ours: PooledStream,
    pub(crate) theirs: Value,
}

impl Ends {
    async fn ask(&self, what: &str, bytes: usize) -> Value {
        let (conn, seed) = (&self.theirs, fastrand::u64(..));
        let request = json!({ "do": what, "conn": conn, "bytes": bytes, "seed": seed });
        soon(self.peer.must(request)).await
    }

    /// Sends random bytes, which the peer echoes.
    pub(crate) async fn they_echo(&mut self, bytes: usize) {
        let data = random(bytes);
        let mut back = vec![0; bytes];
        let peer = Arc::clone(&self.peer);
        let echo = json!({ "do": "echo", "conn": self.theirs, "bytes": bytes });
        let echoed = async { peer.must(echo).await };
        let exchange = async {
            self.ours.write_all(&data).await.unwrap();
            self.ours.flush().await.unwrap();
            self.ours.read_exact(&mut back).await.unwrap();
        };
        let (echoed, ()) = soon(async { tokio::join!(echoed, exchange) }).await;
        assert_eq!(echoed["sum"], sum(&data), "the bytes that arrived differ from those sent");
        assert!(data == back, "the bytes that came back differ from those sent");
    }

    /// Lets the peer send random bytes, and echoes them.
    pub(crate) async fn we_echo(&mut self, bytes: usize) {
        let peer = Arc::clone(&self.peer);
        let seed = fastrand::u64(..);
        let send = json!({ "do": "send", "conn": self.theirs, "bytes": bytes, "seed": seed });
        let sent = async { peer.must(send).await };
        let mut data = vec![0; bytes];
        let exchange = async {
            self.ours.read_exact(&mut data).await.unwrap();
            self.ours.write_all(&data).await.unwrap();
            self.ours.flush().await.unwrap();
        };
        let (sent, ()) = soon(async { tokio::join!(sent, exchange) }).await;
        assert_eq!(sent["sum"], sum(&data), "the bytes that arrived differ from those sent");
    }

    /// Lets the peer close its writing half; ours still carries data until we close it.
    pub(crate) async fn they_half_close(mut self) {
        self.ask("close_write", 0).await;
        let mut rest = Vec::new();
        soon(self.ours.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty(), "{} bytes arrived that were not sent", rest.len());
        let data = random(1000);
        self.ours.write_all(&data).await.unwrap();
        soon(self.ours.shutdown()).await.unwrap();
        let read = self.ask("read_to_end", 0).await;
        assert_eq!(read["sum"], sum(&data), "after the peer's half-close");
        self.ask("close", 0).await;
    }

    /// Closes our writing half; the peer's still carries data until the peer closes.
    pub(crate) async fn we_half_close(mut self) {
        soon(self.ours.shutdown()).await.unwrap();
        let read = self.ask("read_to_end", 0).await;
        assert_eq!(read["bytes"], Value::Null, "bytes arrived that were not sent");
        let written = self.ask("write", 1000).await;
        self.ask("close", 0).await;
        let mut rest = Vec::new();
        soon(self.ours.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(written["sum"], sum(&rest), "after our half-close");
    }
}
