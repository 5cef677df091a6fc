//! A strict parser of the text format of Prometheus, version 0.0.4, which panics at anything that the format
//! does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of one metric.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Parses a text. Each metric must have a HELP line and a TYPE line before its samples, in one group.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").unwrap_or_else(|| panic!("not HELP: {line}"));
        let (name, help) = help.split_once(' ').expect("a name and a text");
        assert!(is_name(name), "{name}");
        unescape(help, false);
        let line = lines.next().expect("a TYPE line");
        let (typed, kind) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')).expect(line);
        assert_eq!(typed, name);
        assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{kind}");
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let sample = sample(line);
            let base = match kind {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| sample.name.strip_suffix(suffix))
                    .expect("a suffix of a histogram"),
                _ => &sample.name,
            };
            assert_eq!(base, name, "a sample in the group of another metric");
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
            samples.push(sample);
        }
        assert!(!samples.is_empty(), "{name} has no samples");
        if kind == "histogram" {
            check_histogram(name, &samples);
        }
        let family = Family { kind: kind.to_owned(), samples };
        assert!(families.insert(name.to_owned(), family).is_none(), "{name} has two groups");
    }
    families
}

/// The buckets of each set of labels grow, the last one is +Inf and has the count.
fn check_histogram(name: &str, samples: &[Sample]) {
    let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").expect("a bound");
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
        series.entry(labels).or_default().push((bound, sample.value));
    }
    for (labels, buckets) in series {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}: {buckets:?}");
        let (bound, all) = *buckets.last().unwrap();
        let value = |suffix: &str| {
            let name = format!("{name}{suffix}");
            samples.iter().find(|s| s.name == name && s.labels == labels).expect(&name).value
        };
        assert!(bound.is_infinite() && all == value("_count"), "{name}: {buckets:?}");
        assert!(value("_sum") >= 0.0);
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> Sample {
    let (name, rest) = line.split_once('{').expect("labels");
    assert!(is_name(name), "{name}");
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    loop {
        let (label, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(label), "{label}");
        // The first quotation mark without a backslash before it.
        let mut is_escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        let (value, after) = after.split_at(end.expect("the end of a value"));
        assert!(labels.insert(label.to_owned(), unescape(value, true)).is_none(), "{label} twice");
        match after[1..].strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                let value = after[1..].strip_prefix("} ").expect("one blank before the value");
                let value = value.parse().unwrap_or_else(|_| panic!("not a number: {value:?}"));
                return Sample { name: name.to_owned(), labels, value };
            }
        }
    }
}

fn unescape(text: &str, is_label: bool) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if is_label => '"',
                other => panic!("not an escape: {other:?} in {text}"),
            },
            character => character,
        });
    }
    plain
}
