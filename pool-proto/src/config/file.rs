//! Configurations from files: each setting of a builder by its name.
//!
//! A file goes through the builder, whose `build` checks it, so there are no other rules here. Each value is
//! also checked alone, while the format knows its line. The page [`files`](crate::files) describes all keys.

mod key;
mod values;
mod write;

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use self::key::{Key, Named};
use self::values::{Allowed, Between, Choice, Count, Flag, Fraction, Limit, Time, TimeLimit};
use super::{ClientConfig, ClientConfigBuilder, ServerConfig, ServerConfigBuilder};

/// Reads settings of one of the builders.
struct Settings<B> {
    /// Whether each value is checked for errors that do not depend on the other settings.
    checked: bool,
    builder: PhantomData<B>,
}

/// Implements `Deserialize` for a configuration and its builder. Each setting has its name, the type of its
/// value in a file, and the call of the builder.
macro_rules! settings_of {
    (
        $Config:ident, $Builder:ident, $what:literal;
        $($key:ident: $Value:ty => |$builder:ident, $value:ident| $set:expr;)*
    ) => {
        settings_of! {
            @all $Config, $Builder, $what;
            $($key: $Value => |$builder, $value| $set;)*
            max_connections: Count => |builder, value| builder.max_connections(value.0);
            max_waiters: Count => |builder, value| builder.max_waiters(value.0);
            take_order: Choice<_> => |builder, value| builder.take_order(value.0);
            acquirer: Choice<_> => |builder, value| builder.acquirer(value.0);
            handshake_timeout: Time => |builder, value| builder.handshake_timeout(value.0);
            idle_timeout: TimeLimit => |builder, value| builder.idle_timeout(value.0);
            max_lifetime: TimeLimit => |builder, value| builder.max_lifetime(value.0);
            lifetime_jitter: Fraction => |builder, value| builder.lifetime_jitter(value.0);
            claim_timeout: Time => |builder, value| builder.claim_timeout(value.0);
            reuse_delay: Time => |builder, value| builder.reuse_delay(value.0);
            drain_timeout: Time => |builder, value| builder.drain_timeout(value.0);
            control_connection: Flag => |builder, value| builder.control_connection(value.0);
            opening_byte: Flag => |builder, value| builder.opening_byte(value.0);
            seed: u64 => |builder, value| builder.seed(value);
        }
    };
    (
        @all $Config:ident, $Builder:ident, $what:literal;
        $($key:ident: $Value:ty => |$builder:ident, $value:ident| $set:expr;)*
    ) => {
        impl $Builder {
            /// The names of all settings.
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
        }

        impl<'de> Visitor<'de> for Settings<$Builder> {
            type Value = $Builder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($what)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$Builder, A::Error> {
                let mut settings = $Config::builder();
                let mut seen: u64 = 0;
                while let Some(at) = map.next_key_seed(Key($Builder::KEYS))? {
                    let key = $Builder::KEYS.get(at).copied().unwrap_or_default();
                    if seen & (1 << at) != 0 {
                        return Err(A::Error::duplicate_field(key));
                    }
                    seen |= 1 << at;
                    match key {
                        $(stringify!($key) => {
                            let alone = |$value: $Value| {
                                let $builder = $Config::builder();
                                $set.build().map(|_| ())
                            };
                            let check = self.checked.then_some(alone);
                            let named = Named { key, check, value: PhantomData };
                            let $value = map.next_value_seed(named)?;
                            let $builder = settings;
                            settings = $set;
                        })*
                        // A key is one of the names.
                        other => return Err(A::Error::unknown_field(other, $Builder::KEYS)),
                    }
                }
                Ok(settings)
            }
        }

        impl<'de> Deserialize<'de> for $Builder {
            /// Reads the settings without checks, like the builder's calls. Missing settings have their
            /// defaults.
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_map(Settings { checked: false, builder: PhantomData::<$Builder> })
            }
        }

        impl<'de> Deserialize<'de> for $Config {
            /// Reads the settings, and builds the configuration.
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let settings = Settings { checked: true, builder: PhantomData::<$Builder> };
                from.deserialize_map(settings)?.build().map_err(D::Error::custom)
            }
        }
    };
}

settings_of! {
    ClientConfig, ClientConfigBuilder, "the settings of a client";
    capacity: Between<u32> => |builder, value| builder.capacity(value.0);
    tuning: Choice<_> => |builder, value| builder.tuning(value.0);
    keep: Time => |builder, value| builder.keep(value.0);
    interval: Between<_> => |builder, value| builder.interval(value.0);
    max_dials: Count => |builder, value| builder.max_dials(value.0);
    dial_timeout: Time => |builder, value| builder.dial_timeout(value.0);
    backoff: Between<_> => |builder, value| {
        let (base, cap) = value.0.into_inner();
        builder.backoff(base, cap)
    };
    ids: Choice<_> => |builder, value| builder.ids(value.0);
}

settings_of! {
    ServerConfig, ServerConfigBuilder, "the settings of a server";
    capacity: Count => |builder, value| builder.capacity(value.0);
    max_handshakes: Count => |builder, value| builder.max_handshakes(value.0);
    max_per_source: Limit => |builder, value| builder.max_per_source(value.0);
    allow: Allowed => |builder, value| builder.allow(value.0);
    first_byte_timeout: Time => |builder, value| builder.first_byte_timeout(value.0);
    id_format: Choice<_> => |builder, value| builder.id_format(value.0);
}

#[cfg(test)]
mod tests;
