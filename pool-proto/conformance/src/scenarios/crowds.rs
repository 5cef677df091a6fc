//! Crowds of strangers at a server: peers that do not finish the handshake cost an honest client
//! nothing.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConnection;

use super::topic;
use crate::ends::{client_config, client_tls, each, server_config, server_tls};
use crate::peers::{connect_from, identity, reset};
use crate::prelude::*;
use crate::wait::send;
use pool_driver::tls::{ClientTls, ServerTls, TlsMode};

topic! {
    exclusive a_crowd_that_says_nothing_takes_nothing_from_an_honest_client,
    exclusive a_crowd_that_begins_handshakes_takes_nothing_from_an_honest_client,
    exclusive a_crowd_that_comes_and_goes_takes_nothing_from_an_honest_client,
}

/// An honest client's address, and the most strangers that are connected at a time.
const HONEST: &str = "127.0.0.1";
const CROWD: usize = 200;

/// Less than a crowd, so that it evicts handshakes.
const HANDSHAKES: u32 = 64;

/// The takes of an honest load, and the strangers that come before each of them.
const TAKES: usize = 50;
const BETWEEN: usize = 10;

/// A crowd: how many addresses it has, and whether the honest client's is the first of them.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    sources: usize,
    same_address: bool,
    capacity: u32,
    certificates: bool,
}

const CROWDS: [Crowd; 3] = [
    Crowd { sources: 70, same_address: false, capacity: 64, certificates: true },
    Crowd { sources: 120, same_address: false, capacity: 100, certificates: false },
    Crowd { sources: 1, same_address: true, capacity: 100, certificates: true },
];

impl Crowd {
    fn server_tls(self) -> ServerTls {
        let tls = server_tls(TlsMode::SelfSigned).unwrap();
        match self.certificates {
            true => tls.pinned_clients([identity().fingerprint()]).unwrap(),
            false => tls,
        }
    }

    fn client_tls(self) -> ClientTls {
        let tls = client_tls(TlsMode::SelfSigned).unwrap();
        if self.certificates { tls.client_certificate(identity()) } else { tls }
    }

    /// The address of stranger number `number`. (All of 127.0.0.0/8 is the loopback interface's.)
    fn source(self, number: usize) -> String {
        match self.same_address {
            true => HONEST.to_owned(),
            false => format!("127.0.1.{}", 1 + number % self.sources),
        }
    }
}

/// Lets a load of an honest client run while strangers come, each of which does what `act` says, and
/// stays if it says so.
fn besiege(ends: &Ends, crowd: Crowd, act: impl Fn(TcpStream) -> Option<TcpStream>) {
    let config = server_config().capacity(crowd.capacity).max_handshakes(HANDSHAKES);
    let server = ends.serve_with(Some(crowd.server_tls()), config);
    let config = client_config().capacity(16..=16);
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(crowd.client_tls()), config, dial);
    client.wait_ready(16, SOON).unwrap();
    let mut strangers = VecDeque::new();
    let mut failed = 0;
    for number in 0..TAKES * BETWEEN {
        strangers.extend(act(connect_from(&crowd.source(number), server.address())));
        if strangers.len() > CROWD {
            strangers.pop_front();
        }
        if number % BETWEEN == 0 {
            // Used once, as by a tunnel: the client dials another one into the crowd.
            let taken = server.acquire(SOON);
            failed += usize::from(taken.is_err());
            taken.into_iter().for_each(|mut stream| send(&mut stream, b"request"));
        }
    }
    let strangers = u64::try_from(TAKES * BETWEEN).unwrap();
    let stats = eventually(|| server.stats(), |stats| stats.totals.accepted > strangers);
    let (evicted, replaced) = (stats.totals.evicted, stats.totals.replaced);
    assert_eq!((failed, evicted, replaced), (0, 0, 0), "of {TAKES} takes: {stats:#?}");
    // It is still there, and does not matter.
    client.wait_ready(16, SOON).unwrap();
}

fn a_crowd_that_says_nothing_takes_nothing_from_an_honest_client(ends: &Ends) {
    each(&CROWDS, |crowd| besiege(ends, *crowd, Some));
}

fn a_crowd_that_begins_handshakes_takes_nothing_from_an_honest_client(ends: &Ends) {
    let hello = client_hello();
    each(&CROWDS, |crowd| {
        besiege(ends, *crowd, |mut stranger| {
            // It may have been turned away already.
            let _ = stranger.write_all(&hello);
            Some(stranger)
        });
    });
}

fn a_crowd_that_comes_and_goes_takes_nothing_from_an_honest_client(ends: &Ends) {
    each(&CROWDS, |crowd| {
        besiege(ends, *crowd, |stranger| {
            reset(&stranger);
            None
        });
    });
}

/// The first message of a TLS handshake.
fn client_hello() -> Vec<u8> {
    let tls = client_tls(TlsMode::SelfSigned).unwrap();
    let session = ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone());
    let mut hello = Vec::new();
    session.unwrap().write_tls(&mut hello).unwrap();
    hello
}
