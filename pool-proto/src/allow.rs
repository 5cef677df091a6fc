//! Which peers may connect: a list of addresses and CIDR blocks.
//!
//! ```
//! use pool_proto::allow::AllowList;
//!
//! let list: AllowList = "10.0.0.0/8, ::1".parse()?;
//! assert!(list.permits([10, 1, 2, 3].into()));
//! assert!(!list.permits([11, 1, 2, 3].into()));
//! # Ok::<(), pool_proto::allow::AllowListError>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The whole text of a list without entries, so that it can be written down on purpose.
const EVERYONE: &str = "everyone";

/// Longest prefix of an IPv4 network, in bits.
const V4_BITS: u8 = 32;

/// Longest prefix of an IPv6 network, in bits.
const V6_BITS: u8 = 128;

/// Bits in front of the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = V6_BITS - V4_BITS;

/// The addresses that may connect. **A list without entries admits everybody.**
///
/// # IPv4 and IPv6
///
/// A dual-stack socket shows an IPv4 peer as `::ffff:a.b.c.d`. Such IPv4-mapped addresses are IPv4
/// addresses here, as a peer's address and as entries: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
///
/// A network of IPv6 with a prefix shorter than 96 bits stays IPv6 even if the mapped addresses
/// are part of it, and then it does **not** admit IPv4 peers: `::/0` is all of IPv6 and nothing of
/// IPv4, on whichever socket a peer arrives. For both, list `0.0.0.0/0` as well.
///
/// # Entries
///
/// An address is the network of this address alone. Host bits of a network are ignored:
/// `10.1.2.3/8` is accepted as `10.0.0.0/8`. Entries stay in the order in which they came, and
/// [`permits`](Self::permits) goes through them one by one.
///
/// # Text
///
/// [`FromStr`] takes entries separated by commas or whitespace, or the one word `everyone`. A
/// blank text is an error, because a setting left blank by accident would admit everybody.
/// [`Display`](fmt::Display) writes a text that parses to an equal list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowList {
    // Canonical: no host bits, no mapped networks.
    networks: Vec<IpNet>,
}

impl AllowList {
    /// The list that admits everybody. It is also the default.
    #[must_use]
    pub const fn everyone() -> Self {
        Self { networks: Vec::new() }
    }

    /// Whether a peer with this address may connect.
    #[must_use]
    pub fn permits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Whether there are no entries, that is whether everybody is admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Adds an address or a network. The first one turns [`everyone`](Self::everyone) into a list
    /// of exactly this.
    pub fn push(&mut self, entry: impl Into<IpNet>) {
        self.networks.push(canonical(entry.into()));
    }

    /// Parses one entry, an address or a network in CIDR notation, to its canonical network.
    /// Whitespace around it is ignored.
    ///
    /// # Errors
    ///
    /// Those of [`AllowListError`] but [`AllowListError::Blank`]; a blank entry is an
    /// [`AllowListError::EmptyEntry`].
    pub fn parse_entry(entry: &str) -> Result<IpNet, AllowListError> {
        let entry = entry.trim();
        if entry.is_empty() {
            return Err(AllowListError::EmptyEntry { position: 1 });
        }
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(wrong_address(entry, address));
        };
        let max = if address.is_ipv4() { V4_BITS } else { V6_BITS };
        prefix
            .map_or(Some(max), parse_prefix)
            // Refuses a prefix longer than `max`.
            .and_then(|prefix| IpNet::new(address, prefix).ok())
            .map(canonical)
            .ok_or_else(|| AllowListError::Prefix { entry: entry.into(), max })
    }
}

impl FromStr for AllowList {
    type Err = AllowListError;

