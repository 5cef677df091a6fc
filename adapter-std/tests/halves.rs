//! The halves of a stream, and a stream's information about its peer.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use adapter_std::pool_driver::tls::{ClientTls, Identity, ServerTls};
use adapter_std::{ClientPool, ServerPool};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn only_the_halves_of_one_stream_are_put_together() -> Result<(), Box<dyn Error>> {
    let server = ServerPool::builder().bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client = ClientPool::builder().connect(address.to_string())?;
    let theirs = client.acquire(SOON)?;
    let ours = server.acquire_by_id(theirs.id(), SOON)?;
    let (read, write) = ours.split();
    let (their_read, their_write) = theirs.split();
    let Err((read, their_write)) = read.reunite(their_write) else {
        return Err("halves of two streams are not one".into());
    };
    let Ok(mut ours) = read.reunite(write) else { return Err("these are halves of one".into()) };
    let Ok(mut theirs) = their_read.reunite(their_write) else {
        return Err("these are halves of one".into());
    };
    ours.write_all(b"whole")?;
    theirs.read_exact(&mut [0; 5])?;
    Ok(())
}

#[test]
fn halves_that_are_put_together_keep_their_timeouts() -> Result<(), Box<dyn Error>> {
    let server = ServerPool::builder().bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client = ClientPool::builder().connect(address.to_string())?;
    let theirs = client.acquire(SOON)?;
    let mut ours = server.acquire_by_id(theirs.id(), SOON)?;
    ours.set_read_timeout(Some(Duration::from_millis(50)));
    let (read, write) = ours.split();
    let Ok(mut ours) = read.reunite(write) else { return Err("these are halves of one".into()) };
    // So that a read without a timeout ends, too.
    let (stop, stopped) = mpsc::channel::<()>();
    let peer = thread::spawn(move || {
        let _ = stopped.recv_timeout(SOON);
        drop(theirs);
    });
    let read = ours.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::TimedOut));
    drop(stop);
    peer.join().map_err(|_| "the peer panicked")?;
    Ok(())
}

#[test]
fn a_stream_tells_the_certificate_of_its_peer() -> Result<(), Box<dyn Error>> {
    let identity = Identity::self_signed(["server.example"])?;
    let fingerprint = identity.fingerprint();
    let server = ServerPool::builder().tls(ServerTls::new(identity)?).bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let tls = ClientTls::self_signed()?.pinned(fingerprint)?;
    let client = ClientPool::builder().tls(tls).connect(address.to_string())?;
    let theirs = client.acquire(SOON)?;
    let ours = server.acquire_by_id(theirs.id(), SOON)?;
    assert_eq!(theirs.peer_certificate(), Some(fingerprint));
    assert_eq!(ours.peer_certificate(), None, "the server has asked for none");
    Ok(())
}
