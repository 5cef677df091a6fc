//! Tests of dialers that are futures: dropped at their deadline, and panicking. Each function here
//! is the body of a test in an adapter whose calls are futures.

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

type Dialled<H> = <<H as Harness>::Runtime as Runtime>::TcpStream;

fn dial_with<H: Harness, F: Future<Output = io::Result<Dialled<H>>> + Send + 'static>(
    config: ClientConfigBuilder,
    dial: impl Fn() -> F + Send + Sync + 'static,
) -> PoolOf<H, Dialing> {
    let builder = set_up::<H, _>(Some(config.build().unwrap()), None, None, None);
    H::block_on(async { builder.connect_with(dial).unwrap() })
}

/// Counts dials that were dropped before they ended. The drop takes 50 ms, so that a pool that does
/// not wait for it is caught.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A dial whose dialer never returns is dropped at its deadline.
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

/// `closed` also waits until pending dials are dropped.
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

/// A panic of the dialer fails that dial only, whether it happens before there is a future or inside
/// the future; the pool goes on.
pub fn a_panicking_dialer_fails_its_own_dial_only<H: Harness>() {
    let (server, address) = serve::<H>(TlsMode::None, server_config());
    let dials = AtomicUsize::new(0);
    let client = dial_with::<H, _>(single(), move || {
        let dial = dials.fetch_add(1, Ordering::Relaxed);
        assert!(dial > 0, "intended panic, before there is a future");
        async move {
            assert!(dial > 1, "intended panic, inside the future");
            H::dial(Arc::new(move || std::net::TcpStream::connect(address))).await
        }
    });
    let _stream = H::block_on(client.acquire(SOON)).unwrap();
    assert_eq!(client.stats().totals.dial_failures, 2);
    // The runtime that polls the panicking client also polls this server, which must still work.
    let _stream = H::block_on(server.acquire(SOON)).unwrap();
}

/// The last failure names the panic.
pub fn a_panicking_dialer_is_reported_as_the_last_failure<H: Harness>() {
    let client = dial_with::<H, _>(client_config(), || async {
        panic!("intended panic");
    });
    let failure = eventually(|| client.last_failure(), Option::is_some);
    assert_eq!(failure.as_deref(), Some("a dial or a handshake panicked"));
}

/// A dial that panics while it is dropped after its deadline fails alone, and does not abort the
/// process.
pub fn a_dial_that_panics_when_dropped_fails_itself_only<H: Harness>() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("intended panic");
        }
    }
    let config = client_config().dial_timeout(Duration::from_millis(50));
    let backoff = Duration::from_millis(1);
    let client = dial_with::<H, _>(config.backoff(backoff, backoff), || async {
        let _panics = PanicsOnDrop;
        pending().await
    });
    // The client continues to dial after the first panic.
    eventually(|| client.stats().totals.dial_timeouts, |timeouts| *timeouts > 5);
    client.close();
    let closed = H::block_on(within(client.runtime(), SOON, client.closed()));
    assert_eq!(closed, Some(()));
}
