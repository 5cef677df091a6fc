//! Rows 7 and 8: bulk and ping-pong through streams of tokio, leased and bare.

use std::sync::Arc;

use adapter_tokio::PooledStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_rustls::TlsStream;

use crate::Outcome;
use crate::ends::{self, Bare, Pools, Tls, bare_ends, runtime};
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, Samples, alternate_kinds};
use crate::system::{now, processor, traced};

pub(crate) const BARE: &str = "the bare stream";

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl Stream for PooledStream {}
impl Stream for TcpStream {}
impl Stream for TlsStream<TcpStream> {}
impl Stream for Box<TlsStream<TcpStream>> {}

/// Both ends of a connection, which tasks use in turn.
pub(crate) struct Ends<S>(Arc<Mutex<S>>, Arc<Mutex<S>>);

impl<S: Stream> Ends<S> {
    pub(crate) fn new(near: S, far: S) -> Self {
        Self(Arc::new(Mutex::new(near)), Arc::new(Mutex::new(far)))
    }

    /// Sends `bytes` from one task to another, which reads into a buffer of `size`. Returns MB/s, and
    /// nanoseconds of processor time per KiB.
    pub(crate) async fn bulk(&self, bytes: usize, size: usize) -> Outcome<[f64; 2]> {
        /// The bytes of a write.
        const CHUNK: usize = 64 * 1024;
        let begun = (now(), processor());
        let near = Arc::clone(&self.0);
        let writing = tokio::spawn(async move {
            let mut near = near.lock().await;
            let chunk = vec![7; CHUNK];
            for _ in 0..bytes / CHUNK {
                near.write_all(&chunk).await?;
            }
            near.flush().await
        });
        let far = Arc::clone(&self.1);
        let reading = tokio::spawn(async move {
            let mut far = far.lock().await;
            let mut buffer = Vec::with_capacity(size);
            let mut left = bytes / CHUNK * CHUNK;
            while left > 0 {
                let count = far.read_buf(&mut buffer).await?;
                if count == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                left = left.saturating_sub(count);
                buffer.clear();
            }
            std::io::Result::Ok(())
        });
        writing.await??;
        reading.await??;
        let (took, used) = (now() - begun.0, processor() - begun.1);
        Ok([bytes as f64 * 1e3 / took as f64, used as f64 * 1024.0 / bytes as f64])
    }

    /// Sends 64 bytes there and back, `times` times. Returns nanoseconds by the clock, and of processor
    /// time, per round trip.
    pub(crate) async fn ping_pong(&self, times: u32) -> Outcome<[f64; 2]> {
        let begun = (now(), processor());
        let far = Arc::clone(&self.1);
        let answering = tokio::spawn(async move {
            let mut far = far.lock().await;
            let mut data = [0; 64];
            for _ in 0..times {
                far.read_exact(&mut data).await?;
                far.write_all(&data).await?;
                far.flush().await?;
            }
            std::io::Result::Ok(())
        });
        let near = Arc::clone(&self.0);
        let asking = tokio::spawn(async move {
            let mut near = near.lock().await;
            let mut data = [0; 64];
            for _ in 0..times {
                near.write_all(&data).await?;
                near.flush().await?;
                near.read_exact(&mut data).await?;
            }
            std::io::Result::Ok(())
        });
        asking.await??;
        answering.await??;
        let times = f64::from(times);
        Ok([(now() - begun.0) as f64 / times, (processor() - begun.1) as f64 / times])
    }
}

/// A leased connection and a bare one, and the pools of the former.
pub(crate) struct Both {
    pools: Pools,
    pub(crate) leased: Ends<PooledStream>,
    pub(crate) bare: BareEnds,
}

pub(crate) enum BareEnds {
    Plain(Ends<TcpStream>),
    Tls(Ends<TlsStream<TcpStream>>),
}

/// Calls `$act` with both ends, which have one of two types.
macro_rules! with_ends {
    ($ends:expr, |$ends_here:ident| $act:expr) => {
        match $ends {
            BareEnds::Plain($ends_here) => $act,
            BareEnds::Tls($ends_here) => $act,
        }
    };
}

impl Both {
    pub(crate) async fn new(tls: Option<&Tls>) -> Outcome<Self> {
        let pools = Pools::new(1, tls).await?;
        let (near, far) = pools.pair().await?;
        Ok(Self { pools, leased: Ends::new(near, far), bare: bare(tls).await? })
    }

    pub(crate) async fn close(self) {
        drop(self.leased);
        self.pools.close().await;
    }
}

async fn bare(tls: Option<&Tls>) -> Outcome<BareEnds> {
    let (mut near, mut far) = bare_ends(1, tls).await?;
    match (near.pop(), far.pop()) {
        (Some(Bare::Plain(near)), Some(Bare::Plain(far))) => {
            Ok(BareEnds::Plain(Ends::new(near, far)))
        }
        (Some(Bare::Tls(near)), Some(Bare::Tls(far))) => Ok(BareEnds::Tls(Ends::new(*near, *far))),
        _ => Err("no connection".into()),
    }
}

/// The most time that a goal for speed leaves. Judged is processor time: where other programs run, the
/// ratios by the clock are spread over a factor of ten.
fn most(speed: f64) -> f64 {
    (1000.0 / speed).round() / 1000.0
}

