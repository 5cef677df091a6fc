//! The tuning law: a Go client and ours go through the same capacities and intervals under the same
//! load.

use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdExchange, IdFormat, Tuner, Tuning};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::peer::Peer;
use crate::release::{Release, go};
use crate::rig::{FakeServer, SOON, client_config, dial, hex_id, send};

const CAPACITY: (u32, u32) = (2, 12);

/// Long compared to a take, so that takes never coincide with a round.
const INTERVAL: (u64, u64) = (300, 600);

/// The number of rounds after each of which all ready connections are taken.
const BUSY_ROUNDS: usize = 6;

/// The time without takes after the busy rounds, in which capacity and interval settle.
const QUIET: Duration = Duration::from_millis(4500);

/// The capacities and the intervals that a pool goes through. Two lists, because a Go client shows
/// a new capacity when its round ends, and ours shows it when the next round begins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    capacities: Vec<u32>,
    intervals: Vec<u64>,
}

impl Course {
    fn note(&mut self, capacity: u32, interval: u64) {
        self.capacities.push(capacity);
        self.capacities.dedup();
        self.intervals.push(interval);
        self.intervals.dedup();
    }
}

fn tuner() -> Tuner {
    let interval = Duration::from_millis(INTERVAL.0)..=Duration::from_millis(INTERVAL.1);
    Tuner::new(Tuning::NodePass, CAPACITY.0..=CAPACITY.1, interval)
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap()
}

/// Computes the course that the law prescribes.
fn law() -> Course {
    let (mut course, mut tuner) = (Course::default(), tuner());
    let mut idle = 0;
    for round in 0..BUSY_ROUNDS + 20 {
        course.note(tuner.capacity(), millis(tuner.interval()));
        let created = tuner.capacity().saturating_sub(idle);
        tuner.round(idle, created);
        idle = if round + 1 < BUSY_ROUNDS { 0 } else { idle + created };
    }
    course
}

/// A client pool, of ours or of the Go package.
trait Tuned {
    /// Returns the ready connections, the capacity, and the interval in milliseconds.
    async fn look(&self) -> (u32, u32, u64);
    async fn take(&self);
}

impl Tuned for ClientPool {
    async fn look(&self) -> (u32, u32, u64) {
        (self.idle(), self.capacity(), millis(self.interval()))
    }

    async fn take(&self) {
        drop(self.acquire(SOON).await.unwrap());
    }
}

struct GoClient {
    peer: Arc<Peer>,
    pool: Value,
}

impl GoClient {
    async fn start(release: &Release, address: std::net::SocketAddr) -> Self {
        let peer = Arc::new(release.start());
        let made = peer.must(json!({
            "do": "client", "address": address.to_string(), "tls": "0", "keep_alive_ms": 15_000,
            "min": CAPACITY.0, "max": CAPACITY.1, "min_ms": INTERVAL.0, "max_ms": INTERVAL.1,
        }));
        let pool = made.await["pool"].clone();
        Self { peer, pool }
    }
}

impl Tuned for GoClient {
    async fn look(&self) -> (u32, u32, u64) {
        let stats = self.peer.must(json!({ "do": "stats", "pool": self.pool })).await;
        let number = |name: &str| stats["stats"][name].as_u64().unwrap();
        let count = |name| u32::try_from(number(name)).unwrap();
        (count("active"), count("capacity"), number("interval_ms"))
    }

    async fn take(&self) {
        self.peer.must(json!({ "do": "any", "pool": self.pool, "ms": 1000 })).await;
    }
}

/// Takes all ready connections after each busy round except the last, then none; returns the course.
async fn course_of(client: &impl Tuned) -> Course {
    let mut course = Course::default();
    course.note(CAPACITY.0, INTERVAL.0);
    let script = async {
        for _ in 1..BUSY_ROUNDS {
            let deadline = Instant::now() + SOON;
            while client.look().await.0 == 0 {
                assert!(Instant::now() < deadline, "no round has created anything");
                sleep(Duration::from_millis(3)).await;
            }
            // The round ends within this time.
            sleep(Duration::from_millis(60)).await;
            for _ in 0..client.look().await.0 {
                client.take().await;
            }
        }
        sleep(QUIET).await;
    };
    let watch = async {
        loop {
            let (_, capacity, interval) = client.look().await;
            course.note(capacity, interval);
            sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::select! {
        () = script => {}
        () = watch => {}
    }
    course
}

/// Starts a server that sends consecutive ids and keeps its connections.
async fn scripted(format: IdFormat) -> FakeServer {
    let serve = move |mut tcp, number| async move {
        let id: ConnId = hex_id(number).parse().unwrap();
        match format {
            IdFormat::Hex8 => send(&mut tcp, id.to_string().as_bytes()).await,
            IdFormat::Raw4 => send(&mut tcp, &id.to_bytes()).await,
        }
        std::future::pending::<()>().await;
    };
    FakeServer::start(serve).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_clients_and_ours_follow_the_same_law() {
    let Some(go) = go() else { return };
    for release in go.releases.iter().filter(|release| release.is_go_package()) {
        // Up to four tries: on a loaded machine, a take may come after the next round.
        let mut courses = both_courses(release).await;
        for _ in 1..4 {
            if courses == (law(), law()) {
                break;
            }
            courses = both_courses(release).await;
        }
        assert_eq!(courses.1, law(), "our client and the law");
        assert_eq!(courses.0, law(), "{} and the law", release.name);
    }
}

/// Returns the course of the Go client, and of ours.
async fn both_courses(release: &Release) -> (Course, Course) {
    let (theirs, ours) = (scripted(release.format).await, scripted(release.format).await);
    let go_client = GoClient::start(release, theirs.address).await;
    let ms = Duration::from_millis;
    let config = client_config()
        .tuning(Tuning::NodePass)
        .capacity(CAPACITY.0..=CAPACITY.1)
        .interval(ms(INTERVAL.0)..=ms(INTERVAL.1))
        .ids(IdExchange::Wire(release.format));
    let our_client = dial(TlsMode::None, config, ours.address);
    tokio::join!(course_of(&go_client), course_of(&our_client))
}
