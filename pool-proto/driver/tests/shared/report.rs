//! The report of a pool: waits, times of establishing, and their exports.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pool_driver::metrics::{Report, prometheus, write_prometheus};
use pool_proto::{CheckResult, Event, MetricValue};

use crate::exposition::{Family, parse};
use crate::rig::*;

#[test]
fn waits_go_from_the_call_to_the_connection_and_are_zero_if_served_at_once() {
    let (mut rig, _) = filled(Plan::ONE);
    let lease = rig.any().take();
    let second = rig.any();
    second.queue();
    rig.pass(ms(200));
    // Other futures of its task are polled, and so is this one.
    second.queue();
    rig.pass(ms(100));
    lease.put(&rig.shared).unwrap();
    let lease = second.take();
    let report = rig.shared.report();
    let filled: Vec<_> = report.waits.buckets().filter(|(_, count)| *count > 0).collect();
    let [(_, 1), (bound, 1)] = *filled else { panic!("{filled:?}") };
    assert!(bound >= ms(300) && bound <= ms(300) * 5 / 4, "{bound:?}");
    assert_eq!(report.waits.sum(), ms(300));
    let totals = report.stats.totals;
    assert_eq!(report.waits.count(), totals.served_at_once + totals.served_after_waiting);
    drop(lease);
}

#[test]
fn waits_are_told_by_the_precise_clock() {
    let (mut rig, _) = filled(Plan::ONE);
    let lease = rig.any().take();
    rig.clock.tick(ms(4));
    rig.pass(ms(3));
    let second = rig.any();
    second.queue();
    rig.pass(ms(300));
    lease.put(&rig.shared).unwrap();
    drop(second.take());
    assert_eq!(rig.shared.report().waits.sum(), ms(300));
}

#[test]
fn a_wait_that_ends_without_a_connection_is_not_counted() {
    let mut rig = client(Plan::ONE);
    let task = rig.any();
    task.queue();
    rig.pass(ms(300));
    task.expire();
    task.fail();
    let report = rig.shared.report();
    assert_eq!((report.waits.count(), report.stats.totals.timeouts.total()), (0, 1));
}

/// It has waited for a peer that has something to say, and not for a connection.
#[test]
fn an_accept_is_served_at_once_however_long_it_has_waited() {
    let (mut rig, conns) = filled(Plan::ONE);
    let mut accept = rig.shared.acquire_claimed();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut accept).poll(&mut context).is_pending());
    rig.pass(ms(300));
    rig.book.next_check(conns[0].number, CheckResult::Data);
    rig.shared.event(Event::Readable { token: conns[0].token });
    rig.turn();
    let accepted = Pin::new(&mut accept).poll(&mut context);
    assert!(matches!(accepted, Poll::Ready(Ok(_))), "{accepted:?}");
    let report = rig.shared.report();
    assert_eq!((report.waits.count(), report.waits.sum()), (1, ms(0)));
    assert_eq!(report.stats.totals.served_at_once, 1);
}

#[test]
fn establishing_goes_from_the_begin_of_the_dial() {
    let mut rig = client(Plan::ONE);
    let in_flight = rig.begin();
    rig.pass(ms(40));
    rig.establish(in_flight);
    let report = rig.shared.report();
    assert_eq!((report.establishing.count(), report.establishing.sum()), (1, ms(40)));
}

#[test]
fn a_report_has_the_errors_of_the_user() {
    let rig = client(Plan::ONE);
    for _ in 0..2 {
        rig.shared.run(|machine, _| machine.add_error());
    }
    let report = rig.shared.report();
    assert_eq!(report.errors, 2);
    let shown = report.metrics().find(|metric| metric.name == "pool_user_errors").unwrap();
    assert_eq!(shown.value, MetricValue::Gauge(2.0));
}

/// A report with a wait of 300 ms, one of zero, and a name.
fn busy(name: &str) -> Report {
    let (mut rig, _) = filled(Plan::ONE);
    let lease = rig.any().take();
    let second = rig.any();
    second.queue();
    rig.pass(ms(300));
    lease.put(&rig.shared).unwrap();
    drop(second.take());
    let mut report = rig.shared.report();
    report.name = name.into();
    report
}

