//! Reads into buffers of tokio.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::future::poll_fn;
use std::pin::Pin;

use adapter_tokio::pool_driver::tls::TlsMode;
use common::{SOON, dial, eventually, send, serve, server_config, single, soon};
use tokio::io::{AsyncRead as _, ReadBuf};

/// As `read_exact` has one, when a part of its data has come. The data of the peer are longer than the room
/// that is left; they come before the connection is acquired, or afterwards.
#[tokio::test]
async fn a_buffer_that_holds_something_takes_what_it_has_room_for() {
    for (mode, early) in [
        (TlsMode::None, true),
        (TlsMode::None, false),
        (TlsMode::SelfSigned, true),
        (TlsMode::SelfSigned, false),
    ] {
        let (server, address) = serve(mode, server_config()).await;
        let client = dial(mode, single(), address);
        let mut ours = server.acquire(SOON).await.unwrap();
        if early {
            send(&mut ours, b"abcdefgh").await;
            eventually(|| client.stats().claimed, |claimed| *claimed == 1).await;
        }
        let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
        if !early {
            send(&mut ours, b"abcdefgh").await;
        }
        for expected in [b"012345ab", b"012345cd"] {
            let mut bytes = [0; 8];
            let mut buffer = ReadBuf::new(&mut bytes);
            buffer.put_slice(b"012345");
            soon(poll_fn(|cx| Pin::new(&mut theirs).poll_read(cx, &mut buffer))).await.unwrap();
            assert_eq!(buffer.filled(), expected, "{mode}, early: {early}");
        }
    }
}
