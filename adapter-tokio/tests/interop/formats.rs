//! Ends that are configured for different id formats: the symptoms, and the hints in the errors.

use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdExchange, IdFormat, Refusal};
use adapter_tokio::{AcquireError, ClientPool};

use crate::matrix::GoPool;
use crate::release::go;
use crate::rig::{SOON, client_config, dial, eventually, serve, server_config};

const fn other(format: IdFormat) -> IdFormat {
    match format {
        IdFormat::Hex8 => IdFormat::Raw4,
        IdFormat::Raw4 => IdFormat::Hex8,
    }
}

fn client(mode: TlsMode, format: IdFormat, address: std::net::SocketAddr) -> ClientPool {
    let ms = Duration::from_millis(5);
    let config = client_config().capacity(2..=2).ids(IdExchange::Wire(format)).backoff(ms, ms);
    dial(mode, config, address)
}

/// Waits until the client's last failure names the format to configure, and returns that failure.
async fn hint(client: &ClientPool, server_sends: IdFormat) -> Arc<str> {
    let wanted = match server_sends {
        IdFormat::Hex8 => "configure IdFormat::Hex8",
        IdFormat::Raw4 => "configure IdFormat::Raw4",
    };
    let says = |failure: &Option<Arc<str>>| {
        failure.as_ref().is_some_and(|failure| failure.contains(wanted))
    };
    eventually(|| client.last_failure(), says).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_the_wrong_format_says_which_is_right() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        for format in [IdFormat::Hex8, IdFormat::Raw4] {
            let (server, address) = serve(mode, server_config().id_format(format)).await;
            let client = client(mode, other(format), address);
            hint(&client, format).await;
            let error = client.acquire(Duration::from_millis(50)).await.unwrap_err();
            assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
            assert!(error.to_string().contains("configure IdFormat"), "{error}");
            drop(server);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_the_wrong_format_for_a_go_server_says_which_is_right() {
    let Some(go) = go() else { return };
    for release in &go.releases {
        for mode in [TlsMode::None, TlsMode::SelfSigned] {
            let peer = Arc::new(release.start());
            let (server, address) = GoPool::server(&peer, mode, "127.0.0.1:0", &go.authority).await;
            let client = client(mode, other(release.format), address);
            let hint = hint(&client, release.format).await;
            println!("{}, mode {mode}: {hint}", release.name);
            drop(server);
        }
    }
}

/// A Go client that reads `Raw4` from our `Hex8` server asks for half an id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_id_from_a_go_client_is_refused_with_a_hint() {
    let Some(go) = go() else { return };
    for release in go.releases.iter().filter(|release| release.format == IdFormat::Raw4) {
        let (server, address) =
            serve(TlsMode::None, server_config().id_format(IdFormat::Hex8)).await;
        let client = GoPool::client(&Arc::new(release.start()), TlsMode::None, address, 2).await;
        let half = client.ask("any").await.unwrap()["id"].as_str().unwrap().to_owned();
        let half: ConnId = half.parse().unwrap();
        let error = server.acquire_by_id(half, SOON).await.unwrap_err();
        assert!(matches!(&error, AcquireError::Refused(Refusal::UnknownId { .. })), "{error}");
        assert!(error.to_string().contains("half an id"), "{error}");
    }
}

/// The hint needs three such connections in a row: by chance, an id and the user's first bytes may
/// all be hex characters, and such a connection must be served.
#[tokio::test]
async fn two_connections_that_look_like_the_wrong_format_are_served() {
    use crate::rig::{FakeServer, send};
    let fake = FakeServer::start(move |mut tcp, number| async move {
        match number {
            0 => send(&mut tcp, b"cafe1234").await,
            1 => send(&mut tcp, b"beef5678").await,
            _ => send(&mut tcp, &[1, 2, 3, u8::try_from(number).unwrap()]).await,
        }
        std::future::pending::<()>().await;
    });
    let fake = fake.await;
    let client = client(TlsMode::None, IdFormat::Raw4, fake.address);
    // Both have early data, so they are served by id only.
    for (id, early) in [(b"cafe", b"1234"), (b"beef", b"5678")] {
        let mut stream = client.acquire_by_id(ConnId::from_bytes(*id), SOON).await.unwrap();
        crate::rig::expect(&mut stream, early).await;
    }
    assert_eq!(client.stats().totals.id_failures, 0);
}
