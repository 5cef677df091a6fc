//! Random scripts, step by step compared with the oracle; what fails shrinks to a short script.
//!
//! The state machine of `proptest-state-machine` is the setup alone: an [`Op`] names its subjects by
//! small numbers, so that any script is valid, and the naive pool runs next to the machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use pool_proto::{Accepting, Dialing};
use pool_testkit::call::TestRole;
use pool_testkit::oracle::Checked;
use pool_testkit::oracle::op::Op;
use pool_testkit::setup::{Setup, Side};
use proptest::array::UniformArrayStrategy;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

fn bytes<const N: usize>() -> UniformArrayStrategy<proptest::num::u8::Any, [u8; N]> {
    UniformArrayStrategy::new(any::<u8>())
}

fn reader<const N: usize>(bytes: [u8; N]) -> impl FnMut() -> u8 {
    let mut bytes = bytes.into_iter();
    move || bytes.next().unwrap_or(0)
}

fn setup() -> impl Strategy<Value = Setup> {
    bytes::<{ Setup::BYTES }>().prop_map(|bytes| Setup::arbitrary(&mut reader(bytes)))
}

/// Prints on one line, so that a script is read like one.
#[derive(Clone, Copy)]
struct Line<T>(T);

impl<T: fmt::Debug> fmt::Debug for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Scripts for one side.
struct Script<R>(PhantomData<R>);

impl<R: TestRole> ReferenceStateMachine for Script<R> {
    type State = Line<Setup>;
    type Transition = Line<Op>;

    fn init_state() -> BoxedStrategy<Line<Setup>> {
        setup().prop_map(Line).boxed()
    }

    fn transitions(_setup: &Line<Setup>) -> BoxedStrategy<Line<Op>> {
        bytes::<{ Op::BYTES }>()
            .prop_map(|bytes| Line(Op::arbitrary(R::SIDE == Side::Client, &mut reader(bytes))))
            .boxed()
    }

    fn apply(setup: Line<Setup>, _op: &Line<Op>) -> Line<Setup> {
        setup
    }
}

/// A machine under such a script.
struct Alone<R>(PhantomData<R>);

impl<R: TestRole> StateMachineTest for Alone<R> {
    type SystemUnderTest = Checked<R>;
    type Reference = Script<R>;

    fn init_test(Line(setup): &Line<Setup>) -> Checked<R> {
        Checked::new(setup, true)
    }

    fn apply(mut checked: Checked<R>, _setup: &Line<Setup>, Line(op): Line<Op>) -> Checked<R> {
        checked.apply(&op);
        checked
    }

    fn teardown(checked: Checked<R>, _setup: Line<Setup>) {
        checked.bury();
    }
}

/// The number of cases is proptest's (`PROPTEST_CASES`, 256 without), and its first random number that of
/// `.cargo/config.toml`, unless `PROPTEST_RNG_SEED` says otherwise. Nothing is persisted: a case
/// that failed is printed as a script, to be kept as a test of its own.
fn config() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config { failure_persistence: None, ..Config::default() }).clone()
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn a_client_does_what_the_oracle_says(sequential 1..100 => Alone<Dialing>);

    #[test]
    fn a_server_does_what_the_oracle_says(sequential 1..100 => Alone<Accepting>);
}

proptest! {
    #![proptest_config(config())]

    /// The world of the simulation, whose choices come from bytes.
    #[test]
    fn a_client_and_a_server_agree(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
        pool_testkit::fuzz::pair_script(&bytes);
    }
}
