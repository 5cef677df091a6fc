//! A Go client and ours, with callers and a trace of their states.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{IdExchange, IdFormat, Tuning};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::course::{Course, Sample};
use super::{Case, EVERY};
use crate::peer::Peer;
use crate::release::Release;
use crate::rig::{SOON, client_config, dial};

/// The time for which a take waits: many rounds of slow dials.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client pool, of the Go package or ours.
#[derive(Clone)]
pub(super) enum Client {
    Go { peer: Arc<Peer>, pool: Value },
    Ours { pool: ClientPool, begun: Instant, first: Sample },
}

impl Client {
    pub(super) async fn go(case: &Case, release: &Release, address: SocketAddr) -> Self {
        let peer = Arc::new(release.start());
        let made = peer.must(json!({
            "do": "client", "address": address.to_string(), "tls": "0", "keep_alive_ms": 15_000,
            "min": case.capacity.0, "max": case.capacity.1,
            "min_ms": case.interval.0, "max_ms": case.interval.1, "trace": true,
        }));
        let pool = made.await["pool"].clone();
        Self::Go { peer, pool }
    }

    pub(super) fn ours(case: &Case, format: IdFormat, address: SocketAddr) -> Self {
        let ms = Duration::from_millis;
        let config = client_config()
            .tuning(Tuning::NodePass)
            .capacity(case.capacity.0..=case.capacity.1)
            .interval(ms(case.interval.0)..=ms(case.interval.1))
            .ids(IdExchange::Wire(format));
        let begun = Instant::now();
        let first = Sample {
            at: Duration::ZERO,
            idle: 0,
            capacity: case.capacity.0,
            interval: case.interval.0,
            dials: 0,
            failures: 0,
        };
        Self::Ours { pool: dial(TlsMode::None, config, address), begun, first }
    }

    /// Takes a connection, and waits for it if none is ready.
    async fn take(self) {
        match self {
            Self::Go { peer, pool } => {
                let ms = u64::try_from(PATIENCE.as_millis()).unwrap();
                peer.must(json!({ "do": "any", "pool": pool, "ms": ms })).await;
            }
            Self::Ours { pool, .. } => drop(pool.acquire(PATIENCE).await.unwrap()),
        }
    }

    /// Returns the state at present.
    pub(super) async fn look(&self) -> Sample {
        match self {
            Self::Go { peer, pool } => {
                let answer = peer.must(json!({ "do": "stats", "pool": pool })).await;
                sample(Duration::ZERO, &answer["stats"])
            }
            Self::Ours { pool, begun, .. } => {
                let stats = pool.stats();
                let count = |total: u64| u32::try_from(total).unwrap();
                Sample {
                    at: begun.elapsed(),
                    idle: stats.idle,
                    capacity: stats.capacity,
                    interval: u64::try_from(stats.interval.as_millis()).unwrap(),
                    dials: count(stats.totals.dials),
                    failures: count(stats.totals.dial_failures),
                }
            }
        }
    }

    /// Waits until the state is such.
    pub(super) async fn reach(&self, fits: impl Fn(&Sample) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let now = self.look().await;
            if fits(&now) {
                return;
            }
            assert!(Instant::now() < deadline, "still {now:?} after {SOON:?}");
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Runs a script, which returns how late it was, and returns the rounds meanwhile.
    pub(super) async fn traced(
        &self,
        dial: Duration,
        script: impl Future<Output = Duration>,
    ) -> Course {
        match self {
            Self::Go { peer, pool } => {
                let late = script.await;
                let answer = peer.must(json!({ "do": "samples", "pool": pool })).await;
                let samples =
                    answer["samples"].as_array().unwrap().iter().map(|line| {
                        sample(Duration::from_micros(line["us"].as_u64().unwrap()), line)
                    });
                Course::new(&samples.collect::<Vec<_>>(), dial, late)
            }
            Self::Ours { first, .. } => {
                let mut samples = vec![*first];
                let watch = async {
                    let mut turns = interval(Duration::from_millis(1));
                    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
                    loop {
                        samples.push(self.look().await);
                        turns.tick().await;
                    }
                };
                let late = tokio::select! {
                    late = script => late,
                    never = watch => never,
                };
                Course::new(&samples, dial, late)
            }
        }
    }
}

fn sample(at: Duration, stats: &Value) -> Sample {
    let number = |name: &str| stats[name].as_u64().unwrap();
    let count = |name| u32::try_from(number(name)).unwrap();
    Sample {
        at,
        idle: count("active"),
        capacity: count("capacity"),
        interval: number("interval_ms"),
        dials: count("dials"),
        failures: count("failures"),
    }
}

/// Takes so many connections at each tick, and returns the delay of the latest one. `accepts` are the times
/// at which dials have reached the server.
pub(super) async fn load(
    case: &Case,
    client: &Client,
    accepts: &mut UnboundedReceiver<Instant>,
    takes: impl Iterator<Item = usize>,
) -> Duration {
    let mut callers = JoinSet::new();
    let mut late = Duration::ZERO;
    let mut round = accepts.recv().await.unwrap();
    let mut next = round + case.first_tick();
    for count in takes {
        loop {
            tokio::select! {
                biased;
                accepted = accepts.recv() => {
                    let accepted = accepted.unwrap();
                    // All dials of a round come at once.
                    if accepted > round + EVERY / 2 {
                        (round, next) = (accepted, accepted + case.first_tick());
                    }
                }
                () = sleep_until(next) => break,
            }
        }
        late = late.max(next.elapsed());
        for _ in 0..count {
            callers.spawn(client.clone().take());
        }
        next += EVERY;
    }
    callers.join_all().await;
    late
}
