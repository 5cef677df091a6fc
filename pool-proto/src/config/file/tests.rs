//! Tests of configurations from files.

use alloc::vec::Vec;
use core::time::Duration;
use std::format;
use std::string::{String, ToString};

use proptest::prelude::*;

use crate::allow::AllowList;
use crate::config::{
    Acquirer, ClientConfig, ClientConfigBuilder, ServerConfig, ServerConfigBuilder, TakeOrder,
};
use crate::id::{IdExchange, IdFormat};
use crate::tuner::Tuning;

const PAGE: &str = include_str!("../../../docs/files.md");
const CLIENT: &str = include_str!("../../../docs/client.toml");
const SERVER: &str = include_str!("../../../docs/server.toml");

fn client(text: &str) -> Result<ClientConfig, toml::de::Error> {
    toml::from_str(text)
}

fn server(text: &str) -> Result<ServerConfig, toml::de::Error> {
    toml::from_str(text)
}

fn default_client() -> ClientConfig {
    ClientConfig::builder().build().unwrap()
}

fn default_server() -> ServerConfig {
    ServerConfig::builder().build().unwrap()
}

fn same_client(read: &ClientConfig, built: &ClientConfig) {
    assert_eq!(format!("{read:?}"), format!("{built:?}"));
}

fn same_server(read: &ServerConfig, built: &ServerConfig) {
    assert_eq!(format!("{read:?}"), format!("{built:?}"));
}

/// The keys of a file, in its order.
fn keys(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect()
}

/// The rows of the table: key, role and default.
fn rows() -> Vec<[String; 3]> {
    let cells = |line: &str| {
        let mut cells = line.split('|').skip(1).map(|cell| cell.trim().replace('`', ""));
        [(); 3].map(|()| cells.next().unwrap())
    };
    PAGE.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// A file of the defaults in the table for one role.
fn table_of(role: &str) -> String {
    let of_role = |[key, of, default]: [String; 3]| {
        let wanted = (of == role || of == "both") && default != "none";
        wanted.then(|| format!("{key} = {default}\n"))
    };
    rows().into_iter().filter_map(of_role).collect()
}

fn sorted<T: Ord>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort_unstable();
    all
}

#[test]
fn an_empty_file_is_the_default() {
    same_client(&client("").unwrap(), &default_client());
    same_server(&server("").unwrap(), &default_server());
}

#[test]
fn the_example_files_have_every_setting_at_its_default() {
    same_client(&client(CLIENT).unwrap(), &default_client());
    same_server(&server(SERVER).unwrap(), &default_server());
    let but_for_the_seed =
        |keys: &[&'static str]| sorted(keys.iter().copied().filter(|k| *k != "seed"));
    assert_eq!(sorted(keys(CLIENT)), but_for_the_seed(ClientConfigBuilder::KEYS));
    assert_eq!(sorted(keys(SERVER)), but_for_the_seed(ServerConfigBuilder::KEYS));
    for file in [CLIENT, SERVER] {
        assert!(PAGE.contains(file), "the page shows the file");
    }
}

#[test]
fn the_table_has_every_key_with_its_default() {
    let of = |role: &'static str| {
        let mine = rows().into_iter().filter(move |[_, of, _]| of == role || of == "both");
        sorted(mine.map(|[key, ..]| key))
    };
    assert_eq!(of("client"), sorted(ClientConfigBuilder::KEYS.iter().map(ToString::to_string)));
    assert_eq!(of("server"), sorted(ServerConfigBuilder::KEYS.iter().map(ToString::to_string)));
    same_client(&client(&table_of("client")).unwrap(), &default_client());
    same_server(&server(&table_of("server")).unwrap(), &default_server());
}

