//! Tests of the allow list.

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
fn a_network_admits_its_own_addresses_and_no_others() {
    let list = list("10.0.0.0/8");
    assert!(!list.is_empty());
    assert!(list.permits(ip("10.0.0.0")) && list.permits(ip("10.255.255.255")));
    assert!(!list.permits(ip("9.255.255.255")) && !list.permits(ip("11.0.0.0")));
    assert!(!list.permits(ip("::1")));
}

#[test]
fn an_address_admits_only_itself() {
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
fn all_of_ipv4_is_nothing_of_ipv6() {
    let list = list("0.0.0.0/0");
    assert!(list.permits(ip("203.0.113.9")) && list.permits(ip("::ffff:203.0.113.9")));
    // The deprecated compatible form is an IPv6 address, not a mapped one.
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
    for entry in ["10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/00", "10.0.0.0/8/8", "::/x"]
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
        "\"example.com\" is not an address: host names are not resolved here, give addresses"
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
fn a_text_that_is_not_an_address_is_refused() {
    for entry in ["10.0.0", "10.0.0.256", "010.0.0.1", "*", "/8", "fe80::1%eth0", "ab::zz", "1:2"] {
        assert_eq!(error(entry), AllowListError::Address { entry: entry.into() });
    }
    assert!(error("*").to_string().starts_with("\"*\" is neither"));
}

#[test]
fn the_error_names_the_wrong_entry_of_several() {
    let entry = "10.0.0.0/99".into();
    assert_eq!(error("::1, 10.0.0.0/99, *"), AllowListError::Prefix { entry, max: 32 });
}
