//! The promises of the tunnel.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::pages::{self, figures};
use super::process::SOON;
use super::visits::{Visit, visit};
use super::world::{World, edit};

/// A scenario and its name.
pub(crate) type Named = (&'static str, fn());

pub(crate) const ALL: &[Named] = &[
    ("a_service_that_speaks_first_and_bytes_and_ends_both_ways", bytes_both_ways),
    ("two_agents_share_the_visitors_and_one_is_enough", two_agents),
    ("either_end_restarts_and_visitors_are_served_again", restarts),
    ("either_end_is_killed_under_load_and_no_byte_is_wrong", kills),
    ("an_agent_stops_under_load_and_nobody_takes_a_part_for_the_whole", stops),
    ("a_download_ends_although_the_server_is_stopped", server_drains),
    ("a_download_ends_although_the_agent_is_stopped", agent_drains),
    ("a_visitor_who_waits_is_reset_when_the_server_stops", reset),
    ("a_broken_file_leaves_the_settings_in_force_and_a_right_one_replaces_them", reloads),
    ("metrics_and_status_are_served", pages::served),
];

pub(crate) fn served(name: &str) -> Visit {
    Visit::Served(name.to_owned())
}

fn bytes_both_ways() {
    let world = World::start(&["a"]);
    let visitors: Vec<_> = (0..16).map(|_| thread::spawn(move || visit(world.visitors))).collect();
    for visitor in visitors {
        assert_eq!(visitor.join().unwrap(), served("a"));
    }
    assert_eq!(faults(&world), [0, 0]);
}

/// Visits whose request was wrong, or ended too early, as the first service has seen them.
fn faults(world: &World) -> [u32; 2] {
    let seen = &world.services[0].seen;
    [seen.wrong.load(Ordering::Relaxed), seen.short.load(Ordering::Relaxed)]
}

fn two_agents() {
    let mut world = World::start(&["a", "b"]);
    // Both have connected when both have served.
    let (mut first, deadline) = (BTreeMap::new(), Instant::now() + SOON);
    while first.len() < 2 {
        first.insert(format!("{:?}", visit(world.visitors)), ());
        assert!(Instant::now() < deadline, "{first:?}");
    }
    let mut visits = BTreeMap::<String, u32>::new();
    for _ in 0..40 {
        *visits.entry(format!("{:?}", visit(world.visitors))).or_default() += 1;
    }
    println!("two agents, 40 visits: {visits:?}");
    assert_eq!(visits.len(), 2, "{visits:?}");
    assert!(visits.values().all(|count| *count >= 10), "{visits:?}");

    // The connections of a dead agent are handed to nobody.
    world.agents[0].signal("KILL");
    world.agents[0].ended();
    for _ in 0..20 {
        assert_eq!(visit(world.visitors), served("b"));
    }
}

/// Visitors who come without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<Vec<Visit>>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let visitor = |_| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            thread::spawn(move || {
                let mut others = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match visit(address) {
                        Visit::Served(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        other => {
                            others.push(other);
                            // While the server is down, its port refuses visitors at once.
                            thread::sleep(Duration::from_millis(10));
                        }
                    }
                }
                others
            })
        };
        let threads = (0..6).map(visitor).collect();
        Self { stop, served: count, threads }
    }

    /// Waits until `count` more visitors are served.
    #[track_caller]
    fn serves(&self, count: u32) {
        let (goal, deadline) = (self.served.load(Ordering::Relaxed) + count, Instant::now() + SOON);
        while self.served.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "visitors are not served");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The numbers of visitors that were served, were cut off, or took a part for the whole.
    pub(crate) fn end(self) -> [usize; 3] {
        self.stop.store(true, Ordering::Relaxed);
        let others: Vec<_> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let cut = others.iter().filter(|other| **other == Visit::Cut).count();
        let served = usize::try_from(self.served.load(Ordering::Relaxed)).unwrap();
        [served, cut, others.len() - cut]
    }
}

/// Measures how soon a visitor is served.
fn served_after(what: &str, address: SocketAddr, began: Instant) {
    while visit(address) != served("a") {}
    let took = began.elapsed();
    println!("{what}: the first visitor was served after {took:.0?}");
    assert!(took < Duration::from_secs(3), "{what}: {took:?}");
}

fn restarts() {
    let mut world = World::start(&["a"]);
    assert_eq!(visit(world.visitors), served("a"));
    world.server.signal("TERM");
    assert!(world.server.ended().success());
    // After so many failures, the agent waits for the longest time between two dials.
    let deadline = Instant::now() + SOON;
    let failures = "pool_failures_in_a_row{pool=\"tunnel\",role=\"client\"}";
    while figures(world.web[1])[failures] < 6.0 {
        assert!(Instant::now() < deadline, "the agent does not dial the server");
        thread::sleep(Duration::from_millis(10));
    }
    world.restart_server();
    served_after("the server restarted", world.visitors, Instant::now());
    world.agents[0].signal("TERM");
    assert!(world.agents[0].ended().success());
    world.restart_agent("a");
    served_after("the agent restarted", world.visitors, Instant::now());
    assert_eq!(faults(&world), [0, 0]);
}

