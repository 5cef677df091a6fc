//! The socket beneath a stream.

use std::error::Error;
use std::net::TcpStream;
use std::time::Duration;

use adapter_std::{ClientPool, ServerPool};
use socket2::SockRef;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_stream_lends_its_socket() -> Result<(), Box<dyn Error>> {
    let server = ServerPool::builder().bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client = ClientPool::builder().connect(address.to_string())?;
    let stream = client.acquire(SOON)?;
    #[cfg(unix)]
    {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        assert_eq!(stream.as_fd().as_raw_fd(), stream.as_raw_fd());
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::{AsRawSocket as _, AsSocket as _};
        assert_eq!(stream.as_socket().as_raw_socket(), stream.as_raw_socket());
    }
    let same = TcpStream::from(SockRef::from(&stream).try_clone()?);
    assert_eq!(same.local_addr()?, stream.local_addr()?);
    assert_eq!(same.peer_addr()?, address);
    Ok(())
}
