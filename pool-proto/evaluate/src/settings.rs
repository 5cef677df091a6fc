//! Settings of a client's machine as text.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use pool_proto::{ClientConfig, ClientConfigBuilder, ConfigError, IdExchange, TakeOrder, Tuning};

/// The settings of a client. Unless they are set, they are those of [`ClientConfig::builder`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The builder with the settings.
    pub builder: ClientConfigBuilder,
}

/// Why a setting cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It has no value.
    #[error("{0:?} has no value; expected key=value, such as capacity=2..=256")]
    NoValue(String),
    /// The setting is unknown.
    #[error("no setting is called {key:?}; the settings are {}", keys())]
    Unknown {
        /// The name.
        key: String,
    },
    /// The value does not fit.
    #[error("{key}={found}: expected {expected}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The text.
        found: String,
        /// What fits.
        expected: &'static str,
    },
}

/// A setting: its name, the values that fit, and the function that sets it.
struct Key {
    name: &'static str,
    expected: &'static str,
    set: fn(&mut Settings, &str) -> Option<()>,
}

const NUMBER: &str = "a whole number, such as 64";
const NUMBERS: &str = "a whole number or a range of them, such as 16 or 2..=256";
const TIME: &str = "a time, such as 250ms or 30s";
const TIMES: &str = "a time or a range of times, such as 1s or 100ms..=1s";

const KEYS: &[Key] = &[
    Key {
        name: "capacity",
        expected: NUMBERS,
        set: |settings, text| settings.change(range(text, number), ClientConfigBuilder::capacity),
    },
    Key {
        name: "keep",
        expected: TIME,
        set: |settings, text| settings.change(time(text), ClientConfigBuilder::keep),
    },
    Key {
        name: "interval",
        expected: TIMES,
        set: |settings, text| settings.change(range(text, time), ClientConfigBuilder::interval),
    },
    Key {
        name: "max_dials",
        expected: NUMBER,
        set: |settings, text| settings.change(number(text), ClientConfigBuilder::max_dials),
    },
    Key {
        name: "max_connections",
        expected: NUMBER,
        set: |settings, text| settings.change(number(text), ClientConfigBuilder::max_connections),
    },
    Key {
        name: "dial_timeout",
        expected: TIME,
        set: |settings, text| settings.change(time(text), ClientConfigBuilder::dial_timeout),
    },
    Key {
        name: "handshake_timeout",
        expected: TIME,
        set: |settings, text| settings.change(time(text), ClientConfigBuilder::handshake_timeout),
    },
    Key {
        name: "idle_timeout",
        expected: TIME,
        set: |settings, text| {
            settings.change(time(text), |builder, time| builder.idle_timeout(time))
        },
    },
    Key {
        name: "max_lifetime",
        expected: TIME,
        set: |settings, text| {
            settings.change(time(text), |builder, time| builder.max_lifetime(time))
        },
    },
    Key {
        name: "backoff",
        expected: "the base and the cap, such as 200ms..=5s",
        set: |settings, text| {
            let (base, cap) = range(text, time)?.into_inner();
            settings.change(Some(base), |builder, base| builder.backoff(base, cap))
        },
    },
    Key {
        name: "take_order",
        expected: "oldest_first or newest_first",
        set: |settings, text| {
            let order = match text {
                "oldest_first" => Some(TakeOrder::OldestFirst),
                "newest_first" => Some(TakeOrder::NewestFirst),
                _ => None,
            };
            settings.change(order, ClientConfigBuilder::take_order)
        },
    },
];

/// The names of all settings.
fn keys() -> String {
    KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

fn number(text: &str) -> Option<u32> {
    u32::from_str(text).ok()
}

fn time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Reads `low..=high`, or one value, which is both.
fn range<T: Clone>(text: &str, value: fn(&str) -> Option<T>) -> Option<RangeInclusive<T>> {
    let (low, high) = text
        .split_once("..")
        .map_or((text, text), |(low, high)| (low, high.strip_prefix('=').unwrap_or(high)));
    Some(value(low.trim())?..=value(high.trim())?)
}

impl Settings {
    /// Returns the defaults of the machine.
    #[must_use]
    pub fn shipped() -> Self {
        Self { builder: ClientConfig::builder() }
    }

    /// Returns the settings of a client on a tape. The model has ids and no control connection, whatever
    /// the client had.
    #[must_use]
    pub fn recorded(builder: ClientConfigBuilder) -> Self {
        Self { builder: builder.ids(IdExchange::default()).control_connection(false) }
    }

    /// Returns the configuration with these settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that is not valid.
    pub fn config(&self) -> Result<ClientConfig, ConfigError> {
        self.builder.clone().build()
    }

    /// Returns the settings with a capacity that the law keeps.
    #[must_use]
    pub fn fixed(mut self, capacity: u32) -> Self {
        self.builder = self.builder.capacity(capacity);
        self
    }

    /// Returns the settings with this law.
    #[must_use]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.builder = self.builder.tuning(tuning);
        self
    }

    /// Sets `key=value`.
    ///
    /// # Errors
    ///
    /// [`SettingError`] names the settings that there are, or the values that fit.
    pub fn set(&mut self, pair: &str) -> Result<(), SettingError> {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| SettingError::NoValue(pair.to_owned()))?;
        let (name, value) = (name.trim(), value.trim());
        let unknown = || SettingError::Unknown { key: name.to_owned() };
        let key = KEYS.iter().find(|key| key.name == name).ok_or_else(unknown)?;
        let (found, expected) = (value.to_owned(), key.expected);
        (key.set)(self, value).ok_or(SettingError::Value { key: key.name, found, expected })
    }

    /// Applies a setter of the builder, if there is a value.
    fn change<T>(
        &mut self,
        value: Option<T>,
        setter: impl Fn(ClientConfigBuilder, T) -> ClientConfigBuilder,
    ) -> Option<()> {
        self.builder = setter(self.builder.clone(), value?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_text() {
        let mut settings = Settings::shipped();
        for pair in [
            "capacity=4..=64",
            "keep=2m",
            "interval=100ms..=2s",
            "max_dials=32",
            "idle_timeout=30s",
            "backoff=200ms..=5s",
            "take_order=newest_first",
            "max_connections=1000",
        ] {
            settings.set(pair).unwrap();
        }
        let config = settings.config().unwrap();
        assert_eq!(config.max_dials(), 32);
        assert_eq!((config.tuner().min_capacity(), config.tuner().max_capacity()), (4, 64));
    }

    #[test]
    fn errors_say_what_is_expected() {
        let said = |pair| Settings::shipped().set(pair).unwrap_err().to_string();
        assert!(said("keeep=1s").contains("no setting is called \"keeep\""));
        assert!(said("keeep=1s").contains("capacity, keep, interval, max_dials"));
        assert!(said("capacity").contains("expected key=value"));
        assert_eq!(said("capacity=many"), format!("capacity=many: expected {NUMBERS}"));
        assert_eq!(said("dial_timeout=5"), format!("dial_timeout=5: expected {TIME}"));
    }
}