fn kills() {
    let mut world = World::start(&["a"]);
    let load = Load::start(world.visitors);
    load.serves(20);
    world.agents[0].signal("KILL");
    world.agents[0].ended();
    world.restart_agent("a");
    served_after("the agent killed under load", world.visitors, Instant::now());
    load.serves(20);
    let [served, cut, short] = load.end();
    println!("the agent killed under load: {served} served, {cut} cut off");
    // The server tells a visitor of an agent that has gone by a reset.
    assert_eq!(short, 0, "an end in good order after a part of the answer");
    assert_eq!(faults(&world)[0], 0);

    // The system itself ends the sockets of a killed process, some of them in good order.
    let short_before = faults(&world)[1];
    let load = Load::start(world.visitors);
    load.serves(20);
    world.server.signal("KILL");
    world.server.ended();
    world.restart_server();
    served_after("the server killed under load", world.visitors, Instant::now());
    load.serves(20);
    let [served, cut, short] = load.end();
    println!("the server killed under load: {served} served, {cut} cut off, {short} short");
    assert_eq!(faults(&world), [0, short_before], "the agent tells the service by a reset");
}

/// An agent that stops ends its ready connections in good order. The server may have acquired one a moment
/// ago: its visitor is cut off.
fn stops() {
    let mut world = World::start(&["a"]);
    let load = Load::start(world.visitors);
    for _ in 0..6 {
        load.serves(20);
        world.agents[0].signal("TERM");
        world.agents[0].ended();
        world.restart_agent("a");
    }
    load.serves(20);
    let [served, cut, short] = load.end();
    println!("the agent stopped six times under load: {served} served, {cut} cut off");
    assert_eq!(short, 0, "an end in good order after a part of the answer");
    assert_eq!(faults(&world), [0, 0]);
}

/// Begins a visit that pauses in the middle of the answer. Returns when its request is complete.
fn download(world: &World) -> thread::JoinHandle<Visit> {
    world.services[0].seen.hold(true);
    let address = world.visitors;
    let visitor = thread::spawn(move || visit(address));
    world.services[0].seen.paused();
    visitor
}

fn server_drains() {
    let mut world = World::start(&["a"]);
    let visitor = download(&world);
    world.server.signal("TERM");
    world.server.logs("graceful shutdown begun");
    assert_eq!(visit(world.visitors), Visit::Cut, "a stopped server serves new visitors");
    world.services[0].seen.hold(false);
    assert_eq!(visitor.join().unwrap(), served("a"));
    assert!(world.server.ended().success());
}

fn agent_drains() {
    let mut world = World::start(&["a"]);
    let visitor = download(&world);
    world.agents[0].signal("TERM");
    world.agents[0].logs("graceful shutdown begun");
    world.services[0].seen.hold(false);
    assert_eq!(visitor.join().unwrap(), served("a"));
    assert!(world.agents[0].ended().success());
}

/// Waits until a visitor waits.
#[track_caller]
pub(crate) fn visitor_waits(world: &World) {
    let deadline = Instant::now() + SOON;
    while figures(world.web[0])["pool_waiters{pool=\"tunnel\",role=\"server\"}"] < 1.0 {
        assert!(Instant::now() < deadline, "the visitor does not wait");
        thread::sleep(Duration::from_millis(2));
    }
}

fn reset() {
    let mut world = World::start(&[]);
    let visitors = world.visitors;
    let visitor = thread::spawn(move || visit(visitors));
    visitor_waits(&world);
    world.server.signal("TERM");
    assert_eq!(visitor.join().unwrap(), Visit::Cut);
    assert!(world.server.ended().success());
}

fn reloads() {
    let mut world = World::start(&["a"]);
    let [server, agent] = ["server.toml", "a.toml"].map(|name| world.folder.path(name));
    for (process, path) in [(&mut world.server, &server), (&mut world.agents[0], &agent)] {
        // A mistake in the file, an unknown setting, a wrong pin, and a file that is not there.
        for (from, to, cause) in [
            ("[tls]", "[tls", "at line"),
            ("capacity = ", "keep_alive = ", "at line"),
            ("    \"", "    \"x", "at line"),
            (".pem", ".lost", ".lost"),
        ] {
            let right = edit(path, from, to);
            process.signal("HUP");
            let logged = process.logs("former settings stay in force");
            assert!(logged.contains(cause), "{to}: {logged}");
            fs::write(path, right).unwrap();
        }
    }
    assert_eq!(visit(world.visitors), served("a"));

    // The server pins another agent: this one is not admitted any more, and is told the remedy.
    let pin = fs::read_to_string(&server).unwrap();
    let pin = pin.lines().find(|line| line.starts_with("    \"")).unwrap();
    let right = edit(&server, pin, "");
    world.server.signal("HUP");
    world.server.logs("is in force");
    let cause = world.agents[0].logs("peer failing ");
    assert!(cause.contains("pin"), "{cause}");
    fs::write(&server, right).unwrap();
    world.server.signal("HUP");
    world.server.logs("is in force");
    assert_eq!(visit(world.visitors), served("a"));
}
