//! Rows 9 and 12: the three adapters, by the same calls.

mod on_smol;
mod on_std;
mod on_tokio;

use std::io::{ErrorKind, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use on_smol::OnSmol;
use on_std::OnStd;
use on_tokio::OnTokio;

use crate::Outcome;
use crate::ends::{Tls, wire};
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, Samples, alternate};
use crate::system::now;
use crate::take::each;

/// Both pools of an adapter, on two threads, and both ends of a connection between them.
trait Adapter: Sized {
    const NAME: &str;

    /// Makes a client pool and its server pool, and fills them.
    fn fill(stock: u32, tls: Option<&Tls>) -> Outcome<Self>;

    /// Acquires at the server and puts back, so many times. Returns nanoseconds of this thread for both.
    fn take(&self, cycles: u32) -> Outcome<f64>;

    /// Sends so many chunks, one way.
    fn bulk(&mut self, chunks: usize) -> Outcome;

    /// Sends 64 bytes there and back, so many times.
    fn ping_pong(&mut self, times: u32) -> Outcome;

    fn close(self);
}

/// The bytes of a write, and of a read.
const CHUNK: usize = 64 * 1024;

/// Connections in a pool that is not there to be filled.
const STOCK: u32 = 8;

/// Row 9: a real take and put.
pub(crate) fn take(mode: Mode, report: &mut Report) -> Outcome {
    for is_tls in [false, true] {
        let tls = Tls::new(is_tls)?;
        take_by::<OnTokio>(tls.as_ref(), mode, report)?;
        take_by::<OnSmol>(tls.as_ref(), mode, report)?;
        take_by::<OnStd>(tls.as_ref(), mode, report)?;
    }
    Ok(())
}

const CALLS: &str = "its system calls: peek, read";

/// The most that a take and a put may cost beside their system calls, in nanoseconds.
const BESIDE: f64 = 250.0;

fn take_by<A: Adapter>(tls: Option<&Tls>, mode: Mode, report: &mut Report) -> Outcome {
    let pools = A::fill(STOCK, tls)?;
    let cycles = mode.pick(20, 500, 1_000, 3_000);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut idle = TcpStream::connect(listener.local_addr()?)?;
    idle.set_nonblocking(true)?;
    let contestants = vec![
        Contestant::new("ours", || pools.take(cycles)),
        Contestant::new(CALLS, || {
            each(cycles, || {
                let peeked = socket2::SockRef::from(&idle).peek(&mut [MaybeUninit::uninit()]);
                let read = idle.read(&mut [0; 4096]);
                let is_idle = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
                match (peeked, read) {
                    (Err(peeked), Err(read)) if is_idle(&peeked) && is_idle(&read) => Ok(()),
                    _ => Err("the socket is not idle".into()),
                }
            })
        }),
    ];
    let mut samples = alternate(mode.pick(2, 15, 61, 201), contestants)?;
    pools.close();
    let [ours, calls] = &samples[..] else { return Err("two were measured".into()) };
    let beside = ours.values.iter().zip(&calls.values).map(|(ours, calls)| ours - calls).collect();
    samples.push(Samples { name: "beside them".into(), values: beside });
    report.row(&Row {
        number: "9",
        what: format!("acquire + put, {}, {}", wire(tls), A::NAME),
        unit: "ns",
        samples,
        goals: vec![Goal::figure(Limit::AtMost(BESIDE)).of("beside them")],
    });
    Ok(())
}

const SMOL_BY_HAND: &str = "two tasks of smol, without pools";
const STD_BY_HAND: &str = "two threads, without pools";

/// Both ends of a plain connection.
fn raw_pair() -> Outcome<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
    }
    Ok((near, far))
}

/// The most that another adapter may take, in times of tokio's.
const BESIDE_TOKIO: f64 = 1.15;

