//! The tuning law: a Go client and ours go through the same rounds under the same conditions.
//!
//! Both clients dial servers that answer a dial after the same time, and callers take connections by the
//! same schedule. It is a schedule of *ticks*: the first one comes a while after the first dial of a round
//! has reached the server, the next ones every 100 ms, until the next round dials. Begins and ends of
//! rounds are at the times of the dial and of the interval, multiples of 100 ms, so each tick can be half
//! of 100 ms away from all of them. A loaded machine may be late by as much as [`SLACK`] before anything
//! comes out differently. Therefore nothing is allowed to differ but the times: both clients have the
//! same idle connections, dials, capacity and interval in each round. Runs in which something was late
//! are done again.

mod clients;
mod course;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use adapter_tokio::pool_proto::IdFormat;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::release::{Release, go, newest};
use crate::rig::{FakeServer, hex_id, send};
use clients::{Client, load};
use course::Course;

/// The time between ticks.
const EVERY: Duration = Duration::from_millis(100);

/// The time by which a tick, or the begin of a round, may be late.
const SLACK: Duration = Duration::from_millis(40);

/// The runs in which something may be late, before a test fails.
const TRIES: usize = 6;

/// The rounds before an outage, each of which raises the capacity by one.
const ROUNDS: usize = 8;

/// Fewer rounds than this show little.
const FEWEST_ROUNDS: usize = 8;

/// The conditions of a run; times are in milliseconds.
#[derive(Clone, Copy)]
struct Case {
    capacity: (u32, u32),
    interval: (u64, u64),
    /// The time from the accepted transport to the id.
    dial: u64,
    /// The numbers of ticks with one take each, with three, and with none.
    ticks: [usize; 3],
}

impl Case {
    const fn dial(&self) -> Duration {
        Duration::from_millis(self.dial)
    }

    /// The time of the first tick after the first dial of a round.
    fn first_tick(&self) -> Duration {
        let every = u64::try_from(EVERY.as_millis()).unwrap();
        let middle = (self.dial + every / 2) % every;
        Duration::from_millis(if middle == 0 { every } else { middle })
    }

    /// The takes at each tick.
    fn takes(&self) -> impl Iterator<Item = usize> {
        let counts = [1, 3, 0].into_iter().zip(self.ticks);
        counts.flat_map(|(takes, ticks)| std::iter::repeat_n(takes, ticks))
    }
}

/// Dials that take no time to speak of, as on loopback.
const QUICK: Case = Case { capacity: (5, 20), interval: (100, 1000), dial: 1, ticks: [30, 30, 40] };

const CASES: [Case; 5] = [
    Case { capacity: (5, 20), interval: (100, 1000), dial: 350, ticks: [24, 40, 20] },
    Case { capacity: (2, 8), interval: (200, 500), dial: 350, ticks: [30, 24, 30] },
    Case { capacity: (2, 12), interval: (100, 600), dial: 120, ticks: [30, 30, 30] },
    // The interval can only rise, and stays at its maximum under load.
    Case { capacity: (1, 4), interval: (100, 500), dial: 120, ticks: [20, 20, 20] },
    Case { capacity: (5, 20), interval: (100, 1000), dial: 1000, ticks: [50, 20, 20] },
];

/// Starts a server that sends consecutive ids after the time of a dial, and keeps its connections. The
/// receiver gets the time of each accept.
async fn server(
    format: IdFormat,
    dial: Duration,
    address: &str,
) -> (FakeServer, mpsc::UnboundedReceiver<Instant>) {
    let (sender, accepts) = mpsc::unbounded_channel();
    let serve = move |mut tcp, number| {
        // Nobody listens any more if the load is over.
        let _ = sender.send(Instant::now());
        async move {
            sleep(dial).await;
            let id: adapter_tokio::ConnId = hex_id(number).parse().unwrap();
            match format {
                IdFormat::Hex8 => send(&mut tcp, id.to_string().as_bytes()).await,
                IdFormat::Raw4 => send(&mut tcp, &id.to_bytes()).await,
            }
            std::future::pending::<()>().await;
        }
    };
    (FakeServer::start_at(address, serve).await, accepts)
}

async fn client(case: &Case, release: &Release, address: SocketAddr, go: bool) -> Client {
    match go {
        true => Client::go(case, release, address).await,
        false => Client::ours(case, release.format, address),
    }
}

/// Runs a Go client, and another one of ours, under the same conditions.
async fn both(case: &Case, release: &Release) -> [Course; 2] {
    let run = async |go| {
        let (server, mut accepts) = server(release.format, case.dial(), "127.0.0.1:0").await;
        let client = client(case, release, server.address, go).await;
        client.traced(case.dial(), load(case, &client, &mut accepts, case.takes())).await
    };
    let (theirs, ours) = tokio::join!(run(true), run(false));
    [theirs, ours]
}

