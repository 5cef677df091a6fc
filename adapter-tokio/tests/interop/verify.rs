//! A Go end that takes a connection, closes it at once, and tells its id afterwards, as a NodePass end
//! does to verify that the other one has the connection.

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::ConnId;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::matrix::Cell;
use crate::release::go;
use crate::rig::soon;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_a_go_end_closes_before_it_tells_the_id_reads_eof() {
    let Some(go) = go() else { return };
    for release in &go.releases {
        for (mode, we_dial) in [
            (TlsMode::None, true),
            (TlsMode::None, false),
            (TlsMode::SelfSigned, true),
            (TlsMode::SelfSigned, false),
        ] {
            let cell = Cell { release, authority: &go.authority, mode, we_dial };
            let (ours, theirs, _) = cell.ends().await;
            for _ in 0..10 {
                let any = theirs.ask("any").await.unwrap();
                let close = json!({ "do": "close", "conn": any["conn"] });
                theirs.peer.must(close).await;
                let id: ConnId = any["id"].as_str().unwrap().parse().unwrap();
                let mut stream = ours.by_id(id).await.unwrap();
                let mut rest = Vec::new();
                soon(stream.read_to_end(&mut rest)).await.unwrap();
                assert!(rest.is_empty(), "{mode}: {} bytes that nobody sent", rest.len());
            }
            let role = if we_dial { "client" } else { "server" };
            println!("{}: our {role}, {mode}: ten ended connections by their ids", release.name);
        }
    }
}
