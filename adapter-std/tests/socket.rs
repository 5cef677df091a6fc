//! The socket beneath a stream.

use std::error::Error;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use adapter_std::{ClientPool, ServerPool};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_stream_lends_its_socket() -> Result<(), Box<dyn Error>> {
    let server = ServerPool::builder().bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client = ClientPool::builder().connect(address.to_string())?;
    let stream = client.acquire(SOON)?;
    assert_eq!(stream.as_fd().as_raw_fd(), stream.as_raw_fd());
    let same = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    assert_eq!(same.local_addr()?, stream.local_addr()?);
    assert_eq!(same.peer_addr()?, address);
    Ok(())
}
