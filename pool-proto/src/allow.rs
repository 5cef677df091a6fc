//! The list of addresses and networks from which peers may connect.
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

/// The whole text of a list without entries, so that admitting everybody can be written on purpose.
const EVERYONE: &str = "everyone";

/// The longest prefix of an IPv4 network, in bits.
const V4_BITS: u8 = 32;

/// The longest prefix of an IPv6 network, in bits.
const V6_BITS: u8 = 128;

/// The bits in front of the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = V6_BITS - V4_BITS;

/// The addresses from which peers may connect. **A list without entries admits everybody.**
///
/// # IPv4 and IPv6
///
/// A dual-stack socket shows an IPv4 peer as `::ffff:a.b.c.d`. Such IPv4-mapped addresses are IPv4
/// addresses here, as a peer's address and as entries: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
///
/// An IPv6 network with a prefix shorter than 96 bits stays IPv6 even if it contains mapped addresses.
/// It does **not** admit IPv4 peers: `::/0` is all of IPv6 and nothing of IPv4, on any socket. For
/// both, list `0.0.0.0/0` as well.
///
/// # Entries
///
/// An address is the network of this address alone. Host bits of a network are ignored:
/// `10.1.2.3/8` is accepted as `10.0.0.0/8`. Entries keep their order, and
/// [`permits`](Self::permits) tests them one by one.
///
/// # Text
///
/// [`FromStr`] parses entries separated by commas or whitespace, or the single word `everyone`. A
/// blank text is an error, because a setting left blank by accident would admit everybody.
/// [`Display`](fmt::Display) writes a text that parses to an equal list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowList {
    // Canonical: no host bits, no mapped networks.
    networks: Vec<IpNet>,
}

impl AllowList {
    /// Returns the list that admits everybody, which is also the default.
    #[must_use]
    pub const fn everyone() -> Self {
        Self { networks: Vec::new() }
    }

    /// Returns whether a peer with this address may connect.
    #[must_use]
    pub fn permits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Returns whether the list has no entries, so that it admits everybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Adds an address or a network. The first entry turns [`everyone`](Self::everyone) into a list
    /// of exactly this entry.
    pub fn push(&mut self, entry: impl Into<IpNet>) {
        self.networks.push(canonical(entry.into()));
    }

    /// Parses one entry, an address or a network in CIDR notation, to its canonical network.
    /// Surrounding whitespace is ignored.
    ///
    /// # Errors
    ///
    /// [`AllowListError`] says what is wrong. A blank entry is an [`AllowListError::EmptyEntry`].
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

    /// Parses entries separated by commas or whitespace, or the single word `everyone`.
    ///
    /// # Errors
    ///
    /// [`AllowListError`] names the wrong entry and says why it is wrong. Blank texts are errors, and
    /// so are commas without an entry on either side.
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
    /// Collects networks. Beware of a filter that drops all of them: an empty list admits everybody.
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self { networks: networks.into_iter().map(canonical).collect() }
    }
}

impl fmt::Display for AllowList {
    /// Writes the entries separated by `, `, single addresses without a prefix; `everyone` if there are
    /// none.
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

/// The reason why a text is not an [`AllowList`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowListError {
    /// The text is blank.
    #[error(
        "the allow list is blank, which would admit everybody: give addresses or networks, or \
         say `everyone` (in code AllowList::everyone()) if that is what is meant"
    )]
    Blank,
    /// An entry is empty.
    #[error("entry {position} of the allow list is empty: remove the comma or give an address")]
    EmptyEntry {
        /// The position of the entry in the list, from 1.
        position: usize,
    },
    /// `everyone` is among other entries, which it contradicts.
    #[error("\"everyone\" is not an entry of an allow list: give it alone or not at all")]
    EveryoneNotAlone,
    /// The entry is a host name.
    #[error("{entry:?} is not an address: host names are not resolved here, give addresses")]
    HostName {
        /// The given entry.
        entry: String,
    },
    /// The entry has a port.
    #[error("{entry:?} has a port: peers are admitted by address only, leave the port out")]
    Port {
        /// The given entry.
        entry: String,
    },
    /// The entry is not an address for any other reason.
    #[error("{entry:?} is neither an IPv4 nor an IPv6 address, nor a network like 10.0.0.0/8")]
    Address {
        /// The given entry.
        entry: String,
    },
    /// The text after the `/` is not the length of a prefix.
    #[error("{entry:?} has a wrong prefix: it must be a decimal number in 0..={max}")]
    Prefix {
        /// The given entry.
        entry: String,
        /// The longest prefix for this kind of address, in bits.
        max: u8,
    },
}

/// Turns IPv4-mapped networks into IPv4 and drops host bits, so that networks are comparable with
/// canonical addresses.
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

/// Accepts digits without a leading zero: neither `+8` nor a number that may be meant as octal.
fn parse_prefix(text: &str) -> Option<u8> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

fn wrong_address(entry: &str, address: &str) -> AllowListError {
    let named = entry.into();
    // IPv6 addresses have at least two colons. With fewer this is a host, perhaps with a port.
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
mod tests;
