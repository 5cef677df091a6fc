//! Tests of the concrete types of an adapter: each call forwards to the pool behind it.

/// Defines the tests `every_call_of_the_concrete_types_forwards` and
/// `a_stream_tells_the_certificate_of_its_peer` for an adapter whose calls return futures: the concrete
/// types that [`pool_types!`](pool_driver::pool_types) defines must not differ from the
/// [`Pool`](pool_driver::Pool) that the scenarios run on.
#[macro_export]
macro_rules! forwarding_test {
    ($adapter:ident, $block_on:expr) => {
        #[test]
        fn every_call_of_the_concrete_types_forwards() {
            use std::time::Duration;

            use $adapter::{
                AcquireError, AnyPool as _, Balanced, Balancer, ClientConfig, ClientPool,
                KeepAlive, Recording, Refusal, ServerConfig, ServerPool,
            };

            const SOON: Duration = Duration::from_secs(5);

            let test = async {
                let server = ServerPool::builder()
                    .config(ServerConfig::builder().capacity(3).build().unwrap())
                    .keep_alive(KeepAlive::every(Duration::from_secs(9)))
                    .bind("127.0.0.1:0")
                    .await
                    .unwrap();
                let address = server.local_addr().unwrap();
                let client = ClientPool::builder()
                    .config(ClientConfig::builder().capacity(2..=4).build().unwrap())
                    .keep_alive(None)
                    .record(|| Ok(std::io::sink()))
                    .connect(address.to_string())
                    .unwrap();
                for pool in [client.clone(), client.clone()] {
                    pool.wait_ready(2, SOON).await.unwrap();
                    assert_eq!((pool.idle(), pool.is_ready(), pool.capacity()), (2, true, 2));
                }
                server.wait_ready(2, SOON).await.unwrap();
                assert_eq!((server.idle(), server.is_ready(), server.capacity()), (2, true, 3));
                let beyond = server.wait_ready(4, SOON).await;
                let refusal = Refusal::StockBeyondCapacity { wanted: 4, capacity: 3 };
                assert_eq!(beyond, Err(AcquireError::Refused(refusal)));
                // Some are ready, and nobody at the peer has begun to use one.
                let accepted = server.accept(Duration::ZERO).await.map(drop);
                assert!(matches!(accepted, Err(AcquireError::Timeout { .. })), "{accepted:?}");
                assert_eq!(client.interval(), client.pool().interval());
                assert_eq!(server.interval(), Duration::ZERO);
                assert_eq!(client.stats().totals.established, 2);
                assert_eq!((client.last_failure(), server.last_failure()), (None, None));

                let refused = Err($adapter::SetTlsError::PlainTcp);
                assert_eq!(client.set_tls($adapter::ClientTls::self_signed().unwrap()), refused);
                assert_eq!(server.set_tls($adapter::ServerTls::self_signed().unwrap()), refused);

                let config = ServerConfig::builder().capacity(9).build().unwrap();
                let loopback = "127.0.0.1:0".parse().unwrap();
                let bound = ServerPool::builder().config(config).bind_addr(loopback).unwrap();
                assert_eq!(bound.local_addr().unwrap().ip(), loopback.ip());
                assert_eq!(bound.capacity(), 9);

                let theirs = server.acquire(SOON).await.unwrap();
                let ours = client.acquire_by_id(theirs.id(), SOON).await.unwrap();
                assert_eq!(ours.peer_addr().unwrap(), address);
                assert_eq!(ours.local_addr().unwrap(), theirs.peer_addr().unwrap());
                #[cfg(unix)]
                {
                    use std::os::fd::{AsFd as _, AsRawFd as _};

                    assert_eq!(ours.as_fd().as_raw_fd(), ours.as_raw_fd());
                    let same = ours.as_fd().try_clone_to_owned().unwrap();
                    let same = std::net::TcpStream::from(same);
                    assert_eq!(same.local_addr().unwrap(), ours.local_addr().unwrap());
                }
                let shown = format!("{ours:?}");
                let expected =
                    format!("PooledStream {{ id: {:?}, peer: Some({address}), .. }}", ours.id());
                assert_eq!(shown, expected);
                client.put(ours).unwrap();
                server.put(theirs).unwrap();
                assert_eq!(client.stats().totals.put + server.stats().totals.put, 2);

                let shown = format!("{client:?} {server:?}");
                assert!(
                    shown.contains("ClientPool { stats") && shown.contains("ServerPool { stats")
                );
                for pool in [&client] {
                    pool.add_error();
                    pool.add_error();
                    assert_eq!(pool.error_count(), 2);
                    pool.reset_error();
                    assert_eq!(pool.error_count(), 0);
                }
                server.add_error();
                assert_eq!((server.error_count(), client.error_count()), (1, 0));

                let closed = ClientPool::builder().connect("127.0.0.1:1").unwrap();
                closed.close();
                let balancer = Balancer::new(closed, [client.clone()]);
                assert_eq!(balancer.pools().len(), 2);
                let Balanced { stream, pool, index } = balancer.acquire(SOON).await.unwrap();
                assert_eq!((index, pool.stats().leased), (1, 1));
                assert!(pool.flush() >= 1);
                drop(stream);
                let cleaned = client.clean();
                assert_eq!(client.stats().totals.cleaned, u64::from(cleaned));

                for pool in [&server] {
                    assert!(!pool.is_closed());
                    pool.close();
                    assert!(pool.is_closed());
                    pool.closed().await;
                    let refused = AcquireError::Refused(Refusal::PoolClosed);
                    assert_eq!(pool.acquire(SOON).await.unwrap_err(), refused);
                }
                assert_eq!(server.recording(), None);
                let running = matches!(client.recording(), Some(Recording::Running { .. }));
                assert!(running, "{:?}", client.recording());
                client.end_recording();
                client.close();
                client.closed().await;
                assert!(client.is_closed());
                let inputs = match client.recording() {
                    Some(Recording::Ended { inputs, .. }) => inputs,
                    other => panic!("{other:?}"),
                };
                assert!(inputs > 10, "{inputs}");
            };
            $block_on(test);
        }

        #[test]
        fn a_stream_tells_the_certificate_of_its_peer() {
            use std::time::Duration;

            use $adapter::{ClientPool, ClientTls, ServerPool, ServerTls};

            const SOON: Duration = Duration::from_secs(5);

            let test = async {
                let tls = ServerTls::self_signed().unwrap();
                let fingerprint = tls.fingerprint();
                assert!(fingerprint.is_some());
                let server = ServerPool::builder().tls(tls).bind("127.0.0.1:0").await.unwrap();
                let address = server.local_addr().unwrap().to_string();
                let tls = ClientTls::self_signed().unwrap();
                let client = ClientPool::builder().tls(tls).connect(address).unwrap();
                let theirs = server.acquire(SOON).await.unwrap();
                let ours = client.acquire_by_id(theirs.id(), SOON).await.unwrap();
                assert_eq!(ours.peer_certificate(), fingerprint);
                assert_eq!(theirs.peer_certificate(), None, "the server has asked for none");
            };
            $block_on(test);
        }
    };
}