#[test]
fn every_setting_of_a_client_is_read() {
    let text = r#"
        capacity = { min = 9, max = 19 }
        tuning = "node-pass"
        interval = "109ms..=1m110ms"
        max_dials = 11
        dial_timeout = "111ms"
        backoff = { min = "112ms", max = "113ms" }
        ids = "raw4"
        max_connections = 101
        max_waiters = 102
        take_order = "newest-first"
        acquirer = "both"
        handshake_timeout = "103ms"
        idle_timeout = "104ms"
        max_lifetime = "105ms"
        lifetime_jitter = 0.25
        claim_timeout = "106ms"
        reuse_delay = "107ms"
        drain_timeout = "108ms"
        control_connection = false
        opening_byte = true
        seed = 7
    "#;
    let ms = Duration::from_millis;
    let built = ClientConfig::builder()
        .capacity(9..=19)
        .tuning(Tuning::NodePass)
        .interval(ms(109)..=ms(60_110))
        .max_dials(11)
        .dial_timeout(ms(111))
        .backoff(ms(112), ms(113))
        .ids(IdExchange::Wire(IdFormat::Raw4))
        .max_connections(101)
        .max_waiters(102)
        .take_order(TakeOrder::NewestFirst)
        .acquirer(Acquirer::Both)
        .handshake_timeout(ms(103))
        .idle_timeout(ms(104))
        .max_lifetime(ms(105))
        .lifetime_jitter(0.25)
        .claim_timeout(ms(106))
        .reuse_delay(ms(107))
        .drain_timeout(ms(108))
        .opening_byte(true)
        .seed(7);
    same_client(&client(text).unwrap(), &built.build().unwrap());
    let keep = ClientConfig::builder().keep(ms(114)).build().unwrap();
    same_client(&client("keep = \"114ms\"").unwrap(), &keep);
    // Every key except `keep`, which belongs to another law.
    assert_eq!(keys(text).len(), ClientConfigBuilder::KEYS.len() - 1);
}

#[test]
fn every_setting_of_a_server_is_read() {
    let text = r#"
        capacity = 12
        max_handshakes = 13
        max_per_source = 14
        allow = ["10.0.0.0/8", "::1"]
        first_byte_timeout = "7ms"
        id_format = "raw4"
    "#;
    let built = ServerConfig::builder()
        .capacity(12)
        .max_handshakes(13)
        .max_per_source(14)
        .allow("10.0.0.0/8, ::1".parse().unwrap())
        .first_byte_timeout(Duration::from_millis(7))
        .id_format(IdFormat::Raw4);
    same_server(&server(text).unwrap(), &built.build().unwrap());
}

#[test]
fn a_builder_is_read_and_goes_on() {
    let builder: ClientConfigBuilder = toml::from_str("capacity = 0").unwrap();
    let config = builder.capacity(3).build().unwrap();
    assert_eq!(config.tuner().max_capacity(), 3);
}

#[test]
fn times_are_written_as_people_write_them() {
    let time = |text: &str| {
        client(&format!("keep = {text:?}")).map(|c| c.tuner().keep().unwrap().duration())
    };
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("250ms", ms(250)),
        ("30s", ms(30_000)),
        ("1m30s", ms(90_000)),
        ("1h 2m 3s", ms(3_723_000)),
        ("2d", ms(172_800_000)),
        (" 1 s ", ms(1000)),
        ("7us", Duration::from_micros(7)),
        ("7ns", Duration::from_nanos(7)),
    ] {
        assert_eq!(time(text).unwrap(), expected, "{text}");
    }
    for (text, wrong) in [
        ("", "no time in \"\""),
        ("30", "no unit after 30"),
        ("s", "no whole number before \"s\""),
        ("-1s", "no whole number before \"-1s\""),
        ("1.5s", "no unit after 1"),
        ("1s1s", "\"s\" after a unit that is not larger"),
        ("1s1m", "\"m\" after a unit that is not larger"),
        ("3 weeks", "no unit \"weeks\""),
        ("30S", "no unit \"S\""),
        ("1µs", "no unit after 1"),
        ("300000d", "more than 584 years"),
        ("99999999999999999999s", "more than 584 years"),
        ("never", "no whole number before \"never\""),
    ] {
        let error = time(text).unwrap_err().to_string();
        assert!(error.contains(&format!("keep: {wrong}")), "{error}");
        assert!(error.contains("a time with units, such as \"250ms\""), "{error}");
    }
}

