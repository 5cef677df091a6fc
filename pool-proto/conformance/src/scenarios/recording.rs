//! Recordings: the tape of a real pool replays identically, and its end is told.

use std::io::{self, BufWriter, Write};
use std::mem;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pool_driver::BuildError;
use pool_driver::shared::{AcquireError, Recording};
use pool_driver::tls::TlsMode;
use pool_proto::tape::{Ending, Input, Replay, Step, Tape, TapeError};
use pool_proto::{Acquirer, ClientConfigBuilder};

use super::topic;
use crate::ends::{
    both_ends, client_config, client_tls, listener, server_config, server_tls, single,
    unused_address,
};
use crate::facade::{ClientSetup, Listen, OpenTape, ServerSetup};
use crate::log;
use crate::peers::ping_pong;
use crate::prelude::*;

topic! {
    parallel a_recorded_life_replays_identically,
    parallel a_pool_without_a_tape_is_not_recorded,
    parallel a_recording_ends_before_its_pool,
    parallel a_recording_is_flushed_while_its_pool_lives,
    parallel a_tape_whose_writer_fails_is_cut_off_and_the_pool_goes_on,
    parallel a_writer_that_is_too_slow_ends_the_tape_and_delays_nobody,
    parallel a_tape_that_cannot_be_opened_is_an_error,
}

/// A tape in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self) -> Option<OpenTape> {
        let memory = self.clone();
        Some(Arc::new(move || Ok(Box::new(memory.clone()))))
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The inputs of a tape, of which each must be answered as it was recorded, and the end of the tape.
#[track_caller]
fn replay(bytes: &[u8]) -> (Vec<Input>, Result<Option<Ending>, TapeError>) {
    let tape = Tape::read(bytes).unwrap();
    let mut replay = Replay::new(tape.header()).unwrap();
    assert!(replay.begins_alike());
    let (mut records, mut inputs) = (tape.records(), Vec::new());
    for record in &mut records {
        let record = match record {
            Ok(record) => record,
            Err(error) => return (inputs, Err(error)),
        };
        let step = replay.step(&record);
        assert!(matches!(step, Step::Same(_)), "{}: {}: {step:?}", record.number, record.input);
        inputs.push(record.input);
    }
    (inputs, Ok(records.ending()))
}

/// The inputs of a whole tape of a pool that has ended.
#[track_caller]
fn replay_whole(memory: &Memory, pool: &dyn Pool) -> Vec<Input> {
    let (inputs, ending) = replay(&memory.bytes());
    assert_eq!(ending, Ok(Some(Ending::Ended)));
    let recording = Recording::Ended { inputs: inputs.len() as u64, ending: Ending::Ended };
    assert_eq!(pool.recording(), Some(recording));
    inputs
}

impl Ends {
    fn recorded_client(
        &self,
        config: ClientConfigBuilder,
        tape: Option<OpenTape>,
    ) -> Arc<dyn Pool> {
        self.client.client(recorded_setup(config, "127.0.0.1:1".to_owned(), tape)).unwrap()
    }
}

fn recorded_setup(
    config: ClientConfigBuilder,
    address: String,
    tape: Option<OpenTape>,
) -> ClientSetup {
    let (config, dial) = (Some(config.build().unwrap()), Dial::Address(address));
    ClientSetup { config, tls: None, keep_alive: None, demand: Demand::Nothing, dial, tape }
}

