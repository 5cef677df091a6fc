//! The contenders: laws by their names.

use std::str::FromStr;

use pool_proto::{ClientConfig, ConfigError, Tuning};

use crate::measure::{Measures, Recorder};
use crate::scenario::Scenario;
use crate::settings::{SettingError, Settings};
use crate::{clairvoyant, go, pair};

/// A law that keeps a stock, with a name.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name, as it is written on the command line.
    pub name: String,
    law: Law,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    Machine,
    Go,
    Fitted,
    Clairvoyant,
}

/// The laws, each with a description.
pub const LAWS: &[(&str, &str)] = &[
    ("default", "the machine with all its defaults"),
    ("recorded", "the machine with the settings on the tape of a client"),
    ("nodepass", "the machine with Tuning::NodePass"),
    ("fixed:N", "the machine with a capacity of N"),
    ("go", "the law of the Go package, emulated"),
    ("fitted", "the smallest fixed capacity that serves as large a share at once as the first law"),
    ("clairvoyant", "a client that knows all arrivals and begins each dial just in time"),
];

/// The largest capacity that a fitted stock is searched up to.
const LARGEST: u32 = 4096;

/// Why a law cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LawError {
    /// The law is unknown.
    #[error(
        "no law is called {0:?}; expected default, recorded, nodepass, fixed:N, go, fitted or \
         clairvoyant, with settings such as default+max_dials=64"
    )]
    Unknown(String),
    /// The load is not a tape with settings.
    #[error("law recorded has the settings on the tape of a client; expected such a tape")]
    NotRecorded,
    /// A setting is wrong.
    #[error("law {law}: {error}")]
    Setting {
        /// The law.
        law: String,
        /// The error.
        error: SettingError,
    },
    /// The settings do not fit each other.
    #[error("law {law}: {error}")]
    Config {
        /// The law.
        law: String,
        /// The error.
        error: ConfigError,
    },
    /// The law is of one client only.
    #[error("law {law} is a model of one client; expected --clients 1")]
    OneClient {
        /// The law.
        law: String,
    },
    /// A fitted stock has nothing to be compared with.
    #[error("a fitted stock is fitted to another law; name one before it, such as default,fitted")]
    NothingToFit,
}

impl Contender {
    /// Reads a law with settings of its own, such as `default+max_dials=64`. `general` are settings of
    /// all laws, and `recorded` are those on a tape, if there is one.
    ///
    /// # Errors
    ///
    /// [`LawError`] names the laws or the settings that there are.
    pub fn parse(
        text: &str,
        general: &[String],
        recorded: Option<&Settings>,
    ) -> Result<Self, LawError> {
        let mut parts = text.split('+').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let own: Vec<&str> = parts.collect();
        let fixed = name.strip_prefix("fixed:").and_then(|text| u32::from_str(text).ok());
        let (law, mut settings) = match (name, fixed) {
            ("default", _) | (_, Some(_)) => (Law::Machine, Settings::shipped()),
            ("recorded", _) => (Law::Machine, recorded.cloned().ok_or(LawError::NotRecorded)?),
            ("nodepass", _) => (Law::Machine, Settings::shipped().tuning(Tuning::NodePass)),
            ("go", _) => (Law::Go, Settings::shipped().tuning(Tuning::NodePass)),
            ("fitted", _) => (Law::Fitted, Settings::shipped()),
            ("clairvoyant", _) => (Law::Clairvoyant, Settings::shipped()),
            _ => return Err(LawError::Unknown(name.to_owned())),
        };
        for pair in general.iter().map(String::as_str).chain(own) {
            settings
                .set(pair)
                .map_err(|error| LawError::Setting { law: text.to_owned(), error })?;
        }
        if let Some(capacity) = fixed {
            settings = settings.fixed(capacity);
        }
        Ok(Self { name: text.to_owned(), law, settings })
    }

