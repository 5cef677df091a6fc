//! The differences between operating systems: no other file of this crate depends on the target.
//!
//! The macro that lets a stream's socket be borrowed is here as well. An adapter that uses it is compiled for
//! the same system.

mod waiting;

use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};

use crate::connection::KernelSocket;
pub(crate) use waiting::Waiting;

// --- time ---------------------------------------------------------------------------------------

/// A clock that lags by up to a tick (1–4 ms) and costs a fifth of the precise one, which alone costs more than
/// taking a connection; where the system has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoarseClock {
    #[cfg(target_os = "linux")]
    epoch: Duration,
}

#[cfg(target_os = "linux")]
impl CoarseClock {
    /// Starts the clock. Its epoch is read from the precise clock, so that it never leads one of these that
    /// was started before.
    pub(crate) fn start() -> Self {
        Self { epoch: Self::read(rustix::time::ClockId::Monotonic) }
    }

    /// Returns the time since the start, or `None`.
    #[inline]
    pub(crate) fn elapsed(self) -> Option<Duration> {
        let time = Self::read(rustix::time::ClockId::MonotonicCoarse);
        Some(time.saturating_sub(self.epoch))
    }

    #[inline]
    fn read(clock: rustix::time::ClockId) -> Duration {
        let time = rustix::time::clock_gettime(clock);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
    }
}

#[cfg(not(target_os = "linux"))]
impl CoarseClock {
    pub(crate) const fn start() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "as on Linux")]
    pub(crate) const fn elapsed(self) -> Option<Duration> {
        None
    }
}

// --- sockets ------------------------------------------------------------------------------------

#[cfg(unix)]
impl<'a, T: std::os::fd::AsFd> From<&'a T> for KernelSocket<'a> {
    fn from(socket: &'a T) -> Self {
        Self::new(SockRef::from(socket))
    }
}

#[cfg(windows)]
impl<'a, T: std::os::windows::io::AsSocket> From<&'a T> for KernelSocket<'a> {
    fn from(socket: &'a T) -> Self {
        Self::new(SockRef::from(socket))
    }
}

/// The flags of each send. A write to a connection that has ended is an error of that connection. Without
/// this flag it is a SIGPIPE as well, which ends a process that has not set the signal to be ignored.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) const SEND_FLAGS: i32 = rustix::net::SendFlags::NOSIGNAL.bits().cast_signed();

/// Apple's systems have an option of the socket instead, and Windows has no such signal.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) const SEND_FLAGS: i32 = 0;

/// Whether a listener may reuse an address (`SO_REUSEADDR`). A restarted server must not wait for the
/// TIME-WAIT of its old connections. On Windows the option means something else: two listeners on one port.
pub(crate) const REUSES_ADDRESS: bool = cfg!(not(windows));

/// Whether accepted sockets have the options of their listener, keep-alive among them.
pub(crate) const OPTIONS_ARE_INHERITED: bool = cfg!(target_os = "linux");

/// The errors of a descriptor that is not a socket (EBADF, ENOTSOCK).
#[cfg(unix)]
pub(crate) const NO_SOCKET: [i32; 2] =
    [rustix::io::Errno::BADF.raw_os_error(), rustix::io::Errno::NOTSOCK.raw_os_error()];

/// The errors of a handle that is not a socket (WSAEBADF, WSAENOTSOCK).
#[cfg(not(unix))]
pub(crate) const NO_SOCKET: [i32; 2] = [10_009, 10_038];

/// Does for a socket what [`SEND_FLAGS`] do for a send elsewhere.
#[cfg(target_vendor = "apple")]
pub(crate) fn set_no_sigpipe(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_nosigpipe(true)
}

#[cfg(not(target_vendor = "apple"))]
#[allow(clippy::unnecessary_wraps, reason = "as on the systems where it does something")]
pub(crate) const fn set_no_sigpipe(_socket: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}

/// Returns the options of keep-alive that the system has.
#[allow(unused_variables, reason = "some systems have a part of them only")]
pub(crate) fn keep_alive(idle: Duration, interval: Duration, retries: u32) -> TcpKeepalive {
    let settings = TcpKeepalive::new().with_time(idle);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let settings = settings.with_interval(interval);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "windows")))]
    let settings = settings.with_retries(retries);
    settings
}

