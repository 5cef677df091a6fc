//! Visitors and services, which both check every byte.
//!
//! A service speaks first: it sends its name and a newline. The visitor sends a seed, a length, and so
//! many bytes, and ends its direction. The service sends the bytes back, changed, and ends its own.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::process::SOON;

/// Changes the bytes of the way back, so that no byte can come from the wrong direction.
const MASK: u8 = 0x5a;

fn payload(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// The end of a visit.
#[derive(Debug, PartialEq)]
pub(crate) enum Visit {
    /// By the service of this name, with all bytes.
    Served(String),
    /// An error came first. All bytes before it were right.
    Cut,
    /// The end of the stream came first. All bytes before it were right.
    Short,
}

/// Makes a visit, with a payload of its own.
pub(crate) fn visit(address: SocketAddr) -> Visit {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let length = fastrand::Rng::with_seed(seed).usize(1..200_000);
    let Ok(mut reader) = TcpStream::connect(address) else { return Visit::Cut };
    reader.set_read_timeout(Some(SOON)).unwrap();
    let mut writer = reader.try_clone().unwrap();
    let mut name = [0; 2];
    match reader.read_exact(&mut name) {
        Ok(()) => assert_eq!(name[1], b'\n', "wrong byte"),
        Err(error) => return failed(&error),
    }
    let sent = payload(seed, length);
    let expected: Vec<u8> = sent.iter().map(|byte| byte ^ MASK).collect();
    let writing = thread::spawn(move || {
        let header = [seed.to_le_bytes(), (length as u64).to_le_bytes()].concat();
        writer.write_all(&header)?;
        writer.write_all(&sent)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut echo = Vec::new();
    let read = reader.read_to_end(&mut echo);
    let written = writing.join().unwrap();
    assert!(expected.starts_with(&echo), "wrong byte");
    match read {
        Ok(_) if echo.len() == length => Visit::Served(char::from(name[0]).to_string()),
        // The system tells a reset once: to the writer, and then the reader sees an end.
        Ok(_) if written.is_err() => Visit::Cut,
        Ok(_) => Visit::Short,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Visit {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Visit::Short,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => panic!("a visitor is stuck"),
        _ => Visit::Cut,
    }
}

/// A service of one agent.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

/// The observations of a service.
#[derive(Default)]
pub(crate) struct Seen {
    /// Visits with a byte that differs from the one that the visitor has sent.
    pub(crate) wrong: AtomicU32,
    /// Visits whose request ended too early, in good order.
    pub(crate) short: AtomicU32,
    pause: Mutex<Pause>,
    changed: Condvar,
}

#[derive(Default)]
struct Pause {
    /// Visits pause in the middle of the answer.
    held: bool,
    /// Visits that have come there.
    there: u32,
}

impl Seen {
    /// Lets visits pause in the middle of the answer, or go on.
    pub(crate) fn hold(&self, held: bool) {
        self.pause.lock().unwrap().held = held;
        self.changed.notify_all();
    }

    /// Waits until a visit pauses.
    #[track_caller]
    pub(crate) fn paused(&self) {
        let pause = self.pause.lock().unwrap();
        let waited = self.changed.wait_timeout_while(pause, SOON, |pause| pause.there == 0);
        assert!(!waited.unwrap().1.timed_out(), "no visitor reaches the service");
    }

    /// In the middle of an answer.
    fn middle(&self) {
        let mut pause = self.pause.lock().unwrap();
        pause.there += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(pause, |pause| pause.held).unwrap());
    }
}

impl Service {
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (name, watched) = (format!("{name}\n"), Arc::clone(&seen));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (name, seen) = (name.clone(), Arc::clone(&watched));
                thread::spawn(move || serve(socket.unwrap(), &name, &seen));
            }
        });
        Self { address, seen }
    }
}

fn serve(mut socket: TcpStream, name: &str, seen: &Seen) -> io::Result<()> {
    socket.write_all(name.as_bytes())?;
    let mut request = Vec::new();
    let mut header = [0; 16];
    socket.read_exact(&mut header)?;
    let [seed, length] = [0, 8].map(|at| u64::from_le_bytes(*header[at..].first_chunk().unwrap()));
    let expected = payload(seed, usize::try_from(length).unwrap_or(0).min(1 << 20));
    let mut piece = [0; 8192];
    loop {
        let count = socket.read(&mut piece)?;
        if count == 0 {
            break;
        }
        request.extend_from_slice(&piece[..count]);
        if !expected.starts_with(&request) {
            seen.wrong.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let echo: Vec<u8> = piece[..count].iter().map(|byte| byte ^ MASK).collect();
        if request.len() == expected.len() {
            let (first, second) = echo.split_at(count / 2);
            socket.write_all(first)?;
            seen.middle();
            socket.write_all(second)?;
        } else {
            socket.write_all(&echo)?;
        }
    }
    if request.len() < expected.len() {
        seen.short.fetch_add(1, Ordering::Relaxed);
    }
    socket.shutdown(Shutdown::Write)
}
