//! A network of a scenario's own: two hosts joined by a cable, in a child process with its own Linux
//! namespaces. A bad day in it disturbs nothing else on this machine.
//!
//! ```text
//!   the child process: near                     the namespace "far"
//!   192.0.2.1, 2001:db8::1   ═════ cable ═════  192.0.2.2, 2001:db8::2: far.test
//! ```
//!
//! A scenario hands its body to [`between_hosts`]. Everything in the body runs on the near host, except
//! [`Hosts::on_far`]. A socket stays on the host where it was made, and a listener's connections are on
//! the listener's host: a pool that gets a listener from `on_far` serves on the far host, in the same
//! process.
//!
//! [`Hosts::swallow`] loses packets silently. For other bad days, [`Hosts::run`] changes the network
//! by `ip`. A rule such as `ip rule add sport 30000-40000 ipproto tcp blackhole` on the near host is a
//! NAT that has forgotten its mappings: nothing of the connections from these ports gets out, not even
//! an answer to the other end or a reset.

use std::net::IpAddr;
use std::process::Command;

use super::child::{is_child, passed, run_again, text};
use super::ends::Ends;
use super::skipped::skip;
use super::wait::spawn;

/// The line that the child process prints once its network exists.
const LAID: &str = "the network is laid";
/// The name of both addresses of the far host.
pub(super) const FAR: &str = "far.test";
/// The addresses of the far host: for documentation (RFC 5737, RFC 3849), so that no real host has
/// them.
pub(super) const FAR_IPV4: &str = "192.0.2.2";
pub(super) const FAR_IPV6: &str = "2001:db8::2";
/// An address of the near host.
pub(super) const NEAR_IPV4: &str = "192.0.2.1";
/// An address of the near host that means something only together with its interface, `near`.
pub(super) const NEAR_LINK: &str = "fe80::1";
/// The hardware address of the far host, and one that no host has. (They are locally administered.)
const FAR_HARDWARE: &str = "02:00:00:00:00:02";
const NO_HARDWARE: &str = "02:00:00:00:00:99";

/// The commands that lay the network, in a fresh network namespace and a fresh mount namespace, and
/// then run the program with its arguments.
const LAY: &[&str] = &[
    // `ip netns` and the file of names need a place that this machine does not share.
    "mount -t tmpfs tmpfs /run",
    "ip link set lo up",
    "ip netns add far",
    "ip link add near address 02:00:00:00:00:01 type veth \
     peer name far address 02:00:00:00:00:02 netns far",
    // Without addresses of the system's own, and without detection of duplicates: packets from an
    // address that is under examination are lost for seconds.
    "ip link set near addrgenmode none",
    "ip -n far link set far addrgenmode none",
    "ip addr add 192.0.2.1/24 dev near",
    "ip addr add 2001:db8::1/64 dev near nodad",
    "ip addr add fe80::1/64 dev near nodad",
    "ip -n far addr add 192.0.2.2/24 dev far",
    "ip -n far addr add 2001:db8::2/64 dev far nodad",
    "ip -n far link set lo up",
    "ip -n far link set far up",
    "ip link set near up",
    // Without discovery of neighbours, which takes a second if its first packet is lost.
    "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent",
    "ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev near nud permanent",
    "ip -n far neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev far nud permanent",
    "ip -n far neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev far nud permanent",
    // The system brings up links and local routes a moment later. A first packet before that is lost,
    // and the next one follows after a second.
    "until ip link show near | grep -q 'state UP'; do sleep 0.01; done",
    "until ip -n far link show far | grep -q 'state UP'; do sleep 0.01; done",
    "until ip -6 route show table local | grep -q 'fe80::1 '; do sleep 0.01; done",
    "until ip -6 -n far route show table local | grep -q '2001:db8::2 '; do sleep 0.01; done",
    "printf '127.0.0.1 localhost\\n2001:db8::2 far.test\\n192.0.2.2 far.test\\n' > /run/hosts",
    "mount --bind /run/hosts /etc/hosts",
    "echo the network is laid",
    "exec \"$0\" \"$@\"",
];

/// The two hosts, as the scenario in the child process sees them.
pub(super) struct Hosts(());

/// Runs `act` between two hosts: in the child process, which runs the scenario `name`
/// (`topic::behaviour`) again. Where the system does not let this process make namespaces, it says so
/// and returns.
///
/// Only an exclusive scenario may call this: from its fork to its exec, the child holds all
/// descriptors of this process, and keeps alive the sockets that other scenarios close meanwhile.
pub(super) fn between_hosts(ends: &Ends, name: &str, act: impl FnOnce(&Hosts)) {
    if is_child() {
        return act(&Hosts(()));
    }
    // First as it is, for root; then as the root of a user namespace of its own.
    let mut reasons = Vec::new();
    for options in [&["--net", "--mount"][..], &["--net", "--mount", "--map-root-user"]] {
        let mut child = Command::new("unshare");
        child.args(options).args(["sh", "-c", &LAY.join(" && ")]);
        let child = run_again(child.arg(std::env::current_exe().unwrap()), ends, name);
        match child {
            Ok(output) if text(&output.stdout).contains(LAID) => return passed(name, &output),
            Ok(output) => reasons.push(text(&output.stderr)),
            Err(error) => reasons.push(format!("unshare: {error}")),
        }
    }
    let reasons = reasons.join("; ");
    skip(format_args!("network namespaces are needed, by unshare and ip: {reasons}"));
}

impl Hosts {
    /// Runs `act` on the far host, in a thread of its own.
    pub(super) fn on_far<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let on_far = || {
            enter("/run/netns/far");
            act()
        };
        spawn(on_far).soon()
    }

    /// Loses all packets from the near host to `address` of the far host, as a broken path does: no
    /// answer, no error.
    pub(super) fn swallow(&self, address: IpAddr) {
        self.send_to(address, NO_HARDWARE);
    }

    /// Ends [`swallow`](Self::swallow).
    pub(super) fn deliver(&self, address: IpAddr) {
        self.send_to(address, FAR_HARDWARE);
    }

    /// Loses all packets between the two hosts in both directions (of IPv4).
    pub(super) fn lose_everything(&self) {
        self.swallow(FAR_IPV4.parse().unwrap());
        let neighbour = format!("{NEAR_IPV4} lladdr {NO_HARDWARE} dev far nud permanent");
        self.run(&format!("ip -n far neigh replace {neighbour}"));
    }

    fn send_to(&self, address: IpAddr, hardware: &str) {
        self.run(&format!("ip neigh replace {address} lladdr {hardware} dev near nud permanent"));
    }

    /// Runs a command on the near host.
    #[allow(clippy::unused_self, reason = "the value proves that there is such a network")]
    pub(super) fn run(&self, command: &str) {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    }
}

/// Moves this thread into a namespace.
#[cfg(target_os = "linux")]
fn enter(namespace: &str) {
    use std::os::fd::AsFd;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = std::fs::File::open(namespace).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn enter(namespace: &str) {
    panic!("{namespace}: namespaces exist on Linux only");
}
