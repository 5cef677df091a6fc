//! What is done with a connection of which the Go program has the other end.

use std::sync::Arc;

use adapter_tokio::PooledStream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::Peer;
use crate::rig::soon;

/// 64-bit FNV-1a, which Go has in its library: both ends compute it for themselves.
fn sum(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn random(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect()
}

/// One connection: our end, and the number of the other.
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

    /// We write random bytes, the peer reads them all and sends them back.
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
        assert_eq!(echoed["sum"], sum(&data), "other bytes arrived than were sent");
        assert!(data == back, "other bytes came back than were sent");
    }

    /// The peer writes random bytes, we read them all and send them back.
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
        assert_eq!(sent["sum"], sum(&data), "other bytes arrived than were sent");
    }

    /// The peer ends its direction; ours still carries data, until we close.
    pub(crate) async fn they_half_close(mut self) {
        self.ask("close_write", 0).await;
        let mut rest = Vec::new();
        soon(self.ours.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty(), "{} bytes came that nobody sent", rest.len());
        let data = random(1000);
        self.ours.write_all(&data).await.unwrap();
        soon(self.ours.shutdown()).await.unwrap();
        let read = self.ask("read_to_end", 0).await;
        assert_eq!(read["sum"], sum(&data), "after the peer's half-close");
        self.ask("close", 0).await;
    }

    /// We end our direction; the peer's still carries data, until it closes.
    pub(crate) async fn we_half_close(mut self) {
        soon(self.ours.shutdown()).await.unwrap();
        let read = self.ask("read_to_end", 0).await;
        assert_eq!(read["bytes"], Value::Null, "bytes came that nobody sent");
        let written = self.ask("write", 1000).await;
        self.ask("close", 0).await;
        let mut rest = Vec::new();
        soon(self.ours.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(written["sum"], sum(&rest), "after our half-close");
    }
}
