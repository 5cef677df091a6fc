//! Allow lists from text, against a parser that leans on `core::net` and compares prefixes by
//! shifting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pool_proto::{AllowList, AllowListError};

use super::choices::Choices;

/// The bytes: the text, a zero byte, addresses of 16 bytes each.
///
/// Fails if a text is accepted, refused or blamed otherwise than by the plain parser, if an address
/// is admitted otherwise, or if the list that is written is not the list that was read.
pub fn allow_list(bytes: &[u8]) {
    let all = Choices::new(bytes).rest();
    let end = all.iter().position(|byte| *byte == 0).unwrap_or(all.len());
    let text = String::from_utf8_lossy(&all[..end]);
    let mut addresses = Choices::new(all.get(end + 1..).unwrap_or_default());

    let parsed = text.parse::<AllowList>();
    match (plainly(&text), &parsed) {
        (Ok(plain), Ok(list)) => {
            check_list(&plain, list);
            let mut probes = plain.iter().flat_map(Plain::borders).collect::<Vec<_>>();
            while !addresses.is_empty() {
                probes.push(Ipv6Addr::from(addresses.array::<16>()));
            }
            for probe in probes {
                check_permits(&plain, list, probe);
            }
        }
        (Err(fault), Err(error)) => check_error(&text, &fault, error),
        (plain, parsed) => panic!("{text:?}: {plain:?}, but {parsed:?}"),
    }
}

/// A network as two numbers and a family; IPv4-mapped ones are IPv4.
#[derive(Debug)]
struct Plain {
    v4: bool,
    address: u128,
    prefix: u32,
}

/// An error in a text, in the words of the plain parser.
#[derive(Debug)]
enum Fault {
    Blank,
    Empty(usize),
    Everyone,
    Address(String),
    Prefix(String, u8),
}

impl Plain {
    fn new(address: IpAddr, prefix: u32) -> Self {
        match address {
            IpAddr::V4(v4) => Self { v4: true, address: u32::from(v4).into(), prefix },
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if prefix >= 96 => Self::new(v4.into(), prefix - 96),
                _ => Self { v4: false, address: v6.into(), prefix },
            },
        }
    }

    fn contains(&self, peer: IpAddr) -> bool {
        let peer = match peer {
            IpAddr::V4(_) => Self::new(peer, 32),
            IpAddr::V6(_) => Self::new(peer, 128),
        };
        let bits = if self.v4 { 32 } else { 128 };
        let different = (self.address ^ peer.address).checked_shr(bits - self.prefix);
        self.v4 == peer.v4 && different.unwrap_or(0) == 0
    }

    /// The addresses at which something may change, those outside included. IPv4 ones come mapped.
    fn borders(&self) -> Vec<Ipv6Addr> {
        let bits = if self.v4 { 32 } else { 128 };
        let hosts = u128::MAX.checked_shr(128 - (bits - self.prefix)).unwrap_or(0);
        let (first, last) = (self.address & !hosts, self.address | hosts);
        let border = [first.wrapping_sub(1), first, self.address, last, last.wrapping_add(1)];
        let plain = |address| match self.v4 {
            true => Ipv4Addr::from(address as u32).to_ipv6_mapped(),
            false => Ipv6Addr::from(address),
        };
        border.into_iter().map(plain).collect()
    }
}

fn plainly(text: &str) -> Result<Vec<Plain>, Fault> {
    match text.trim() {
        "" => return Err(Fault::Blank),
        "everyone" => return Ok(Vec::new()),
        _ => {}
    }
    let mut plain = Vec::new();
    for part in text.split(',') {
        let mut entries = part.split_whitespace().peekable();
        if entries.peek().is_none() {
            return Err(Fault::Empty(plain.len() + 1));
        }
        for entry in entries {
            plain.push(plain_entry(entry)?);
        }
    }
    Ok(plain)
}

fn plain_entry(entry: &str) -> Result<Plain, Fault> {
    if entry == "everyone" {
        return Err(Fault::Everyone);
    }
    let (address, prefix) = entry.split_once('/').map_or((entry, None), |(a, p)| (a, Some(p)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Fault::Address(entry.to_owned()));
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    // A prefix has a single spelling, in which it is also written.
    let prefix = match prefix {
        None => Some(max),
        Some(text) => (0..=max).find(|prefix| prefix.to_string() == text),
    };
    let prefix = prefix.ok_or_else(|| Fault::Prefix(entry.to_owned(), max))?;
    Ok(Plain::new(address, prefix.into()))
}

fn check_list(plain: &[Plain], list: &AllowList) {
    assert_eq!(list.is_empty(), plain.is_empty());
    let written = list.to_string();
    assert_eq!(written.parse().as_ref(), Ok(list), "{written}");
    // The written list is canonical: each entry is one that the plain parser reads.
    let again = plainly(&written).expect(&written);
    assert_eq!(again.len(), plain.len());
    let mut pushed = AllowList::everyone();
    for (again, plain) in again.iter().zip(plain) {
        assert_eq!((again.v4, again.prefix), (plain.v4, plain.prefix), "{written}");
    }
    if !list.is_empty() {
        for entry in written.split(", ") {
            pushed.push(AllowList::parse_entry(entry).unwrap());
        }
    }
    assert_eq!(&pushed, list);
}

/// The network as IPv6; its IPv4 part counts both as such and mapped.
fn check_permits(plain: &[Plain], list: &AllowList, probe: Ipv6Addr) {
    let [.., a, b, c, d] = probe.octets();
    let v4 = Ipv4Addr::new(a, b, c, d);
    for peer in [IpAddr::V6(probe), IpAddr::V4(v4), IpAddr::V6(v4.to_ipv6_mapped())] {
        let permitted = plain.is_empty() || plain.iter().any(|network| network.contains(peer));
        assert_eq!(list.permits(peer), permitted, "{peer} by {list}");
    }
}

fn check_error(text: &str, fault: &Fault, error: &AllowListError) {
    let named = match (fault, error) {
        (Fault::Blank, AllowListError::Blank)
        | (Fault::Everyone, AllowListError::EveryoneNotAlone) => None,
        (Fault::Empty(place), AllowListError::EmptyEntry { position }) => {
            assert_eq!(place, position, "{text:?}");
            None
        }
        (Fault::Prefix(wrong, most), AllowListError::Prefix { entry, max }) => {
            assert_eq!((wrong, most), (entry, max), "{text:?}");
            Some(entry)
        }
        (Fault::Address(wrong), error) => {
            let address = wrong.split('/').next().unwrap_or_default();
            let has_port = address.parse::<SocketAddr>().is_ok();
            let entry = match error {
                AllowListError::Port { entry } if has_port => entry,
                AllowListError::HostName { entry }
                    if !has_port && entry.contains(char::is_alphabetic) =>
                {
                    entry
                }
                AllowListError::Address { entry } if !has_port => entry,
                _ => panic!("{text:?}: {fault:?}, but {error:?}"),
            };
            assert_eq!(entry, wrong);
            Some(entry)
        }
        _ => panic!("{text:?}: {fault:?}, but {error:?}"),
    };
    assert!(named.is_none_or(|entry| text.contains(entry.as_str())), "{text:?}: {error}");
    assert!(!error.to_string().is_empty());
}
