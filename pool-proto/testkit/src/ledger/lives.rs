//! Live connections, as they are seen from outside.

use std::net::IpAddr;

use pool_proto::{CheckKind, CheckResult, ConnId, Event, Instant, State, Token};

use crate::call::Call;

/// Where a live connection is, from outside: idle, claimed, granted and resting connections are all
/// in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Dialing,
    Accepted,
    Handshaking,
    Admitted,
    Pooled,
    Checking,
    Leased,
}

const PLACES: usize = 7;

/// The holder of a connection that the driver has passed to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The driver, or a user.
    Driver,
    Machine,
    Nobody,
}

/// A peer: an IPv4 address, an IPv6 /64 network, or a certificate, which three numbers tell apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(u64, u8);

impl Source {
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64, 6),
            IpAddr::V4(address) => Self(address.to_bits() as u64, 4),
        }
    }

    /// The peer with this certificate.
    pub const fn with_certificate(certificate: [u8; 32]) -> Self {
        Self(certificate[0] as u64, 0)
    }
}

/// A live connection.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub token: Token,
    pub place: Place,
    /// The machine's state when it was last looked at, after a call.
    pub(super) state: State,
    /// When it came there.
    pub since: Instant,
    pub established: Option<Instant>,
    /// The kind of its last check.
    pub(super) kind: Option<CheckKind>,
    pub id: Option<ConnId>,
    /// Whether it was last leased to a caller for any connection.
    pub(super) acquired: bool,
    /// Whether the peer has begun to use it since it was last in use here.
    pub(super) begun: bool,
    /// Its number, once it is established.
    pub connection: Option<u32>,
    pub source: Option<Source>,
    /// The peer, once its identity is proven.
    pub(super) peer: Option<Source>,
    born: u64,
}

impl Life {
    /// Notes what a call reveals of the peer's use of the connection.
    pub(super) fn note_use(&mut self, call: &Call) {
        let checked = match *call {
            Call::Event(Event::Checked { result, .. }) if self.kind == Some(CheckKind::Inspect) => {
                Some(result)
            }
            Call::Reject(_, _, result) => Some(result),
            Call::Put(..) | Call::PutDrained(..) => return self.begun = false,
            _ => None,
        };
        self.begun |= matches!(checked, Some(CheckResult::Data | CheckResult::Finished));
    }

    /// Whether the peer has begun to use it and nobody here has it.
    pub(super) fn is_request(&self, control: bool) -> bool {
        let rests = matches!(self.state, State::Claimed | State::Finished);
        rests && self.begun && !(control && self.id == Some(ConnId::ZERO))
    }

    /// Its number, while the machine holds it.
    pub fn inside(&self) -> Option<u32> {
        self.connection.filter(|_| self.place == Place::Pooled)
    }
}

/// Live connections by the slots of their tokens.
#[derive(Clone, Default)]
pub(super) struct Lives {
    slots: Vec<Option<Life>>,
    counts: [u32; PLACES],
    born: u64,
}

impl Lives {
    pub(super) fn get(&self, token: Token) -> Option<&Life> {
        self.slots.get(token.slot())?.as_ref().filter(|life| life.token == token)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Life> {
        self.slots.get_mut(token.slot())?.as_mut().filter(|life| life.token == token)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Life> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Life> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn oldest_first(&self) -> Vec<&Life> {
        let mut lives: Vec<&Life> = self.iter().collect();
        lives.sort_unstable_by_key(|life| life.born);
        lives
    }

    pub(super) fn len(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// How many are in this place.
    pub(super) const fn count(&self, place: Place) -> u32 {
        self.counts[place as usize]
    }

    /// Adds a connection. Returns the previous one in its slot, which has to be `None`.
    pub(super) fn insert(
        &mut self,
        token: Token,
        place: Place,
        state: State,
        now: Instant,
        source: Option<Source>,
    ) -> Option<Life> {
        if self.slots.len() <= token.slot() {
            self.slots.resize(token.slot() + 1, None);
        }
        self.born += 1;
        self.counts[place as usize] += 1;
        self.slots[token.slot()].replace(Life {
            token,
            place,
            state,
            since: now,
            established: None,
            kind: None,
            id: None,
            acquired: false,
            begun: false,
            connection: None,
            source,
            peer: None,
            born: self.born,
        })
    }

    pub(super) fn relocate(&mut self, token: Token, to: Place) {
        let Some(life) = self.get_mut(token) else { return };
        let from = std::mem::replace(&mut life.place, to);
        self.counts[from as usize] -= 1;
        self.counts[to as usize] += 1;
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Life> {
        let slot = self.slots.get_mut(token.slot())?;
        let life = slot.take_if(|life| life.token == token)?;
        self.counts[life.place as usize] -= 1;
        Some(life)
    }
}
