//! From a dial to an established connection: accept, hello, hello, finished, id.
//!
//! TLS is three messages of fixed lengths here; the id on the wire is the real one, written and read
//! by the code that adapters use.

use std::time::Duration;

use bytes::Buf;
use pool_proto::{
    CheckResult, ConnId, Event, HandshakeFailure, IdExchange, IdFormat, IdReader, IdWriter, State,
    Token,
};

use crate::setup::Side;
use crate::violation::{Verdict, ensure};
use crate::world::faults::Fault;
use crate::world::network::{HOME, Segment, Stage, endpoint_of, nanos, side_of, transport_of};
use crate::world::{What, World};

const CLIENT_HELLO: usize = 8;
const SERVER_HELLO: usize = 16;
const FINISHED: usize = 4;

impl World {
    /// The client's driver dials.
    pub(crate) fn dial(&mut self, token: Token) {
        let transport = self.new_transport(HOME, Stage::Connecting, Some(token));
        let at = endpoint_of(transport, Side::Client);
        self.tokens[Side::Client as usize].insert(token, at);
        self.tally.connections += 1;
        self.knock(transport);
    }

    /// A transport on its way to the server's host.
    pub(crate) fn knock(&mut self, transport: usize) {
        if self.strikes(Fault::DialLost) {
            self.transports[transport].cut = [true; 2];
            return;
        }
        let delay = self.travel(Side::Server);
        self.at(self.now + delay, What::Knock(transport));
    }

    /// A transport has come to the server's host.
    pub(crate) fn accept(&mut self, transport: usize) -> Verdict {
        let at = endpoint_of(transport, Side::Server);
        if self.transports[transport].cut[Side::Server as usize] {
            return Ok(());
        }
        let refused = self.strikes(Fault::DialRefused);
        if refused || !self.up[Side::Server as usize] || !self.listening {
            self.answer_knock(transport, Segment::Refused);
            return Ok(());
        }
        let (now, source) = (self.now, self.transports[transport].source);
        let accepted = self.ends[Side::Server as usize].accept(now, source)?;
        self.answer_knock(transport, Segment::Accepted);
        self.endpoint(at).stage = Stage::AwaitHello;
        if let Ok(token) = accepted {
            self.note(|| format!("server accepts {token:?}"));
            // An evicted connection leaves its slot to this one. The command to abort it comes later,
            // and then no longer finds it.
            let evicted = self.tokens[Side::Server as usize].insert(token, at);
            evicted.into_iter().for_each(|evicted| self.close_endpoint(evicted));
            self.endpoint(at).token = Some(token);
        } else {
            // It is accepted by the host and closed by the pool.
            self.note(|| format!("server turns one away: {accepted:?}"));
            self.close_endpoint(at);
        }
        // Evictions come after: they close connections of others.
        self.carry_out(Side::Server)?;
        if accepted.is_ok() && self.strikes(Fault::EndlessHandshake) {
            self.transports[transport].endless = true;
        }
        Ok(())
    }

    /// The server's driver has finished the handshake: the peer gets a place and an id, or is turned
    /// away.
    fn prove(&mut self, transport: usize) -> Verdict {
        let at = endpoint_of(transport, Side::Server);
        let Some(token) = self.endpoint(at).token else { return Ok(()) };
        let (now, source) = (self.now, self.transports[transport].source);
        let admitted = self.ends[Side::Server as usize].admit(now, token, source)?;
        self.note(|| format!("server admits {token:?}: {admitted:?}"));
        self.carry_out(Side::Server)?;
        let Ok(id) = admitted else {
            self.close_endpoint(at);
            return Ok(());
        };
        self.ids_sent.push(id);
        if self.ids_sent.len() > 64 {
            self.ids_sent.remove(0);
        }
        if self.strikes(Fault::CloseAfterHandshake) {
            self.closing_early.push(token);
        }
        self.endpoint(at).stage = Stage::SendingId;
        self.send_id(at);
        Ok(())
    }

    fn answer_knock(&mut self, transport: usize, answer: Segment) {
        self.send(endpoint_of(transport, Side::Server), answer);
    }

    /// The client's driver has a connected transport.
    pub(crate) fn accepted(&mut self, at: u32) -> Verdict {
        let end = self.endpoint(at);
        end.stage = Stage::AwaitServerHello;
        let token = end.token;
        self.send_bytes(at, &[b'c'; CLIENT_HELLO]);
        match token {
            Some(token) => self.event(Side::Client, Event::Dialed { token }),
            None => Ok(()),
        }
    }

