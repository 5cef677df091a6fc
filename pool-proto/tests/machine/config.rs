//! Configurations that are refused, and the words of the errors.

use std::time::Duration;

use pool_proto::{
    ClientConfig, ClientConfigBuilder, ConfigError, MAX_CONNECTIONS, ServerConfig,
    ServerConfigBuilder,
};

const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

fn client(config: impl FnOnce(ClientConfigBuilder) -> ClientConfigBuilder) -> String {
    let error = config(ClientConfig::builder()).build().unwrap_err();
    error.to_string()
}

fn server(config: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder) -> String {
    let error = config(ServerConfig::builder()).build().unwrap_err();
    error.to_string()
}

#[test]
fn the_defaults_are_sound() {
    ClientConfig::builder().build().unwrap();
    ServerConfig::builder().build().unwrap();
}

#[test]
fn settings_that_must_be_at_least_one_are_refused_when_zero() {
    let zero = |setting: &str| format!("{setting} is zero; it must be at least 1");
    let no_time = |setting: &str| format!("{setting} is zero; it must be longer than that");
    assert_eq!(client(|c| c.max_connections(0)), zero("max_connections"));
    assert_eq!(client(|c| c.max_waiters(0)), zero("max_waiters"));
    assert_eq!(client(|c| c.max_dials(0)), zero("max_dials"));
    assert_eq!(client(|c| c.capacity(0..=4)), zero("capacity"));
    assert_eq!(client(|c| c.interval(ZERO..=SECOND)), no_time("interval"));
    assert_eq!(client(|c| c.backoff(ZERO, SECOND)), no_time("backoff"));
    assert_eq!(client(|c| c.dial_timeout(ZERO)), no_time("dial_timeout"));
    assert_eq!(client(|c| c.handshake_timeout(ZERO)), no_time("handshake_timeout"));
    assert_eq!(client(|c| c.idle_timeout(ZERO)), no_time("idle_timeout"));
    assert_eq!(client(|c| c.max_lifetime(ZERO)), no_time("max_lifetime"));
    assert_eq!(client(|c| c.claim_timeout(ZERO)), no_time("claim_timeout"));
    assert_eq!(client(|c| c.drain_timeout(ZERO)), no_time("drain_timeout"));
    assert_eq!(server(|c| c.capacity(0)), zero("capacity"));
    assert_eq!(server(|c| c.max_handshakes(0)), zero("max_handshakes"));
    assert_eq!(server(|c| c.max_per_source(0)), zero("max_per_source"));
    assert_eq!(server(|c| c.max_waiters(0)), zero("max_waiters"));
}

#[test]
fn a_reuse_delay_of_zero_and_no_timeouts_are_fine() {
    let builder = ClientConfig::builder().reuse_delay(ZERO);
    builder.idle_timeout(None).max_lifetime(None).build().unwrap();
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
fn inverted_bounds_are_refused() {
    let inverted =
        |setting: &str| format!("{setting} has its lower bound above its upper bound; swap them");
    assert_eq!(client(|c| c.capacity(5..=4)), inverted("capacity"));
    assert_eq!(client(|c| c.interval(2 * SECOND..=SECOND)), inverted("interval"));
    assert_eq!(client(|c| c.backoff(2 * SECOND, SECOND)), inverted("backoff"));
    let equal = ClientConfig::builder().capacity(4..=4).interval(SECOND..=SECOND);
    equal.backoff(SECOND, SECOND).build().unwrap();
}

#[test]
fn one_value_is_both_bounds() {
    let fixed = ClientConfig::builder().capacity(16).interval(SECOND).build().unwrap();
    let range =
        ClientConfig::builder().capacity(16..=16).interval(SECOND..=SECOND).build().unwrap();
    let [fixed, range] = [fixed, range].map(|config| format!("{config:?}"));
    assert_eq!(fixed, range);
    let most = 7_u32;
    ClientConfig::builder().capacity(most).build().unwrap();
    assert_eq!(client(|c| c.capacity(0)), "capacity is zero; it must be at least 1");
    assert!(client(|c| c.interval(ZERO)).starts_with("interval is zero"));
    assert!(client(|c| c.max_connections(8).capacity(9)).contains("capacity"));
    // A server's is a limit, and spelled alike.
    ServerConfig::builder().capacity(16).build().unwrap();
}

#[test]
fn periods_beyond_64_bits_of_nanoseconds_are_refused() {
    const LONG: Duration = Duration::MAX;
    let long = |setting: &str| {
        format!("{setting} is longer than 584 years, the longest period there is; shorten it")
    };
    assert_eq!(client(|c| c.interval(SECOND..=LONG)), long("interval"));
    assert_eq!(client(|c| c.backoff(SECOND, LONG)), long("backoff"));
    assert_eq!(client(|c| c.dial_timeout(LONG)), long("dial_timeout"));
    assert_eq!(client(|c| c.handshake_timeout(LONG)), long("handshake_timeout"));
    assert_eq!(client(|c| c.idle_timeout(LONG)), long("idle_timeout"));
    assert_eq!(client(|c| c.max_lifetime(LONG)), long("max_lifetime"));
    assert_eq!(client(|c| c.claim_timeout(LONG)), long("claim_timeout"));
    assert_eq!(client(|c| c.reuse_delay(LONG)), long("reuse_delay"));
    assert_eq!(server(|c| c.drain_timeout(LONG)), long("drain_timeout"));
}

#[test]
fn more_than_the_machine_can_hold_is_refused() {
    let large = |setting: &str, value: u32, limit: u32, bound: &str| {
        format!("{setting} is {value}, but {limit} is the most because of {bound}; lower it")
    };
    let (most, more) = (MAX_CONNECTIONS, MAX_CONNECTIONS + 1);
    let too_many = large("max_connections", more, most, "MAX_CONNECTIONS");
    assert_eq!(client(|c| c.max_connections(more)), too_many);
    assert_eq!(server(|c| c.max_connections(more)), too_many);
    let refused = client(|c| c.max_connections(9).capacity(4..=10));
    assert_eq!(refused, large("capacity", 10, 9, "max_connections"));
    let refused = server(|c| c.max_connections(9).capacity(10));
    assert_eq!(refused, large("capacity", 10, 9, "max_connections"));
    let refused = server(|c| c.max_handshakes(4097));
    assert_eq!(refused, large("max_handshakes", 4097, 4096, "MAX_HANDSHAKES"));
    let most = ClientConfig::builder().max_connections(most).capacity(1..=most);
    most.build().unwrap();
    ServerConfig::builder().max_handshakes(4096).build().unwrap();
}

#[test]
fn a_jitter_that_is_no_fraction_is_refused() {
    let refused = "lifetime_jitter is not a number between 0 and 1; it is a fraction";
    for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(client(|c| c.lifetime_jitter(jitter)), refused);
    }
    ClientConfig::builder().lifetime_jitter(1.0).build().unwrap();
}

#[test]
fn an_error_can_be_told_apart_without_its_words() {
    let zero = ConfigError::Zero { setting: "capacity" };
    assert_eq!(ServerConfig::builder().capacity(0).build().unwrap_err(), zero);
}
