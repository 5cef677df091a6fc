//! `/status` for people and `/metrics` for Prometheus, with as much of HTTP/1.1 as that takes.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapter_tokio::{Report, prometheus};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};
use tracing::info;

use super::Outcome;

/// The curves of `/status`.
const CURVES: [&str; 3] = ["Ready", "Waits, each second", "New connections, each second"];
/// The seconds that they show.
const SECONDS: usize = 180;
/// The time that a client has for its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The figures of each second, the last one at the end.
type History = Arc<Mutex<VecDeque<[u64; 3]>>>;

/// Serves at `address`, if there is one.
pub(crate) async fn start(
    address: Option<SocketAddr>,
    report: impl Fn() -> Report + Send + 'static,
) -> Outcome {
    let Some(address) = address else { return Ok(()) };
    let listener = bind("http", &address.to_string()).await?;
    info!("http://{}/status and /metrics", listener.local_addr()?);
    let history = History::default();
    tokio::spawn(async move {
        let (mut seconds, mut before) = (interval(Duration::from_secs(1)), report().stats.totals);
        loop {
            tokio::select! {
                // A failure is the client's, or passes.
                Ok((client, _)) = listener.accept() => {
                    let answer = answer(client, report(), Arc::clone(&history));
                    drop(tokio::spawn(timeout(PATIENCE, answer)));
                }
                _ = seconds.tick() => {
                    let stats = report().stats;
                    let waits = stats.totals.served_after_waiting - before.served_after_waiting;
                    let new = stats.totals.established - before.established;
                    before = stats.totals;
                    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                    history.push_back([stats.idle.into(), waits, new]);
                    let surplus = history.len().saturating_sub(SECONDS);
                    history.drain(..surplus);
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

async fn answer(mut client: TcpStream, report: Report, history: History) -> io::Result<()> {
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

fn page(report: &Report, history: &History) -> String {
    let (role, stats) = (report.role, &report.stats);
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>tunnel</title>
<body style='font:14px system-ui;margin:2em'><h1>tunnel: {role}</h1>
<p>{} ready of {}, {} in use, {} waiting, {} visitors so far</p>",
        stats.idle, stats.capacity, stats.leased, stats.waiters, stats.totals.leases
    );
    let history = history.lock().unwrap_or_else(PoisonError::into_inner);
    for (number, name) in CURVES.iter().enumerate() {
        let values = history.iter().filter_map(|figures| figures.get(number).copied());
        let (most, now) =
            (values.clone().max().unwrap_or(0), values.clone().next_back().unwrap_or(0));
        let mut points = String::new();
        for (x, value) in values.enumerate() {
            let _ = write!(points, "{},{} ", 3 * x, 60 - 60 * value / most.max(1));
        }
        let _ = write!(
            page,
            "\n<h3>{name}: {now}, at most {most}</h3><svg width=540 height=62>\
             <polyline fill=none stroke=#06c points='{points}'/></svg>",
        );
    }
    page
}
