//! A client's and a server's machine, driven by hand over blocking `std::net`: no adapter, no
//! executor, no feature. Whatever can do I/O and tell the time can drive a machine like this.
//!
//! `cargo run -p pool-proto --example by_hand`

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Buf;
use pool_proto::{
    Acquired, Action, CheckKind, CheckResult, Client, ClientConfig, Collected, ConnId, Event,
    HandshakeFailure, IdFormat, IdReader, IdWriter, Instant, Machine, Role, Server, ServerConfig,
    Token,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Pool<R> = Machine<TcpStream, R>;

/// The machine never asks what time it is: its driver says so, by a clock that does not jump.
#[expect(clippy::disallowed_methods, reason = "the one clock of this driver")]
fn now() -> Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::EPOCH + START.elapsed()
}

/// Both drivers. A connection is a plain socket, in both machines.
struct Hands {
    listener: TcpListener,
    client: Client<TcpStream>,
    server: Server<TcpStream>,
    accepted: Vec<Token>,
}

impl Hands {
    /// The driving loop: what has come due is done, what comes out of the machines is carried out
    /// in order, and what came of it goes in again, until there is nothing left to do.
    fn drive(&mut self) -> Outcome {
        loop {
            let now = now();
            if self.client.poll_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
            if self.server.poll_timeout().is_some_and(|due| due <= now) {
                self.server.handle_timeout(now);
            }
            match self.client.poll_action() {
                Some(Action::Dial { token }) => self.dial(token)?,
                Some(action) => carry_out("client", &mut self.client, action)?,
                None => match self.server.poll_action() {
                    Some(action) => carry_out("server", &mut self.server, action)?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Answered by `DialFailed`, or by `Dialed` and then `Established` or `HandshakeFailed`.
    fn dial(&mut self, token: Token) -> Outcome {
        let Ok(mut connection) = TcpStream::connect(self.listener.local_addr()?) else {
            self.client.handle_event(now(), Event::DialFailed { token });
            return Ok(());
        };
        self.client.handle_event(now(), Event::Dialed { token });
        // Elsewhere each handshake has a thread or a task; here both ends take turns.
        self.accept()?;
        let mut reader = IdReader::new(IdFormat::Hex8);
        // Not a byte more than is missing: what follows the id is the user's.
        let mut wire = vec![0; reader.missing()];
        let failure = HandshakeFailure::Id;
        let mut event = Event::HandshakeFailed { token, failure };
        if connection.read_exact(&mut wire).is_ok() {
            reader.feed(&wire);
            let id = Some(reader.end()?);
            println!("client: {token:?} has the id {id:?}");
            event = established(token, connection, id);
        }
        self.client.handle_event(now(), event);
        Ok(())
    }

    /// `admit` reserves a place and names the id; when that has left, the connection is ready.
    fn accept(&mut self) -> Outcome {
        let (mut connection, peer) = self.listener.accept()?;
        let admission = self.server.admit(now(), peer.ip())?;
        let token = admission.token;
        let writer = IdWriter::new(IdFormat::Hex8, admission.id);
        connection.write_all(writer.chunk())?;
        println!("server: {token:?} gets the id {}", admission.id);
        self.accepted.push(token);
        self.server.handle_event(now(), established(token, connection, None));
        Ok(())
    }
}

fn established(token: Token, connection: TcpStream, id: Option<ConnId>) -> Event<TcpStream> {
    Event::Established { token, connection, id }
}

/// What the drivers of both roles do alike.
fn carry_out<R: Role>(end: &str, pool: &mut Pool<R>, action: Action<TcpStream>) -> Outcome {
    println!("{end}: {action:?}");
    match action {
        Action::Check { token, mut connection, kind } => {
            let result = look(&mut connection, kind)?;
            println!("{end}: {token:?} is found {result:?}");
            let event = Event::Checked { token, connection, result };
            pool.handle_event(now(), event);
        }
        // An executor would stop the task, or wake it; here nothing runs besides this loop.
        Action::Abort { .. } | Action::Wake { .. } => {}
        Action::Close { connection, .. } => drop(connection),
        Action::Dial { .. } => return Err("only a client dials".into()),
    }
    Ok(())
}

/// Looks at a socket without blocking, and throws away what has arrived if it is to be drained.
fn look(stream: &mut TcpStream, kind: CheckKind) -> Outcome<CheckResult> {
    stream.set_nonblocking(true)?;
    let mut bytes = [0; 1024];
    let result = loop {
        match stream.peek(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break CheckResult::Quiet,
            Err(_) | Ok(0) => break CheckResult::Closed,
            Ok(_) if kind == CheckKind::Inspect => break CheckResult::Data,
            Ok(count) => stream.read_exact(bytes.split_at_mut(count).0)?,
        }
    };
    stream.set_nonblocking(false)?;
    Ok(result)
}

/// Sends a request from one end to the other, and an answer back.
fn talk(mut here: &TcpStream, mut there: &TcpStream) -> Outcome {
    let mut heard = [0; 4];
    here.write_all(b"ping")?;
    there.read_exact(&mut heard)?;
    there.write_all(&heard)?;
    here.read_exact(&mut heard)?;
    check(&heard == b"ping", "a request and its answer arrive")
}

fn check(holds: bool, what: &str) -> Outcome {
    println!("check:  {what}: {holds}");
    holds.then_some(()).ok_or_else(|| what.into())
}

fn main() -> Outcome {
    let client = ClientConfig::builder().capacity(3..=4);
    let client = client.idle_timeout(Duration::from_secs(1));
    let mut hands = Hands {
        listener: TcpListener::bind("127.0.0.1:0")?,
        client: Client::new(&client.build()?, now()),
        server: Server::new(&ServerConfig::builder().build()?, now()),
        accepted: Vec::new(),
    };
    println!("-- the server takes any; nobody has connected yet, so it waits for its turn");
    let Acquired::Queued(waiter) = hands.server.acquire(now()) else {
        return Err("there is a connection before anybody has connected".into());
    };
    hands.drive()?;
    let Collected::Ready(served) = hands.server.collect(now(), waiter) else {
        return Err("nobody served the waiter".into());
    };
    println!("-- the client takes the same connection, by the id that the server tells it");
    let Acquired::Ready(taken) = hands.client.acquire_by_id(now(), served.id) else {
        return Err("the client does not know the id".into());
    };
    hands.drive()?;
    talk(&served.connection, &taken.connection)?;
    talk(&taken.connection, &served.connection)?;
    println!("-- both put it back: it is drained, and ready again");
    hands.client.put(now(), taken.token, taken.connection)?;
    hands.server.put(now(), served.token, served.connection)?;
    hands.drive()?;
    check(hands.client.idle() == 4 && hands.server.idle() == 4, "four are ready at both ends")?;
    println!("-- sleep until the first deadline: idle connections end, others take their place");
    let due = hands.client.poll_timeout().ok_or("no timer is running")?;
    std::thread::sleep(due.since(now()));
    hands.drive()?;
    check(hands.client.stats().totals.idle_timeouts > 0, "a timer fired")?;
    // The server's sockets are readable now. A reactor would say which; by hand: look at all.
    for token in std::mem::take(&mut hands.accepted) {
        hands.server.handle_event(now(), Event::Readable { token });
    }
    hands.drive()?;
    check(hands.server.stats().totals.peer_closed > 0, "the server saw them end")?;
    println!("-- flush: everything ends and begins anew; close: and nothing begins any more");
    check(hands.client.flush(now()) >= 3, "there was something to flush")?;
    hands.drive()?;
    check(hands.client.idle() == 3, "three new ones are ready")?;
    hands.client.close(now());
    hands.server.close(now());
    hands.drive()?;
    check(hands.client.idle() + hands.server.idle() == 0, "nothing is left")?;
    println!("by_hand: ok");
    Ok(())
}