/// Sets the time within which data under way must be acknowledged (`TCP_USER_TIMEOUT`), where the system has
/// the option.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn limit_unacknowledged(
    socket: &SockRef<'_>,
    limit: Option<Duration>,
) -> io::Result<()> {
    socket.set_tcp_user_timeout(limit)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps, reason = "as on the systems where it does something")]
pub(crate) const fn limit_unacknowledged(
    _socket: &SockRef<'_>,
    _limit: Option<Duration>,
) -> io::Result<()> {
    Ok(())
}

/// Returns whether the system holds data that it has not sent, for want of room at the peer or on the
/// path; `false` where [`limit_unacknowledged`] does nothing. `SIOCOUTQNSD` tells their number, but has no
/// safe interface. So the socket is made to be writable only without such data, for this question.
///
/// The calls take 1 to 2 µs. Both changes also wake a reactor that waits for writability, as tokio's always
/// does: with it, a put after a write takes some 8 µs more.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn data_wait_for_room(socket: &SockRef<'_>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let low_water = socket.tcp_notsent_lowat()?;
    socket.set_tcp_notsent_lowat(1)?;
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&**socket, PollFlags::OUT)], Some(&at_once));
    socket.set_tcp_notsent_lowat(low_water)?;
    Ok(ready? == 0)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps, reason = "as on the systems where it asks")]
pub(crate) const fn data_wait_for_room(_socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(false)
}

/// Lets a stream's socket be borrowed.
#[doc(hidden)]
#[macro_export]
macro_rules! __socket_traits {
    (|$stream:ident| $socket:expr) => {
        #[cfg(unix)]
        impl std::os::fd::AsFd for PooledStream {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                let $stream = self;
                std::os::fd::AsFd::as_fd($socket)
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsRawFd for PooledStream {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsFd::as_fd(self).as_raw_fd()
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsSocket for PooledStream {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                let $stream = self;
                std::os::windows::io::AsSocket::as_socket($socket)
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawSocket for PooledStream {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                std::os::windows::io::AsSocket::as_socket(self).as_raw_socket()
            }
        }
    };
}

// --- files --------------------------------------------------------------------------------------

/// Returns the permissions of a file.
#[cfg(all(feature = "tls", unix))]
pub(crate) fn mode_of(file: &std::fs::File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;

    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

/// Elsewhere a file has no such mode.
#[cfg(all(feature = "tls", not(unix)))]
pub(crate) fn mode_of(file: &std::fs::File) -> io::Result<u32> {
    file.metadata().map(|_| 0)
}

/// The platform's part in creating key files.
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) mod new_files {
    use std::fs::OpenOptions;
    use std::io;
    use std::path::Path;

    /// Lets only the user of this process access the file that is created.
    #[cfg(unix)]
    pub(crate) fn only_for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
        std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
    }

    /// Elsewhere a file inherits the rights of its directory.
    #[cfg(not(unix))]
    pub(crate) const fn only_for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    /// Makes the name of a new file survive a crash of the machine.
    #[cfg(unix)]
    pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    /// Elsewhere a directory cannot be opened.
    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) const fn sync_directory(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    #[cfg(all(test, unix))]
    mod tests {
        use super::*;

        #[test]
        fn the_directory_of_a_file_is_synced_if_it_is_there() {
            let missing = Path::new("no-such-directory/server.pem");
            let error = sync_directory(missing).map_err(|error| error.kind());
            assert_eq!(error, Err(io::ErrorKind::NotFound));
            for here in ["server.pem", "./server.pem"] {
                assert_eq!(sync_directory(Path::new(here)).map_err(|error| error.kind()), Ok(()));
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::time::ClockId;

    use super::*;

    /// However much of a tick had passed when the clock was started.
    #[test]
    fn a_coarse_clock_never_leads() {
        for _ in 0..20 {
            let begun = CoarseClock::read(ClockId::Monotonic);
            let clock = CoarseClock::start();
            let at_first = clock.elapsed();
            // It leads most, if at all, at a tick.
            while clock.elapsed() == at_first {
                core::hint::spin_loop();
            }
            let coarse = clock.elapsed();
            let precise = Some(CoarseClock::read(ClockId::Monotonic).saturating_sub(begun));
            assert!(coarse <= precise, "{coarse:?} instead of {precise:?}");
        }
    }
}