    /// Returns the configuration with its settings.
    ///
    /// # Errors
    ///
    /// [`LawError::Config`], if they do not fit each other.
    pub fn config(&self) -> Result<ClientConfig, LawError> {
        let failed = |error| LawError::Config { law: self.name.clone(), error };
        self.settings.config().map_err(failed)
    }

    /// Returns this law with a fixed capacity.
    #[must_use]
    pub fn fixed(&self, capacity: u32) -> Self {
        let settings = self.settings.clone().fixed(capacity);
        let own = self.own_settings("capacity");
        Self { name: format!("fixed:{capacity}{own}"), law: Law::Machine, settings }
    }

    /// The settings in the name, except one.
    fn own_settings(&self, except: &str) -> String {
        let own = self.name.split('+').skip(1);
        let others = own.filter(|pair| pair.split('=').next() != Some(except));
        others.map(|pair| format!("+{pair}")).collect()
    }

    /// Returns this law with another setting, which its name tells.
    ///
    /// # Errors
    ///
    /// [`LawError`], if the setting is not one.
    pub fn with(&self, setting: &str) -> Result<Self, LawError> {
        let key = setting.split('=').next().unwrap_or_default();
        let base = self.name.split('+').next().unwrap_or_default();
        let name = format!("{base}{}+{setting}", self.own_settings(key));
        let mut settings = self.settings.clone();
        let failed = |error| LawError::Setting { law: name.clone(), error };
        settings.set(setting).map_err(failed)?;
        Ok(Self { name, law: self.law, settings })
    }

    /// Runs the law through scenarios, and merges their records. `rival` are the figures of the law
    /// that a fitted stock is compared with.
    ///
    /// # Errors
    ///
    /// [`LawError`], if the settings do not fit each other or the scenario.
    pub fn run(
        &self,
        scenarios: &[Scenario<'_>],
        rival: Option<&Measures>,
    ) -> Result<Recorder, LawError> {
        if self.law == Law::Fitted {
            let share = rival.ok_or(LawError::NothingToFit)?.at_once;
            let (_, recorder) = self.fit(scenarios, share)?;
            return Ok(recorder);
        }
        let mut merged: Option<Recorder> = None;
        for scenario in scenarios {
            let recorder = self.run_one(scenario)?;
            match &mut merged {
                None => merged = Some(recorder),
                Some(merged) => merged.merge(recorder),
            }
        }
        merged.ok_or(LawError::NothingToFit)
    }

    fn run_one(&self, scenario: &Scenario<'_>) -> Result<Recorder, LawError> {
        let config = self.config()?;
        match self.law {
            Law::Machine | Law::Fitted => pair::run(scenario, &self.settings)
                .map_err(|error| LawError::Config { law: self.name.clone(), error }),
            Law::Go if scenario.clients > 1 => Err(LawError::OneClient { law: self.name.clone() }),
            Law::Go => Ok(go::run(scenario, config.tuner().clone())),
            Law::Clairvoyant => Ok(clairvoyant::run(scenario, config.max_dials())),
        }
    }

    /// Finds the smallest fixed capacity that serves at least this share at once, by bisection. If the
    /// largest that is tried (4,096, or `max_connections` if that is less) does not, returns that one.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn fit(&self, scenarios: &[Scenario<'_>], share: f64) -> Result<(u32, Recorder), LawError> {
        let attempt = |capacity: u32| {
            let recorder = self.fixed(capacity).run(scenarios, None)?;
            Ok((recorder.clone().measures().at_once >= share, recorder))
        };
        let largest = LARGEST.min(self.config()?.max_connections());
        // No capacity below `low` is enough; `best` is.
        let mut low = 0;
        let mut capacity = largest.min(16);
        let mut best = loop {
            let (enough, recorder) = attempt(capacity)?;
            if enough || capacity >= largest {
                break (capacity, recorder);
            }
            low = capacity;
            capacity = largest.min(2 * capacity);
        };
        while low + 1 < best.0 {
            let middle = low.midpoint(best.0);
            match attempt(middle)? {
                (true, recorder) => best = (middle, recorder),
                (false, _) => low = middle,
            }
        }
        Ok(best)
    }
}