fn a_recorded_life_replays_identically(ends: &Ends) {
    Modes::both(|mode| {
        let (ours, theirs) = (Memory::default(), Memory::default());
        let reuse = Duration::from_millis(1);
        let config = server_config()
            .acquirer(Acquirer::Both)
            .idle_timeout(Duration::from_secs(3))
            .max_lifetime(Duration::from_secs(5))
            .allow("127.0.0.0/8".parse().unwrap());
        let setup = ServerSetup {
            config: Some(config.build().unwrap()),
            tls: server_tls(mode),
            keep_alive: None,
            demand: Demand::Nothing,
            listen: Listen::On(listener().0),
            tape: ours.open(),
        };
        let server = ends.server.server(setup).unwrap();
        let config = client_config().capacity(4..=8).acquirer(Acquirer::Both).reuse_delay(reuse);
        let setup = ClientSetup {
            tls: client_tls(mode),
            ..recorded_setup(config, server.address().to_string(), theirs.open())
        };
        let client = ends.client.client(setup).unwrap();
        let ids = live(&server, &client);
        for pool in [&server, &client] {
            pool.end();
        }
        let told = replay_whole(&ours, &*server);
        assert!(told.iter().any(|input| matches!(input, Input::Accept { .. })), "{told:?}");
        assert!(told.iter().any(|input| matches!(input, Input::Admit { .. })), "{told:?}");
        let told = replay_whole(&theirs, &*client);
        assert!(told.iter().any(|input| matches!(input, Input::DialNow)), "{told:?}");
        assert!(told.iter().any(|input| matches!(input, Input::AcquireById { .. })), "{told:?}");
        assert!(told.iter().any(|input| matches!(input, Input::Flush)), "{told:?}");
        assert!(told.iter().any(|input| matches!(input, Input::GracefulShutdown { .. })));
        for tape in [ours.bytes(), theirs.bytes()] {
            for id in &ids {
                assert!(!tape.windows(4).any(|bytes| bytes == id), "{id:?} is on a tape");
            }
        }
    });
}

/// Uses two pools in many ways, and returns the ids of some of their connections.
fn live(server: &Arc<dyn Pool>, client: &Arc<dyn Pool>) -> Vec<[u8; 4]> {
    client.wait_ready(2, SOON).unwrap();
    server.wait_ready(2, SOON).unwrap();
    let mut ids = Vec::new();
    for round in 0..4 {
        let (mut one, mut other) = match round % 2 {
            0 => both_ends(server, client),
            _ => both_ends(client, server),
        };
        ping_pong(&mut *one, &mut *other);
        ids.push(one.id().to_bytes());
        let (at_client, at_server) = if round % 2 == 0 { (other, one) } else { (one, other) };
        if round < 2 {
            client.put(at_client).unwrap();
            server.put(at_server).unwrap();
        }
    }
    client.add_error();
    client.reset_error();
    client.dial_now();
    server.clean();
    client.flush();
    // More than will come: some wait, and give up.
    let held: Vec<_> = (0..12).map(|_| server.acquire(Duration::from_millis(5))).collect();
    let timeout = |taken: &Result<_, _>| matches!(taken, Err(AcquireError::Timeout { .. }));
    assert!(held.iter().any(timeout), "{held:?}");
    drop(held);
    client.graceful_shutdown(SOON);
    ids
}

fn a_pool_without_a_tape_is_not_recorded(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    for pool in [server, client] {
        assert_eq!(pool.recording(), None);
        pool.end_recording();
        assert_eq!(pool.recording(), None);
    }
}

fn a_recording_ends_before_its_pool(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let memory = Memory::default();
    let setup = recorded_setup(single(), server.address().to_string(), memory.open());
    let client = ends.client.client(setup).unwrap();
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
    assert!(matches!(client.recording(), Some(Recording::Running { inputs: 3.. })));
    client.end_recording();
    drop(theirs);
    let is_over = |recording: &_| matches!(recording, Some(Recording::Ended { .. }));
    eventually(|| client.recording(), is_over);
    let told = replay_whole(&memory, &*client);
    let closed = told.iter().filter(|input| matches!(input, Input::Closed { .. })).count();
    assert_eq!(closed, 0, "{told:?}");
    let length = memory.bytes().len();
    drop(client.take());
    client.end();
    assert_eq!(memory.bytes().len(), length);
}

fn a_recording_is_flushed_while_its_pool_lives(ends: &Ends) {
    let memory = Memory::default();
    let opened = memory.clone();
    let open: OpenTape = Arc::new(move || Ok(Box::new(BufWriter::new(opened.clone()))));
    let client = ends.recorded_client(client_config(), Some(open));
    // A process that is killed loses what has not been flushed.
    let inputs = || Tape::read(&memory.bytes()).map_or(0, |_| replay(&memory.bytes()).0.len());
    eventually(inputs, |inputs| *inputs > 0);
    client.end();
}

