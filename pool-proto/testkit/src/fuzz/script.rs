//! A machine and any order of calls, compared with the oracle of the model tests after every step.

use pool_proto::{Accepting, Dialing};

use super::choices::Choices;
use crate::call::TestRole;
use crate::oracle::op::Op;
use crate::oracle::{Checked, Setup};
use crate::setup::Side;

/// A script is over after so many steps. Longer ones are slower and find no more: the machines are
/// small.
const MOST_STEPS: usize = 500;

/// A client: dials, handshakes, users, time, in any order.
pub fn client_script(bytes: &[u8]) {
    script::<Dialing>(bytes);
}

/// A server: peers of few sources, handshakes, users, time, in any order.
pub fn server_script(bytes: &[u8]) {
    script::<Accepting>(bytes);
}

/// The bytes: the setup, then step by step what happens. The end is always that the pool is closed
/// and everything comes out.
fn script<R: TestRole>(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let setup = Setup::arbitrary(&mut || choices.byte());
    let mut checked = Checked::<R>::new(&setup, true);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        checked.apply(&Op::arbitrary(R::SIDE == Side::Client, &mut || choices.byte()));
    }
    checked.bury();
}
