//! Benchmarks of the calls for which users of the tokio adapter wait, on loopback in one process:
//!
//! - *fill*: connections per second while an empty pool is filled, both ends included;
//! - *take*: acquiring a ready connection, including the check of its socket, and putting it back;
//! - *wake*: the time from the hand-off of a new connection at the server until the client's acquire by
//!   its id returns. The id has just been sent, so the client has yet to read it;
//! - *tape*: acquiring and putting back at two servers in alternating rounds, of which one is recorded.
//!
//! Run `cargo bench -p adapter-tokio --bench pool`; with `-- --quick` it takes less time.

use std::error::Error;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::{ClientTls, ServerTls};
use adapter_tokio::pool_proto::{ClientConfig, ServerConfig};
use adapter_tokio::{ClientPool, ServerPool, ServerPoolBuilder};
use hdrhistogram::Histogram;
use tokio::net::TcpListener;
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Size {
    stock: u32,
    takes: u32,
    wakes: u32,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let size = if arguments.iter().any(|argument| argument == "--quick") {
        Size { stock: 500, takes: 20_000, wakes: 500 }
    } else if measured {
        Size { stock: 2_000, takes: 200_000, wakes: 5_000 }
    } else {
        // `cargo test` runs benches too, and only needs to see that they work.
        Size { stock: 10, takes: 10, wakes: 10 }
    };
    for (name, tls) in [("plain", false), ("TLS 1.3", true)] {
        println!("{name}");
        fill(size, tls).await?;
        take(size, tls).await?;
        wake(size, tls).await?;
        tape(size, tls).await?;
    }
    Ok(())
}

async fn pair(low: u32, high: u32, tls: bool) -> Outcome<(ClientPool, ServerPool)> {
    pair_with(low, high, tls, |server| server).await
}

async fn pair_with(
    low: u32,
    high: u32,
    tls: bool,
    more: impl FnOnce(ServerPoolBuilder) -> ServerPoolBuilder,
) -> Outcome<(ClientPool, ServerPool)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    // Capacity for connections that are put back after their replacements were dialled.
    let server_config = ServerConfig::builder().capacity(high.saturating_mul(2)).build()?;
    let client_config = ClientConfig::builder().capacity(low..=high).build()?;
    let mut server = more(ServerPool::builder().config(server_config));
    let mut client = ClientPool::builder().config(client_config);
    if tls {
        server = server.tls(ServerTls::self_signed()?);
        client = client.tls(ClientTls::self_signed()?);
    }
    Ok((client.connect(address)?, server.listen(listener)?))
}

async fn fill(size: Size, tls: bool) -> Outcome<()> {
    let begun = Instant::now();
    let (client, server) = pair(size.stock, size.stock, tls).await?;
    client.wait_ready(size.stock, SOON * 6).await?;
    server.wait_ready(size.stock, SOON * 6).await?;
    let rate = f64::from(size.stock) / begun.elapsed().as_secs_f64();
    println!("  fill   {rate:>9.0} connections/s  ({} connections)", size.stock);
    Ok(())
}

async fn take(size: Size, tls: bool) -> Outcome<()> {
    let (client, server) = pair(16, 64, tls).await?;
    client.wait_ready(16, SOON).await?;
    server.wait_ready(16, SOON).await?;
    let mut any = Histogram::<u64>::new(3)?;
    let mut by_id = Histogram::<u64>::new(3)?;
    let mut put = Histogram::<u64>::new(3)?;
    for _ in 0..size.takes {
        let begun = Instant::now();
        let ours = server.acquire(SOON).await?;
        record(&mut any, begun)?;
        let begun = Instant::now();
        let theirs = client.acquire_by_id(ours.id(), SOON).await?;
        record(&mut by_id, begun)?;
        let begun = Instant::now();
        client.put(theirs)?;
        record(&mut put, begun)?;
        server.put(ours)?;
    }
    report("take   any, ready  ", &any);
    report("take   by id, ready", &by_id);
    report("put", &put);
    Ok(())
}

async fn wake(size: Size, tls: bool) -> Outcome<()> {
    let (client, server) = pair(1, 1, tls).await?;
    let mut waited = Histogram::<u64>::new(3)?;
    for _ in 0..size.wakes {
        // Each connection is used once, so the acquire waits while the next one is dialled.
        let ours = server.acquire(SOON).await?;
        let begun = Instant::now();
        let theirs = client.acquire_by_id(ours.id(), SOON).await?;
        record(&mut waited, begun)?;
        drop((ours, theirs));
    }
    report("wake   by id, new  ", &waited);
    let stats = client.stats().totals;
    println!(
        "         {} of {} acquires had to wait",
        stats.served_after_waiting,
        stats.served_after_waiting + stats.served_at_once
    );
    Ok(())
}

/// The number of rounds in which the two servers alternate.
const ROUNDS: u32 = 100;

async fn tape(size: Size, tls: bool) -> Outcome<()> {
    let (client, plain) = pair(16, 64, tls).await?;
    let (other_client, recorded) =
        pair_with(16, 64, tls, |server| server.record(|| Ok(std::io::sink()))).await?;
    for server in [&plain, &recorded] {
        server.wait_ready(16, SOON).await?;
    }
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (server, took) in [&plain, &recorded].into_iter().zip(&mut took) {
            let begun = Instant::now();
            for _ in 0..size.takes.div_ceil(ROUNDS) {
                let stream = server.acquire(SOON).await?;
                server.put(stream)?;
            }
            took.push(begun.elapsed().as_secs_f64());
        }
    }
    let mut ratios: Vec<f64> =
        took[0].iter().zip(&took[1]).map(|(plain, recorded)| recorded / plain).collect();
    let median = |numbers: &mut Vec<f64>| {
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let [plain, with_tape] =
        took.each_mut().map(|took| median(took) / f64::from(size.takes.div_ceil(ROUNDS)) * 1e6);
    println!(
        "  tape   acquire + put  {plain:.2} µs, recorded {with_tape:.2} µs; ratio {:.3}; {:?}",
        median(&mut ratios),
        recorded.recording()
    );
    drop((client, other_client));
    Ok(())
}

fn record(histogram: &mut Histogram<u64>, begun: Instant) -> Outcome<()> {
    histogram.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    Ok(())
}

fn report(what: &str, histogram: &Histogram<u64>) {
    let micros = |quantile: f64| {
        Duration::from_nanos(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e6
    };
    println!(
        "  {what:<20} p50 {:>8.2} µs   p99 {:>8.2} µs   worst {:>9.2} µs",
        micros(0.5),
        micros(0.99),
        micros(1.0)
    );
}
