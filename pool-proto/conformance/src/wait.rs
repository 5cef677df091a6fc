//! The one clock of the scenarios, and the one way to wait for what cannot be awaited.

use std::fmt::Debug;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The most that anything on loopback may take, on a loaded machine.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The time.
#[allow(clippy::disallowed_methods, reason = "the one clock of the scenarios")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Looks until what it sees fits, and returns that; on timeout tells what it saw last.
#[track_caller]
pub(super) fn eventually<T: Debug>(mut look: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let deadline = now() + SOON;
    loop {
        let seen = look();
        if fits(&seen) {
            return seen;
        }
        assert!(now() < deadline, "not so within {SOON:?}: {seen:#?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Something that runs on a thread of its own, whose panics are told to who waits for it.
pub(super) struct Running<T>(Receiver<thread::Result<T>>);

/// Runs `act` on a thread of its own.
pub(super) fn spawn<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        // Nobody may be waiting for it any more.
        let _ = sender.send(outcome);
    });
    Running(receiver)
}

impl<T> Running<T> {
    /// Waits for its end, which must come soon.
    #[track_caller]
    pub(super) fn soon(self) -> T {
        match self.0.recv_timeout(SOON) {
            Ok(Ok(output)) => output,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("did not end within {SOON:?}"),
        }
    }

    /// Checks that it has not ended after this time.
    #[track_caller]
    pub(super) fn still_runs_after(self, time: Duration) -> Self {
        let ended = self.0.recv_timeout(time);
        assert!(matches!(ended, Err(mpsc::RecvTimeoutError::Timeout)), "it ended early");
        self
    }
}

/// Sends all of it.
#[track_caller]
pub(super) fn send(stream: &mut (impl io::Write + ?Sized), data: &[u8]) {
    stream.write_all(data).unwrap();
    stream.flush().unwrap();
}

/// Reads exactly as much as `data` and compares.
#[track_caller]
pub(super) fn expect(stream: &mut (impl io::Read + ?Sized), data: &[u8]) {
    let mut read = vec![0; data.len()];
    if let Err(error) = stream.read_exact(&mut read) {
        panic!("{} bytes did not come: {error:?}", data.len());
    }
    assert!(read == data, "other data came than was sent");
}

/// Reads to the end, which must come in good order.
#[track_caller]
pub(super) fn read_all(stream: &mut (impl io::Read + ?Sized)) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Reads until the stream ends, by FIN or by reset, after any data.
#[track_caller]
pub(super) fn assert_ends(stream: &mut (impl io::Read + ?Sized)) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert!(!is_late(&error), "it did not end within {SOON:?}");
    }
}

/// Whether a read or write ran into its timeout.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// No byte like its neighbours, no period that a buffer could have.
pub(super) fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
