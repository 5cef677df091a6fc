//! One machine, its driver and its users.

use pool_proto::{
    Acquired, Action, CheckKind, CheckResult, Collected, ConnId, Event, HandshakeFailure, Lease,
    Machine, Role, Stock, Token, WaitReason, WaiterId,
};

use super::net::{Net, Packet, Place, Side};

/// Drains throw away so much at the most.
const DRAIN_LIMIT: u32 = 2;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    Id(ConnId),
    Stock,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    id: WaiterId,
    pub(super) want: Want,
    pub(super) woken: bool,
}

pub(super) struct Peer<R: Role> {
    pub(super) machine: Machine<u32, R>,
    side: Side,
    pub(super) checks: Vec<(Token, usize, CheckKind)>,
    pub(super) leases: Vec<Lease<u32>>,
    pub(super) waiters: Vec<Waiter>,
}

impl<R: Role> Peer<R> {
    pub(super) fn new(machine: Machine<u32, R>, side: Side) -> Self {
        Self { machine, side, checks: Vec::new(), leases: Vec::new(), waiters: Vec::new() }
    }

    // --- the driver -----------------------------------------------------------------------------

    /// Carries out what the machine wants. To be called after each of its calls.
    pub(super) fn settle(&mut self, net: &mut Net) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Dial { token } => net.dial(token),
                Action::Check { token, connection, kind } => {
                    let link = self.of_machine(net, token, connection, Place::Checking);
                    self.checks.push((token, link, kind));
                }
                Action::Close { token, connection, .. } => {
                    self.of_machine(net, token, connection, Place::Ended);
                }
                Action::Abort { token, .. } => {
                    let link = net.find(self.side, token);
                    let held = [Place::Dialing, Place::Handshaking, Place::Leased];
                    net.moved(link, self.side, &held, Place::Ended);
                    self.leases.retain(|lease| lease.token != token);
                }
                Action::Wake { waiter } => {
                    let known = self.waiters.iter_mut().find(|known| known.id == waiter);
                    known.expect("a waiter that was not over").woken = true;
                }
            }
        }
        net.audit();
    }

    /// A connection comes out of the machine.
    fn of_machine(&self, net: &mut Net, token: Token, connection: u32, to: Place) -> usize {
        let link = connection as usize;
        assert_eq!(net.end(link, self.side).token, token);
        net.moved(link, self.side, &[Place::Pooled], to);
        link
    }

    pub(super) fn tell(&mut self, net: &mut Net, event: Event<u32>) {
        self.machine.handle_event(net.now, event);
        self.settle(net);
    }

    pub(super) fn timeout(&mut self, net: &mut Net) {
        self.machine.handle_timeout(net.now);
        self.settle(net);
        let next = self.machine.poll_timeout();
        assert!(next.is_none_or(|at| at > net.now), "{next:?} is due at {:?}", net.now);
    }

    /// What arrives at an end of this side. (A Syn is for the server's listener.)
    pub(super) fn arrived(&mut self, net: &mut Net, link: usize, packet: Packet) {
        let side = self.side;
        let Some(end) = net.links[link].ends[side].as_mut() else { return };
        let token = end.token;
        end.unread += u32::from(packet == Packet::Data);
        end.eof |= packet == Packet::Eof;
        match (end.place, packet) {
            (Place::Dialing, Packet::Accepted) => {
                end.place = Place::Handshaking;
                net.send(link, 1 - side, Packet::Hello);
                self.tell(net, Event::Dialed { token });
            }
            (Place::Handshaking, Packet::Id(id)) => self.established(net, link, Some(id)),
            (Place::Handshaking, Packet::Hello) => {
                let id = end.id.expect("an admitted connection has its id");
                net.send(link, 1 - side, Packet::Id(id));
                self.established(net, link, None);
            }
            (Place::Dialing, Packet::Eof) => {
                net.moved(link, side, &[Place::Dialing], Place::Ended);
                self.tell(net, Event::DialFailed { token });
            }
            (Place::Handshaking, Packet::Eof) => {
                net.moved(link, side, &[Place::Handshaking], Place::Ended);
                let failure = HandshakeFailure::Id;
                self.tell(net, Event::HandshakeFailed { token, failure });
            }
            (Place::Pooled, Packet::Data | Packet::Eof) => {
                self.tell(net, Event::Readable { token });
            }
            // A user, or the check that is under way, will find it; an end that is gone will not.
            (Place::Leased | Place::Checking, Packet::Data | Packet::Eof) | (Place::Ended, _) => {}
            (place, packet) => panic!("{packet:?} has come to an end that is {place:?}"),
        }
    }

    fn established(&mut self, net: &mut Net, link: usize, id: Option<ConnId>) {
        let end = net.end(link, self.side);
        end.place = Place::Pooled;
        end.id = end.id.or(id);
        let (token, connection) = (end.token, link as u32);
        self.tell(net, Event::Established { token, connection, id });
    }

    /// Answers one of the checks, truthfully.
    pub(super) fn answer(&mut self, net: &mut Net, check: usize) {
        let (token, link, kind) = self.checks.remove(check);
        let end = net.end(link, self.side);
        let result = look(end.unread, end.eof, kind);
        match kind {
            CheckKind::Inspect => end.claimed |= result == CheckResult::Data,
            CheckKind::Drain => end.unread = 0,
        }
        net.moved(link, self.side, &[Place::Checking], Place::Pooled);
        self.tell(net, Event::Checked { token, connection: link as u32, result });
    }

    // --- the users ------------------------------------------------------------------------------

    /// Takes any connection or one by id. Whoever takes any tells the other end its id.
    pub(super) fn acquire(&mut self, net: &mut Net, want: Want) {
        let answer = match want {
            Want::Id(id) => self.machine.acquire_by_id(net.now, id),
            _ => self.machine.acquire(net.now),
        };
        self.acquired(net, answer, want);
    }

    fn acquired(&mut self, net: &mut Net, answer: Acquired<u32>, want: Want) {
        if let Acquired::Queued(id) = answer {
            self.waiters.push(Waiter { id, want, woken: false });
        }
        self.settle(net);
        if let Acquired::Ready(lease) = answer {
            self.leased(net, lease, want);
        }
    }

    pub(super) fn wait_ready(&mut self, net: &mut Net, ready: u32) {
        if let Stock::Queued(id) = self.machine.wait_ready(net.now, ready) {
            self.waiters.push(Waiter { id, want: Want::Stock, woken: false });
        }
        self.settle(net);
    }

    /// A waiter looks. One that was not woken must find nothing.
    pub(super) fn collect(&mut self, net: &mut Net, waiter: usize) {
        let Waiter { id, want, woken } = self.waiters[waiter];
        let outcome = self.machine.collect(net.now, id);
        // It is still known: if what it was promised had expired, it is woken for what it has found
        // instead.
        self.settle(net);
        match outcome {
            Collected::Waiting => self.waiters[waiter].woken = false,
            Collected::Unknown => panic!("{id:?} is not over"),
            outcome => {
                assert!(woken, "{outcome:?} came without a wake");
                self.waiters.remove(waiter);
                if let Collected::Ready(lease) = outcome {
                    self.leased(net, lease, want);
                }
            }
        }
    }

    /// What a waiter waits for, if it does.
    pub(super) fn why(&self, waiter: &Waiter) -> Option<WaitReason> {
        self.machine.why(waiter.id)
    }

    pub(super) fn cancel(&mut self, net: &mut Net, waiter: usize) {
        let Waiter { id, .. } = self.waiters.remove(waiter);
        let _ = self.machine.cancel(net.now, id);
        assert_eq!(self.machine.collect(net.now, id), Collected::Unknown);
        self.settle(net);
    }

    /// The driver looks once more at what is handed out, and gives back what is unfit.
    fn leased(&mut self, net: &mut Net, lease: Lease<u32>, want: Want) {
        let link = self.of_machine(net, lease.token, lease.connection, Place::Leased);
        let end = net.end(link, self.side);
        assert_eq!(Some(lease.id), end.id, "{want:?}");
        match want {
            Want::Id(id) => assert_eq!(lease.id, id),
            _ => assert!(!end.claimed, "{lease:?} is somebody's, but was given to anybody"),
        }
        let result = look(end.unread, end.eof, CheckKind::Inspect);
        let fit = match want {
            Want::Id(_) => result != CheckResult::Closed,
            _ => result == CheckResult::Quiet,
        };
        if fit {
            if want == Want::Any {
                net.control[1 - self.side].push(lease.id);
            }
            self.leases.push(lease);
            return;
        }
        end.claimed |= result == CheckResult::Data;
        end.place = Place::Pooled;
        self.machine.reject(net.now, lease.token, lease.connection, result);
        self.settle(net);
        if want == Want::Any {
            let answer = self.machine.acquire_again(net.now);
            // Not endless: what was unfit is closed or claimed now.
            self.acquired(net, answer, want);
        }
    }

    /// Puts a lease back; `drained` if the driver does that itself.
    pub(super) fn put(&mut self, net: &mut Net, lease: usize, drained: bool) {
        let Lease { token, connection, .. } = self.leases.swap_remove(lease);
        let end = net.end(connection as usize, self.side);
        end.place = Place::Pooled;
        end.claimed = false;
        let put = if drained {
            let result = look(end.unread, end.eof, CheckKind::Drain);
            end.unread = 0;
            self.machine.put_drained(net.now, token, connection, result)
        } else {
            self.machine.put(net.now, token, connection)
        };
        assert_eq!(put, Ok(()), "a lease that was not aborted");
        self.settle(net);
    }

    /// Closes a lease.
    pub(super) fn release(&mut self, net: &mut Net, lease: usize) {
        let Lease { token, connection, .. } = self.leases.swap_remove(lease);
        net.moved(connection as usize, self.side, &[Place::Leased], Place::Ended);
        self.tell(net, Event::Closed { token });
    }

    /// Uses a lease: reads what is there, and writes something.
    pub(super) fn exchange(&mut self, net: &mut Net, lease: usize) {
        let link = self.leases[lease].connection as usize;
        net.end(link, self.side).unread = 0;
        net.send(link, 1 - self.side, Packet::Data);
    }
}

/// What a look finds.
fn look(unread: u32, eof: bool, kind: CheckKind) -> CheckResult {
    match kind {
        CheckKind::Drain if unread > DRAIN_LIMIT => CheckResult::Data,
        CheckKind::Inspect if unread > 0 => CheckResult::Data,
        _ if eof => CheckResult::Closed,
        _ => CheckResult::Quiet,
    }
}
