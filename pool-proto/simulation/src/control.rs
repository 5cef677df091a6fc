//! The users of the control connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use pool_driver::exports::ConnId;

use crate::ends::Ends;
use crate::engine::{Side, Sim};
use crate::stream::PooledStream;
use crate::users::in_time;

/// Keeps the control connection of a side, and speaks on it, as long as the world lasts.
pub async fn control(sim: Sim, ends: Arc<Ends>, side: Side) {
    loop {
        // Not in a row: each refusal takes no time.
        sim.sleep(Duration::from_millis(200)).await;
        let Some(end) = ends.get(side) else { continue };
        let Ok(mut stream) = end.acquire_by_id(ConnId::ZERO, Duration::from_secs(10)).await else {
            continue;
        };
        let socket = stream.socket();
        sim.with(|state| {
            state.note(format_args!("the control connection at the {side:?}: {socket}"));
            state.hold(socket);
        });
        let ended = loop {
            if let Err(error) = exchange(&sim, &mut stream, side).await {
                break error;
            }
            sim.with(|state| {
                let now = state.now();
                state.heard.insert(side, now)
            });
        };
        sim.with(|state| {
            state.note(format_args!("the control connection at the {side:?} ends: {ended}"));
            state.release(socket);
        });
    }
}

/// A word of the client, and the answer of the server.
async fn exchange(sim: &Sim, stream: &mut PooledStream, side: Side) -> io::Result<()> {
    let (ours, theirs) = if side == Side::Client { (b"ping", b"pong") } else { (b"pong", b"ping") };
    let talk = async {
        if side == Side::Client {
            sim.sleep(Duration::from_secs(1)).await;
            stream.write_all(ours).await?;
            stream.flush().await?;
        }
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        if word != *theirs {
            sim.violated("bytes arrive as they were sent", "on the control connection");
        }
        if side == Side::Server {
            stream.write_all(ours).await?;
            stream.flush().await?;
        }
        Ok(())
    };
    in_time(sim, Duration::from_secs(10), talk).await
}
