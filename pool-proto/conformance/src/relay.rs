//! A path between two pools that delays every byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::now;

/// The address of a path to `server`. Data and the end of a stream arrive `trip` later, in both
/// directions. The path ends with its process.
pub(super) fn relay(server: SocketAddr, trip: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // Closes the client's end if the server is gone.
            let Ok(server) = TcpStream::connect(server) else { continue };
            for tcp in [&client, &server] {
                tcp.set_nodelay(true).unwrap();
            }
            let twin = |tcp: &TcpStream| tcp.try_clone().unwrap();
            direction(twin(&client), twin(&server), trip);
            direction(server, client, trip);
        }
    });
    address
}

/// A direction of the path: data that is read is queued until its time of arrival.
fn direction(mut from: TcpStream, to: TcpStream, trip: Duration) {
    let (line, arrivals) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        loop {
            // A reset travels as an end.
            let read = from.read(&mut chunk).unwrap_or(0);
            let data = chunk.get(..read).unwrap_or_default().to_vec();
            if line.send((now() + trip, data)).is_err() || read == 0 {
                return;
            }
        }
    });
    thread::spawn(move || deliver(&arrivals, to));
}

fn deliver(arrivals: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, data) in arrivals {
        // The trip itself: no event marks its end.
        thread::sleep(due.saturating_duration_since(now()));
        if data.is_empty() || to.write_all(&data).is_err() {
            break;
        }
    }
    // Fails if the receiver has gone.
    let _ = to.shutdown(Shutdown::Write);
}
