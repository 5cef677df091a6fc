//! What comes late.

use std::error::Error;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use adapter_std::ClientPool;
use adapter_std::pool_proto::ClientConfig;
use adapter_std::pool_proto::tls::ClientTls;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_dial_that_was_given_up_shakes_no_hands() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = ClientConfig::builder().dial_timeout(Duration::from_millis(50)).build()?;
    let pool = ClientPool::builder().config(config).tls(ClientTls::self_signed()?).connect_with(
        move || {
            std::thread::sleep(Duration::from_millis(300));
            TcpStream::connect(address)
        },
    )?;
    // It does not answer: a handshake with it would not come to an end.
    let (mut peer, _) = listener.accept()?;
    peer.set_read_timeout(Some(SOON))?;
    let mut hello = Vec::new();
    let ended = peer.read_to_end(&mut hello);
    assert!(ended.is_ok() && hello.is_empty(), "{ended:?}, {} bytes of a hello", hello.len());
    drop(pool);
    Ok(())
}
