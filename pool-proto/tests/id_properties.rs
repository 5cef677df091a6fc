//! Properties of ids and allow lists, on random input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Buf;
use ipnet::IpNet;
use pool_proto::allow::AllowList;
use pool_proto::id::{ConnId, IdError, IdFormat, IdReader, IdWriter};
use proptest::collection::vec;
use proptest::prelude::*;

fn formats() -> impl Strategy<Value = IdFormat> {
    prop_oneof![Just(IdFormat::Hex8), Just(IdFormat::Raw4)]
}

fn ids() -> impl Strategy<Value = ConnId> {
    any::<[u8; 4]>().prop_map(ConnId::from_bytes)
}

/// The id on the wire, made without the code under test.
fn wire(format: IdFormat, id: ConnId) -> Vec<u8> {
    let bytes = id.to_bytes();
    match format {
        IdFormat::Hex8 => bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect(),
        IdFormat::Raw4 => bytes.to_vec(),
    }
}

/// Cuts `bytes` into pieces of these lengths, over and over; the last one may be shorter.
fn fragments<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = (*lengths.next()?).min(rest.len());
        let (piece, after) = rest.split_at(length);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Mostly tiny pieces, sometimes one that takes everything.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![4 => 1..6usize, 1 => 6..200usize], 1..12)
}

/// Bytes that get far into a hex id before something is wrong with them.
fn nearly_hex() -> impl Strategy<Value = Vec<u8>> {
    let digit = proptest::sample::select(b"0123456789abcdef".as_slice());
    vec(prop_oneof![9 => digit, 1 => any::<u8>()], 0..24)
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped())),
        // Close to the mapped addresses, and to zero.
        (any::<u64>(), 0..64u32)
            .prop_map(|(bits, shift)| { IpAddr::V6(Ipv6Addr::from(u128::from(bits >> shift))) }),
    ]
}

fn networks() -> impl Strategy<Value = IpNet> {
    (addresses(), any::<u8>()).prop_filter_map("all are valid", |(address, prefix)| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, prefix % (max + 1)).ok()
    })
}

fn bits(octets: &[u8]) -> Vec<bool> {
    octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}

/// The bits to compare and how many of them are the prefix; IPv4-mapped ones as IPv4, if the
/// network does not reach beyond them.
fn canonical_bits(address: IpAddr, prefix: u8) -> (Vec<bool>, u8) {
    match address {
        IpAddr::V4(v4) => (bits(&v4.octets()), prefix),
        IpAddr::V6(v6) => match (v6.octets(), prefix) {
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4 @ ..], 96..) => (bits(&v4), prefix - 96),
            (octets, _) => (bits(&octets), prefix),
        },
    }
}

/// Whether the network has the peer in it, bit by bit.
fn naively_contains(network: IpNet, peer: IpAddr) -> bool {
    let (network, prefix) = canonical_bits(network.addr(), network.prefix_len());
    let (peer, _) = canonical_bits(peer, 128);
    peer.len() == network.len()
        && peer.iter().zip(&network).take(prefix.into()).all(|(a, b)| a == b)
}

/// The peer with everything behind the first `keep` bits replaced by `other`'s bits.
fn neighbour(of: IpAddr, keep: u8, other: u128) -> IpAddr {
    match of {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shr(keep.into()).unwrap_or(0);
            let [.., a, b, c, d] = other.to_be_bytes();
            let other = u32::from_be_bytes([a, b, c, d]);
            IpAddr::V4((v4.to_bits() & !mask | other & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shr(keep.into()).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & !mask | other & mask).into())
        }
    }
}

