//! The network between the two machines: every connection with what is on its way to either end,
//! and who has each end.

use std::collections::VecDeque;

use pool_proto::{ConnId, Instant, Token};

/// Which end: the index of everything that both have.
pub(super) type Side = usize;
pub(super) const CLIENT: Side = 0;
pub(super) const SERVER: Side = 1;

/// What travels. It keeps its order within a connection, and none between connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// To the server: somebody connects.
    Syn,
    /// To the client: it is connected.
    Accepted,
    /// To the server: all that the handshake needs.
    Hello,
    /// To the client: the id.
    Id(ConnId),
    /// Of the users.
    Data,
    /// The other end is gone.
    Eof,
}

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The driver, in these three.
    Dialing,
    Handshaking,
    Checking,
    /// The machine.
    Pooled,
    /// A user.
    Leased,
    Ended,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) token: Token,
    pub(super) place: Place,
    /// Its id, as this end knows it.
    pub(super) id: Option<ConnId>,
    /// Packets of data that nobody has read.
    pub(super) unread: u32,
    pub(super) eof: bool,
    /// Whether the machine was told that the peer has begun to use it.
    pub(super) claimed: bool,
}

#[derive(Default)]
pub(super) struct Link {
    /// None where there is no such end: not yet, or because the server did not admit it.
    pub(super) ends: [Option<End>; 2],
    pub(super) inbox: [VecDeque<Packet>; 2],
    /// Whether the id was changed on its way.
    pub(super) forged: bool,
}

#[derive(Default)]
pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) links: Vec<Link>,
    /// Ids on their way to each end's user.
    pub(super) control: [Vec<ConnId>; 2],
}

impl Net {
    pub(super) fn dial(&mut self, token: Token) {
        let mut link = Link::default();
        link.inbox[SERVER].push_back(Packet::Syn);
        self.links.push(link);
        self.begin(self.links.len() - 1, CLIENT, token, Place::Dialing, None);
    }

    pub(super) fn begin(
        &mut self,
        link: usize,
        side: Side,
        token: Token,
        place: Place,
        id: Option<ConnId>,
    ) {
        let fresh = self
            .links
            .iter()
            .all(|link| link.ends[side].as_ref().is_none_or(|end| end.token != token));
        assert!(fresh, "{token:?} was used before");
        let end = End { token, place, id, unread: 0, eof: false, claimed: false };
        assert!(self.links[link].ends[side].replace(end).is_none());
    }

    pub(super) fn end(&mut self, link: usize, side: Side) -> &mut End {
        self.links[link].ends[side].as_mut().expect("an end that was begun")
    }

    /// Moves an end to another place; it must be in one of these.
    pub(super) fn moved(&mut self, link: usize, side: Side, from: &[Place], to: Place) {
        let end = self.end(link, side);
        assert!(from.contains(&end.place), "{to:?} after {end:?} of side {side}");
        end.place = to;
        if to == Place::Ended {
            self.send(link, 1 - side, Packet::Eof);
        }
    }

    /// Which connection has this token at this end.
    pub(super) fn find(&self, side: Side, token: Token) -> usize {
        let has = |link: &Link| link.ends[side].as_ref().is_some_and(|end| end.token == token);
        self.links.iter().position(has).expect("a token of this machine")
    }

    pub(super) fn send(&mut self, link: usize, to: Side, packet: Packet) {
        self.links[link].inbox[to].push_back(packet);
    }

    /// Everything that is on its way is lost, and both ends notice.
    pub(super) fn reset(&mut self, link: usize) {
        for inbox in &mut self.links[link].inbox {
            inbox.clear();
            inbox.push_back(Packet::Eof);
        }
    }

    /// Puts another id in the place of one that is on its way to the client.
    pub(super) fn forge(&mut self, link: usize, forged: ConnId) {
        for packet in &mut self.links[link].inbox[CLIENT] {
            if let Packet::Id(id) = packet
                && *id != forged
            {
                *id = forged;
                self.links[link].forged = true;
                return;
            }
        }
    }

    /// Connections with something on its way, and to which end.
    pub(super) fn busy(&self) -> Vec<(usize, Side)> {
        let mut busy = Vec::new();
        for (number, link) in self.links.iter().enumerate() {
            busy.extend(
                [CLIENT, SERVER]
                    .map(|side| (number, side))
                    .into_iter()
                    .filter(|(_, side)| !link.inbox[*side].is_empty()),
            );
        }
        busy
    }

    /// What must hold whenever both machines are at rest.
    pub(super) fn audit(&self) {
        let mut ids = Vec::new();
        for link in &self.links {
            if let [Some(client), Some(server)] = &link.ends
                && client.id.is_some()
                && !link.forged
            {
                assert_eq!(client.id, server.id, "the ends of one connection");
            }
            // One that is being checked may have been given up.
            let lives = |end: &&End| matches!(end.place, Place::Pooled | Place::Leased);
            ids.extend(link.ends[CLIENT].as_ref().filter(lives).and_then(|end| end.id));
        }
        let named = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), named, "two live connections of the client have one id");
    }
}