#[test]
fn a_range_is_a_number_a_text_or_a_table() {
    for text in ["7", "\"7\"", "\"7..=7\"", "\"7 ..= 7\"", "{ min = 7, max = \"7\" }"] {
        let tuner = client(&format!("capacity = {text}")).unwrap().tuner().clone();
        assert_eq!((tuner.min_capacity(), tuner.max_capacity()), (7, 7), "{text}");
    }
    for (text, wrong) in [
        ("\"7..9\"", "capacity: a range without its end"),
        ("\"7..=\"", "capacity: no such number"),
        ("\"+7\"", "capacity: no such number"),
        ("true", "capacity: invalid type: boolean `true`, expected a whole number, a range"),
        ("-7", "capacity: invalid value: integer `-7`, expected a whole number, a range"),
        ("4294967296", "capacity: invalid value: integer `4294967296`"),
        ("{ min = 7 }", "capacity: missing field `max`"),
        ("{ low = 7 }", "capacity: there is no setting `low`; there are min, max"),
    ] {
        let error = client(&format!("capacity = {text}")).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn an_allow_list_is_a_text_or_a_list() {
    let list: AllowList = "10.0.0.0/8, ::1".parse().unwrap();
    for text in ["\"10.0.0.0/8, ::1\"", "[\"10.0.0.0/8\", \"::1\"]"] {
        assert_eq!(server(&format!("allow = {text}")).unwrap().allow, list);
    }
    for (text, wrong) in [
        ("[]", "allow: the allow list is blank"),
        ("\"\"", "allow: the allow list is blank"),
        ("[\"everyone\"]", "allow: \"everyone\" is not an entry"),
        ("[\"10.0.0.0/33\"]", "allow: \"10.0.0.0/33\" has a wrong prefix"),
        ("7", "allow: invalid type: integer `7`, expected addresses and networks"),
    ] {
        let error = server(&format!("allow = {text}")).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn an_error_says_the_key_and_the_line() {
    let text = "capacity = 4\n\nidle_timeout = 30\n";
    let error = client(text).unwrap_err();
    let expected = "idle_timeout: invalid value: integer `30`, expected a time with units";
    assert!(error.message().starts_with(expected), "{error}");
    assert!(error.to_string().contains("line 3"), "{error}");
    let span = error.span().unwrap();
    assert!(text[..span.start].contains("capacity = 4\n\n"), "{span:?}");
    // The format has no lines: the error names the key.
    let error = serde_json::from_str::<ClientConfig>(r#"{"take_order": "first"}"#).unwrap_err();
    let expected = "take_order: no known name in \"first\", expected \"oldest-first\"";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn the_error_of_a_value_that_no_builder_takes_says_the_line() {
    for wrong in [
        "capacity = \"7..=6\"",
        "capacity = 0",
        "max_connections = 4294967295",
        "max_waiters = 0",
        "keep = \"0s\"",
        "interval = { min = \"0s\", max = \"1s\" }",
        "backoff = \"2s..=1s\"",
        "lifetime_jitter = 1.5",
        "idle_timeout = \"0s\"",
    ] {
        let error = client(&format!("ids = \"hex8\"\n\n{wrong}\n")).unwrap_err();
        let key = wrong.split(' ').next().unwrap();
        assert!(error.message().starts_with(key), "{error}");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
    let error = server("capacity = 4\nmax_handshakes = 4294967295").unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    // Whether two settings go together shows at the end, whichever comes first.
    for text in ["max_connections = 6\ncapacity = 7", "capacity = 70000\nmax_connections = 69999"] {
        let error = client(text).unwrap_err();
        assert!(error.message().contains("is the most because of max_connections"), "{error}");
    }
    client("capacity = 70000\nmax_connections = 70000").unwrap();
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one_or_all() {
    let error = client("keep = \"1s\"\nidle_timout = \"30s\"").unwrap_err();
    let expected = "there is no setting `idle_timout`; is `idle_timeout` meant?";
    assert_eq!(error.message(), expected);
    assert!(error.to_string().contains("line 2"), "{error}");
    let error = server("colour = 3").unwrap_err();
    let expected = "there is no setting `colour`; there are capacity, max_handshakes";
    assert!(error.message().starts_with(expected), "{error}");
    // A setting of the other role is not known, either.
    let error = server("max_dials = 3").unwrap_err();
    assert!(error.message().starts_with("there is no setting `max_dials`"), "{error}");
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let twice = r#"{"capacity": 3, "capacity": 4}"#;
    let error = serde_json::from_str::<ClientConfig>(twice).unwrap_err();
    assert!(error.to_string().starts_with("duplicate field `capacity`"), "{error}");
}

/// Any time that a setting may have.
fn any_time() -> impl Strategy<Value = Duration> {
    // From nanoseconds to centuries.
    (1..=u64::MAX - 1, 0..64_u32)
        .prop_map(|(nanos, bits)| Duration::from_nanos((nanos >> bits).max(1)))
}

proptest! {
    #[test]
    fn a_client_that_is_written_is_read_back(
        times in prop::array::uniform9(any_time()),
        limits in prop::array::uniform2(prop::option::of(any_time())),
        numbers in prop::array::uniform5(1..60_000_u32),
        jitter in 0.0..=1.0,
        choices in prop::array::uniform6(0..4_usize),
    ) {
        let [keep, a, b, base, cap, dial, handshake, claim, drain] = times;
        let [low, high, dials, waiters, more] = numbers;
        let builder = ClientConfig::builder()
            .capacity(low.min(high)..=low.max(high))
            .max_connections(low.max(high) + more)
            .tuning([Tuning::Demand, Tuning::NodePass][choices[0] % 2])
            .keep(keep)
            .interval(a.min(b)..=a.max(b))
            .backoff(base.min(cap), base.max(cap))
            .max_dials(dials)
            .max_waiters(waiters)
            .dial_timeout(dial)
            .handshake_timeout(handshake)
            .claim_timeout(claim)
            .drain_timeout(drain)
            .reuse_delay(limits[0].unwrap_or_default())
            .idle_timeout(limits[0])
            .max_lifetime(limits[1])
            .lifetime_jitter(jitter)
            .ids([IdExchange::None, IdExchange::Wire(IdFormat::Hex8), IdExchange::Wire(IdFormat::Raw4)]
                [choices[1] % 3])
            .take_order([TakeOrder::OldestFirst, TakeOrder::NewestFirst][choices[2] % 2])
            .acquirer([Acquirer::Either, Acquirer::ThisEnd, Acquirer::Peer, Acquirer::Both][choices[3]])
            .control_connection(choices[4] == 0)
            .opening_byte(choices[5] == 0);
        // Some do not go together.
        if let Ok(config) = builder.build() {
            same_client(&client(&toml::to_string(&config).unwrap()).unwrap(), &config);
        }
    }

    #[test]
    fn a_server_that_is_written_is_read_back(
        times in prop::array::uniform4(any_time()),
        numbers in prop::array::uniform3(1..60_000_u32),
        per_source in prop::option::of(1..100_u32),
        networks in prop::collection::vec((any::<core::net::IpAddr>(), 0..=32_u8), 0..4),
        raw in any::<bool>(),
    ) {
        let [first_byte, handshake, claim, drain] = times;
        let [capacity, handshakes, waiters] = numbers;
        let networks: Vec<_> =
            networks.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
        let allow = match networks.is_empty() {
            true => AllowList::everyone(),
            false => networks.join(",").parse().unwrap(),
        };
        let builder = ServerConfig::builder()
            .capacity(capacity)
            .max_handshakes(handshakes)
            .max_waiters(waiters)
            .max_per_source(per_source)
            .allow(allow)
            .first_byte_timeout(first_byte)
            .handshake_timeout(handshake)
            .claim_timeout(claim)
            .drain_timeout(drain)
            .id_format(if raw { IdFormat::Raw4 } else { IdFormat::Hex8 });
        if let Ok(config) = builder.build() {
            same_server(&server(&toml::to_string(&config).unwrap()).unwrap(), &config);
        }
    }
}

#[test]
fn what_is_written_has_every_key_of_its_role_but_for_the_seed() {
    // A law has either of the two.
    let but = |keys: &[&'static str], left_out: &[&str]| {
        sorted(keys.iter().copied().filter(|key| !left_out.contains(key)))
    };
    let seeded = ClientConfig::builder().seed(7).build().unwrap();
    let text = toml::to_string(&seeded).unwrap();
    assert_eq!(sorted(keys(&text)), but(ClientConfigBuilder::KEYS, &["seed", "interval"]));
    let text = toml::to_string(&default_server()).unwrap();
    assert_eq!(sorted(keys(&text)), but(ServerConfigBuilder::KEYS, &["seed"]));
}

#[test]
fn the_builder_checks_the_values() {
    for (text, expected) in [
        ("capacity = 0", "capacity is zero; it must be at least 1"),
        (
            "capacity = 7\nmax_connections = 6",
            "capacity is 7, but 6 is the most because of max_connections",
        ),
        ("capacity = \"7..=6\"", "capacity has its lower bound above its upper bound"),
        ("lifetime_jitter = 1.5", "lifetime_jitter is not a number between 0 and 1"),
        ("idle_timeout = \"0s\"", "idle_timeout is zero"),
        ("acquirer = \"both\"\nids = \"none\"", "acquirer needs a peer that is a pool"),
    ] {
        let error = client(text).unwrap_err();
        assert!(error.message().starts_with(expected), "{error}");
    }
}
