//! Everything that an operator watches: a report of one pool, its metrics, and their text for Prometheus.

mod prometheus;
#[cfg(feature = "metrics")]
mod publish;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use pool_proto::{Histogram, Metric, Role, Stats};
pub use prometheus::{prometheus, write_prometheus};
#[cfg(feature = "metrics")]
pub(crate) use publish::Published;

use crate::shared::{PoolConnection, SharedMachine};

/// A snapshot of everything that an operator watches of one pool. All figures are of the same moment.
#[derive(Clone)]
#[non_exhaustive]
pub struct Report {
    /// The name of the pool: that of its builder, or else its address.
    pub name: Arc<str>,
    /// `client` or `server`.
    pub role: &'static str,
    /// The number of connections in each state, and the counters.
    pub stats: Stats,
    /// The waits of acquires, from the call until a connection was there; zero for those served at once.
    /// A connection that the check of the pool finds unfit counts, too, as it does in
    /// [`leases`](pool_proto::Totals::leases).
    pub waits: Histogram,
    /// The times from the begin of a dial (client), or from the accept of a peer (server), until the
    /// connection was established: the transport, TLS and the id. Failures are not in it.
    pub establishing: Histogram,
    /// The user's error counter.
    pub errors: u64,
}

impl Report {
    /// Returns every figure of the report as a metric, by the conventions of Prometheus.
    pub fn metrics(&self) -> impl Iterator<Item = Metric<'_>> {
        // A new field must be listed: the pattern names all. The first two are labels.
        let Self { name: _, role: _, stats, waits, establishing, errors } = self;
        let own = [
            Metric::histogram(
                "pool_acquire_wait_seconds",
                "Waits of acquires, from the call until a connection was there; zero if served at once.",
                waits,
            ),
            Metric::histogram(
                "pool_establishing_seconds",
                "Times from the begin of a dial, or from the accept, until the connection was established.",
                establishing,
            ),
            Metric::gauge("pool_user_errors", "The user's error counter.", to_f64(*errors)),
        ];
        stats.metrics().chain(own)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact below quadrillions")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("stats", &self.stats)
            .field("waits", &self.waits)
            .field("establishing", &self.establishing)
            .field("errors", &self.errors)
            .finish()
    }
}

impl<C: PoolConnection, R: Role> SharedMachine<C, R> {
    /// Returns everything that an operator watches.
    #[must_use]
    pub fn report(&self) -> Report {
        let (stats, mut waits, establishing, errors) = self.figures();
        // Counted by the machine, so that they cost an acquire nothing.
        waits.record_many(Duration::ZERO, stats.totals.served_at_once);
        let (name, role) = (Arc::clone(&self.label().name), self.label().role);
        Report { name, role, stats, waits, establishing, errors }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn report() -> Report {
        let stats = Stats::default();
        let (waits, establishing) = (Histogram::new(), Histogram::new());
        Report { name: "".into(), role: "client", stats, waits, establishing, errors: 0 }
    }

    #[test]
    fn the_table_in_the_docs_lists_these_metrics() {
        let mut report = report();
        report.stats.lead_time = Some(Duration::ZERO);
        report.stats.ceiling = Some(0);
        let mut rows: Vec<String> = Vec::new();
        for metric in report.metrics() {
            let (name, help, kind) = (metric.name, metric.help, metric.kind().as_str());
            let label = metric.label.map_or_else(String::new, |(label, _)| format!("`{label}`"));
            let row = format!("| `{name}` | {kind} | {label} | {} |", help.trim_end_matches('.'));
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
        let page = include_str!("../docs/observability.md");
        let (_, section) = page.split_once("\n## Metrics\n").unwrap();
        let documented: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(documented, rows, "left the docs, right:\n{}", rows.join("\n"));
    }
}
