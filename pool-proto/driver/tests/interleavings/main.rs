//! Threads that meet in the shared machine, in every order up to a bound, under a model checker:
//! `.ci/run interleavings`. `pool-proto/tests/README.md` describes the scenes, the rules and the checker.
//!
//! | file | contents |
//! |---|---|
//! | `scheduler.rs` | the orders |
//! | `world.rs`, `wire.rs` | a pool with its driver and callers, and an account of them; sockets in memory |
//! | `ops.rs` | scenes: what a pool is like at the start, and what the threads do |
//! | `settle.rs` | what must hold in the end |
//! | `crowd.rs` | threads that block, in orders drawn by lot |
//! | `tape.rs` | the thread that writes a tape |
#![cfg(pool_model)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod crowd;
mod ops;
mod scheduler;
mod settle;
mod tape;
mod wire;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ops::{Op, Scene, Stock};
use scheduler::Bounded;

/// Says which scene failed.
struct Named<'a>(&'a Scene);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {:?}", self.0);
        }
    }
}

fn play(scene: &Scene) {
    let world = scene.world();
    let shared = world.shared().unwrap();
    let threads: Vec<_> = scene
        .ops
        .iter()
        .map(|op| {
            let (op, scene, world, shared) =
                (*op, scene.clone(), Arc::clone(&world), Arc::clone(&shared));
            shuttle::thread::spawn(move || scene.run(op, &world, shared))
        })
        .collect();
    drop(shared);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    settle::finish(scene, &world);
}

fn config() -> shuttle::Config {
    let mut config = shuttle::Config::new();
    // A panic formats a backtrace on it.
    config.stack_size = 1 << 17;
    // The checker runs atomics as if they were sequentially consistent.
    config.silence_warnings = true;
    config
}

/// Runs `play` in every order with up to `bound` pre-emptions. Returns the number of orders.
fn explore(bound: usize, play: impl Fn() + Send + Sync + 'static) -> u64 {
    let orders = Arc::new(AtomicU64::new(0));
    let scheduler = Bounded::new(bound, &orders);
    shuttle::Runner::new(scheduler, config()).run(play);
    orders.load(Ordering::Relaxed)
}

/// Explores these threads with each stock. Prints the orders that were run.
fn explore_all(what: &str, sets: impl Iterator<Item = Vec<Op>>, bound: usize) {
    let (mut scenes, mut orders) = (0, 0);
    for ops in sets {
        for stock in Stock::ALL {
            let scene = Scene { stock, ops: ops.clone() };
            if scene.can_be() {
                scenes += 1;
                orders += explore(bound, move || {
                    let _named = Named(&scene);
                    play(&scene);
                });
            }
        }
    }
    println!("{what}: {scenes} scenes, {orders} orders with up to {bound} pre-emptions");
}

/// The bounds. Each further pre-emption has four times as many orders of two threads, and eight times as
/// many of three.
const OF_PAIRS: usize = 3;
const OF_TRIPLES: usize = 2;
const OF_TWINS: usize = 1;

#[test]
fn pairs() {
    let pairs = Op::ALL
        .iter()
        .enumerate()
        .flat_map(|(n, first)| Op::ALL[n..].iter().map(|second| vec![*first, *second]));
    explore_all("pairs", pairs, OF_PAIRS);
}

/// Every third set of three different threads, counted from `part`: the parts run side by side.
fn triples(part: usize) {
    let triples = Op::ALL.iter().enumerate().flat_map(|(n, first)| {
        Op::ALL[n + 1..].iter().enumerate().flat_map(move |(m, second)| {
            Op::ALL[n + m + 2..].iter().map(|third| vec![*first, *second, *third])
        })
    });
    explore_all(&format!("triples, part {part}"), triples.skip(part).step_by(3), OF_TRIPLES);
}

/// Three threads two or all of which do the same.
#[test]
fn twins() {
    let pairs = || Op::ALL.iter().flat_map(|first| Op::ALL.iter().map(|second| (*first, *second)));
    explore_all("twins", pairs().map(|(first, second)| vec![first, first, second]), OF_TWINS);
}

#[test]
fn triples_0() {
    triples(0);
}

#[test]
fn triples_1() {
    triples(1);
}

#[test]
fn triples_2() {
    triples(2);
}
