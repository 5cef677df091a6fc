//! Futures of waiters: polled by hand, and dropped at any moment.

#[path = "conformance/harness.rs"]
mod harness;

use harness::Tokio;
use pool_conformance::polls;

#[test]
fn a_waiter_is_woken_once_when_served() {
    polls::a_waiter_is_woken_once_when_served::<Tokio>();
}

#[test]
fn a_zero_timeout_needs_one_poll() {
    polls::a_zero_timeout_needs_one_poll::<Tokio>();
}

#[test]
fn a_dropped_acquire_leaves_its_turn_to_the_next() {
    polls::a_dropped_acquire_leaves_its_turn_to_the_next::<Tokio>();
}

#[test]
fn cancelled_acquires_lose_no_connection() {
    polls::cancelled_acquires_lose_no_connection::<Tokio>();
}

#[test]
fn cancelled_acquires_at_a_server_lose_no_connection() {
    polls::cancelled_acquires_at_a_server_lose_no_connection::<Tokio>();
}

#[test]
fn a_reset_is_not_taken_out_of_the_socket() {
    polls::a_reset_is_not_taken_out_of_the_socket::<Tokio>();
}
