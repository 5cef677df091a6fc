//! The clock of the scenarios, polling for conditions that cannot be awaited, and limited reads and
//! writes.

use std::fmt::Debug;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use pool_driver::connection::Revoked;
use pool_proto::{CloseReason, ConnId};

/// The longest time that any step on loopback may take on a loaded machine.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The current time.
#[allow(clippy::disallowed_methods, reason = "the one clock of the scenarios")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Calls `look` until its result satisfies `fits`, and returns that result. Panics with the last
/// result after [`SOON`].
#[track_caller]
pub(super) fn eventually<T: Debug>(mut look: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let deadline = now() + SOON;
    loop {
        let seen = look();
        if fits(&seen) {
            return seen;
        }
        assert!(now() < deadline, "the condition did not hold within {SOON:?}: {seen:#?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A closure that runs on its own thread; its panic is propagated to the caller of
/// [`soon`](Self::soon).
pub(super) struct Running<T>(Receiver<thread::Result<T>>);

/// Runs `act` on its own thread.
pub(super) fn spawn<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        // Fails if the scenario has ended already.
        let _ = sender.send(outcome);
    });
    Running(receiver)
}

impl<T> Running<T> {
    /// Waits up to [`SOON`] for the closure to return, and returns its result.
    #[track_caller]
    pub(super) fn soon(self) -> T {
        match self.0.recv_timeout(SOON) {
            Ok(Ok(output)) => output,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the thread did not end within {SOON:?}"),
        }
    }

    /// Checks that the closure has not returned after `time`.
    #[track_caller]
    pub(super) fn still_runs_after(self, time: Duration) -> Self {
        let ended = self.0.recv_timeout(time);
        assert!(matches!(ended, Err(mpsc::RecvTimeoutError::Timeout)), "the thread ended early");
        self
    }
}

/// Writes and flushes all of `data`.
#[track_caller]
pub(super) fn send(stream: &mut (impl io::Write + ?Sized), data: &[u8]) {
    stream.write_all(data).unwrap();
    stream.flush().unwrap();
}

/// Reads as many bytes as `data` has, and checks that they are equal.
#[track_caller]
pub(super) fn expect(stream: &mut (impl io::Read + ?Sized), data: &[u8]) {
    let mut read = vec![0; data.len()];
    if let Err(error) = stream.read_exact(&mut read) {
        panic!("{} bytes did not arrive: {error:?}", data.len());
    }
    assert!(read == data, "the data that arrived differs from the data that was sent");
}

/// Reads until EOF. An error instead of EOF panics.
#[track_caller]
pub(super) fn read_all(stream: &mut (impl io::Read + ?Sized)) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Reads any data until the stream ends, by FIN or by reset.
#[track_caller]
pub(super) fn assert_ends(stream: &mut (impl io::Read + ?Sized)) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert!(!is_late(&error), "the stream did not end within {SOON:?}");
    }
}

/// Writes until a write fails, and returns the error.
pub(super) fn write_until_failure(stream: &mut (impl io::Write + ?Sized)) -> io::Error {
    let chunk = [0; 64 * 1024];
    loop {
        if let Err(error) = stream.write_all(&chunk) {
            return error;
        }
    }
}

/// Checks that the pool has revoked the stream of this read or write, and that the error says so.
#[track_caller]
pub(super) fn assert_revoked<T: Debug>(result: io::Result<T>, id: ConnId, reason: CloseReason) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
    let revoked = error.get_ref().and_then(|error| error.downcast_ref());
    assert_eq!(revoked, Some(&Revoked { id, reason }));
    let text = error.to_string();
    assert!(text.contains(&id.to_string()) && text.contains(&reason.to_string()), "{text}");
}

/// Returns whether a read or write has timed out.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Test data in which neighbours differ, with a period (251) that is not the size of any buffer.
pub(super) fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
