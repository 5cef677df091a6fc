//! The statistics of a pool as a list of metrics, for exporters.

use crate::histogram::Histogram;
use crate::stats::{Stats, Totals};

/// A figure of a pool, by the conventions of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric<'a> {
    /// Its name. It begins with `pool_`; that of a counter ends with `_total`, and that of a time with
    /// `_seconds`. Metrics that differ in the label only have the same name.
    pub name: &'static str,
    /// Its meaning, in one sentence.
    pub help: &'static str,
    /// The name and the value of its label, if several metrics have its name.
    pub label: Option<(&'static str, &'static str)>,
    /// Its value.
    pub value: MetricValue<'a>,
}

/// The value of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue<'a> {
    /// It only grows while the pool lives.
    Counter(u64),
    /// It goes up and down.
    Gauge(f64),
    /// Durations.
    Histogram(&'a Histogram),
}

/// The kind of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// [`MetricValue::Counter`].
    Counter,
    /// [`MetricValue::Gauge`].
    Gauge,
    /// [`MetricValue::Histogram`].
    Histogram,
}

impl MetricKind {
    /// Returns the word of Prometheus for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl<'a> Metric<'a> {
    /// Returns its kind.
    #[must_use]
    pub const fn kind(&self) -> MetricKind {
        match self.value {
            MetricValue::Counter(_) => MetricKind::Counter,
            MetricValue::Gauge(_) => MetricKind::Gauge,
            MetricValue::Histogram(_) => MetricKind::Histogram,
        }
    }

    /// Returns a counter without a label.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, label: None, value: MetricValue::Counter(value) }
    }

    /// Returns a gauge without a label.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, label: None, value: MetricValue::Gauge(value) }
    }

    /// Returns a histogram without a label.
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        durations: &'a Histogram,
    ) -> Self {
        Self { name, help, label: None, value: MetricValue::Histogram(durations) }
    }

    const fn with_label(self, name: &'static str, value: &'static str) -> Self {
        Self { label: Some((name, value)), ..self }
    }
}

/// Lists the counters of [`Totals`]. A field that is missing here is a compile error: the pattern names
/// all of them.
macro_rules! counters {
    ($totals:expr, except $other:ident; $($field:ident: $name:literal, $help:literal;)*) => {{
        let Totals { $other: _, $($field),* } = $totals;
        [$(Metric::counter($name, $help, $field)),*]
    }};
}

impl Totals {
    fn metrics<'a>(self) -> impl Iterator<Item = Metric<'a>> {
        let help =
            "Acquires and waits for stock whose deadline passed, by the reason of their wait.";
        let timeouts = self.timeouts.by_reason().map(|(reason, count)| {
            Metric::counter("pool_acquire_timeouts_total", help, count).with_label("reason", reason)
        });
        let counters = counters! { self, except timeouts;
            dials: "pool_dials_total", "Dials begun.";
            dial_failures: "pool_dial_failures_total", "Dials that failed.";
            limited_by_dials: "pool_limited_by_dials_seconds_total",
                "Seconds in which callers waited and max_dials were under way.";
            limited_by_capacity: "pool_limited_by_capacity_seconds_total",
                "Seconds in which callers waited and the capacity was reached.";
            dial_timeouts: "pool_dial_timeouts_total", "Dials that timed out.";
            accepted: "pool_accepted_total",
                "Peers accepted, which may do their handshakes (server).";
            admitted: "pool_admitted_total",
                "Peers admitted to the stock, with their handshakes over (server).";
            established: "pool_established_total", "Connections whose handshake succeeded.";
            tls_failures: "pool_tls_failures_total", "Handshakes that failed in TLS.";
            id_failures: "pool_id_failures_total", "Handshakes whose id was short, wrong or missing.";
            transport_failures: "pool_transport_failures_total",
                "Handshakes that failed in the transport.";
            handshake_timeouts: "pool_handshake_timeouts_total",
                "Handshakes that timed out, id exchange included.";
            silent: "pool_silent_total", "Peers that connected and sent nothing in time (server).";
            handshakes_evicted: "pool_handshakes_evicted_total",
                "Handshakes that made room for those of other peers (server).";
            duplicate_ids: "pool_duplicate_ids_total",
                "Connections closed because they came with the id of another live connection.";
            rejected_address: "pool_rejected_address_total",
                "Peers rejected because of their address.";
            rejected_source: "pool_rejected_source_total",
                "Peers rejected because their source or certificate held the most that it may.";
            rejected_full: "pool_rejected_full_total",
                "Peers rejected because the pool was full or closed.";
            evicted: "pool_evicted_total",
                "Connections evicted to make room for a peer that holds fewer.";
            replaced: "pool_replaced_total",
                "Connections closed to make room for newer ones of the same peer.";
            yielded: "pool_yielded_total",
                "Connections closed to make room for ones that the peer may acquire.";
            leases: "pool_leases_total", "Leases handed out.";
            reused: "pool_reused_total",
                "Leases of connections that had been leased and put back before.";
            served_at_once: "pool_served_at_once_total", "Acquires that were served at once.";
            served_after_waiting: "pool_served_after_waiting_total",
                "Acquires that were served after waiting.";
            refused: "pool_refused_total", "Calls that were refused, at once or while waiting.";
            cancelled: "pool_cancelled_total",
                "Waiters that gave up before they had collected, by a deadline or otherwise.";
            put: "pool_put_total", "Connections put back.";
            put_unknown: "pool_put_unknown_total",
                "Attempts to put back a connection that this pool had not leased.";
            overflowed: "pool_overflowed_total",
                "Connections closed because they were put back into a full pool.";
            leftover: "pool_leftover_total",
                "Connections closed because they were put back with too much unread or unsent data.";
            drain_timeouts: "pool_drain_timeouts_total", "Connections whose check timed out.";
            released: "pool_released_total", "Leased connections closed by their holders.";
            peer_closed: "pool_peer_closed_total",
                "Connections that the peer closed in the pool, or that failed there.";
            idle_timeouts: "pool_idle_timeouts_total", "Connections closed by the idle timeout.";
            surplus: "pool_surplus_total",
                "Connections closed because they were ready beyond the capacity for some time.";
            expired: "pool_expired_total", "Connections closed at the end of their lifetime.";
            unclaimed: "pool_unclaimed_total",
                "Connections that the peer had begun to use and nobody here asked for in time.";
            disallowed: "pool_disallowed_total",
                "Connections closed because a new allow list does not admit their peers.";
            cleaned: "pool_cleaned_total", "Connections closed by clean.";
            flushed: "pool_flushed_total",
                "Connections, dials and handshakes ended by flush, close or graceful_shutdown.";
            stale_events: "pool_stale_events_total",
                "Events whose connection had ended, or was not in a state that they fit.";
        };
        counters.into_iter().chain(timeouts)
    }
}