proptest! {
    #[test]
    fn any_fragmentation_gives_the_id_and_exactly_the_payload(
        format in formats(),
        id in ids(),
        payload in vec(any::<u8>(), 0..200),
        lengths in lengths(),
        into_buffer in any::<bool>(),
    ) {
        let stream = [wire(format, id), payload.clone()].concat();
        let mut reader = IdReader::new(format);
        let mut came = 0;
        for piece in fragments(&stream, &lengths) {
            if into_buffer {
                reader.buffer_mut().extend_from_slice(piece);
            } else {
                reader.feed(piece);
            }
            came += piece.len();
            prop_assert_eq!(reader.missing(), format.wire_len().saturating_sub(came));
            prop_assert_eq!(reader.poll(), Ok((came >= format.wire_len()).then_some(id)));
        }
        prop_assert_eq!(reader.end(), Ok(id));
        prop_assert_eq!(reader.into_surplus(), payload);
    }

    #[test]
    fn garbage_is_an_error_or_an_id_and_takes_no_more_than_an_id(
        format in formats(),
        garbage in prop_oneof![vec(any::<u8>(), 0..24), nearly_hex()],
        lengths in lengths(),
    ) {
        let head: Vec<u8> = garbage.iter().copied().take(format.wire_len()).collect();
        let wrong = head
            .iter()
            .position(|byte| format == IdFormat::Hex8 && !b"0123456789abcdef".contains(byte));
        let mut reader = IdReader::new(format);
        let mut came = 0;
        for piece in fragments(&garbage, &lengths) {
            reader.feed(piece);
            came += piece.len();
            let polled = reader.poll();
            match wrong.filter(|offset| *offset < came) {
                Some(offset) => {
                    let error = IdError::NotHex { offset, byte: garbage[offset] };
                    prop_assert_eq!(polled, Err(error));
                }
                None => prop_assert_eq!(polled.unwrap().is_some(), came >= format.wire_len()),
            }
        }
        let ended = reader.end();
        prop_assert_eq!(&ended, &reader.end());
        let surplus = reader.into_surplus();
        match ended {
            Ok(id) => {
                prop_assert_eq!(wire(format, id), head);
                prop_assert_eq!(&surplus[..], &garbage[format.wire_len()..]);
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                prop_assert!(surplus.is_empty());
                if wrong.is_none() {
                    let short = IdError::Short { got: head.len(), expected: format.wire_len() };
                    prop_assert_eq!(error, short);
                }
            }
        }
    }

    #[test]
    fn the_reader_reads_the_ids_of_the_writer(
        format in formats(),
        id in ids(),
        writes in vec(0..10usize, 0..12),
    ) {
        let mut writer = IdWriter::new(format, id);
        let mut reader = IdReader::new(format);
        let mut written = Vec::new();
        for limit in writes.into_iter().chain([usize::MAX]) {
            let taken = limit.min(writer.remaining());
            written.extend_from_slice(&writer.chunk()[..taken]);
            reader.feed(&writer.chunk()[..taken]);
            writer.advance(taken);
            prop_assert_eq!(writer.remaining(), reader.missing());
            prop_assert!(reader.poll().is_ok());
        }
        prop_assert!(!writer.has_remaining());
        prop_assert_eq!(written, wire(format, id));
        prop_assert_eq!(reader.end(), Ok(id));
        prop_assert!(reader.into_surplus().is_empty());
    }

    #[test]
    fn the_text_of_an_id_is_its_hex_and_parses_to_it(id in ids()) {
        prop_assert_eq!(id.to_string().into_bytes(), wire(IdFormat::Hex8, id));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_text_that_parses_as_an_id_is_the_text_of_it(text in "[0-9a-gA-F+é]{7,9}|\\PC*") {
        if let Ok(id) = text.parse::<ConnId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn permits_agrees_with_comparing_prefixes_bit_by_bit(
        networks in vec(networks(), 0..5),
        stranger in addresses(),
        (keep, other) in (0..=128u8, any::<u128>()),
    ) {
        let list: AllowList = networks.iter().copied().collect();
        let mut peers = vec![stranger];
        for network in &networks {
            // On both sides of the edge of a network, where random addresses hardly ever are.
            let prefix = network.prefix_len();
            for keep in [prefix, prefix.saturating_sub(1), keep] {
                peers.push(neighbour(network.addr(), keep, other));
                peers.push(neighbour(network.addr(), keep, !other));
            }
        }
        for peer in peers {
            let expected =
                networks.is_empty() || networks.iter().any(|net| naively_contains(*net, peer));
            prop_assert_eq!(list.permits(peer), expected, "{} in {}", peer, list);
            prop_assert_eq!(list.permits(peer.to_canonical()), expected);
        }
    }

    #[test]
    fn the_text_of_a_list_parses_to_it(networks in vec(networks(), 0..5)) {
        let list: AllowList = networks.iter().copied().collect();
        prop_assert_eq!(list.to_string().parse(), Ok(list));
    }

    #[test]
    fn parsing_agrees_with_pushing(networks in vec(networks(), 1..5)) {
        let mut pushed = AllowList::everyone();
        for network in &networks {
            pushed.push(*network);
        }
        let text: Vec<_> = networks.iter().map(IpNet::to_string).collect();
        prop_assert_eq!(text.join(",").parse(), Ok(pushed));
    }

    #[test]
    fn garbage_never_becomes_a_list_of_everybody(
        text in prop_oneof!["[0-9a-f.:/, %\\[\\]]{0,40}", "\\PC*"]
    ) {
        if let Ok(list) = text.parse::<AllowList>() {
            prop_assert!(!list.is_empty() || text.trim() == "everyone");
        }
    }
}
