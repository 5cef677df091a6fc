//! Configurations as lists of numbers, in which form a tape holds them.
//!
//! The lists are read back by the builders, so a tape cannot make a machine that no builder would.

use alloc::vec::Vec;
use core::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Acquirer, Bounds, ClientConfig, ClientConfigBuilder, Common, Draft, ServerConfig, TakeOrder,
};
use crate::allow::AllowList;
use crate::entropy::{Entropy, Jitter};
use crate::error::ConfigError;
use crate::id::{IdExchange, IdFormat};
use crate::time::Period;
use crate::tuner::Tuning;

/// The reason why a list of numbers is not a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSettings {
    /// There are more or fewer numbers than settings.
    Count {
        /// The number of settings.
        expected: usize,
    },
    /// A number stands for no value of this setting.
    Value(&'static str),
    /// The values do not go together.
    Refused(ConfigError),
}

impl From<ConfigError> for NotSettings {
    fn from(error: ConfigError) -> Self {
        Self::Refused(error)
    }
}

const COMMON: usize = 14;
const CLIENT: usize = COMMON + 11;
const SERVER: usize = COMMON + 5;

/// Takes a list apart. Its length has been checked.
struct Numbers<'a>(core::slice::Iter<'a, u64>);

impl<'a> Numbers<'a> {
    fn new(numbers: &'a [u64], expected: usize) -> Result<Self, NotSettings> {
        match numbers.len() == expected {
            true => Ok(Self(numbers.iter())),
            false => Err(NotSettings::Count { expected }),
        }
    }

    fn long(&mut self) -> u64 {
        self.0.next().copied().unwrap_or_default()
    }

    fn int(&mut self, setting: &'static str) -> Result<u32, NotSettings> {
        u32::try_from(self.long()).map_err(|_| NotSettings::Value(setting))
    }

    fn flag(&mut self, setting: &'static str) -> Result<bool, NotSettings> {
        self.choice(setting, &[false, true])
    }

    fn duration(&mut self) -> Duration {
        Duration::from_nanos(self.long())
    }

    /// A period that may be [`Period::NEVER`].
    fn optional(&mut self) -> Option<Duration> {
        let nanos = self.long();
        (nanos != Period::NEVER.as_nanos()).then_some(Duration::from_nanos(nanos))
    }

    fn choice<T: Copy>(&mut self, setting: &'static str, of: &[T]) -> Result<T, NotSettings> {
        let chosen = usize::try_from(self.long()).ok().and_then(|number| of.get(number));
        chosen.copied().ok_or(NotSettings::Value(setting))
    }
}

// The variants of each setting in the order of their declaration, which is their number.
const ORDERS: [TakeOrder; 2] = [TakeOrder::OldestFirst, TakeOrder::NewestFirst];
const ACQUIRERS: [Acquirer; 4] =
    [Acquirer::Either, Acquirer::ThisEnd, Acquirer::Peer, Acquirer::Both];
const FORMATS: [IdFormat; 2] = [IdFormat::Hex8, IdFormat::Raw4];
const EXCHANGES: [IdExchange; 3] =
    [IdExchange::None, IdExchange::Wire(IdFormat::Hex8), IdExchange::Wire(IdFormat::Raw4)];
const TUNINGS: [Tuning; 2] = [Tuning::Demand, Tuning::NodePass];

