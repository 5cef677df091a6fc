//! The server's supply: accepting peers, and pausing after failed accepts.

use core::future::{Future, pending, ready};
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;

use futures_lite::future::poll_once;
use pool_proto::{Accepting, Backoff, Event, Instant, Token};
use tracing::field::{debug, display};

use super::driver::{BURST, PoolAttempt, PoolMachine, Supply};
use super::turnstile::Turnstile;
use crate::connection::keep_alive::KeepAlive;
use crate::connection::socket::{Options, accept};
use crate::connection::{Acceptor, Kernel as _};
use crate::events;
use crate::platform;
use crate::runtime::Runtime;
use crate::shared::{Attempt, Kind, PoolConnection, SharedMachine};

/// First pause after an accept that failed for want of descriptors or memory; without a pause it
/// fails millions of times a second. Short, because a descriptor may be freed at any moment.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Chooses the pauses of a listener after failed accepts.
#[derive(Clone, Debug)]
pub struct AcceptPacer(Backoff);

/// The meaning of a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// The peer left before it was accepted: accept the next one.
    OfOnePeer,
    /// The listener will not accept any more: drop it.
    OfTheListener,
    /// The system has run out of a resource: accept again after this time.
    Pause(Duration),
}

impl AcceptPacer {
    /// A pacer that draws its pauses from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Backoff::new(PAUSE, LONGEST_PAUSE, seed))
    }

    /// Records that a peer was accepted: the next pause is short again. Returns the number of pauses since
    /// the accept before.
    pub fn accepted(&mut self) -> u32 {
        let failures = self.0.failures();
        self.0.success();
        failures
    }

    /// Records a failed accept.
    pub fn failed(&mut self, error: &io::Error) -> AcceptFailure {
        if is_of_one_peer(error) {
            AcceptFailure::OfOnePeer
        } else if is_of_the_listener(error) {
            AcceptFailure::OfTheListener
        } else {
            AcceptFailure::Pause(self.0.failure())
        }
    }
}

/// The peer left before it was accepted. accept(2) lists further errors that Linux passes on.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

/// The descriptor does not listen (EINVAL), or is not a socket (EBADF, ENOTSOCK).
fn is_of_the_listener(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput
        || error.raw_os_error().is_some_and(|code| platform::NO_SOCKET.contains(&code))
}

impl<C: PoolConnection> SharedMachine<C, Accepting> {
    /// Accepts a peer. Returns the attempt of its handshake; `None` if it is rejected.
    pub fn accept(self: &Arc<Self>, peer: SocketAddr) -> Option<Attempt<C, Accepting>> {
        match self.run(|machine, now| machine.accept(now, peer.ip())) {
            Ok(token) => Some(Attempt::handshake(self, token)),
            Err(rejected) => {
                events::peer_rejected(self.label(), display(peer), display(&rejected));
                self.note_failure(&format_args!("{peer} was turned away: {rejected}"));
                let kind = Kind::of_rejection(&rejected);
                self.note_peer_of(kind, peer, rejected.to_string().into());
                None
            }
        }
    }

    /// Records a failed accept. Tells the machine if no peer can come any more.
    pub fn accept_failed(&self, pacer: &mut AcceptPacer, error: &io::Error) -> AcceptFailure {
        let failure = pacer.failed(error);
        match failure {
            AcceptFailure::OfOnePeer => {}
            AcceptFailure::OfTheListener => {
                events::listener_failed(self.label(), display(error));
                self.note_failure(&format_args!("the listener has failed: {error}"));
                self.event(Event::AcceptEnded);
            }
            AcceptFailure::Pause(pause) => {
                let (error_shown, pause) = (display(error), debug(pause));
                match pacer.0.failures() {
                    1 => events::accept_failed(self.label(), error_shown, pause),
                    _ => events::accept_failed_again(self.label(), error_shown, pause),
                }
                // Live connections need the descriptors more than ended ones.
                self.run(|machine, now| machine.end_finished(now));
                self.note_failure(&format_args!("accept failed: {error}"));
            }
        }
        failure
    }
}

/// The listening socket of a server pool.
pub(super) struct ListeningSocket<N: Runtime> {
    pub(super) listener: N::Listener,
    /// Whether the pool has bound it. Otherwise it is the user's.
    pub(super) bound_here: bool,
}