/// Row 7.
pub(crate) fn bulk(mode: Mode, report: &mut Report) -> Outcome {
    for workers in [1, 2] {
        let runtime = runtime(workers)?;
        for is_tls in [false, true] {
            let tls = Tls::new(is_tls)?;
            for size in [16, 256] {
                bulk_at(&runtime, workers, tls.as_ref(), size, mode, report)?;
            }
        }
    }
    Ok(())
}

fn bulk_at(
    runtime: &Runtime,
    workers: usize,
    tls: Option<&Tls>,
    size: usize,
    mode: Mode,
    report: &mut Report,
) -> Outcome {
    let bytes = mode.pick(1, 4, 4, 8) << 20;
    let what = format!("bulk, {}, buffer {size} KiB, {workers} worker(s)", ends::wire(tls));
    let size = size * 1024;
    let mut kinds: Option<[Vec<Samples>; 2]> = None;
    // The system sizes the buffers of a connection by its first data, so that a pair may be slow for good.
    for _ in 0..mode.pick(1, 3, 9, 21) {
        let both = runtime.block_on(Both::new(tls))?;
        let contestants = vec![
            Contestant::with_kinds("ours", || runtime.block_on(both.leased.bulk(bytes, size))),
            Contestant::with_kinds(BARE, || {
                with_ends!(&both.bare, |ends| runtime.block_on(ends.bulk(bytes, size)))
            }),
        ];
        let more = alternate_kinds(mode.pick(1, 5, 13, 21), true, contestants)?;
        match &mut kinds {
            None => kinds = Some(more),
            Some(kinds) => {
                for (all, more) in kinds.iter_mut().flatten().zip(more.into_iter().flatten()) {
                    all.values.extend(more.values);
                }
            }
        }
        runtime.block_on(both.close());
    }
    let [rates, costs] = kinds.ok_or("nothing was measured")?;
    report.row(&Row {
        number: "7",
        what: what.clone(),
        unit: "MB/s",
        samples: rates,
        goals: Vec::new(),
    });
    report.row(&Row {
        number: "7",
        what: format!("{what}: processor time, both ends"),
        unit: "ns per KiB",
        samples: costs,
        goals: vec![Goal::ratio(BARE, Limit::AtMost(most(0.98)))],
    });
    Ok(())
}

/// Row 8.
pub(crate) fn ping_pong(mode: Mode, report: &mut Report) -> Outcome {
    let runtime = runtime(1)?;
    for is_tls in [false, true] {
        let tls = Tls::new(is_tls)?;
        let wire = ends::wire(tls.as_ref());
        let both = runtime.block_on(Both::new(tls.as_ref()))?;
        let times = mode.pick(20, 300, 300, 500);
        let contestants = vec![
            Contestant::with_kinds("ours", || runtime.block_on(both.leased.ping_pong(times))),
            Contestant::with_kinds(BARE, || {
                with_ends!(&both.bare, |ends| runtime.block_on(ends.ping_pong(times)))
            }),
        ];
        let [times, costs] = alternate_kinds(mode.pick(1, 15, 151, 501), true, contestants)?;
        runtime.block_on(both.close());
        report.row(&Row {
            number: "8",
            what: format!("64 bytes there and back, {wire}"),
            unit: "ns",
            samples: times,
            goals: Vec::new(),
        });
        report.row(&Row {
            number: "8",
            what: format!("64 bytes there and back, {wire}: processor time"),
            unit: "ns",
            samples: costs,
            goals: vec![Goal::ratio(BARE, Limit::AtMost(most(if is_tls { 1.0 } else { 0.98 })))],
        });
        calls(wire, mode, report)?;
    }
    Ok(())
}

/// Counts the system calls of a round trip, by strace.
fn calls(wire: &str, mode: Mode, report: &mut Report) -> Outcome {
    let what = format!("64 bytes there and back, {wire}: system calls");
    let mut samples = Vec::new();
    for (name, who) in [("ours", "pool"), (BARE, "bare")] {
        let count = |times: u32| traced(&["ping-pong", who, wire, &times.to_string()]);
        // The difference of two runs is without their beginnings and ends.
        let (few, many) = (100, mode.pick(200, 600, 1_100, 2_100));
        match (count(few), count(many)) {
            (Ok(short), Ok(long)) => {
                let each = (long - short) / f64::from(many - few);
                samples.push(Samples { name: name.into(), values: vec![each] });
            }
            (Err(why), _) | (_, Err(why)) => {
                report.skip(&format!("8 {what}"), &why.to_string());
                return Ok(());
            }
        }
    }
    // Of thousands of calls, a few are those of timers and wakes.
    let goals = vec![Goal::ratio(BARE, Limit::AtMost(1.01))];
    report.row(&Row { number: "8", what, unit: "calls", samples, goals });
    Ok(())
}

/// The part of the process whose system calls are counted.
pub(crate) fn part(who: &str, wire: &str, times: u32) -> Outcome {
    let runtime = runtime(1)?;
    let tls = Tls::new(wire == "TLS")?;
    runtime.block_on(async {
        match who {
            "pool" => {
                let both = Both::new(tls.as_ref()).await?;
                both.leased.ping_pong(times).await?;
                both.close().await;
            }
            _ => {
                let ends = bare(tls.as_ref()).await?;
                with_ends!(&ends, |ends| ends.ping_pong(times).await?);
            }
        }
        Ok(())
    })
}
