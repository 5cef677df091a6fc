//! Names of settings, and errors that say them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, Visitor};

use crate::error::ConfigError;

/// Reads one of these names, and returns its place among them.
pub(super) struct Key(pub(super) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let known = self.0.iter().position(|key| *key == name);
        known.ok_or_else(|| E::custom(unknown(name, self.0)))
    }
}

/// The message for an unknown setting, with the nearest known name.
fn unknown(name: &str, keys: &[&str]) -> String {
    let nearest = keys.iter().map(|key| (distance(name, key), key)).min();
    match nearest {
        // Two letters that were swapped, and another slip.
        Some((distance, key)) if distance <= 3 && distance < key.len() / 2 => {
            format!("there is no setting `{name}`; is `{key}` meant?")
        }
        _ => format!("there is no setting `{name}`; there are {}", keys.join(", ")),
    }
}

/// The number of letters to insert, delete or replace in order to make one word of the other (V. I.
/// Levenshtein, 1965).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (place, of_other) in
            row.iter_mut().zip(core::iter::once(None).chain(other.chars().map(Some)))
        {
            let Some(of_other) = of_other else {
                *place = left;
                continue;
            };
            let replaced = diagonal + usize::from(letter != of_other);
            diagonal = *place;
            left = replaced.min(*place + 1).min(left + 1);
            *place = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Reads the value of a setting. An error begins with the name of the setting; a format that knows the line
/// adds it.
pub(super) struct Named<T, F = fn(T) -> Result<(), ConfigError>> {
    pub(super) key: &'static str,
    /// Builds a configuration with this setting only.
    pub(super) check: Option<F>,
    pub(super) value: PhantomData<T>,
}

impl<T> Named<T> {
    pub(super) const fn unchecked(key: &'static str) -> Self {
        Self { key, check: None, value: PhantomData }
    }
}

impl<'de, T, F> DeserializeSeed<'de> for Named<T, F>
where
    T: Clone + Deserialize<'de>,
    F: FnOnce(T) -> Result<(), ConfigError>,
{
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        let named = |error| D::Error::custom(format!("{}: {error}", self.key));
        let value = T::deserialize(from).map_err(named)?;
        match self.check.map(|check| check(value.clone())) {
            Some(Err(error)) if is_of_value(&error, self.key) => Err(D::Error::custom(error)),
            _ => Ok(value),
        }
    }
}

/// Whether the value of this setting is wrong independently of the other settings.
fn is_of_value(error: &ConfigError, key: &str) -> bool {
    match *error {
        ConfigError::Zero { setting }
        | ConfigError::ZeroDuration { setting }
        | ConfigError::Inverted { setting }
        | ConfigError::TooLong { setting }
        | ConfigError::NotAFraction { setting } => setting == key,
        // A constant, which has a name in capital letters, or another setting.
        ConfigError::TooLarge { setting, bound, .. } => {
            setting == key && !bound.contains(|letter: char| letter.is_ascii_lowercase())
        }
        ConfigError::Needs { .. } | ConfigError::Fixed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_is_the_number_of_slips() {
        for (one, other, slips) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("keep", "keep", 0),
            ("kep", "keep", 1),
            ("idle_timout", "idle_timeout", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(
                (distance(one, other), distance(other, one)),
                (slips, slips),
                "{one} {other}"
            );
        }
    }
}