impl Stats {
    /// Returns every field, and every counter of [`Totals`], as a metric. Unknown figures, such as the
    /// lead time of a server, are left out.
    pub fn metrics<'a>(&self) -> impl Iterator<Item = Metric<'a>> + use<'a> {
        // A new field must be listed: the pattern names all.
        let Self {
            dialing,
            handshaking,
            idle,
            reserved,
            claimed,
            finished,
            leased,
            returning,
            waiters,
            accept_waiters,
            peer_waiters,
            capacity,
            interval,
            lead_time,
            failures_in_a_row,
            ceiling,
            totals,
        } = *self;
        let connections = [
            ("dialing", dialing),
            ("handshaking", handshaking),
            ("idle", idle),
            ("claimed", claimed),
            ("finished", finished),
            ("leased", leased),
            ("returning", returning),
        ];
        let connections = connections.map(|(state, count)| {
            let help = "Connections in each state.";
            Metric::gauge("pool_connections", help, count.into()).with_label("state", state)
        });
        let number = |name, help, value: u32| Some(Metric::gauge(name, help, value.into()));
        let others = [
            number(
                "pool_reserved_connections",
                "Idle connections that are the peer's to acquire.",
                reserved,
            ),
            number(
                "pool_waiters",
                "Callers that wait, for any connection, by id, for stock, or to accept.",
                waiters,
            ),
            number(
                "pool_accept_waiters",
                "Those of the callers that wait to accept; they are in pool_waiters, too.",
                accept_waiters,
            ),
            number("pool_peer_waiters", "Callers that wait at the peer, roughly.", peer_waiters),
            number(
                "pool_capacity_connections",
                "Ready connections aimed at; of a server, the most that may be ready.",
                capacity,
            ),
            Some(Metric::gauge(
                "pool_round_interval_seconds",
                "Time between two rounds of dials under the tuning of NodePass, or 0.",
                interval.as_secs_f64(),
            )),
            lead_time.map(|time| {
                let help = "Time in which a connection is replaced.";
                Metric::gauge("pool_lead_time_seconds", help, time.as_secs_f64())
            }),
            number(
                "pool_failures_in_a_row",
                "Failures in a row, on which the backoff of the next dial depends.",
                failures_in_a_row,
            ),
            ceiling.and_then(|ceiling| {
                number(
                    "pool_ceiling_connections",
                    "Connections that the full peer was seen to hold.",
                    ceiling,
                )
            }),
        ];
        connections.into_iter().chain(others.into_iter().flatten()).chain(totals.metrics())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use core::time::Duration;
    use std::collections::BTreeSet;
    use std::format;

    use super::*;

    fn full() -> Stats {
        Stats { lead_time: Some(Duration::ZERO), ceiling: Some(0), ..Stats::default() }
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = BTreeSet::new();
        for metric in full().metrics() {
            let name = metric.name;
            assert!(seen.insert((name, metric.label)), "{name} is listed twice");
            assert!(name.starts_with("pool_"), "{name}");
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_')), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind() == MetricKind::Counter, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        }
    }

    #[test]
    fn each_field_has_a_metric_of_its_own() {
        // As many as numbers in the debug text, which has every field.
        let text = format!("{:?}", full());
        let numbers = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let numbers = numbers.filter(|word| matches!(*word, "0" | "0ns")).count();
        assert_eq!(full().metrics().count(), numbers);
    }

    #[test]
    fn a_figure_that_is_unknown_is_left_out() {
        let names =
            |stats: Stats| stats.metrics().map(|metric| metric.name).collect::<BTreeSet<_>>();
        let missing: BTreeSet<_> =
            names(full()).difference(&names(Stats::default())).copied().collect();
        assert_eq!(missing, ["pool_ceiling_connections", "pool_lead_time_seconds"].into());
    }

    #[test]
    fn a_metric_has_the_value_of_its_field() {
        let mut stats = full();
        stats.idle = 3;
        stats.totals.leases = 7;
        stats.totals.timeouts.backing_off = 9;
        stats.lead_time = Some(Duration::from_millis(250));
        let value = |name: &str, label| {
            let found = stats.metrics().find(|metric| metric.name == name && metric.label == label);
            found.unwrap().value
        };
        assert_eq!(value("pool_connections", Some(("state", "idle"))), MetricValue::Gauge(3.0));
        assert_eq!(value("pool_leases_total", None), MetricValue::Counter(7));
        let reason = Some(("reason", "backing_off"));
        assert_eq!(value("pool_acquire_timeouts_total", reason), MetricValue::Counter(9));
        assert_eq!(value("pool_lead_time_seconds", None), MetricValue::Gauge(0.25));
    }
}
