//! `/status` for people and `/metrics` for Prometheus, with as much of HTTP/1.1 as that takes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adapter_tokio::{AnyPool, Report, Stats, Tokio, prometheus};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};
use tracing::info;

use super::Outcome;

/// The curves of `/status`, from the figures of one second and of the next.
type Curve = fn(&Stats, &Stats) -> u64;
const CURVES: [(&str, Curve); 3] = [
    ("Ready", |_, b| b.idle.into()),
    ("Waits, each second", |a, b| b.totals.served_after_waiting - a.totals.served_after_waiting),
    ("New connections, each second", |a, b| b.totals.established - a.totals.established),
];
/// The seconds that they show.
const SECONDS: usize = 180;
/// The time that a client has for its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves at `address`, if there is one.
pub(crate) async fn start(
    address: Option<SocketAddr>,
    pool: impl AnyPool<Runtime = Tokio> + 'static,
) -> Outcome {
    let Some(address) = address else { return Ok(()) };
    let listener = bind("http", &address.to_string()).await?;
    info!("http://{}/status and /metrics", listener.local_addr()?);
    tokio::spawn(async move {
        let (mut seconds, mut history) = (interval(Duration::from_secs(1)), Vec::new());
        loop {
            tokio::select! {
                // A failure is the client's, or passes.
                Ok((client, _)) = listener.accept() => {
                    let answer = answer(client, pool.pool().report(), history.clone());
                    drop(tokio::spawn(timeout(PATIENCE, answer)));
                }
                _ = seconds.tick() => {
                    history.push(pool.pool().stats());
                    history.drain(..history.len().saturating_sub(SECONDS));
                }
            }
        }
    });
    Ok(())
}

/// Listens at the address that a setting has.
pub(crate) async fn bind(setting: &str, address: &str) -> Outcome<TcpListener> {
    let bound = TcpListener::bind(address).await;
    Ok(bound.map_err(|error| format!("{setting} = {address:?} cannot be bound: {error}"))?)
}

async fn answer(mut client: TcpStream, report: Report, history: Vec<Stats>) -> io::Result<()> {
    let mut lines = BufReader::new(&mut client).take(8192).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let (status, kind, body) = match request.split(' ').nth(1) {
        Some("/metrics") => ("200 OK", "text/plain; version=0.0.4", prometheus([&report])),
        Some("/status") => ("200 OK", "text/html; charset=utf-8", page(&report, &history)),
        _ => ("404 Not Found", "text/plain", "try /status or /metrics\n".to_owned()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
    client.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
    client.shutdown().await
}

fn page(report: &Report, history: &[Stats]) -> String {
    let Report { role, stats: Stats { idle, capacity, leased, totals, .. }, .. } = report;
    let waiters = report.stats.waiters - report.stats.accept_waiters;
    let curves = CURVES.map(|(name, figure)| {
        let seconds = history.iter().zip(history.iter().skip(1));
        let values: Vec<u64> = seconds.map(|(before, now)| figure(before, now)).collect();
        let (now, most) = (values.last().unwrap_or(&0), values.iter().max().unwrap_or(&0));
        let height = |value: &u64| 60 - 60 * value / most.max(&1);
        let points = values.iter().zip((0..).step_by(3)).map(|(y, x)| format!("{x},{}", height(y)));
        let points = points.collect::<Vec<_>>().join(" ");
        format!(
            "<h3>{name}: {now}, at most {most}</h3><svg width=540 height=62>
<polyline fill=none stroke=#06c points='{points}'/></svg>"
        )
    });
    let (curves, visitors) = (curves.concat(), totals.leases);
    format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>tunnel</title>
<body style='font:14px system-ui;margin:2em'><h1>tunnel: {role}</h1><p>{idle} ready of {capacity}, \
{leased} in use, {waiters} waiting, {visitors} visitors so far</p>{curves}"
    )
}
