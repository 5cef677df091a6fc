//! Publishing metrics in the recorder of the crate `metrics`.

use core::time::Duration;
use std::string::ToString;
use std::vec::Vec;

use metrics::{
    Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pool_proto::{Histogram, MetricValue, Role};

use super::Report;
use crate::shared::{PoolConnection, SharedMachine};

/// The durations that have been published.
#[derive(Default)]
pub(crate) struct Published {
    waits: Histogram,
    establishing: Histogram,
}

impl<C: PoolConnection, R: Role> SharedMachine<C, R> {
    /// Publishes the metrics in the recorder of the calling thread, or else in the global one: the
    /// durations since the last call, and the present values of all others.
    pub fn publish(&self) {
        let report = self.report();
        let new = self.publishing(|published| {
            let waits = new_since(&mut published.waits, &report.waits);
            (waits, new_since(&mut published.establishing, &report.establishing))
        });
        let Report { name, role, stats, errors, .. } = report;
        let (waits, establishing) = new;
        Report { name, role, stats, waits, establishing, errors }.publish();
    }
}

/// Returns the durations of `now` that were not there `before`, and keeps `now` for the next call. Of two calls at
/// the same time, the later report may come first.
fn new_since(before: &mut Histogram, now: &Histogram) -> Histogram {
    let new = if now.count() < before.count() { Histogram::new() } else { now.since(before) };
    if new.count() > 0 {
        *before = *now;
    }
    new
}

impl Report {
    fn publish(&self) {
        for metric in self.metrics() {
            let (name, help) = (metric.name, metric.help);
            let mut labels = Vec::from([
                Label::new("pool", self.name.to_string()),
                Label::from_static_parts("role", self.role),
            ]);
            labels.extend(metric.label.map(|(key, value)| Label::from_static_parts(key, value)));
            match metric.value {
                MetricValue::Counter(value) => {
                    describe_counter!(name, help);
                    counter!(name, labels).absolute(value);
                }
                MetricValue::Gauge(value) => {
                    describe_gauge!(name, help);
                    gauge!(name, labels).set(value);
                }
                MetricValue::Histogram(durations) => {
                    describe_histogram!(name, help);
                    let recorder = histogram!(name, labels);
                    for (bound, count) in durations.buckets().filter(|(_, count)| *count > 0) {
                        let bound = bound.min(LONGEST).as_secs_f64();
                        let count = usize::try_from(count).unwrap_or(usize::MAX);
                        recorder.record_many(bound, count);
                    }
                }
                // A kind that this version of the machine does not have.
                _ => {}
            }
        }
    }
}

/// Durations beyond the bounds of a histogram are published as this one, the last bound.
const LONGEST: Duration = Duration::from_nanos(1 << 36);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_comes_late_publishes_nothing_again() {
        let mut earlier = Histogram::new();
        earlier.record(Duration::from_millis(1));
        let mut later = earlier;
        later.record(Duration::from_millis(2));
        let mut published = Histogram::new();
        assert_eq!(new_since(&mut published, &later).count(), 2);
        assert_eq!(new_since(&mut published, &earlier).count(), 0);
        later.record(Duration::from_millis(3));
        assert_eq!(new_since(&mut published, &later).count(), 1);
    }
}