impl Common {
    fn numbers(&self) -> [u64; COMMON] {
        let Self {
            max_connections,
            max_waiters,
            take_order,
            acquirer,
            handshake_timeout,
            first_byte_timeout,
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
        [
            (*max_connections).into(),
            (*max_waiters).into(),
            *take_order as u64,
            *acquirer as u64,
            handshake_timeout.as_nanos(),
            first_byte_timeout.as_nanos(),
            idle_timeout.as_nanos(),
            max_lifetime.as_nanos(),
            lifetime_jitter.to_bits(),
            claim_timeout.as_nanos(),
            reuse_delay.as_nanos(),
            drain_timeout.as_nanos(),
            (*control_connection).into(),
            (*opening_byte).into(),
        ]
    }
}

impl Draft {
    fn from_numbers(numbers: &mut Numbers<'_>, jitter: Jitter) -> Result<Self, NotSettings> {
        Ok(Self {
            max_connections: numbers.int("max_connections")?,
            max_waiters: numbers.int("max_waiters")?,
            take_order: Some(numbers.choice("take_order", &ORDERS)?),
            acquirer: numbers.choice("acquirer", &ACQUIRERS)?,
            handshake_timeout: numbers.duration(),
            first_byte_timeout: numbers.duration(),
            idle_timeout: numbers.optional(),
            max_lifetime: numbers.optional(),
            lifetime_jitter: f64::from_bits(numbers.long()),
            claim_timeout: numbers.duration(),
            reuse_delay: numbers.duration(),
            drain_timeout: numbers.duration(),
            control_connection: numbers.flag("control_connection")?,
            opening_byte: numbers.flag("opening_byte")?,
            seed: Some(Entropy::Taped(jitter)),
        })
    }
}

impl ClientConfig {
    /// All settings, in the order in which [`ClientConfigBuilder::from_numbers`] takes
    /// them.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let Self { common, ids, tuner, max_dials, dial_timeout, backoff: (base, cap) } = self;
        // A law has either. The other is written as it would be accepted.
        let any = Period::from_nanos(1);
        let (shortest, longest) = tuner.intervals().unwrap_or((any, any));
        let keep = tuner.keep().unwrap_or(any);
        let own = [
            match ids {
                IdExchange::None => 0,
                IdExchange::Wire(format) => 1 + *format as u64,
            },
            tuner.tuning() as u64,
            tuner.min_capacity().into(),
            tuner.max_capacity().into(),
            shortest.as_nanos(),
            longest.as_nanos(),
            keep.as_nanos(),
            (*max_dials).into(),
            dial_timeout.as_nanos(),
            Period::saturating(*base).as_nanos(),
            Period::saturating(*cap).as_nanos(),
        ];
        [&common.numbers()[..], &own].concat()
    }
}

impl ClientConfigBuilder {
    /// The builder with these settings, and with the jitter of another machine.
    pub(crate) fn from_numbers(numbers: &[u64], jitter: Jitter) -> Result<Self, NotSettings> {
        let numbers = &mut Numbers::new(numbers, CLIENT)?;
        let mut builder = ClientConfig::builder();
        builder.common = Draft::from_numbers(numbers, jitter)?;
        Ok(builder
            .ids(numbers.choice("ids", &EXCHANGES)?)
            .tuning(numbers.choice("tuning", &TUNINGS)?)
            .capacity(Bounds(numbers.int("capacity")?..=numbers.int("capacity")?))
            .interval(Bounds(numbers.duration()..=numbers.duration()))
            .keep(numbers.duration())
            .max_dials(numbers.int("max_dials")?)
            .dial_timeout(numbers.duration())
            .backoff(numbers.duration(), numbers.duration()))
    }
}

impl ServerConfig {
    /// All settings but the allow list, in the order in which [`from_numbers`](Self::from_numbers) takes
    /// them.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let Self {
            common,
            format,
            capacity,
            max_handshakes,
            max_per_source,
            allow: _,
            certificates,
        } = self;
        let own = [
            *format as u64,
            (*capacity).into(),
            (*max_handshakes).into(),
            (*max_per_source).into(),
            (*certificates).into(),
        ];
        [&common.numbers()[..], &own].concat()
    }

    /// The configuration with these settings, with the jitter of another machine, and with a list that
    /// allows the peers whose names on the tape say that they were allowed.
    pub(crate) fn from_numbers(numbers: &[u64], jitter: Jitter) -> Result<Self, NotSettings> {
        let numbers = &mut Numbers::new(numbers, SERVER)?;
        let mut builder = Self::builder();
        builder.common = Draft::from_numbers(numbers, jitter)?;
        let builder = builder
            .id_format(numbers.choice("id_format", &FORMATS)?)
            .capacity(numbers.int("capacity")?)
            .max_handshakes(numbers.int("max_handshakes")?)
            .max_per_source(numbers.int("max_per_source")?)
            .allow(allowed_on_tape());
        Ok(builder.build()?.with_certificates(numbers.flag("certificates")?))
    }
}

