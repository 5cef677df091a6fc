//! Drives a client's and a server's machine by hand over blocking `std::net`, without an adapter or an
//! executor. Any program that can do I/O and read a clock can drive a machine like this.
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

/// Returns the time by a monotonic clock. The machine never reads a clock; its driver does.
#[expect(clippy::disallowed_methods, reason = "the one clock of this driver")]
fn now() -> Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::EPOCH + START.elapsed()
}

/// Returns secret bytes, from which a machine derives ids, jitter and hash keys: it has no randomness of
/// its own.
fn entropy() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The driver of both machines. A connection is a plain socket.
struct Driver {
    listener: TcpListener,
    client: Client<TcpStream>,
    server: Server<TcpStream>,
    accepted: Vec<Token>,
}

impl Driver {
    /// The driving loop: handles deadlines, carries out the actions of the machines in order, and driver
    /// in the results, until both machines are quiet.
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

    /// Carries out a dial. Answers with `DialFailed`, or with `Dialed` and then `Established` or
    /// `HandshakeFailed`.
    fn dial(&mut self, token: Token) -> Outcome {
        let Ok(mut connection) = TcpStream::connect(self.listener.local_addr()?) else {
            self.client.handle_event(now(), Event::DialFailed { token });
            return Ok(());
        };
        self.client.handle_event(now(), Event::Dialed { token });
        // An adapter gives each handshake a thread or a task; here both ends take turns.
        self.accept()?;
        let mut reader = IdReader::new(IdFormat::Hex8);
        // Reads only the missing bytes: bytes after the id are the user's.
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

    /// Accepts a peer. `admit` gives it a place and an id (with TLS, that is done after the handshake);
    /// after the id is sent, the connection is ready.
    fn accept(&mut self) -> Outcome {
        let (mut connection, peer) = self.listener.accept()?;
        let token = self.server.accept(now(), peer.ip())?;
        let id = self.server.admit(now(), token, None)?;
        let writer = IdWriter::new(IdFormat::Hex8, id);
        connection.write_all(writer.chunk())?;
        println!("server: {token:?} gets the id {id}");
        self.accepted.push(token);
        self.server.handle_event(now(), established(token, connection, None));
        Ok(())
    }
}

fn established(token: Token, connection: TcpStream, id: Option<ConnId>) -> Event<TcpStream> {
    Event::Established { token, connection, id }
}

/// Carries out the actions that both roles have.
fn carry_out<R: Role>(end: &str, pool: &mut Pool<R>, action: Action<TcpStream>) -> Outcome {
    println!("{end}: {action:?}");
    match action {
        Action::Check { token, mut connection, kind } => {
            let result = inspect(&mut connection, kind)?;
            println!("{end}: {token:?} is {result:?}");
            let event = Event::Checked { token, connection, result };
            pool.handle_event(now(), event);
        }
        // An executor would cancel a task, or wake it; here nothing runs besides this loop.
        Action::Abort { .. } | Action::Wake { .. } => {}
        Action::Close { connection, .. } => drop(connection),
        Action::Dial { .. } => return Err("only a client dials".into()),
    }
    Ok(())
}

/// Checks a socket without blocking, and discards arrived data if it is to be drained.
fn inspect(stream: &mut TcpStream, kind: CheckKind) -> Outcome<CheckResult> {
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

fn check(holds: bool, claim: &str) -> Outcome {
    println!("check:  {claim}: {holds}");
    holds.then_some(()).ok_or_else(|| claim.into())
}

fn main() -> Outcome {
    let client = ClientConfig::builder().capacity(3..=4);
    let client = client.idle_timeout(Duration::from_secs(1)).build()?.or_entropy(entropy()?);
    let server = ServerConfig::builder().build()?.or_entropy(entropy()?);
    let mut driver = Driver {
        listener: TcpListener::bind("127.0.0.1:0")?,
        client: Client::new(&client, now()),
        server: Server::new(&server, now()),
        accepted: Vec::new(),
    };
    println!("-- the server acquires any connection; none is there yet, so it waits");
    let Acquired::Queued(waiter) = driver.server.acquire(now()) else {
        return Err("there is a connection before a client has connected".into());
    };
    driver.drive()?;
    let Collected::Ready(served) = driver.server.collect(now(), waiter) else {
        return Err("the waiter was not served".into());
    };
    println!("-- the client acquires the same connection, by the id that the server tells it");
    let Acquired::Ready(taken) = driver.client.acquire_by_id(now(), served.id) else {
        return Err("the client does not know the id".into());
    };
    driver.drive()?;
    talk(&served.connection, &taken.connection)?;
    talk(&taken.connection, &served.connection)?;
    println!("-- both put it back: it is drained and ready again");
    driver.client.put(now(), taken.token, taken.connection)?;
    driver.server.put(now(), served.token, served.connection)?;
    driver.drive()?;
    check(driver.client.idle() == 4 && driver.server.idle() == 4, "four are ready at both ends")?;
    println!("-- sleep until the first deadline: idle connections are closed and replaced");
    let due = driver.client.poll_timeout().ok_or("no timer is running")?;
    std::thread::sleep(due.since(now()));
    driver.drive()?;
    check(driver.client.stats().totals.idle_timeouts > 0, "a timer fired")?;
    // The server's sockets are readable now. A reactor would say which; here all are checked.
    for token in std::mem::take(&mut driver.accepted) {
        driver.server.handle_event(now(), Event::Readable { token });
    }
    driver.drive()?;
    check(driver.server.stats().finished > 0, "the server saw one end, and keeps its id")?;
    println!("-- flush: all connections end and are replaced; close: none is replaced");
    check(driver.client.flush(now()) >= 3, "there were connections to flush")?;
    driver.drive()?;
    check(driver.client.idle() == 3, "three new connections are ready")?;
    driver.client.close(now());
    driver.server.close(now());
    driver.drive()?;
    check(driver.client.idle() + driver.server.idle() == 0, "nothing is left")?;
    println!("by_hand: ok");
    Ok(())
}
