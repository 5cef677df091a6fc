//! The text format of Prometheus, version 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use core::fmt::{self, Write};
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use pool_proto::{Histogram, Metric, MetricValue};

use super::Report;

/// Returns the metrics of one or several pools in the text format of Prometheus, for an HTTP answer with the
/// content type `text/plain; version=0.0.4`. See [`write_prometheus`].
#[must_use]
pub fn prometheus<'a>(reports: impl IntoIterator<Item = &'a Report>) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = write_prometheus(&mut text, reports);
    text
}

/// Writes the metrics of one or several pools in the text format of Prometheus, version 0.0.4.
///
/// Each sample has the labels `pool`, the name, and `role`. Of several pools with the same name and role,
/// the later ones get `#2`, `#3` and so on behind their names, as Prometheus refuses a text that has a sample
/// twice. Give all pools of a process in one call: a metric may stand in one place of a text only.
/// Histograms have the powers of two from 2¹² ns to 2³⁶ ns as bounds: a quarter of the recorded ones.
///
/// # Errors
///
/// Those of `out`.
pub fn write_prometheus<'a>(
    out: &mut impl Write,
    reports: impl IntoIterator<Item = &'a Report>,
) -> fmt::Result {
    let mut names = BTreeMap::new();
    let mut families: BTreeMap<&str, Vec<(String, Metric<'a>)>> = BTreeMap::new();
    for report in reports {
        let count = names.entry((&*report.name, report.role)).or_insert(0u32);
        *count += 1;
        let mut labels = String::new();
        write_labels(&mut labels, report, *count)?;
        for metric in report.metrics() {
            families.entry(metric.name).or_default().push((labels.clone(), metric));
        }
    }
    for (name, samples) in families {
        let Some((_, first)) = samples.first() else { continue };
        // The help texts are those of this project, with nothing to escape.
        writeln!(out, "# HELP {name} {}\n# TYPE {name} {}", first.help, first.kind().as_str())?;
        for (labels, metric) in &samples {
            write_sample(out, labels, metric)?;
        }
    }
    Ok(())
}

/// Writes the labels that all samples of a pool have.
fn write_labels(out: &mut String, report: &Report, count: u32) -> fmt::Result {
    out.write_str("pool=\"")?;
    escape(out, &report.name)?;
    if count > 1 {
        write!(out, "#{count}")?;
    }
    write!(out, "\",role=\"{}\"", report.role)
}

fn write_sample(out: &mut impl Write, labels: &str, metric: &Metric<'_>) -> fmt::Result {
    let name = metric.name;
    match metric.value {
        MetricValue::Counter(value) => write_number(out, labels, metric, &value),
        MetricValue::Gauge(value) => write_number(out, labels, metric, &value),
        MetricValue::Histogram(histogram) => write_histogram(out, name, labels, histogram),
        // A kind that this version of the machine does not have.
        _ => Ok(()),
    }
}

fn write_number(
    out: &mut impl Write,
    labels: &str,
    metric: &Metric<'_>,
    value: &dyn fmt::Display,
) -> fmt::Result {
    write!(out, "{}{{{labels}", metric.name)?;
    if let Some((label, value)) = metric.label {
        write!(out, ",{label}=\"")?;
        escape(out, value)?;
        out.write_char('"')?;
    }
    writeln!(out, "}} {value}")
}

fn write_histogram(
    out: &mut impl Write,
    name: &str,
    labels: &str,
    histogram: &Histogram,
) -> fmt::Result {
    for (bound, count) in histogram.octaves() {
        let bound = bound.as_secs_f64();
        writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    let count = histogram.count();
    writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
    writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum().as_secs_f64())?;
    writeln!(out, "{name}_count{{{labels}}} {count}")
}

/// Escapes the value of a label.
fn escape(out: &mut impl Write, text: &str) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '"' => out.write_str("\\\"")?,
            character => out.write_char(character)?,
        }
    }
    Ok(())
}