/// The upper half of IPv6: see [`PeerName`](crate::tape::PeerName).
fn allowed_on_tape() -> AllowList {
    Ipv6Net::new([0x8000, 0, 0, 0, 0, 0, 0, 0].into(), 1).into_iter().map(IpNet::V6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JITTER: Jitter = Jitter { lifetimes: 1, backoff: 2 };

    fn client(numbers: &[u64]) -> Result<ClientConfig, NotSettings> {
        Ok(ClientConfigBuilder::from_numbers(numbers, JITTER)?.build()?)
    }

    #[test]
    fn every_setting_of_a_client_comes_back() {
        let ms = Duration::from_millis;
        let config = ClientConfig::builder()
            .max_connections(101)
            .max_waiters(102)
            .take_order(TakeOrder::OldestFirst)
            .acquirer(Acquirer::Both)
            .handshake_timeout(ms(103))
            .idle_timeout(ms(104))
            .max_lifetime(ms(105))
            .lifetime_jitter(0.25)
            .claim_timeout(ms(106))
            .reuse_delay(ms(107))
            .drain_timeout(ms(108))
            .opening_byte(true)
            .ids(IdExchange::Wire(IdFormat::Raw4))
            .capacity(9..=19)
            .max_dials(11)
            .dial_timeout(ms(111))
            .backoff(ms(112), ms(113));
        for config in [
            config.clone().tuning(Tuning::NodePass).interval(ms(109)..=ms(110)),
            config.tuning(Tuning::Demand).keep(ms(114)),
        ] {
            let config = config.build().unwrap();
            let read = client(&config.numbers()).unwrap();
            assert_eq!(std::format!("{read:?}"), std::format!("{:?}", with_seed(config)));
        }
    }

    fn with_seed(mut config: ClientConfig) -> ClientConfig {
        config.common.seed = Some(Entropy::Taped(JITTER));
        config
    }

    #[test]
    fn every_choice_comes_back() {
        let base = || ClientConfig::builder().capacity(2..=4);
        let choices = ORDERS
            .map(|order| base().take_order(order))
            .into_iter()
            .chain(ACQUIRERS.map(|acquirer| base().acquirer(acquirer)))
            .chain(EXCHANGES.map(|ids| base().ids(ids)))
            .chain(TUNINGS.map(|tuning| base().tuning(tuning)));
        for config in choices {
            let config = with_seed(config.build().unwrap());
            let read = client(&config.numbers()).unwrap();
            assert_eq!(std::format!("{read:?}"), std::format!("{config:?}"));
        }
    }

    #[test]
    fn every_setting_of_a_server_comes_back_but_for_the_allow_list() {
        let config = ServerConfig::builder()
            .first_byte_timeout(Duration::from_millis(7))
            .id_format(IdFormat::Raw4)
            .capacity(12)
            .max_handshakes(13)
            .max_per_source(14)
            .allow("10.0.0.0/8".parse().unwrap())
            .build()
            .unwrap()
            .with_certificates(true);
        let read = ServerConfig::from_numbers(&config.numbers(), JITTER).unwrap();
        assert_eq!(read.numbers(), config.numbers());
        assert!(!read.allow.permits([10, 0, 0, 1].into()));
        assert!(read.allow.permits([0x8000, 0, 0, 0, 0, 0, 0, 0].into()));
    }

    #[test]
    fn numbers_that_are_no_settings_are_named() {
        let numbers = ClientConfig::builder().build().unwrap().numbers();
        let read = |numbers: &[u64]| client(numbers).unwrap_err();
        assert_eq!(read(&numbers[1..]), NotSettings::Count { expected: CLIENT });
        let changed = |at: usize, to: u64| {
            let mut numbers = numbers.clone();
            numbers[at] = to;
            numbers
        };
        assert_eq!(read(&changed(3, 4)), NotSettings::Value("acquirer"));
        assert_eq!(read(&changed(0, 1 << 32)), NotSettings::Value("max_connections"));
        let zero = ConfigError::Zero { setting: "max_connections" };
        assert_eq!(read(&changed(0, 0)), NotSettings::Refused(zero));
    }
}
