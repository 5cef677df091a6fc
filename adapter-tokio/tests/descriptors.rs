//! Building a pool in a process without free descriptors. The limit applies to the whole process, so
//! this is the only test of its binary.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

use adapter_tokio::{BuildError, ClientPool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn the_first_pool_without_descriptors_is_an_error_and_does_not_panic() {
    let usual = getrlimit(Resource::Nofile);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..usual }).unwrap();
    let client = ClientPool::builder().on(runtime.handle().clone()).connect("127.0.0.1:1");
    setrlimit(Resource::Nofile, usual).unwrap();
    // The timers have a thread and descriptors of their own.
    assert!(matches!(client, Err(BuildError::Start { .. })), "{client:?}");

    // With descriptors, pools are built.
    drop(ClientPool::builder().on(runtime.handle().clone()).connect("127.0.0.1:1").unwrap());
}
