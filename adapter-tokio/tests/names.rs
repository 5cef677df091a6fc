//! The name of a pool in its events and metrics.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::Ipv4Addr;

use adapter_tokio::{ClientPool, ServerPool};

#[tokio::test]
async fn the_name_is_that_of_the_builder_or_else_the_address() {
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let server = ServerPool::builder().bind_addr(local).unwrap();
    let address = server.local_addr().unwrap().to_string();
    assert_eq!(server.name(), address);
    let named = ServerPool::builder().name("entry").bind_addr(local).unwrap();
    assert_eq!((named.name(), &*named.report().name), ("entry", "entry"));
    let client = ClientPool::builder().connect(&*address).unwrap();
    assert_eq!(client.name(), address);
    let named = ClientPool::builder().name("tunnel-eu").connect(&*address).unwrap();
    assert_eq!((named.name(), &*named.report().name), ("tunnel-eu", "tunnel-eu"));
    let refuse = || async { Err(std::io::ErrorKind::ConnectionRefused.into()) };
    assert_eq!(ClientPool::builder().connect_with(refuse).unwrap().name(), "custom dialer");
}
