//! A server, and agents that each have a service of their own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::{Process, example};
use super::visits::Service;

/// A folder that `tunnel keys` has filled, without a number that is another folder's.
pub(crate) struct Folder(PathBuf);

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("pool-tunnel-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        let made = example().arg("keys").arg(&folder.0).args(["a", "b"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system clears this folder otherwise.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Replaces the text in a file, and returns the former contents of the file.
#[track_caller]
pub(crate) fn edit(path: &Path, from: &str, to: &str) -> String {
    let before = fs::read_to_string(path).unwrap();
    assert!(before.contains(from), "no {from:?} in {before}");
    fs::write(path, before.replace(from, to)).unwrap();
    before
}

/// The tunnel, from `visitors` to `services`.
pub(crate) struct World {
    pub(crate) server: Process,
    pub(crate) agents: Vec<Process>,
    pub(crate) services: Vec<Service>,
    pub(crate) visitors: SocketAddr,
    /// The addresses of `/status` of the server, and of each agent.
    pub(crate) web: Vec<SocketAddr>,
    pub(crate) folder: Folder,
}

impl World {
    /// Starts a server, and agents of these names.
    pub(crate) fn start(agents: &[&str]) -> Self {
        let folder = Folder::new();
        let settings = folder.path("server.toml");
        for address in ["0.0.0.0:8000", "0.0.0.0:9000", "127.0.0.1:9100"] {
            edit(&settings, address, "127.0.0.1:0");
        }
        let mut server = Process::start("server", &settings);
        let pool = server.logs("agents connect to ");
        let mut web = vec![status(&mut server)];
        let visitors = server.logs("visitors connect to ");
        // For restarts, which must find the same ports.
        edit(&settings, "agents = \"127.0.0.1:0\"", &format!("agents = {pool:?}"));
        edit(&settings, "visitors = \"127.0.0.1:0\"", &format!("visitors = {visitors:?}"));
        let mut world = Self {
            server,
            agents: Vec::new(),
            services: Vec::new(),
            visitors: visitors.parse().unwrap(),
            web: Vec::new(),
            folder,
        };
        for name in agents {
            let service = Service::start(name);
            let settings = world.folder.path(&format!("{name}.toml"));
            edit(&settings, "127.0.0.1:9000", &pool);
            edit(&settings, "127.0.0.1:8080", &service.address.to_string());
            edit(&settings, "127.0.0.1:9101", "127.0.0.1:0");
            let mut agent = Process::start("agent", &settings);
            web.push(status(&mut agent));
            agent.logs("reach ");
            world.agents.push(agent);
            world.services.push(service);
        }
        world.web = web;
        world
    }

    pub(crate) fn restart_server(&mut self) {
        self.server = Process::start("server", &self.folder.path("server.toml"));
        self.server.logs("visitors connect to ");
    }

    pub(crate) fn restart_agent(&mut self, name: &str) {
        let mut agent = Process::start("agent", &self.folder.path(&format!("{name}.toml")));
        self.web.truncate(1);
        self.web.push(status(&mut agent));
        agent.logs("reach ");
        self.agents = vec![agent];
    }
}

fn status(process: &mut Process) -> SocketAddr {
    let address = process.logs("http://");
    address.split('/').next().unwrap().parse().unwrap()
}