impl<N: Runtime> ListeningSocket<N> {
    /// Frees the port before the listener is closed, where the system can (Linux).
    ///
    /// A child process holds all descriptors of its parent from its fork to its exec. So only a shutdown
    /// frees the port at once. A listener of the user's may belong to a service manager that goes on
    /// using it, so it is only closed.
    pub(super) fn free_port(&self) {
        if self.bound_here {
            // Fails on systems that cannot shut a listener down.
            let _ = N::kernel_listener(&self.listener).shutdown(Shutdown::Both);
        }
    }
}

impl<N: Runtime> Drop for ListeningSocket<N> {
    fn drop(&mut self) {
        self.free_port();
    }
}

/// Accepts peers for a server pool.
pub(super) struct Listener<N: Runtime> {
    /// `None` once it has failed for good. Only this reference lasts.
    socket: Option<Arc<ListeningSocket<N>>>,
    acceptor: Acceptor,
    options: Options,
    pacer: AcceptPacer,
    /// No accept before this.
    resume_at: Option<Instant>,
    turnstile: Turnstile,
    /// The number of peers accepted since the last time that nobody was waiting.
    in_a_row: usize,
}

impl<N: Runtime> Listener<N> {
    pub(super) fn new(
        socket: Arc<ListeningSocket<N>>,
        acceptor: Acceptor,
        keep_alive: Option<KeepAlive>,
    ) -> Self {
        // Not from the secret of the machine: an observer of the pauses can compute the seed.
        let pacer = AcceptPacer::new(fastrand::u64(..));
        // Saves six system calls for each peer. A listener of the user's keeps its own options.
        let are_inherited = platform::OPTIONS_ARE_INHERITED
            && socket.bound_here
            && N::kernel_listener(&socket.listener).configure(keep_alive).is_ok();
        let options = Options { keep_alive, are_inherited };
        Self {
            socket: Some(socket),
            acceptor,
            options,
            pacer,
            resume_at: None,
            turnstile: Turnstile::new(),
            in_a_row: 0,
        }
    }

    async fn next_peer(
        &mut self,
        runtime: &N,
        shared: &PoolMachine<N, Accepting>,
    ) -> (N::TcpStream, SocketAddr) {
        loop {
            if let Some(resume_at) = self.resume_at {
                runtime.sleep(resume_at.since(shared.now())).await;
                self.resume_at = None;
            }
            let Some(socket) = &self.socket else { return pending().await };
            let error = match runtime.accept(&socket.listener).await {
                Ok(peer) => {
                    let failures = self.pacer.accepted();
                    if failures > 0 {
                        events::accepting_again(shared.label(), failures);
                    }
                    return peer;
                }
                // The port was freed under it.
                Err(_) if shared.is_shutting_down() || shared.is_closed() => {
                    return pending().await;
                }
                Err(error) => error,
            };
            match shared.accept_failed(&mut self.pacer, &error) {
                AcceptFailure::OfOnePeer => N::yield_now().await,
                AcceptFailure::OfTheListener => self.socket = None,
                AcceptFailure::Pause(pause) => self.resume_at = Some(shared.now() + pause),
            }
        }
    }
}

impl<N: Runtime> Supply<N, Accepting> for Listener<N> {
    fn dial(
        &self,
        _runtime: &N,
        attempt: PoolAttempt<N, Accepting>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // The machine of a server commands no dials. A dropped attempt would report a failure.
        drop(attempt);
        ready(())
    }

    async fn accept(
        &mut self,
        runtime: &N,
        shared: &Arc<PoolMachine<N, Accepting>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        loop {
            let waiting = poll_once(self.next_peer(runtime, shared)).await;
            let (stream, peer) = match waiting {
                Some(peer) => peer,
                None => {
                    self.turnstile.open();
                    self.in_a_row = 0;
                    self.next_peer(runtime, shared).await
                }
            };
            self.in_a_row = self.in_a_row.wrapping_add(1);
            if self.in_a_row.is_multiple_of(BURST) {
                self.turnstile.crowded();
            }
            let Some(mut attempt) = shared.accept(peer) else {
                drop(stream);
                // So that a flood of rejected peers does not starve other tasks.
                N::yield_now().await;
                continue;
            };
            let token = attempt.token();
            let (acceptor, options) = (self.acceptor.clone(), self.options);
            let turnstile = self.turnstile.clone();
            let task = async move {
                let turn = turnstile.pass();
                let peer = (stream, peer);
                let outcome = accept(&mut attempt, peer, options, &acceptor, turn).await;
                attempt.complete(outcome);
            };
            return (token, task);
        }
    }
}
