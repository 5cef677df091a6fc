//! The options of the command line that both programs have.

use std::path::{Path, PathBuf};

use crate::cell::{Circumstances, Row};
use crate::network::Network;
use crate::picture::{self, PictureError};
use crate::time::{MILLISECOND, from_duration};

/// The network, the processors and the callers.
#[derive(Clone, Debug, clap::Args)]
pub struct Conditions {
    /// The processors that handshakes share.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub cores: u32,
    /// The processor time of a handshake, of both ends together.
    #[arg(long, value_name = "TIME", default_value = "500us")]
    pub handshake_cost: humantime::Duration,
    /// The processor time of a take, at each end.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub take_cost: humantime::Duration,
    /// Connects without TLS.
    #[arg(long)]
    pub plain: bool,
    /// Tells the machines which end acquires. Without, both are left at Acquirer::Either.
    #[arg(long)]
    pub assigned: bool,
    /// How long a caller waits.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub patience: humantime::Duration,
    /// The share of each run that is not counted at its begin, from 0 up to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    pub warm_up: f64,
    /// Draws the first run of each row into this folder, as SVG.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 up to, but not including, 1".to_owned())
}

impl Conditions {
    /// Returns them as circumstances of so many clients.
    #[must_use]
    pub fn circumstances(&self, clients: u32) -> Circumstances {
        let network = Network {
            rtt: MILLISECOND,
            tls: !self.plain,
            cores: self.cores,
            handshake_cost: from_duration(*self.handshake_cost),
            take_cost: from_duration(*self.take_cost),
        };
        Circumstances {
            network,
            patience: from_duration(*self.patience),
            warm_up: self.warm_up,
            clients,
            assigned: self.assigned,
            traced: self.svg.is_some(),
        }
    }

    /// Draws the rows, if that is wanted, and returns the folder.
    ///
    /// # Errors
    ///
    /// [`PictureError`] names the file or the folder that cannot be written.
    pub fn draw(&self, rows: &[Row]) -> Result<Option<&Path>, PictureError> {
        let Some(folder) = self.svg.as_deref() else { return Ok(None) };
        picture::draw_all(rows, folder)?;
        Ok(Some(folder))
    }
}
