//! The agent of the tunnel in `adapter-tokio/examples/tunnel`, without a runtime: two threads for each
//! visitor, one for each direction.
//!
//! `cargo run --example agent -- SERVER SERVICE IDENTITY PIN`: the server's address for agents, the
//! address of the service, the file of this end's identity (made if it is not there), and the server's
//! fingerprint. Prints its own fingerprint, which the server must pin.

use std::env;
use std::error::Error;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adapter_std::{Acquirer, ClientConfig, ClientPool, ClientTls, Identity, Pin, PooledStream};
use socket2::SockRef;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, service, identity, pin] = arguments.as_slice() else {
        return Err("usage: agent SERVER SERVICE IDENTITY PIN".into());
    };
    run(server, service, identity, pin)
}

/// Serves the connections that the server begins to use. The pool redials the server by itself.
pub(crate) fn run(server: &str, service: &str, identity: &str, pin: &str) -> Outcome {
    let identity = Identity::load_or_create(identity, ["agent"])?;
    println!("let the server pin {}", identity.fingerprint());
    let tls = ClientTls::self_signed()?.pinned(pin.parse::<Pin>()?)?.client_certificate(identity);
    // As at the server: of some services, visitors wait for the first byte.
    let config = ClientConfig::builder().acquirer(Acquirer::Peer).opening_byte(true).build()?;
    let pool = ClientPool::builder().config(config).tls(tls).require_authentication();
    let pool = pool.connect(server)?;
    let service = Arc::<str>::from(service);
    loop {
        let (stream, service) = (pool.accept(Duration::MAX)?, Arc::clone(&service));
        thread::Builder::new().spawn(move || {
            if let Err(error) = serve(stream, &service) {
                eprintln!("a visitor of {service} was cut off: {error}");
            }
        })?;
    }
}

/// Carries one visitor. After a failure, neither end is told of an end in good order.
fn serve(stream: PooledStream, service: &str) -> io::Result<()> {
    let service = TcpStream::connect(service)?;
    service.set_nodelay(true)?;
    // Handles that end the waits of the other thread.
    let connection = TcpStream::from(SockRef::from(&stream).try_clone()?);
    let (mut request, mut response) = (service.try_clone()?, service.try_clone()?);
    let (mut from_visitor, mut to_visitor) = stream.split();
    let cut = |error: io::Error| {
        // Without a close_notify, and by a reset. Both fail only if the connection has ended before.
        let _ = connection.shutdown(Shutdown::Both);
        let _ = SockRef::from(&service).set_linger(Some(Duration::ZERO));
        let _ = service.shutdown(Shutdown::Read);
        error
    };
    thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let copied = io::copy(&mut from_visitor, &mut request);
            copied.and_then(|_| request.shutdown(Shutdown::Write)).map_err(&cut)
        });
        let copied = io::copy(&mut response, &mut to_visitor);
        let responses = copied.and_then(|_| to_visitor.shutdown()).map_err(&cut);
        requests
            .join()
            .map_err(|_| io::Error::other("the other direction panicked"))?
            .and(responses)
    })
}
