//! The thread that writes a tape: it sleeps until there is enough to write, or until the recording ends.
//! Time does not pass, so nobody wakes it but the machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pool_driver::shared::{Recording, SharedMachine};
use pool_proto::tape::{Block, Ending, Recorded};
use pool_proto::{Dialing, Instant};
use shuttle::sync::{Condvar, Mutex};

use crate::world::{Conn, Machine, ManualClock, settings};

/// The buffer is as small as it can be.
const LIMIT: usize = 0;

const PREEMPTIONS: usize = 4;

fn recorded() -> (Recorded<Conn, Dialing>, Block) {
    Recorded::client(&settings(1, Duration::ZERO), Instant::EPOCH, LIMIT)
}

/// Returns the number of inputs that make the work of the writer due.
fn inputs_of_a_block() -> u32 {
    let (mut machine, _) = recorded();
    for inputs in 1.. {
        machine.add_error();
        if machine.is_tape_due() {
            return inputs;
        }
    }
    unreachable!("the buffer is bounded")
}

/// Counts the blocks that are written.
#[derive(Clone, Default)]
struct Paper(Arc<(Mutex<u32>, Condvar)>);

impl Paper {
    fn wait_for(&self, blocks: u32) {
        let written = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(written, |written| *written < blocks).unwrap());
    }
}

impl io::Write for Paper {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
        Ok(())
    }
}

fn play(inputs: u32, end: fn(&Machine)) {
    let (machine, first) = recorded();
    let shared = SharedMachine::new(machine, ManualClock::default());
    shared.run(|machine, _| (1..inputs).for_each(|_| machine.add_error()));
    let paper = Paper::default();
    let (writer, its_paper) = (Arc::clone(&shared), paper.clone());
    let writer = shuttle::thread::spawn(move || writer.write_tape(first, Box::new(its_paper)));
    let caller = Arc::clone(&shared);
    let caller = shuttle::thread::spawn(move || caller.run(|machine, _| machine.add_error()));
    // The first block came with the machine.
    paper.wait_for(2);
    caller.join().unwrap();
    let ender = Arc::clone(&shared);
    let ender = shuttle::thread::spawn(move || end(&ender));
    [writer, ender].into_iter().for_each(|thread| thread.join().unwrap());
    let recording = shared.recording();
    let Some(Recording::Ended { ending: Ending::Ended, inputs: written }) = recording else {
        panic!("{recording:?}")
    };
    assert_eq!(written, u64::from(inputs));
}

#[test]
fn tape_is_written_when_there_is_enough_and_at_its_end() {
    let inputs = inputs_of_a_block();
    for end in [SharedMachine::end_recording, SharedMachine::end] {
        let orders = crate::explore(PREEMPTIONS, move || play(inputs, end));
        println!("tape: {orders} orders with up to {PREEMPTIONS} pre-emptions");
    }
}
