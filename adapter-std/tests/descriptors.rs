//! Building pools in a process without free descriptors. The limit applies to the whole process, so
//! this is the only test of its binary.

#![cfg(unix)]

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use adapter_std::{BuildError, ClientPool, ServerPool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn the_first_pool_without_descriptors_is_an_error_and_does_not_panic() -> Result<(), Box<dyn Error>>
{
    let usual = getrlimit(Resource::Nofile);
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let address = listeners[1].local_addr()?.to_string();
    let [first, second] = listeners;

    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..usual })?;
    let server = ServerPool::builder().listen(first);
    let client = ClientPool::builder().connect(address.as_str());
    setrlimit(Resource::Nofile, usual)?;
    assert!(matches!(server, Err(BuildError::Start { .. })), "{server:?}");
    assert!(matches!(client, Err(BuildError::Start { .. })), "{client:?}");

    // With descriptors, pools work.
    let _server = ServerPool::builder().listen(second)?;
    ClientPool::builder().connect(address)?.wait_ready(1, Duration::from_secs(10))?;
    Ok(())
}