/// Runs both clients until nothing is late.
async fn undisturbed(case: &Case, run: impl AsyncFn() -> [Course; 2]) -> [Course; 2] {
    let mut late = Vec::new();
    for _ in 0..TRIES {
        let courses = run().await;
        match courses.iter().find_map(|course| course.disturbance(case)) {
            None => return courses,
            Some(disturbance) => late.push(disturbance),
        }
    }
    panic!("dials of {} ms: something was late in each of {TRIES} runs: {late:#?}", case.dial);
}

/// Asserts that the lists are the same. The end of a trace may cut off the last round of either.
fn assert_same<T: Debug + PartialEq>(what: &str, theirs: &[T], ours: &[T]) {
    assert!(theirs.len().abs_diff(ours.len()) <= 1, "{what}: {theirs:#?} and ours {ours:#?}");
    for (number, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        assert_eq!(theirs, ours, "{what} and ours, number {number}");
    }
}

async fn agree(case: Case, release: &'static Release) {
    let [theirs, ours] = undisturbed(&case, async || both(&case, release).await).await;
    let rounds = [theirs, ours].map(|course| {
        course.assert_lawful(&case);
        let steps: Vec<_> = course.steps().collect();
        for step in &steps {
            let missing = step.before.saturating_sub(step.idle);
            assert_eq!((step.dialled, step.created), (missing, missing), "{step:?}");
        }
        assert!(steps.len() >= FEWEST_ROUNDS, "only {} rounds", steps.len());
        steps
    });
    let [theirs, ours] = &rounds;
    let what = format!("{}, dials of {} ms", release.name, case.dial);
    assert_same(&what, theirs, ours);
    println!("{what}: {} rounds agree", ours.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_clients_and_ours_go_through_the_same_rounds() {
    let Some(go) = go() else { return };
    for release in go.releases.iter().filter(|release| release.is_go_package()) {
        agree(QUICK, release).await;
    }
}

/// Older releases dial one after another, so that their rounds last longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_lasts_as_long_as_its_slowest_dial_at_both() {
    let Some(release) = newest() else { return };
    let [first, second, third, fourth, fifth] = CASES.map(|case| agree(case, release));
    tokio::join!(first, second, third, fourth, fifth);
}

/// A Go client has no backoff, and dials all missing connections in each round. Ours dials now and then,
/// one connection at a time, so it learns of the server's return later. In between, capacity and interval
/// move by the same steps: each round that creates nothing lowers the capacity, whether it has dialled or
/// not, down to the minimum; and the round that finds the server again dials all missing connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_moves_go_clients_and_ours_by_the_same_steps() {
    let Some(release) = newest() else { return };
    let run =
        async || <[Course; 2]>::from(tokio::join!(outage(release, true), outage(release, false)));
    let [theirs, ours] = undisturbed(&QUICK, run).await;
    for course in [&theirs, &ours] {
        course.assert_lawful(&QUICK);
        let falls = course.steps().filter(|step| step.idle == 0 && step.created == 0);
        assert!(falls.count() >= ROUNDS, "{course:#?}");
    }
    assert_same(&release.name, &theirs.states(), &ours.states());
    let failures =
        |course: &Course| course.steps().map(|step| step.dialled - step.created).sum::<u32>();
    assert!(failures(&theirs) >= 2 * failures(&ours), "{theirs:#?}{ours:#?}");
}

/// Takes all connections of each round until the server goes, which comes back when the capacity is at its
/// minimum.
async fn outage(release: &Release, go: bool) -> Course {
    let case = QUICK;
    let min = case.capacity.0;
    let (up, mut accepts) = server(release.format, case.dial(), "127.0.0.1:0").await;
    let address = up.address;
    let client = client(&case, release, address, go).await;
    let whole_stock = (min as usize..).take(ROUNDS);
    let script = async {
        let late = load(&case, &client, &mut accepts, whole_stock).await;
        up.stop().await;
        client.reach(|now| now.idle == 0 && now.capacity == min).await;
        let back = server(release.format, case.dial(), &address.to_string()).await;
        client.reach(|now| now.interval >= case.interval.0 + 500).await;
        drop(back);
        late
    };
    client.traced(case.dial(), script).await
}

/// Records rounds of the Go client as vectors for the tests of the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the vectors of pool-proto"]
async fn record_the_rounds_of_the_go_package() {
    let release = newest().expect("the vectors are recorded from the Go package");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pool-proto/tests/vectors");
    for case in [QUICK].into_iter().chain(CASES) {
        let [theirs, _] = undisturbed(&case, async || both(&case, release).await).await;
        let (min, max) = case.capacity;
        let name = format!("rounds-capacity-{min}-{max}-dials-{}-ms.csv", case.dial);
        std::fs::write(folder.join(name), theirs.to_csv(&case, &release.name)).unwrap();
    }
}
