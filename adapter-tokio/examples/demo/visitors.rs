//! Visitors: each sends its bytes, checks every byte of the echo, and reports how the visit ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::Failure;
use crate::entry::{REFUSED, SERVED};
use crate::payload::{Checker, Size, payload};
use crate::progress::Phase;

/// The longest time of a visit; a visitor that takes longer is stuck, which is a fault.
const VISIT_TIMEOUT: Duration = Duration::from_secs(8);

/// The end of a visit.
pub(crate) enum Ending {
    /// Every byte returned.
    Served {
        /// The time from the beginning of the connect to the first byte.
        first_byte: Duration,
        bytes: u64,
    },
    /// The entry side had no connection, and sent the reason.
    Refused,
    /// The connection ended before all bytes had returned.
    CutOff(String),
    /// The bytes that returned differ from those sent.
    Wrong(String),
}

/// The record of a visit.
pub(crate) struct Visit {
    pub(crate) began: Instant,
    pub(crate) ending: Ending,
}

/// The arrival pattern of visitors.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// A fixed number at a time: a visitor that leaves is replaced at once.
    Concurrent { at_a_time: u64, total: u64 },
    /// At a fixed rate, whether earlier visitors have left or not.
    Paced { every: Duration, total: u64 },
    /// All at once.
    Burst { total: u64 },
}

/// The number of the next visitor, from which its payload follows.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Runs one visit, with a pause in the middle of its data.
pub(crate) async fn visit(entry: SocketAddr, size: Size, pause: Duration) -> Visit {
    let visitor = NEXT.fetch_add(1, Ordering::Relaxed);
    let bytes = payload(visitor, size);
    let began = Instant::now();
    let ending = match timeout(VISIT_TIMEOUT, exchange(entry, bytes, began, pause)).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(error)) => Ending::CutOff(format!("visitor {visitor}: {error}")),
        Err(_) => Ending::CutOff(format!("visitor {visitor}: stuck for {VISIT_TIMEOUT:?}")),
    };
    Visit { began, ending }
}

async fn exchange(
    entry: SocketAddr,
    bytes: Vec<u8>,
    began: Instant,
    pause: Duration,
) -> Result<Ending, Failure> {
    let mut stream = TcpStream::connect(entry).await?;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let mut checker = Checker::new(bytes.clone());
    let write = async {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        writer.write_all(first).await?;
        if !pause.is_zero() {
            sleep(pause).await;
        }
        writer.write_all(second).await?;
        writer.shutdown().await
    };
    let read = async {
        match reader.read_u8().await? {
            SERVED => {}
            REFUSED => {
                let mut why = String::new();
                reader.read_to_string(&mut why).await?;
                return match why.is_empty() {
                    true => Ok(Ending::CutOff("refused without a reason".to_owned())),
                    false => Ok(Ending::Refused),
                };
            }
            other => return Ok(Ending::Wrong(format!("greeted with {other:#04x}"))),
        }
        let mut first_byte = None;
        let mut piece = vec![0; 16 * 1024];
        loop {
            let count = reader.read(&mut piece).await?;
            let piece = piece.get(..count).unwrap_or_default();
            if let Err(error) = checker.check(piece) {
                return Ok(Ending::Wrong(error.to_string()));
            }
            if piece.is_empty() {
                break;
            }
            first_byte.get_or_insert_with(|| began.elapsed());
        }
        Ok(match first_byte {
            Some(first_byte) if checker.complete() => {
                Ending::Served { first_byte, bytes: u64::try_from(checker.seen())? }
            }
            _ => Ending::CutOff(format!("after {} bytes", checker.seen())),
        })
    };
    // A failed write means that the entry side has closed; the reader knows the reason.
    let (ending, _) = tokio::join!(read, write);
    ending
}

/// Sends visitors to `entry`, and waits until the last one has left.
pub(crate) async fn send(entry: SocketAddr, load: Load, size: Size, phase: &Phase) -> Tally {
    let mut tally = Tally::new();
    let mut visits = JoinSet::new();
    let arrive = |visits: &mut JoinSet<Visit>| {
        let phase = phase.clone();
        visits.spawn(async move {
            let visit = visit(entry, size, Duration::ZERO).await;
            phase.step();
            visit
        });
    };
    let began = Instant::now();
    match load {
        Load::Concurrent { at_a_time, total } => {
            for number in 0..total {
                if number >= at_a_time {
                    tally.next(&mut visits).await;
                }
                arrive(&mut visits);
            }
        }
        Load::Paced { every, total } => {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..total {
                ticks.tick().await;
                arrive(&mut visits);
            }
        }
        Load::Burst { total } => (0..total).for_each(|_| arrive(&mut visits)),
    }
    while tally.next(&mut visits).await {}
    tally.took = began.elapsed();
    tally
}

/// The number of visits by the way in which they ended.
pub(crate) struct Tally {
    pub(crate) visitors: u64,
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) cut_off: u64,
    pub(crate) wrong: u64,
    /// Bytes that were sent and returned.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// The first fault.
    pub(crate) example: Option<Arc<str>>,
    /// Microseconds to the first byte.
    first_byte: Option<Histogram<u64>>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            visitors: 0,
            served: 0,
            refused: 0,
            cut_off: 0,
            wrong: 0,
            bytes: 0,
            took: Duration::ZERO,
            example: None,
            first_byte: Histogram::new_with_bounds(1, 60_000_000, 3).ok(),
        }
    }

    async fn next(&mut self, visits: &mut JoinSet<Visit>) -> bool {
        match visits.join_next().await {
            None => return false,
            Some(Ok(visit)) => self.count(&visit),
            Some(Err(error)) => self
                .count(&Visit { began: Instant::now(), ending: Ending::Wrong(error.to_string()) }),
        }
        true
    }

    pub(crate) fn count(&mut self, visit: &Visit) {
        self.visitors += 1;
        let fault = match &visit.ending {
            Ending::Served { first_byte, bytes } => {
                self.served += 1;
                self.bytes += bytes;
                let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
                if let Some(histogram) = &mut self.first_byte {
                    histogram.saturating_record(micros);
                }
                return;
            }
            Ending::Refused => {
                self.refused += 1;
                return;
            }
            Ending::CutOff(fault) => {
                self.cut_off += 1;
                fault
            }
            Ending::Wrong(fault) => {
                self.wrong += 1;
                fault
            }
        };
        self.example.get_or_insert_with(|| fault.as_str().into());
    }

    /// Adds the counts of another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        self.visitors += other.visitors;
        self.served += other.served;
        self.refused += other.refused;
        self.cut_off += other.cut_off;
        self.wrong += other.wrong;
        self.bytes += other.bytes;
        self.example = self.example.take().or_else(|| other.example.clone());
    }

    /// Returns the time to the first byte that this percentage of visitors did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let histogram = self.first_byte.as_ref();
        Duration::from_micros(histogram.map_or(0, |times| times.value_at_percentile(percent)))
    }
}
