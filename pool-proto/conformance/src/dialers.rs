//! Dialers that are futures: dropped at their end, and panicking before there is one. Tests for
//! adapters whose calls are futures, each of which is one of theirs.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ends::{client_config, server_config, single};
use super::futures::{Harness, set_up, within};
use super::polls::{PoolOf, serve};
use super::prelude::*;
use pool_driver::Runtime;
use pool_driver::tls::TlsMode;
use pool_proto::{ClientConfigBuilder, Dialing};

type Dialled<H> = <<H as Harness>::Runtime as Runtime>::Dialled;

fn dial_with<H: Harness, F: Future<Output = io::Result<Dialled<H>>> + Send + 'static>(
    config: ClientConfigBuilder,
    dial: impl Fn() -> F + Send + Sync + 'static,
) -> PoolOf<H, Dialing> {
    let builder = set_up::<H, _>(Some(config.build().unwrap()), None, None);
    H::block_on(async { builder.connect_with(dial).unwrap() })
}

/// Counts the dials that were dropped before their end. What a dial leaves behind takes its time to be
/// tidied up.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A dialer that never returns is dropped at its deadline.
pub fn a_dialer_that_never_returns_is_dropped_at_its_deadline<H: Harness>() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let config = client_config().dial_timeout(Duration::from_millis(100));
    let client = dial_with::<H, _>(config, move || {
        let guard = Dropped(Arc::clone(&count));
        async move {
            let _guard = guard;
            pending().await
        }
    });
    eventually(|| client.stats().totals.dial_timeouts, |timeouts| *timeouts > 0);
    eventually(|| dropped.load(Ordering::Relaxed), |dropped| *dropped >= 4);
}

/// `closed` waits until dials are dropped, too.
pub fn a_closed_client_has_dropped_its_dials<H: Harness>() {
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let client = dial_with::<H, _>(client_config(), move || {
        count.fetch_add(1, Ordering::Relaxed);
        let guard = Dropped(Arc::clone(&guard));
        async move {
            let _guard = guard;
            pending().await
        }
    });
    eventually(|| begun.load(Ordering::Relaxed), |begun| *begun == 4);
    client.close();
    let closed = H::block_on(within(client.runtime(), SOON, client.closed()));
    assert_eq!((closed, dropped.load(Ordering::Relaxed)), (Some(()), 4));
}

/// A panic before there is a future costs a dial, as does one in the future; neither costs the pool.
pub fn a_panicking_dialer_fails_its_own_dial_only<H: Harness>() {
    let (server, address) = serve::<H>(TlsMode::None, server_config());
    let dials = AtomicUsize::new(0);
    let client = dial_with::<H, _>(single(), move || {
        let dial = dials.fetch_add(1, Ordering::Relaxed);
        assert!(dial > 0, "a panic that this test is about, before there is a future");
        async move {
            assert!(dial > 1, "a panic that this test is about, in the future");
            H::dial(Arc::new(move || std::net::TcpStream::connect(address))).await
        }
    });
    let _stream = H::block_on(client.acquire(SOON)).unwrap();
    assert_eq!(client.stats().totals.dial_failures, 2);
    // What runs the one pool runs the other, too.
    let _stream = H::block_on(server.acquire(SOON)).unwrap();
}

/// The last failure says that it was a panic.
pub fn a_panicking_dialer_is_reported_as_the_last_failure<H: Harness>() {
    let client = dial_with::<H, _>(client_config(), || async {
        panic!("a panic that this test is about");
    });
    let failure = eventually(|| client.last_failure(), Option::is_some);
    assert_eq!(failure.as_deref(), Some("a dial or a handshake panicked"));
}

/// A panic while a dial that was given up is dropped costs that dial, and not the process.
pub fn a_dial_that_panics_when_dropped_fails_itself_only<H: Harness>() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("a panic that this test is about");
        }
    }
    let config = client_config().dial_timeout(Duration::from_millis(50));
    let backoff = Duration::from_millis(1);
    let client = dial_with::<H, _>(config.backoff(backoff, backoff), || async {
        let _panics = PanicsOnDrop;
        pending().await
    });
    // Dials go on after the first that was given up.
    eventually(|| client.stats().totals.dial_timeouts, |timeouts| *timeouts > 5);
    client.close();
    let closed = H::block_on(within(client.runtime(), SOON, client.closed()));
    assert_eq!(closed, Some(()));
}
