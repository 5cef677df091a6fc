//! Values of settings as people write them.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;
use core::ops::RangeInclusive;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::key::Named;
use crate::allow::AllowList;
use crate::config::{Acquirer, TakeOrder};
use crate::id::{IdExchange, IdFormat};
use crate::tuner::Tuning;

/// A value that can be written as a text.
pub(super) trait Text: Sized {
    /// The value that is expected, with an example.
    const EXPECTED: &'static str;

    /// Parses the text, or says what is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value of a number without a text, if numbers are allowed.
    fn of_number(_number: u64) -> Option<Self> {
        None
    }
}

/// Visits a text, or a number.
struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let text = text.trim();
        T::parse(text)
            .map_err(|wrong| E::custom(format!("{wrong} in {text:?}, expected {}", T::EXPECTED)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::of_number(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(T::of_number);
        value.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

/// Implements `Deserialize` for a value that is a text or a number.
macro_rules! from_text {
    ($($Value:ty),*) => {
        $(impl<'de> Deserialize<'de> for $Value {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(TextVisitor(PhantomData))
            }
        })*
    };
}

from_text! { Count, Limit, Time, TimeLimit }

impl<'de, T: Known> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor(PhantomData))
    }
}

/// A number.
#[derive(Clone)]
pub(super) struct Count(pub(super) u32);

impl Text for Count {
    const EXPECTED: &'static str = "a whole number up to 4294967295";

    fn parse(text: &str) -> Result<Self, String> {
        // Signs are not digits.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| "no such number".into())
    }

    fn of_number(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(Self)
    }
}

/// A limit that may be left out.
#[derive(Clone)]
pub(super) struct Limit(pub(super) Option<u32>);

impl Text for Limit {
    const EXPECTED: &'static str = "a whole number up to 4294967295, or \"unlimited\"";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            text => Count::parse(text).map(|count| Self(Some(count.0))),
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        Count::of_number(number).map(|count| Self(Some(count.0)))
    }
}

/// A span of time.
#[derive(Clone)]
pub(super) struct Time(pub(super) Duration);

/// Units of time, and their nanoseconds.
pub(super) const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

impl Text for Time {
    const EXPECTED: &'static str = "a time with units, such as \"250ms\", \"30s\" or \"1m30s\" (units: ns, us, ms, s, m, h, d)";

    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut nanos: u64 = 0;
        let mut smallest = u64::MAX;
        if rest.is_empty() {
            return Err("no time".into());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let after = after.trim_start();
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(letters);
            if number.is_empty() {
                return Err(format!("no whole number before {rest:?}"));
            }
            if unit.is_empty() {
                return Err(format!("no unit after {number}"));
            }
            let known = UNITS.iter().find(|(name, _)| *name == unit);
            let Some((_, each)) = known else { return Err(format!("no unit {unit:?}")) };
            // As people write it, and so that no unit comes twice by mistake.
            if *each >= smallest {
                return Err(format!("{unit:?} after a unit that is not larger"));
            }
            smallest = *each;
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*each));
            let sum = part.and_then(|part| nanos.checked_add(part));
            nanos = sum.ok_or("more than 584 years, the longest time there is,")?;
            rest = next.trim_start();
        }
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// A span of time, or none.
#[derive(Clone)]
pub(super) struct TimeLimit(pub(super) Option<Duration>);

impl Text for TimeLimit {
    const EXPECTED: &'static str = "a time with units, such as \"30s\" or \"1m30s\" (units: ns, us, ms, s, m, h, d), or \"never\"";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            text => Time::parse(text).map(|time| Self(Some(time.0))),
        }
    }
}

/// A setting with a few named values.
pub(super) trait Known: Copy + PartialEq + 'static {
    const EXPECTED: &'static str;
    const NAMES: &'static [(&'static str, Self)];
}

/// The value of a [`Known`] setting.
#[derive(Clone)]
pub(super) struct Choice<T>(pub(super) T);

impl<T: Known> Text for Choice<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, String> {
        let named = T::NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, value)| Self(*value)).ok_or_else(|| "no known name".into())
    }
}

macro_rules! named {
    ($($T:ty: $expected:literal, $($name:literal => $value:expr),*;)*) => {
        $(impl Known for $T {
            const EXPECTED: &'static str = $expected;
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, $value)),*];
        })*
    };
}