    /// Parses entries separated by commas or whitespace, or the one word `everyone`.
    ///
    /// # Errors
    ///
    /// Says which entry is wrong and why, see [`AllowListError`]. Blank texts, and commas with
    /// nothing between, before or behind them, are errors too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => return Err(AllowListError::Blank),
            EVERYONE => return Ok(Self::everyone()),
            _ => {}
        }
        let mut networks = Vec::new();
        for part in text.split(',') {
            if part.trim().is_empty() {
                return Err(AllowListError::EmptyEntry { position: networks.len() + 1 });
            }
            for entry in part.split_whitespace() {
                networks.push(Self::parse_entry(entry)?);
            }
        }
        Ok(Self { networks })
    }
}

impl FromIterator<IpNet> for AllowList {
    /// Beware of a filter that leaves nothing over: no entries admit everybody.
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self { networks: networks.into_iter().map(canonical).collect() }
    }
}

impl fmt::Display for AllowList {
    /// The entries separated by `, `, single addresses without a prefix; `everyone` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for network in &self.networks {
            f.write_str(separator)?;
            separator = ", ";
            if network.prefix_len() == network.max_prefix_len() {
                write!(f, "{}", network.addr())?;
            } else {
                write!(f, "{network}")?;
            }
        }
        if self.is_empty() { f.write_str(EVERYONE) } else { Ok(()) }
    }
}

/// What is wrong with the text of an [`AllowList`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowListError {
    /// The text has no entries.
    #[error(
        "the allow list is blank, which would admit everybody: give addresses or networks, or \
         say `everyone` (in code AllowList::everyone()) if that is what is meant"
    )]
    Blank,
    /// There is nothing where an entry should be.
    #[error("entry {position} of the allow list is empty: remove the comma or give an address")]
    EmptyEntry {
        /// Place of the entry in the list, from 1.
        position: usize,
    },
    /// `everyone` is among other entries, which contradicts them.
    #[error("\"everyone\" is no entry of an allow list: give it alone or not at all")]
    EveryoneNotAlone,
    /// The entry is the name of a host.
    #[error("{entry:?} is no address: host names are not resolved here, give addresses")]
    HostName {
        /// The entry as given.
        entry: String,
    },
    /// The entry has a port.
    #[error("{entry:?} has a port: peers are admitted by address only, leave the port out")]
    Port {
        /// The entry as given.
        entry: String,
    },
    /// The entry is no address in any other way.
    #[error("{entry:?} is neither an IPv4 nor an IPv6 address, nor a network like 10.0.0.0/8")]
    Address {
        /// The entry as given.
        entry: String,
    },
    /// What follows the `/` is not the length of a prefix.
    #[error("{entry:?} has a wrong prefix: it must be a decimal number in 0..={max}")]
    Prefix {
        /// The entry as given.
        entry: String,
        /// Longest prefix for this kind of address, in bits.
        max: u8,
    },
}

/// Makes networks comparable with canonical addresses, bit by bit.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(address) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(MAPPED_BITS)
        && let Ok(v4) = Ipv4Net::new(address, prefix)
    {
        return IpNet::V4(v4.trunc());
    }
    network.trunc()
}

/// Digits only, and no leading zero: neither `+8` nor what may be meant as octal.
fn parse_prefix(text: &str) -> Option<u8> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

