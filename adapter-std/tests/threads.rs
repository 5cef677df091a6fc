//! The names of the threads, by which operators know them. Alone in its process, which has no other pools.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::time::Duration;

use adapter_std::pool_driver::{Clock as _, MonotonicClock};
use adapter_std::{ClientPool, ServerPool};

const SOON: Duration = Duration::from_secs(5);

/// The names of this process' threads that begin with `pool-`.
fn names() -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut names = BTreeSet::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile.
        let name = fs::read_to_string(thread?.path().join("comm")).unwrap_or_default();
        names.extend(name.starts_with("pool-").then(|| name.trim_end().to_owned()));
    }
    Ok(names)
}

#[test]
fn the_thread_of_a_driver_has_the_name_of_its_role() -> Result<(), Box<dyn Error>> {
    let server = ServerPool::builder().bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client = ClientPool::builder().connect(address.to_string())?;
    client.wait_ready(1, SOON)?;
    let role = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(names()?, &role("pool-server") | &role("pool-client"));
    server.close();
    assert!(server.closed(SOON), "the thread of the server has not ended");
    // The system lists a thread for a moment after it was joined.
    let began = MonotonicClock.now();
    while names()? != role("pool-client") {
        assert!(MonotonicClock.now().since(began) < SOON, "{:?}", names()?);
        std::thread::yield_now();
    }
    Ok(())
}