    /// A step of the handshake, on either end.
    pub(crate) fn shake_hands(&mut self, at: u32) -> Verdict {
        let transport = transport_of(at);
        self.first_byte(at)?;
        if self.transports[transport].endless {
            return Ok(());
        }
        let (stage, ended) = (self.endpoint(at).stage, self.endpoint(at).ended);
        match stage {
            Stage::AwaitHello if self.read(at, CLIENT_HELLO) => {
                self.endpoint(at).stage = Stage::AwaitFinished;
                if self.strikes(Fault::BrokenHandshake) {
                    return self.handshake_failed(at, HandshakeFailure::Tls);
                }
                let slow = self.strikes(Fault::SlowHandshake);
                let pause = if slow { self.random.u64(..5_000_000_000) } else { 0 };
                self.at(self.now + pause, What::ServerHello(transport));
                Ok(())
            }
            Stage::AwaitServerHello if self.read(at, SERVER_HELLO) => {
                self.send_bytes(at, &[b'f'; FINISHED]);
                match self.options.ids {
                    IdExchange::Wire(format) => {
                        self.endpoint(at).reader = Some(IdReader::new(format));
                        self.endpoint(at).stage = Stage::AwaitId;
                        self.shake_hands(at)
                    }
                    IdExchange::None => self.established(at, None),
                }
            }
            Stage::AwaitFinished if self.read(at, FINISHED) => self.prove(transport),
            Stage::AwaitId => self.read_id(at),
            Stage::Connecting if ended => {
                self.endpoint(at).stage = Stage::Closed;
                match self.endpoint(at).token {
                    Some(token) => self.event(Side::Client, Event::DialFailed { token }),
                    None => Ok(()),
                }
            }
            // A driver that has written the id does not read before it is done.
            Stage::SendingId if self.transports[transport].outbox.is_empty() => Ok(()),
            _ if ended => self.handshake_failed(at, HandshakeFailure::Transport),
            _ => Ok(()),
        }
    }

    /// Tells the server of the first byte of a peer, once.
    fn first_byte(&mut self, at: u32) -> Verdict {
        let end = self.endpoint(at);
        let Some(token) = end.token else { return Ok(()) };
        let heard = end.stage == Stage::AwaitHello && !end.inbox.is_empty();
        if heard && self.end(Side::Server).state(token) == Some(State::Accepted) {
            return self.event(Side::Server, Event::FirstByte { token });
        }
        Ok(())
    }

    pub(crate) fn server_hello(&mut self, transport: usize) -> Verdict {
        let at = endpoint_of(transport, Side::Server);
        if self.endpoint(at).stage == Stage::AwaitFinished {
            self.send_bytes(at, &[b's'; SERVER_HELLO]);
            return self.shake_hands(at);
        }
        Ok(())
    }

    /// Reads a handshake message, if it is all there.
    fn read(&mut self, at: u32, len: usize) -> bool {
        let inbox = &mut self.endpoint(at).inbox;
        let whole = inbox.len() >= len;
        if whole {
            inbox.drain(..len);
        }
        whole
    }

    /// The server's driver writes the id, or lies.
    fn send_id(&mut self, at: u32) {
        let transport = transport_of(at);
        let IdExchange::Wire(format) = self.options.ids else {
            self.at(self.now, What::IdSent(transport));
            return;
        };
        let token = self.endpoint(at).token;
        let known = token.and_then(|token| self.end(Side::Server).ledger.id(token));
        let mut id = known.unwrap_or(ConnId::ZERO);
        if self.strikes(Fault::DuplicateId) {
            let others: Vec<_> =
                self.ids_sent.iter().copied().filter(|other| *other != id).collect();
            id = self.random.choice(&others).copied().unwrap_or(id);
        } else if self.strikes(Fault::ForeignId) {
            id = ConnId::from_bytes(self.random.u32(..).to_be_bytes());
        }
        self.transports[transport].spoiled |= Some(id) != known;
        let mut writer = IdWriter::new(format, id);
        let mut wire = writer.copy_to_bytes(writer.remaining()).to_vec();
        if self.strikes(Fault::BrokenId) {
            self.transports[transport].spoiled = true;
            if format == IdFormat::Hex8 && self.random.bool() {
                let wrong = self.random.usize(..wire.len());
                wire[wrong] = b'Z';
            } else {
                wire.truncate(self.random.usize(..wire.len()));
            }
        }
        self.note(|| format!("server sends {wire:02x?} on {at}"));
        if self.transports[transport].trickle.is_some() {
            self.transports[transport].outbox.extend(wire);
            self.at(self.now, What::Trickle(transport));
        } else {
            self.send_bytes(at, &wire);
            // The flush takes its time, too.
            let pause = self.random.u64(..100_000);
            self.at(self.now + pause, What::IdSent(transport));
        }
    }