fn wrong_address(entry: &str, address: &str) -> AllowListError {
    let named = entry.into();
    // IPv6 addresses have at least two colons, so with at most one this is a host, maybe with a
    // port behind it.
    let host = match address.split_once(':') {
        Some((_, port)) if port.contains(':') => "",
        Some((host, _)) => host,
        None => address,
    };
    if entry == EVERYONE {
        AllowListError::EveryoneNotAlone
    } else if address.parse::<SocketAddr>().is_ok() {
        AllowListError::Port { entry: named }
    } else if host.contains(char::is_alphabetic) {
        AllowListError::HostName { entry: named }
    } else {
        AllowListError::Address { entry: named }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn list(text: &str) -> AllowList {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn error(text: &str) -> AllowListError {
        text.parse::<AllowList>().unwrap_err()
    }

    #[test]
    fn everyone_admits_everybody() {
        for list in [AllowList::everyone(), AllowList::default(), list("everyone")] {
            assert!(list.is_empty());
            assert!(list.permits(ip("203.0.113.9")) && list.permits(ip("2001:db8::1")));
        }
    }

    #[test]
    fn a_network_admits_its_own_and_nobody_else() {
        let list = list("10.0.0.0/8");
        assert!(!list.is_empty());
        assert!(list.permits(ip("10.0.0.0")) && list.permits(ip("10.255.255.255")));
        assert!(!list.permits(ip("9.255.255.255")) && !list.permits(ip("11.0.0.0")));
        assert!(!list.permits(ip("::1")));
    }

    #[test]
    fn an_address_admits_itself_alone() {
        let list = list("192.0.2.1 2001:db8::1");
        assert!(list.permits(ip("192.0.2.1")) && list.permits(ip("2001:db8::1")));
        assert!(!list.permits(ip("192.0.2.0")) && !list.permits(ip("2001:db8::2")));
    }

    #[test]
    fn any_entry_suffices() {
        let list = list("192.0.2.1, 10.0.0.0/8, fc00::/7");
        for peer in ["192.0.2.1", "10.9.9.9", "fd00::1"] {
            assert!(list.permits(ip(peer)), "{peer}");
        }
    }

    #[test]
    fn a_mapped_peer_is_an_ipv4_peer() {
        let list = list("10.0.0.0/8");
        assert!(list.permits(ip("::ffff:10.1.2.3")));
        assert!(!list.permits(ip("::ffff:11.1.2.3")));
    }

    #[test]
    fn a_mapped_entry_is_an_ipv4_entry() {
        assert_eq!(list("::ffff:10.0.0.0/104"), list("10.0.0.0/8"));
        assert_eq!(list("::ffff:192.0.2.1"), list("192.0.2.1"));
        assert_eq!(list("::ffff:0:0/96"), list("0.0.0.0/0"));
    }

    #[test]
    fn a_network_wider_than_the_mapped_addresses_is_ipv6_only() {
        for text in ["::/0", "::ffff:10.0.0.0/95"] {
            let list = list(text);
            assert!(!list.permits(ip("10.0.0.1")) && !list.permits(ip("::ffff:10.0.0.1")));
            assert!(list.permits(ip("::fffe:1:1")), "{text}");
        }
    }

    #[test]
    fn the_whole_of_ipv4_is_nothing_of_ipv6() {
        let list = list("0.0.0.0/0");
        assert!(list.permits(ip("203.0.113.9")) && list.permits(ip("::ffff:203.0.113.9")));
        // Not mapped: the deprecated compatible form is an IPv6 address.
        assert!(!list.permits(ip("::203.0.113.9")));
    }

    #[test]
    fn host_bits_are_ignored() {
        assert_eq!(list("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(list("2001:db8::1/32").to_string(), "2001:db8::/32");
        assert_eq!(list("::ffff:10.1.2.3/104").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn commas_and_whitespace_both_separate() {
        let expected = list("10.0.0.0/8,::1,192.0.2.1");
        for text in ["10.0.0.0/8 ::1 192.0.2.1", " 10.0.0.0/8 ,\t::1\n192.0.2.1 "] {
            assert_eq!(list(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pushing_to_everyone_restricts_to_that() {
        let mut list = AllowList::everyone();
        list.push(ip("::ffff:192.0.2.1"));
        assert_eq!(list.to_string(), "192.0.2.1");
        list.push(IpNet::new(ip("10.1.2.3"), 8).unwrap());
        assert_eq!(list.to_string(), "192.0.2.1, 10.0.0.0/8");
    }

    #[test]
    fn collected_networks_are_canonical() {
        let networks = [("10.1.2.3", 8), ("::ffff:192.0.2.1", 128)];
        let list: AllowList = networks
            .into_iter()
            .map(|(address, bits)| IpNet::new(ip(address), bits).unwrap())
            .collect();
        assert_eq!(list.to_string(), "10.0.0.0/8, 192.0.2.1");
    }

    #[test]
    fn a_parsed_entry_is_canonical() {
        let parsed = AllowList::parse_entry(" ::ffff:10.1.2.3/104\n").unwrap();
        assert_eq!(parsed.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn display_round_trips() {
        for text in ["everyone", "10.0.0.0/8, ::1", "0.0.0.0/0, ::/0", "192.0.2.1"] {
            assert_eq!(list(text).to_string(), text);
        }
    }

    #[test]
    fn a_blank_text_does_not_admit_everybody() {
        for text in ["", "  ", "\n\t"] {
            assert_eq!(error(text), AllowListError::Blank);
        }
        assert!(error("").to_string().contains("would admit everybody"));
    }

    #[test]
    fn an_empty_entry_is_an_error_with_its_place() {
        for (text, position) in
            [(",", 1), (",::1", 1), ("::1,", 2), ("::1, ,::2", 2), ("::1 ::2,,::3", 3)]
        {
            assert_eq!(error(text), AllowListError::EmptyEntry { position }, "{text}");
        }
        assert!(error("::1,").to_string().starts_with("entry 2 of the allow list is empty"));
    }

    #[test]
    fn a_blank_entry_is_an_empty_one() {
        let blank = AllowList::parse_entry(" ");
        assert_eq!(blank, Err(AllowListError::EmptyEntry { position: 1 }));
    }

    #[test]
    fn everyone_among_others_contradicts_itself() {
        for text in ["10.0.0.0/8, everyone", "everyone everyone"] {
            assert_eq!(error(text), AllowListError::EveryoneNotAlone);
        }
        assert!(error("::1 everyone").to_string().contains("give it alone"));
    }

    #[test]
    fn a_prefix_out_of_range_is_an_error_with_the_range() {
        for (entry, max) in
            [("10.0.0.0/33", 32), ("::/129", 128), ("10.0.0.0/256", 32), ("10.0.0.0/-1", 32)]
        {
            assert_eq!(error(entry), AllowListError::Prefix { entry: entry.into(), max });
        }
        assert_eq!(
            error("10.0.0.0/33").to_string(),
            "\"10.0.0.0/33\" has a wrong prefix: it must be a decimal number in 0..=32"
        );
    }

    #[test]
    fn prefixes_at_the_ends_of_the_range_are_right() {
        for entry in ["10.0.0.0/0", "10.0.0.0/32", "2001:db8::/0", "2001:db8::/128"] {
            assert!(AllowList::parse_entry(entry).is_ok(), "{entry}");
        }
    }

    #[test]
    fn a_prefix_must_be_plain_decimal() {
        for entry in
            ["10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/00", "10.0.0.0/8/8", "::/x"]
        {
            let error = error(entry);
            assert!(matches!(error, AllowListError::Prefix { .. }), "{entry}: {error}");
        }
    }

    #[test]
    fn a_host_name_is_not_resolved() {
        for entry in
            ["example.com", "localhost", "localhost:80", "example.com/8", "例え.テスト", "cafe"]
        {
            assert_eq!(error(entry), AllowListError::HostName { entry: entry.into() });
        }
        assert_eq!(
            error("example.com").to_string(),
            "\"example.com\" is no address: host names are not resolved here, give addresses"
        );
    }

    #[test]
    fn a_port_is_refused() {
        for entry in ["127.0.0.1:80", "[::1]:80"] {
            assert_eq!(error(entry), AllowListError::Port { entry: entry.into() });
        }
        assert!(error("[::1]:80").to_string().starts_with("\"[::1]:80\" has a port"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for entry in
            ["10.0.0", "10.0.0.256", "010.0.0.1", "*", "/8", "fe80::1%eth0", "ab::zz", "1:2"]
        {
            assert_eq!(error(entry), AllowListError::Address { entry: entry.into() });
        }
        assert!(error("*").to_string().starts_with("\"*\" is neither"));
    }

    #[test]
    fn the_wrong_one_of_several_entries_is_named() {
        let entry = "10.0.0.0/99".into();
        assert_eq!(error("::1, 10.0.0.0/99, *"), AllowListError::Prefix { entry, max: 32 });
    }
}