fn with<'a>(pool: &'a str, more: &[(&'a str, &'a str)]) -> BTreeMap<String, String> {
    let labels = [("pool", pool), ("role", "client")].into_iter().chain(more.iter().copied());
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn value(
    families: &BTreeMap<String, Family>,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> f64 {
    let family = name.trim_end_matches("_bucket").trim_end_matches("_sum");
    let family = family.trim_end_matches("_count");
    let found = families[family].samples.iter().find(|s| s.name == name && s.labels == *labels);
    found.unwrap_or_else(|| panic!("no {name} {labels:?}")).value
}

#[test]
fn a_report_is_shown_with_all_its_parts() {
    let shown = format!("{:?}", busy("tunnel-eu"));
    for part in ["tunnel-eu", "client", "stats: Stats {", "waits: ", "establishing: ", "errors: 0"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_strict_parser_reads_the_text_for_prometheus() {
    let mut report = busy("tunnel-eu");
    report.errors = 7;
    let families = parse(&prometheus([&report]));
    let plain = with("tunnel-eu", &[]);
    assert_eq!(families["pool_leases_total"].kind, "counter");
    assert!(value(&families, "pool_leases_total", &plain) == 2.0);
    assert!(value(&families, "pool_user_errors", &plain) == 7.0);
    let idle = with("tunnel-eu", &[("state", "idle")]);
    assert_eq!(families["pool_connections"].kind, "gauge");
    assert!(value(&families, "pool_connections", &idle) == f64::from(report.stats.idle));
    assert_eq!(families["pool_acquire_wait_seconds"].kind, "histogram");
    assert!(value(&families, "pool_acquire_wait_seconds_count", &plain) == 2.0);
    assert!(value(&families, "pool_acquire_wait_seconds_sum", &plain) == 0.3);
    let up_to = |le: &str| {
        value(&families, "pool_acquire_wait_seconds_bucket", &with("tunnel-eu", &[("le", le)]))
    };
    assert!(up_to("0.000004096") == 1.0 && up_to("0.268435456") == 1.0);
    assert!(up_to("0.536870912") == 2.0 && up_to("+Inf") == 2.0);
    // Every metric of the report is in the text, and nothing else.
    let names: Vec<_> = families.keys().map(String::as_str).collect();
    let mut expected: Vec<_> = report.metrics().map(|metric| metric.name).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(names, expected);
}

#[test]
fn the_text_of_several_pools_has_each_metric_in_one_place() {
    let (first, second, third) = (busy("a"), busy("b"), busy("a"));
    let families = parse(&prometheus([&first, &second, &third]));
    let leases = &families["pool_leases_total"].samples;
    let pools: Vec<_> = leases.iter().map(|sample| sample.labels["pool"].as_str()).collect();
    assert_eq!(pools, ["a", "b", "a#2"], "a name that comes twice is told apart");
    assert!(prometheus([]).is_empty());
}

/// A writer with room for so many bytes, such as a buffer of an HTTP server.
struct Room(usize);

impl fmt::Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[test]
fn a_text_that_is_not_whole_is_an_error() {
    let report = busy("tunnel-eu");
    let length = prometheus([&report]).len();
    assert_eq!(write_prometheus(&mut Room(length), [&report]), Ok(()));
    for room in (0..length).step_by(97).chain([length - 1]) {
        assert_eq!(write_prometheus(&mut Room(room), [&report]), Err(fmt::Error), "{room}");
    }
}

/// As the two ends of a tunnel in one process: the label of the role tells them apart.
#[test]
fn a_client_and_a_server_may_have_one_name() {
    let (client, mut server) = (busy("tunnel"), busy("tunnel"));
    server.role = "server";
    let families = parse(&prometheus([&client, &server]));
    let leases = &families["pool_leases_total"].samples;
    let labels: Vec<_> = leases.iter().map(|sample| sample.labels.clone()).collect();
    let labels: Vec<_> =
        labels.iter().map(|labels| (labels["pool"].as_str(), labels["role"].as_str())).collect();
    assert_eq!(labels, [("tunnel", "client"), ("tunnel", "server")]);
}

#[test]
fn names_with_quotation_marks_backslashes_and_line_breaks_are_escaped() {
    let name = "a \"b\" \\n c\nd";
    let report = busy(name);
    let text = prometheus([&report]);
    assert!(text.contains(r#"pool="a \"b\" \\n c\nd""#), "{text}");
    let families = parse(&text);
    assert_eq!(families["pool_leases_total"].samples[0].labels["pool"], name);
}

#[cfg(feature = "metrics")]
mod publish {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
    use pool_proto::Dialing;

    use super::*;

    /// The values of one publication, by name and labels.
    fn published(snapshotter: &Snapshotter) -> BTreeMap<(String, Vec<String>), DebugValue> {
        let all = snapshotter.snapshot().into_vec();
        all.into_iter()
            .map(|(key, _, _, value)| {
                let (name, labels) = key.key().clone().into_parts();
                let labels =
                    labels.iter().map(|label| format!("{}={}", label.key(), label.value()));
                ((name.as_str().to_owned(), labels.collect()), value)
            })
            .collect()
    }

    #[test]
    fn a_recorder_gets_the_present_values_and_each_duration_once() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let (mut rig, _) = filled(Plan::ONE);
        let labels = || vec!["pool=".to_owned(), "role=client".to_owned()];
        let waits = || ("pool_acquire_wait_seconds".to_owned(), labels());
        let leases = || ("pool_leases_total".to_owned(), labels());
        metrics::with_local_recorder(&recorder, || {
            let lease = rig.any().take();
            let second = rig.any();
            second.queue();
            rig.pass(ms(300));
            lease.put(&rig.shared).unwrap();
            drop(second.take());
            rig.shared.publish();
            let values = published(&snapshotter);
            assert_eq!(values[&leases()], DebugValue::Counter(2));
            let DebugValue::Histogram(durations) = &values[&waits()] else { panic!("{values:?}") };
            let durations: Vec<_> = durations.iter().map(|seconds| seconds.into_inner()).collect();
            let [none, waited] = *durations else { panic!("{durations:?}") };
            assert!(none < 1e-5 && (0.3..=0.375).contains(&waited), "{durations:?}");
            // The second time, no duration is new.
            rig.shared.publish();
            let values = published(&snapshotter);
            let none = DebugValue::Histogram(Vec::new());
            assert_eq!(values.get(&waits()).unwrap_or(&none), &none);
            assert_eq!(values.len(), published(&snapshotter).len());
        });
    }

    fn durations(recorder: &DebuggingRecorder, rig: &Rig<Dialing>, metric: &str) -> Vec<f64> {
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(recorder, || rig.shared.publish());
        let key = (metric.to_owned(), vec!["pool=".to_owned(), "role=client".to_owned()]);
        match published(&snapshotter).get(&key) {
            Some(DebugValue::Histogram(seconds)) => {
                seconds.iter().map(|seconds| seconds.into_inner()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_time_of_each_dial_is_published_once() {
        let recorder = DebuggingRecorder::new();
        let mut rig = client(Plan::of(2));
        // Both dials begin at once.
        for (millis, took) in [(40, 40), (80, 120)] {
            let in_flight = rig.begin();
            rig.pass(ms(millis));
            rig.establish(in_flight);
            let seconds = durations(&recorder, &rig, "pool_establishing_seconds");
            let [time] = *seconds else { panic!("{seconds:?}") };
            let least = ms(took).as_secs_f64();
            assert!((least..least * 1.25).contains(&time), "{time}");
        }
    }

    #[test]
    fn the_longest_wait_is_published_as_the_last_bound() {
        let recorder = DebuggingRecorder::new();
        let (mut rig, _) = filled(Plan::ONE);
        let lease = rig.any().take();
        let second = rig.any();
        second.queue();
        rig.pass(secs(100));
        lease.put(&rig.shared).unwrap();
        drop(second.take());
        let seconds = durations(&recorder, &rig, "pool_acquire_wait_seconds");
        let longest = seconds.into_iter().fold(0.0, f64::max);
        assert!((68.0..69.0).contains(&longest), "{longest}");
    }
}