    /// The next byte of an id that trickles.
    pub(crate) fn trickle(&mut self, transport: usize) -> Verdict {
        let at = endpoint_of(transport, Side::Server);
        if self.endpoint(at).stage != Stage::SendingId {
            return Ok(());
        }
        let gap = self.transports[transport].trickle.map_or(0, nanos);
        match self.transports[transport].outbox.pop_front() {
            Some(byte) => {
                self.send_bytes(at, &[byte]);
                self.at(self.now + gap, What::Trickle(transport));
                Ok(())
            }
            None => self.id_sent(transport),
        }
    }

    /// The id has been flushed: from now on the server's end can be taken.
    pub(crate) fn id_sent(&mut self, transport: usize) -> Verdict {
        let at = endpoint_of(transport, Side::Server);
        if self.endpoint(at).stage != Stage::SendingId {
            return Ok(());
        }
        let Some(token) = self.endpoint(at).token else { return Ok(()) };
        if self.closing_early.contains(&token) {
            // A full server of the Go package does this, too.
            self.closing_early.retain(|other| *other != token);
            return self.handshake_failed(at, HandshakeFailure::Transport);
        }
        self.established(at, None)
    }

    fn read_id(&mut self, at: u32) -> Verdict {
        let end = self.endpoint(at);
        let ended = end.ended;
        let Some(reader) = end.reader.as_mut() else { return Ok(()) };
        let arrived: Vec<u8> = end.inbox.drain(..).collect();
        reader.feed(&arrived);
        let read = match reader.poll() {
            Ok(None) if ended => reader.end().map(Some),
            read => read,
        };
        match read {
            Ok(None) => Ok(()),
            Err(error) => {
                self.note(|| format!("client reads no id on {at}: {error}"));
                self.handshake_failed(at, HandshakeFailure::Id)
            }
            Ok(Some(id)) => {
                let surplus = end.reader.take().map(IdReader::into_surplus);
                end.inbox.extend(surplus.iter().flatten());
                self.established(at, Some(id))
            }
        }
    }

    /// A driver hands a connection to its machine, having looked at it once.
    fn established(&mut self, at: u32, id: Option<ConnId>) -> Verdict {
        let Some(token) = self.endpoint(at).token else {
            // A stranger, who stays a while.
            self.endpoint(at).stage = Stage::Gone;
            return Ok(());
        };
        let result = self.look(at);
        self.endpoint(at).stage = Stage::Pooled;
        let side = side_of(at);
        self.note(|| format!("{side:?} has established {at} {id:?}"));
        self.check_ids_agree(at, id)?;
        if self.strikes(Fault::EarlyReadable) {
            // A reactor may be quicker than the handshake's last step.
            self.event(side, Event::Readable { token })?;
        }
        self.event(side, Event::Established { token, connection: at, id })?;
        if result != CheckResult::Quiet && self.endpoint(at).stage == Stage::Pooled {
            return self.event(side, Event::Readable { token });
        }
        Ok(())
    }

    /// 4: the client has read the id that the server gave, unless it was forged.
    fn check_ids_agree(&mut self, at: u32, id: Option<ConnId>) -> Verdict {
        let transport = transport_of(at);
        let server = self.endpoint(endpoint_of(transport, Side::Server));
        // A later machine may use the token of an end that is closed.
        let open = !matches!(server.stage, Stage::Closed | Stage::Gone);
        let token = server.token.filter(|_| open);
        let given = token.and_then(|token| self.end(Side::Server).ledger.id(token));
        let spoiled = self.transports[transport].spoiled;
        if let (Some(given), Some(id)) = (given, id) {
            ensure!(spoiled || given == id, "4: both ends have one id", "{given}, {id} on {at}");
        }
        Ok(())
    }

    /// Strangers come to the door: some never say a word, some are clients like any other.
    pub(crate) fn strangers(&mut self) {
        for _ in 0..self.random.u8(1..12) {
            let source = self.random.u16(2..40);
            let transport = self.new_transport(source, Stage::Connecting, None);
            let delay = self.random.u64(..200_000_000);
            if self.random.u8(..3) > 0 {
                // Silent once it is in.
                self.transports[transport].endless = true;
            }
            self.at(self.now + delay, What::Knock(transport));
        }
    }
}

/// The longest way from a dial to an established connection without faults.
pub(crate) fn dial_and_handshake(delay: Duration, jitter: Duration) -> Duration {
    // Knock, answer, hello, hello, finished and id, each one way at the most; then a flush.
    (delay + jitter) * 6 + Duration::from_millis(1)
}
