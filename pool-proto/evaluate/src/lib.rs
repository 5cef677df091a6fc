//! Evaluates how well a pool keeps its stock: the machines of both ends in virtual time, over a simple
//! network, under patterns of demand; and other laws for comparison.
//!
//! ```text
//! cargo run --release -p pool-evaluate --bin evaluate                     the main table
//! cargo run --release -p pool-evaluate --bin evaluate -- --goals          what the law is to reach
//! cargo run --release -p pool-evaluate --bin evaluate -- --help           patterns, laws, settings
//! cargo run --release -p pool-evaluate --bin whatif -- pool.tape          settings for your own arrivals
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`load`], [`source`], [`patterns`] | arrivals, from a CSV file, from a tape, or drawn from a seed |
//! | [`network`] | round trips, the processors, outages |
//! | [`scenario`] | a run: a load, the network, the end that takes |
//! | [`pair`] | both machines, their drivers and their users |
//! | [`go`] | the law of the Go package, as a model of its own |
//! | [`clairvoyant`] | the bound that no law can beat |
//! | [`law`], [`settings`] | the contenders by their names, and their settings |
//! | [`measure`] | the figures of runs |
//! | [`cell`], [`table`] | all laws on the same arrivals; their figures side by side |
//! | [`picture`] | a run as SVG: arrivals, stock, waits |
//! | [`goals`] | the figures that the default law is to reach |
//! | [`advice`] | settings for the arrivals of a file |
//! | [`conditions`] | the options of both programs |
//!
//! The model leaves out everything that a law of the stock cannot change: bytes, losses, faults other
//! than outages. Faults are the subject of the simulation in `pool-testkit`.

pub mod advice;
pub mod cell;
pub mod clairvoyant;
pub mod conditions;
pub mod go;
pub mod goals;
pub mod law;
pub mod load;
pub mod measure;
pub mod network;
pub mod pair;
pub mod patterns;
pub mod picture;
pub mod scenario;
mod schedule;
pub mod settings;
pub mod source;
pub mod table;
pub mod time;
