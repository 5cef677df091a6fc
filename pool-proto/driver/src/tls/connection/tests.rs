//! Tests of TLS connections without a pool: their buffers, and a handshake that has to wait.

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

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A client and a server whose handshake is over, and what is on its way up and down.
fn connected() -> Outcome<(TlsConnection, TlsConnection, Vec<u8>, Vec<u8>)> {
    let mut client = TlsConnection::client(&ClientTls::self_signed()?)?;
    let mut server = TlsConnection::server(&ServerTls::self_signed()?)?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        // Most of these wait for the other end.
        let _ = client.handshake(&mut Wire(&mut down, &mut up));
        let _ = server.handshake(&mut Wire(&mut up, &mut down));
    }
    Ok((client, server, up, down))
}

#[test]
fn an_idle_connection_has_no_buffers() -> Outcome<()> {
    let (mut client, mut server, mut up, mut down) = connected()?;
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

#[test]
fn a_record_that_has_come_in_parts_leaves_no_buffer() -> Outcome<()> {
    let (mut client, mut server, mut up, mut down) = connected()?;
    client.write_vectored(&mut Wire(&mut down, &mut up), &[IoSlice::new(&[7; 1000])])?;
    let (mut rest, mut data) = (up.split_off(500), [0; 2000]);
    let mut read = |server: &mut TlsConnection, up: &mut Vec<u8>| {
        server.read(&mut Wire(up, &mut down), &mut Slice::new(&mut data))
    };
    let blocked = read(&mut server, &mut up).map_err(|error| error.kind());
    assert_eq!(blocked, Err(ErrorKind::WouldBlock));
    assert!(buffers(&server) >= 500, "the first part is kept");
    assert_eq!(read(&mut server, &mut rest)?, 1000);
    assert_eq!(buffers(&server), 0, "after the second part");
    Ok(())
}

#[test]
fn bytes_behind_a_close_notify_leave_no_buffer() -> Outcome<()> {
    for is_met_by_a_write in [false, true] {
        let (mut client, mut server, mut up, mut down) = connected()?;
        client.write_vectored(&mut Wire(&mut down, &mut up), &[IoSlice::new(b"last")])?;
        client.shutdown(&mut Wire(&mut down, &mut up))?;
        up.extend([7; 500]);
        let (mut socket, mut data) = (Wire(&mut up, &mut down), [0; 4]);
        assert_eq!(server.read(&mut socket, &mut Slice::new(&mut data))?, 4);
        assert!(buffers(&server) >= 500, "there was no room for more data");
        if is_met_by_a_write {
            server.write_vectored(&mut socket, &[IoSlice::new(b"answer")])?;
            assert_eq!(buffers(&server), 0, "after a write");
        }
        assert_eq!(server.read(&mut socket, &mut Slice::new(&mut data))?, 0);
        assert_eq!(buffers(&server), 0, "after the end");
    }
    Ok(())
}

/// A socket that has received these bytes, and accepts none.
struct Full<'a>(&'a [u8]);

impl Read for Full<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Full<'_> {
    fn write(&mut self, _data: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_handshake_that_has_to_wait_keeps_the_data_behind_it() -> Outcome<()> {
    let mut client = TlsConnection::client(&ClientTls::self_signed()?)?;
    let mut config = rustls::ServerConfig::clone(ServerTls::self_signed()?.config());
    // The server speaks before the client has said its last word.
    config.send_half_rtt_data = true;
    let mut server = rustls::ServerConnection::new(Arc::new(config))?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let _ = client.handshake(&mut Wire(&mut down, &mut up));
    server.read_tls(&mut up.as_slice())?;
    server.process_new_packets()?;
    server.writer().write_all(b"early")?;
    while server.wants_write() {
        server.write_tls(&mut down)?;
    }
    let waits = client.handshake(&mut Full(&down)).map_err(|error| error.kind());
    assert_eq!(waits, Err(ErrorKind::WouldBlock));
    let (mut socket, mut data) = (Wire(&mut Vec::new(), &mut Vec::new()), [0; 8]);
    client.handshake(&mut socket)?;
    assert_eq!(client.read(&mut socket, &mut Slice::new(&mut data))?, 5);
    assert!(data.starts_with(b"early"));
    Ok(())
}
