//! Who is to be told when something happens on a socket. The driver's thread waits; whatever thread
//! holds a socket says what it waits for.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry};
use pool_proto::Token;
use slab::Slab;

/// The event that wakes the driver for other things than sockets.
const WAKE: mio::Token = mio::Token(usize::MAX);
/// The event of a server's listener.
pub(crate) const LISTENER: mio::Token = mio::Token(usize::MAX - 1);

/// Shared by all sockets of a pool.
#[derive(Debug)]
pub(crate) struct Reactor {
    registry: Registry,
    waker: mio::Waker,
    places: Mutex<Slab<Place>>,
}

/// What is known of a socket.
#[derive(Debug)]
struct Place {
    socket: RawFd,
    waiting: Waiting,
}

/// Who waits for a socket.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// Nobody: its holder reads by himself.
    Nobody,
    /// The driver, to go on with a handshake.
    Handshake(Token),
    /// The watch over an idle connection.
    Watch(Waker),
}

impl Reactor {
    pub(crate) fn new() -> io::Result<(Poll, Arc<Self>)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        Ok((poll, Arc::new(Self { registry, waker, places: Mutex::default() })))
    }

    fn places(&self) -> MutexGuard<'_, Slab<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a socket, which is to be given back before the socket is closed.
    pub(crate) fn enter(&self, socket: RawFd) -> usize {
        self.places().insert(Place { socket, waiting: Waiting::Nobody })
    }

    pub(crate) fn leave(&self, place: usize) {
        let left = self.places().try_remove(place);
        // Outside the mutex: a waker may be the last hold on more.
        drop(left);
    }

    /// Tells `waiting` of what happens on the socket from now on, and of what has happened.
    pub(crate) fn tell(&self, place: usize, waiting: Waiting) -> io::Result<()> {
        let interest = match waiting {
            Waiting::Handshake(_) => Interest::READABLE | Interest::WRITABLE,
            Waiting::Nobody | Waiting::Watch(_) => Interest::READABLE,
        };
        let mut places = self.places();
        let Some(known) = places.get_mut(place) else { return Ok(()) };
        let former = std::mem::replace(&mut known.waiting, waiting);
        let (mut socket, token) = (SourceFd(&known.socket), mio::Token(place));
        let told = match self.registry.reregister(&mut socket, token, interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.registry.register(&mut socket, token, interest)
            }
            result => result,
        };
        drop(places);
        drop(former);
        told
    }

    /// Who is to be told of an event. A watch is told once; a socket that nobody waits for is no
    /// longer listened to: its holder reads a lot, and each packet would wake the driver.
    pub(crate) fn told(&self, token: mio::Token) -> Waiting {
        let mut places = self.places();
        let Some(place) = places.get_mut(token.0) else { return Waiting::Nobody };
        match std::mem::replace(&mut place.waiting, Waiting::Nobody) {
            Waiting::Nobody => {
                self.stop_listening(place);
                Waiting::Nobody
            }
            Waiting::Handshake(token) => {
                place.waiting = Waiting::Handshake(token);
                Waiting::Handshake(token)
            }
            watch @ Waiting::Watch(_) => watch,
        }
    }

    /// Nobody waits for a socket any more, unless a watch has begun.
    pub(crate) fn forget(&self, token: mio::Token) {
        let mut places = self.places();
        if let Some(place) = places.get_mut(token.0)
            && matches!(place.waiting, Waiting::Handshake(_))
        {
            place.waiting = Waiting::Nobody;
            self.stop_listening(place);
        }
    }

    fn stop_listening(&self, place: &Place) {
        // It fails where that has been done already.
        let _ = self.registry.deregister(&mut SourceFd(&place.socket));
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.waker.wake() {
            // Its deadlines still wake the driver.
            tracing::error!(%error, "the driver could not be woken");
        }
    }
}
