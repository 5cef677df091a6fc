//! Configurations as files, which are read back as the same configurations.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::values::{Known, UNITS};
use crate::config::{ClientConfig, Common, ServerConfig};
use crate::time::Period;

/// A time, the larger units first.
fn time(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in UNITS.iter().rev() {
        let nanos = u128::from(*nanos);
        if rest >= nanos {
            text += &format!("{}{unit}", rest / nanos);
            rest %= nanos;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

fn period(period: Period) -> String {
    time(period.duration())
}

fn time_limit(limit: Period) -> String {
    if limit == Period::NEVER { "never".into() } else { period(limit) }
}

fn range(low: &str, high: &str) -> String {
    if low == high { low.into() } else { format!("{low}..={high}") }
}

fn name<T: Known>(value: &T) -> &'static str {
    let named = T::NAMES.iter().find(|(_, known)| known == value);
    named.map_or("", |(name, _)| name)
}

impl Common {
    /// Writes the settings that both roles have, but not the seed: it tells all ids.
    fn write<M: SerializeMap>(&self, to: &mut M) -> Result<(), M::Error> {
        let Self {
            max_connections,
            max_waiters,
            take_order,
            acquirer,
            handshake_timeout,
            first_byte_timeout: _,
            idle_timeout,
            max_lifetime,
            lifetime_jitter,
            claim_timeout,
            reuse_delay,
            drain_timeout,
            control_connection,
            opening_byte,
            seed: _,
        } = self;
        to.serialize_entry("max_connections", max_connections)?;
        to.serialize_entry("max_waiters", max_waiters)?;
        to.serialize_entry("take_order", name(take_order))?;
        to.serialize_entry("acquirer", name(acquirer))?;
        to.serialize_entry("handshake_timeout", &period(*handshake_timeout))?;
        to.serialize_entry("idle_timeout", &time_limit(*idle_timeout))?;
        to.serialize_entry("max_lifetime", &time_limit(*max_lifetime))?;
        to.serialize_entry("lifetime_jitter", lifetime_jitter)?;
        to.serialize_entry("claim_timeout", &period(*claim_timeout))?;
        to.serialize_entry("reuse_delay", &period(*reuse_delay))?;
        to.serialize_entry("drain_timeout", &period(*drain_timeout))?;
        to.serialize_entry("control_connection", control_connection)?;
        to.serialize_entry("opening_byte", opening_byte)
    }
}

impl Serialize for ClientConfig {
    /// Writes every setting that is in force, except for the seed.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { common, ids, tuner, max_dials, dial_timeout, backoff: (base, cap) } = self;
        let mut map = to.serialize_map(None)?;
        let (low, high) = (tuner.min_capacity().to_string(), tuner.max_capacity().to_string());
        map.serialize_entry("capacity", &range(&low, &high))?;
        map.serialize_entry("tuning", name(&tuner.tuning()))?;
        // A law has either.
        if let Some(keep) = tuner.keep() {
            map.serialize_entry("keep", &period(keep))?;
        }
        if let Some((shortest, longest)) = tuner.intervals() {
            map.serialize_entry("interval", &range(&period(shortest), &period(longest)))?;
        }
        map.serialize_entry("max_dials", max_dials)?;
        map.serialize_entry("dial_timeout", &period(*dial_timeout))?;
        map.serialize_entry("backoff", &range(&time(*base), &time(*cap)))?;
        map.serialize_entry("ids", name(ids))?;
        common.write(&mut map)?;
        map.end()
    }
}

impl Serialize for ServerConfig {
    /// Writes every setting that is in force, except for the seed.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self {
            common,
            format,
            capacity,
            max_handshakes,
            max_per_source,
            allow,
            certificates: _,
        } = self;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("capacity", capacity)?;
        map.serialize_entry("max_handshakes", max_handshakes)?;
        match max_per_source {
            // The builder's mark of no limit.
            &u32::MAX => map.serialize_entry("max_per_source", "unlimited")?,
            limit => map.serialize_entry("max_per_source", limit)?,
        }
        map.serialize_entry("allow", &allow.to_string())?;
        map.serialize_entry("first_byte_timeout", &period(common.first_byte_timeout))?;
        map.serialize_entry("id_format", name(format))?;
        common.write(&mut map)?;
        map.end()
    }
}
