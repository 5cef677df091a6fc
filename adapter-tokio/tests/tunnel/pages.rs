//! The pages that the tunnel serves.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::process::SOON;
use super::scenarios;
use super::visits::visit;
use super::world::World;

/// Fetches a page; returns its body.
fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: tunnel\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    body.to_owned()
}

/// Fetches and parses `/metrics`.
pub(crate) fn figures(address: SocketAddr) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for line in get(address, "/metrics").lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        figures.insert(name.to_owned(), value.parse().unwrap());
    }
    figures
}

pub(crate) fn served() {
    let world = World::start(&["a"]);
    for _ in 0..3 {
        assert_eq!(visit(world.visitors), scenarios::served("a"));
    }
    for (address, role) in world.web.iter().zip(["server", "client"]) {
        let leases = format!("pool_leases_total{{pool=\"tunnel\",role=\"{role}\"}}");
        assert_eq!(figures(*address).get(&leases), Some(&3.0));
        let page = get(*address, "/status");
        assert!(page.contains("ready of") && page.contains("<polyline"), "{page}");
    }
}
