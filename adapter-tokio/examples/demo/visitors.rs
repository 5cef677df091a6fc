//! Visitors: each sends its bytes, checks every byte that comes back, and says how it went.

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
use crate::entry::{SORRY, WELCOME};
use crate::payload::{Checker, Size, payload};
use crate::progress::Phase;

/// No visitor stays longer; one that does is stuck, which is a fault.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a visit ended.
pub(crate) enum Ending {
    /// Every byte came back.
    Served {
        /// From the beginning of connecting to the first of them.
        first_byte: Duration,
        bytes: u64,
    },
    /// There was no connection, and the entry side said why.
    Refused,
    /// It was given a connection, which ended before all was done.
    CutOff(String),
    /// What came back is not what was sent.
    Wrong(String),
}

/// One visit.
pub(crate) struct Visit {
    pub(crate) began: Instant,
    pub(crate) ending: Ending,
}

/// When visitors come.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// So many at a time; one that leaves is replaced at once.
    Crowd { at_a_time: u64, total: u64 },
    /// One after another, whether those before have left or not.
    Paced { every: Duration, total: u64 },
    /// All at once.
    Burst { total: u64 },
}

/// A visitor's number: it makes the payload.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One visitor, who may pause in the middle of what it sends.
pub(crate) async fn visit(entry: SocketAddr, size: Size, pause: Duration) -> Visit {
    let visitor = NEXT.fetch_add(1, Ordering::Relaxed);
    let bytes = payload(visitor, size);
    let began = Instant::now();
    let ending = match timeout(PATIENCE, exchange(entry, bytes, began, pause)).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(error)) => Ending::CutOff(format!("visitor {visitor}: {error}")),
        Err(_) => Ending::CutOff(format!("visitor {visitor}: stuck for {PATIENCE:?}")),
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
            WELCOME => {}
            SORRY => {
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
    // Writing fails when the entry side has hung up, of which the reader finds out more.
    let (ending, _) = tokio::join!(read, write);
    ending
}

/// Sends visitors to `entry` and waits for the last one to leave.
pub(crate) async fn send(entry: SocketAddr, load: Load, size: Size, phase: &Phase) -> Tally {
    let mut tally = Tally::new();
    let mut visits = JoinSet::new();
    let come = |visits: &mut JoinSet<Visit>| {
        let phase = phase.clone();
        visits.spawn(async move {
            let visit = visit(entry, size, Duration::ZERO).await;
            phase.step();
            visit
        });
    };
    let began = Instant::now();
    match load {
        Load::Crowd { at_a_time, total } => {
            for number in 0..total {
                if number >= at_a_time {
                    tally.next(&mut visits).await;
                }
                come(&mut visits);
            }
        }
        Load::Paced { every, total } => {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..total {
                ticks.tick().await;
                come(&mut visits);
            }
        }
        Load::Burst { total } => (0..total).for_each(|_| come(&mut visits)),
    }
    while tally.next(&mut visits).await {}
    tally.took = began.elapsed();
    tally
}

/// How many visits ended in which way.
pub(crate) struct Tally {
    pub(crate) visitors: u64,
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) cut_off: u64,
    pub(crate) wrong: u64,
    /// Sent and received back, each.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// What is worth telling.
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
        let told = match &visit.ending {
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
            Ending::CutOff(told) => {
                self.cut_off += 1;
                told
            }
            Ending::Wrong(told) => {
                self.wrong += 1;
                told
            }
        };
        self.example.get_or_insert_with(|| told.as_str().into());
    }

    /// Counts another's visitors here, too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.visitors += other.visitors;
        self.served += other.served;
        self.refused += other.refused;
        self.cut_off += other.cut_off;
        self.wrong += other.wrong;
        self.bytes += other.bytes;
        self.example = self.example.take().or_else(|| other.example.clone());
    }

    /// Time to the first byte that so many percent did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let histogram = self.first_byte.as_ref();
        Duration::from_micros(histogram.map_or(0, |times| times.value_at_percentile(percent)))
    }
}
