//! Settings of a client's machine as text.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use pool_proto::{ClientConfig, ClientConfigBuilder, TakeOrder, Tuning};

/// The settings of a client. Unless they are set, they are those of [`ClientConfig::builder`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The builder with the settings.
    pub builder: ClientConfigBuilder,
    /// The bounds of the capacity, if they are set.
    pub capacity: Option<RangeInclusive<u32>>,
    /// The bounds of the interval, if they are set.
    pub interval: Option<RangeInclusive<Duration>>,
    /// The most dials at a time, if it is set.
    pub max_dials: Option<u32>,
}

/// Why a setting cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It has no value.
    #[error("{0:?} has no value; expected key=value, such as capacity=2..=256")]
    NoValue(String),
    /// There is no such setting.
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
    Key { name: "capacity", expected: NUMBERS, set: set_capacity },
    Key { name: "interval", expected: TIMES, set: set_interval },
    Key { name: "max_dials", expected: NUMBER, set: set_max_dials },
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

fn set_capacity(settings: &mut Settings, text: &str) -> Option<()> {
    let bounds = range(text, number)?;
    settings.capacity = Some(bounds.clone());
    settings.change(Some(bounds), |builder, bounds| builder.capacity(bounds))
}

fn set_interval(settings: &mut Settings, text: &str) -> Option<()> {
    let bounds = range(text, time)?;
    settings.interval = Some(bounds.clone());
    settings.change(Some(bounds), |builder, bounds| builder.interval(bounds))
}

fn set_max_dials(settings: &mut Settings, text: &str) -> Option<()> {
    settings.max_dials = Some(number(text)?);
    settings.change(settings.max_dials, ClientConfigBuilder::max_dials)
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
        let builder = ClientConfig::builder();
        Self { builder, capacity: None, interval: None, max_dials: None }
    }

    /// Returns bounds that are wide enough for the law to decide, and not they: a capacity of
    /// 2..=256, and 256 dials at a time.
    #[must_use]
    pub fn wide() -> Self {
        let mut settings = Self::shipped();
        settings.capacity = Some(2..=256);
        settings.max_dials = Some(256);
        settings.builder = settings.builder.capacity(2..=256).max_dials(256);
        settings
    }

    /// Returns the settings with a capacity that the law keeps.
    #[must_use]
    pub fn fixed(mut self, capacity: u32) -> Self {
        self.capacity = Some(capacity..=capacity);
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
        let mut settings = Settings::wide();
        for pair in [
            "capacity=4..=64",
            "interval=100ms..=2s",
            "max_dials=32",
            "idle_timeout=30s",
            "backoff=200ms..=5s",
            "take_order=newest_first",
            "max_connections=1000",
        ] {
            settings.set(pair).unwrap();
        }
        assert_eq!(settings.capacity, Some(4..=64));
        assert_eq!(settings.max_dials, Some(32));
        assert_eq!(settings.builder.build().unwrap().max_dials(), 32);
    }

    #[test]
    fn errors_say_what_is_expected() {
        let said = |pair| Settings::wide().set(pair).unwrap_err().to_string();
        assert!(said("keeep=1s").contains("no setting is called \"keeep\""));
        assert!(said("keeep=1s").contains("capacity, interval, max_dials"));
        assert!(said("capacity").contains("expected key=value"));
        assert_eq!(said("capacity=many"), format!("capacity=many: expected {NUMBERS}"));
        assert_eq!(said("dial_timeout=5"), format!("dial_timeout=5: expected {TIME}"));
    }
}
