//! `/status` for people and `/metrics` for Prometheus. It answers one request a connection, and knows as
//! much of HTTP/1.1 as that takes.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapter_tokio::{Report, Stats, prometheus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};
use tracing::info;

use super::Outcome;

/// The seconds that the curves of `/status` show.
const SECONDS: usize = 180;
/// The height of a curve in pixels.
const HEIGHT: f64 = 60.0;
/// The time that a client has for its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The curves of `/status`.
const CURVES: [&str; 4] = [
    "Ready connections",
    "In use",
    "Visitors that had to wait, each second",
    "New connections, each second",
];

/// The totals of each second, the last one at the end.
type History = Arc<Mutex<VecDeque<Stats>>>;

/// Serves at `address`, if there is one.
pub(crate) async fn start(
    address: Option<SocketAddr>,
    report: impl Fn() -> Report + Clone + Send + 'static,
) -> Outcome {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("http = \"{address}\": {error}"))?;
    info!("http://{}/status and /metrics", listener.local_addr()?);
    let history = History::default();
    let (sampled, sample) = (Arc::clone(&history), report.clone());
    tokio::spawn(async move {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let mut history = sampled.lock().unwrap_or_else(PoisonError::into_inner);
            history.push_back(sample().stats);
            if history.len() > SECONDS + 1 {
                history.pop_front();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let answer = answer(client, report(), Arc::clone(&history));
                    drop(tokio::spawn(timeout(PATIENCE, answer)));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

async fn answer(mut client: TcpStream, report: Report, history: History) -> io::Result<()> {
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 8192 {
        match client.read(&mut piece).await? {
            0 => return Ok(()),
            count => request.extend(piece.iter().take(count)),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let (status, kind, body) = match request.split(' ').nth(1) {
        Some("/metrics") => ("200 OK", "text/plain; version=0.0.4", prometheus([&report])),
        Some("/status") => ("200 OK", "text/html; charset=utf-8", page(&report, &history)),
        _ => ("404 Not Found", "text/plain", "try /status or /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await?;
    client.shutdown().await
}

fn page(report: &Report, history: &History) -> String {
    let Stats { idle, leased, waiters, capacity, .. } = report.stats;
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>tunnel</title>
<style>body{{font:14px system-ui;margin:2em}}svg{{background:#f4f4f4}}</style>
<h1>tunnel {}</h1><p>{idle} ready of {capacity}, {leased} in use, {waiters} waiting",
        report.role
    );
    let history = history.lock().unwrap_or_else(PoisonError::into_inner);
    for (number, name) in CURVES.iter().enumerate() {
        let pairs = history.iter().zip(history.iter().skip(1));
        let values: Vec<f64> = pairs.map(|(before, now)| value(number, before, now)).collect();
        let most = values.iter().copied().fold(1.0, f64::max);
        let mut points = String::new();
        for (x, value) in (SECONDS - values.len()..).zip(&values) {
            let _ = write!(points, "{},{:.1} ", 3 * x, HEIGHT * (1.0 - value / most));
        }
        let _ = write!(
            page,
            "\n<h3>{name}: {} (most: {most})</h3><svg width={} height={HEIGHT}>\
             <polyline fill=none stroke=#06c points='{points}'/></svg>",
            values.last().copied().unwrap_or_default(),
            3 * SECONDS
        );
    }
    page
}

fn value(curve: usize, before: &Stats, now: &Stats) -> f64 {
    let count = |now: u64, before: u64| u32::try_from(now - before).unwrap_or(u32::MAX);
    let (after, then) = (&now.totals, &before.totals);
    f64::from(match curve {
        0 => now.idle,
        1 => now.leased,
        2 => count(after.served_after_waiting, then.served_after_waiting),
        _ => count(after.established, then.established),
    })
}
