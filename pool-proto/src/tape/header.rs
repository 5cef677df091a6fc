//! The header of a tape: the machine that it is of.

use alloc::string::String;
use alloc::vec::Vec;

use super::bytes::{Cursor, Short};
use super::reader::TapeError;
use super::{FORMAT, MAGIC};
use crate::config::{ClientConfig, ClientConfigBuilder, NotSettings, ServerConfig};
use crate::entropy::Jitter;
use crate::time::Instant;

/// The role of the machine on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapedRole {
    /// A [`Client`](crate::Client).
    Client,
    /// A [`Server`](crate::Server).
    Server,
}

/// The machine that a tape is of.
#[derive(Clone, Debug)]
pub struct Header {
    pub(super) version: String,
    pub(super) role: TapedRole,
    pub(super) jitter: Jitter,
    pub(super) began: Instant,
    pub(super) settings: Vec<u64>,
    /// The hash of the outputs at the creation.
    pub(super) outputs: u64,
}

/// The version of this crate.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The most settings that a header may have: far more than any version has.
const MAX_SETTINGS: u64 = 1024;

impl Header {
    pub(super) fn of_client(config: &ClientConfig, began: Instant) -> Self {
        let jitter = config.common.entropy().jitter();
        Self::new(TapedRole::Client, jitter, began, config.numbers())
    }

    pub(super) fn of_server(config: &ServerConfig, began: Instant) -> Self {
        let jitter = config.common.entropy().jitter();
        Self::new(TapedRole::Server, jitter, began, config.numbers())
    }

    fn new(role: TapedRole, jitter: Jitter, began: Instant, settings: Vec<u64>) -> Self {
        Self { version: VERSION.into(), role, jitter, began, settings, outputs: 0 }
    }

    /// Returns the version of pool-proto that has recorded the tape.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the role of the machine.
    #[must_use]
    pub const fn role(&self) -> TapedRole {
        self.role
    }

    /// Returns the time at which the machine was created, by the clock of its driver.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Returns a builder with the settings of the client; `None` if the tape is of a server.
    ///
    /// # Errors
    ///
    /// [`TapeError::Settings`] or [`TapeError::Setting`] if the tape has settings that this version does not
    /// know.
    pub fn client(&self) -> Result<Option<ClientConfigBuilder>, TapeError> {
        let read = || ClientConfigBuilder::from_numbers(&self.settings, self.jitter);
        let builder = (self.role == TapedRole::Client).then(read).transpose();
        builder.map_err(|error| self.refused(error))
    }

    /// The error of settings that make no machine.
    pub(super) fn refused(&self, error: NotSettings) -> TapeError {
        let version = self.version.clone();
        match error {
            NotSettings::Count { expected } => {
                TapeError::Settings { found: self.settings.len(), expected, version }
            }
            NotSettings::Value(setting) => TapeError::Setting { setting, version },
            NotSettings::Refused(error) => TapeError::Refused(error),
        }
    }

    /// The bytes before the first block.
    pub(super) fn preamble() -> Vec<u8> {
        [&MAGIC[..], &[FORMAT]].concat()
    }

    /// Appends the body of the block of the header.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Cut to the length that one byte tells; a version has some ten characters.
        let version: Vec<u8> = self.version.bytes().take(u8::MAX.into()).collect();
        out.push(u8::try_from(version.len()).unwrap_or(u8::MAX));
        out.extend(version);
        out.push(match self.role {
            TapedRole::Client => 0,
            TapedRole::Server => 1,
        });
        out.extend(self.jitter.lifetimes.to_le_bytes());
        out.extend(self.jitter.backoff.to_le_bytes());
        let numbers = [self.began.as_nanos(), self.settings.len() as u64];
        for number in numbers.iter().chain(&self.settings) {
            let mut varint = Short::new();
            varint.varint(*number);
            out.extend(varint.as_slice());
        }
        out.extend(self.outputs.to_le_bytes());
    }

    /// Reads the body of the block of the header; `None` if it is not one.
    pub(super) fn read(from: &mut Cursor<'_>) -> Option<Self> {
        let length = from.byte()?;
        let version = core::str::from_utf8(from.take(length.into())?).ok()?.into();
        let role = match from.byte()? {
            0 => TapedRole::Client,
            1 => TapedRole::Server,
            _ => return None,
        };
        let jitter = Jitter { lifetimes: from.long()?, backoff: from.long()? };
        let began = Instant::from_nanos(from.varint()?);
        let count = from.varint().filter(|count| *count <= MAX_SETTINGS)?;
        let settings = (0..count).map(|_| from.varint()).collect::<Option<Vec<u64>>>()?;
        let outputs = from.long()?;
        from.is_empty().then_some(Self { version, role, jitter, began, settings, outputs })
    }
}
