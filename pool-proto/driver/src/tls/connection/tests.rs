//! Tests of TLS connections without a pool.

use std::io::Cursor;
use std::vec::Vec;

use super::*;
use crate::connection::Slice;

/// A socket: what it receives, and what was sent.
struct Wire<'a>(&'a mut Vec<u8>, &'a mut Vec<u8>);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = Cursor::new(&*self.0).read(buffer)?;
        self.0.drain(..count);
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.1.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn buffers(tls: &TlsConnection) -> usize {
    tls.incoming.capacity() + tls.plaintext.capacity() + tls.outgoing.capacity()
}

#[test]
fn an_idle_connection_has_no_buffers() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = TlsConnection::client(&ClientTls::self_signed()?)?;
    let mut server = TlsConnection::server(&ServerTls::self_signed()?)?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        // Most of these wait for the other end.
        let _ = client.handshake(&mut Wire(&mut down, &mut up));
        let _ = server.handshake(&mut Wire(&mut up, &mut down));
    }
    assert_eq!((buffers(&client), buffers(&server)), (0, 0), "after the handshake");
    client.write_vectored(&mut Wire(&mut down, &mut up), &[IoSlice::new(&[7; 40_000])])?;
    let (mut read, mut part, mut most) = (0, [0; 1000], 0);
    while read < 40_000 {
        let socket = &mut Wire(&mut up, &mut down);
        read += server.read(socket, &mut Slice::new(&mut part))?;
        most = most.max(buffers(&server));
    }
    assert!(most > 0, "a record is kept for the next reads");
    assert_eq!((buffers(&client), buffers(&server)), (0, 0), "after {read} bytes");
    Ok(())
}