/// Row 12: the adapters beside each other.
pub(crate) fn beside(mode: Mode, report: &mut Report) -> Outcome {
    for is_tls in [false, true] {
        let tls = Tls::new(is_tls)?;
        let tls = tls.as_ref();
        let stock = mode.pick(10, 300, 1_000, 1_000);
        let fills = vec![
            filling::<OnTokio>(stock, tls),
            filling::<OnSmol>(stock, tls),
            filling::<OnStd>(stock, tls),
        ];
        let fills = alternate(mode.pick(1, 3, 7, 21), fills)?;
        tell(report, format!("fill {stock}, {}", wire(tls)), "µs per connection", fills);

        let mut tokio = OnTokio::fill(STOCK, tls)?;
        let mut smol = OnSmol::fill(STOCK, tls)?;
        let mut std = OnStd::fill(STOCK, tls)?;
        let chunks = mode.pick(16, 64, 64, 128);
        let bulks = vec![bulk(&mut tokio, chunks), bulk(&mut smol, chunks), bulk(&mut std, chunks)];
        let bulks = alternate(mode.pick(1, 9, 61, 201), bulks)?;
        tell(report, format!("bulk, {}, two threads", wire(tls)), "ns per KiB", bulks);

        let times = mode.pick(10, 300, 300, 500);
        let mut with_smol = smol.ping_pong_by_hand()?;
        let mut with_threads = on_std::ping_pong_by_hand()?;
        let mut ping_pongs = vec![
            ping_pong(&mut tokio, times),
            ping_pong(&mut smol, times),
            ping_pong(&mut std, times),
        ];
        if tls.is_none() {
            ping_pongs.push(timed(SMOL_BY_HAND, times, || with_smol(times)));
            ping_pongs.push(timed(STD_BY_HAND, times, || with_threads(times)));
        }
        let ping_pongs = alternate(mode.pick(1, 9, 61, 201), ping_pongs)?;
        let what = format!("64 bytes there and back, {}, two threads", wire(tls));
        tell(report, what, "µs", ping_pongs);
        tokio.close();
        smol.close();
        std.close();
    }
    Ok(())
}

fn name<A: Adapter>() -> String {
    // The first is called "ours" in each row.
    if A::NAME == OnTokio::NAME { "ours".into() } else { A::NAME.into() }
}

fn filling<'a, A: Adapter>(stock: u32, tls: Option<&'a Tls>) -> Contestant<'a> {
    Contestant::new(name::<A>(), move || {
        let begun = now();
        let pools = A::fill(stock, tls)?;
        let took = (now() - begun) as f64 / 1e3 / f64::from(stock);
        pools.close();
        Ok(took)
    })
}

fn bulk<A: Adapter>(pools: &mut A, chunks: usize) -> Contestant<'_> {
    Contestant::new(name::<A>(), move || {
        let begun = now();
        pools.bulk(chunks)?;
        Ok((now() - begun) as f64 * 1024.0 / (chunks * CHUNK) as f64)
    })
}

fn ping_pong<A: Adapter>(pools: &mut A, times: u32) -> Contestant<'_> {
    timed(name::<A>(), times, move || pools.ping_pong(times))
}

/// Microseconds for each of `times`, by the clock.
fn timed<'a>(
    name: impl Into<String>,
    times: u32,
    mut act: impl FnMut() -> Outcome + 'a,
) -> Contestant<'a> {
    Contestant::new(name, move || {
        let begun = now();
        act()?;
        Ok((now() - begun) as f64 / 1e3 / f64::from(times))
    })
}

fn tell(report: &mut Report, what: String, unit: &'static str, samples: Vec<Samples>) {
    let goal = |of: &str, floor: &str| {
        Goal::ratio("ours", Limit::AtMost(BESIDE_TOKIO)).of(of).floor(floor)
    };
    let what = format!("{what} (ours: tokio)");
    let goals = vec![goal(OnSmol::NAME, SMOL_BY_HAND), goal(OnStd::NAME, STD_BY_HAND)];
    report.row(&Row { number: "12", what, unit, samples, goals });
}
