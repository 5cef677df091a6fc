//! The pages that the tunnel serves.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::browser;
use super::process::SOON;
use super::scenarios::{self, Load, Named, visitor_waits};
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

/// A scenario that needs a browser.
pub(crate) const IN_BROWSER: Named = ("a_browser_shows_the_curves_of_both_ends", in_browser);

/// The curves of a page: the name, the number of points and the highest value of each.
fn curves(page: &str) -> Vec<(&str, usize, u64)> {
    let curve = |text| {
        let (title, rest) = str::split_once(text, "</h3>")?;
        let (name, values) = title.split_once(": ")?;
        let most = values.rsplit_once(" at most ")?.1.parse().ok()?;
        // Between the quotes of the page or of the browser.
        let points = rest.split_once("points=")?.1.split(['\'', '"']).nth(1)?;
        Some((name, points.split_whitespace().count(), most))
    };
    page.split("<h3>").skip(1).map(|text| curve(text).unwrap_or_else(|| panic!("{page}"))).collect()
}

/// A visitor waits for the agent, others come without a pause, and a browser opens both pages.
fn in_browser() {
    let mut world = World::start(&["a"]);
    world.agents[0].signal("TERM");
    world.agents[0].ended();
    let address = world.visitors;
    let visitor = thread::spawn(move || visit(address));
    visitor_waits(&world);
    world.restart_agent("a");
    assert_eq!(visitor.join().unwrap(), scenarios::served("a"));

    let load = Load::start(world.visitors);
    for (web, role) in world.web.iter().zip(["server", "client"]) {
        // There is a point for each second.
        let deadline = Instant::now() + SOON;
        while curves(&get(*web, "/status")).iter().any(|(_, points, _)| *points < 3) {
            assert!(Instant::now() < deadline, "the curves do not grow");
            thread::sleep(Duration::from_millis(50));
        }
        let profile = world.folder.path(&format!("browser of the {role}"));
        let page = browser::document(&format!("http://{web}/status"), &profile);
        // As the browser has understood the page, which leaves much of this out.
        for part in ["<title>tunnel</title>", "</head><body style=", "</body></html>"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains(&format!("<h1>tunnel: {role}</h1><p>")), "{page}");
        assert_eq!(page.matches("></polyline></svg>").count(), 3, "{page}");
        let shown = curves(&page);
        println!("the browser shows of the {role}: {shown:?}");
        let [(ready, _, stock), (waits, _, waited), (new, _, dialled)] = shown[..] else {
            panic!("{page}");
        };
        let names = [ready, waits, new];
        assert_eq!(names, ["Ready", "Waits, each second", "New connections, each second"]);
        assert!(shown.iter().all(|(_, points, _)| *points >= 3), "{page}");
        // Nobody acquires at the agent.
        assert!(stock > 0 && dialled > 0 && (waited > 0) == (role == "server"), "{page}");
    }
    load.end();
}