/// Writes some bytes to a tape in memory, and then fails, or panics.
struct Failing {
    memory: Memory,
    room: usize,
    panics: bool,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        self.room -= count;
        assert!(count > 0 || !self.panics, "the panic of a test");
        match bytes.get(..count) {
            Some(bytes) if count > 0 => self.memory.write(bytes),
            _ => Err(io::Error::other("the disk is full")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn a_tape_whose_writer_fails_is_cut_off_and_the_pool_goes_on(ends: &Ends) {
    for (panics, expected) in
        [(false, "the disk is full"), (true, "the writer of the tape panicked")]
    {
        let (memory, room) = (Memory::default(), 100_000);
        let opened = memory.clone();
        let open: OpenTape =
            Arc::new(move || Ok(Box::new(Failing { memory: opened.clone(), room, panics })));
        log::begin();
        let address = unused_address();
        let setup = recorded_setup(single(), address.to_string(), Some(open));
        let client = ends.client.client(setup).unwrap();
        let failed = eventually(
            || {
                (0..10_000).for_each(|_| client.add_error());
                client.recording()
            },
            |recording| matches!(recording, Some(Recording::Failed { .. })),
        );
        let Some(Recording::Failed { inputs, error }) = failed else { unreachable!() };
        assert_eq!(error, expected);
        let lines = log::of(address, "client");
        let told: Vec<_> =
            lines.iter().filter(|line| line.message == "the tape could not be written").collect();
        let [line] = *told else { panic!("{lines:#?}") };
        assert_eq!((line.text("error"), line.number("inputs")), (expected, inputs));
        assert_eq!(memory.bytes().len(), room);
        let (told, ending) = replay(&memory.bytes());
        assert_eq!(told.len() as u64, inputs);
        assert!(matches!(ending, Err(TapeError::Truncated { .. })), "{ending:?}");
        client.reset_error();
        assert_eq!(client.error_count(), 0);
        client.end();
    }
}

/// Writes to a tape in memory, once something is sent for each write.
struct Slow(Memory, Receiver<()>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.recv().map_err(io::Error::other)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn a_writer_that_is_too_slow_ends_the_tape_and_delays_nobody(ends: &Ends) {
    let memory = Memory::default();
    let (go, gone) = channel();
    let writer = Mutex::new(Some(Slow(memory.clone(), gone)));
    let open: OpenTape = Arc::new(move || {
        let writer = mem::take(&mut *writer.lock().unwrap());
        Ok(Box::new(writer.ok_or_else(|| io::Error::other("opened twice"))?))
    });
    let client = ends.recorded_client(single(), Some(open));
    // Some 3 bytes each: more than the buffer takes while nothing is written. Nothing is written before
    // these calls have returned.
    let inputs = 1_000_000;
    (0..inputs).for_each(|_| client.add_error());
    assert_eq!(client.error_count(), inputs);
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    let is_over = |recording: &_| matches!(recording, Some(Recording::Ended { .. }));
    let ended = eventually(|| client.recording(), is_over);
    let (told, ending) = replay(&memory.bytes());
    assert_eq!(ending, Ok(Some(Ending::Overrun)));
    let (inputs_on_tape, ending) = (told.len() as u64, Ending::Overrun);
    assert_eq!(ended, Some(Recording::Ended { inputs: inputs_on_tape, ending }));
    assert!(inputs_on_tape < inputs, "{inputs_on_tape}");
    client.end();
}

fn a_tape_that_cannot_be_opened_is_an_error(ends: &Ends) {
    let open: OpenTape = Arc::new(|| Err(io::Error::other("there is no such place")));
    let setup = recorded_setup(single(), "127.0.0.1:1".to_owned(), Some(open));
    let error = ends.client.client(setup).unwrap_err();
    assert!(matches!(error, BuildError::Tape { .. }), "{error:?}");
    assert!(error.to_string().contains("there is no such place"), "{error}");
}