named! {
    TakeOrder: "\"oldest-first\" or \"newest-first\"",
        "oldest-first" => Self::OldestFirst, "newest-first" => Self::NewestFirst;
    Acquirer: "\"either\", \"this-end\", \"peer\" or \"both\"",
        "either" => Self::Either, "this-end" => Self::ThisEnd, "peer" => Self::Peer,
        "both" => Self::Both;
    IdFormat: "\"hex8\" or \"raw4\"", "hex8" => Self::Hex8, "raw4" => Self::Raw4;
    IdExchange: "\"hex8\", \"raw4\" or \"none\"",
        "hex8" => Self::Wire(IdFormat::Hex8), "raw4" => Self::Wire(IdFormat::Raw4),
        "none" => Self::None;
    Tuning: "\"demand\" or \"node-pass\"",
        "demand" => Self::Demand, "node-pass" => Self::NodePass;
}

/// Bounds of a number or of a time.
#[derive(Clone)]
pub(super) struct Between<T>(pub(super) RangeInclusive<T>);

/// A value that may have bounds.
pub(super) trait Bounded: Copy + Sized {
    type One: Text + Clone;
    const EXPECTED: &'static str;

    fn of(one: Self::One) -> Self;
}

impl Bounded for u32 {
    type One = Count;
    const EXPECTED: &'static str =
        "a whole number, a range such as \"8..=64\", or { min = 8, max = 64 }";

    fn of(Count(one): Count) -> Self {
        one
    }
}

impl Bounded for Duration {
    type One = Time;
    const EXPECTED: &'static str = "a time such as \"1s\", a range such as \"100ms..=1s\", or { min = \"100ms\", max = \"1s\" }";

    fn of(Time(one): Time) -> Self {
        one
    }
}

impl<T: Bounded> Text for Between<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, String> {
        if let Some((low, high)) = text.split_once("..=") {
            let (low, high) = (T::One::parse(low.trim())?, T::One::parse(high.trim())?);
            return Ok(Self(T::of(low)..=T::of(high)));
        }
        if text.contains("..") {
            return Err("a range without its end, as \"..=\" includes it,".into());
        }
        let one = T::of(T::One::parse(text)?);
        Ok(Self(one..=one))
    }

    fn of_number(number: u64) -> Option<Self> {
        let one = T::of(T::One::of_number(number)?);
        Some(Self(one..=one))
    }
}

struct BoundsVisitor<T>(PhantomData<T>);

impl<'de, T: Bounded> Visitor<'de> for BoundsVisitor<T>
where
    T::One: Deserialize<'de>,
{
    type Value = Between<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Between<T>, E> {
        TextVisitor(PhantomData).visit_str(text)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Between<T>, E> {
        TextVisitor(PhantomData).visit_u64(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Between<T>, E> {
        TextVisitor(PhantomData).visit_i64(number)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Between<T>, A::Error> {
        const ENDS: &[&str] = &["min", "max"];
        let (mut low, mut high) = (None, None);
        while let Some(at) = map.next_key_seed(super::Key(ENDS))? {
            let (end, name) = if at == 0 { (&mut low, "min") } else { (&mut high, "max") };
            let one = map.next_value_seed(Named::unchecked(name))?;
            if end.replace(T::of(one)).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
        }
        let missing = A::Error::missing_field;
        Ok(Between(low.ok_or_else(|| missing("min"))?..=high.ok_or_else(|| missing("max"))?))
    }
}

impl<'de, T: Bounded> Deserialize<'de> for Between<T>
where
    T::One: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(BoundsVisitor(PhantomData))
    }
}

/// Yes or no.
#[derive(Clone)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bool::deserialize(from).map(Self)
    }
}

/// A number with a fraction.
#[derive(Clone)]
pub(super) struct Fraction(pub(super) f64);

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        f64::deserialize(from).map(Self)
    }
}

/// An allow list: a text, or a list of texts.
#[derive(Clone)]
pub(super) struct Allowed(pub(super) AllowList);

struct AllowedVisitor;

impl<'de> Visitor<'de> for AllowedVisitor {
    type Value = Allowed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("addresses and networks, as a text or a list of texts, or \"everyone\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Allowed, E> {
        text.parse().map(Allowed).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Allowed, A::Error> {
        let mut list = AllowList::everyone();
        while let Some(entry) = entries.next_element::<String>()? {
            list.push(AllowList::parse_entry(&entry).map_err(A::Error::custom)?);
        }
        // A list without entries would admit everybody: the error of a blank text says so.
        if list.is_empty() { self.visit_str("") } else { Ok(Allowed(list)) }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AllowedVisitor)
    }
}
