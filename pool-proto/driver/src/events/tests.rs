//! The events of the code and of the page are the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// An event as it was emitted.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    target: &'static str,
    level: Level,
    pub(crate) message: String,
    /// In the order of the code.
    names: Vec<&'static str>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Visit for Emitted {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => drop(self.fields.insert(name, text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

thread_local! {
    /// The events of this thread, while it captures them.
    static CAPTURED: RefCell<Option<Vec<Emitted>>> = const { RefCell::new(None) };
}

/// The subscriber of the process. Subscribers per thread would not do: a thread without one may turn an event
/// off for all.
struct Capture;

impl Subscriber for Capture {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let names = metadata.fields().iter().map(|field| field.name());
        let mut emitted = Emitted {
            target: metadata.target(),
            level: *metadata.level(),
            message: String::new(),
            names: names.filter(|name| *name != "message").collect(),
            fields: BTreeMap::new(),
        };
        event.record(&mut emitted);
        CAPTURED
            .with_borrow_mut(|events| events.iter_mut().for_each(|all| all.push(emitted.clone())));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Returns the events that `act` emits on this thread.
pub(crate) fn captured(act: impl FnOnce()) -> Vec<Emitted> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(Capture).unwrap());
    CAPTURED.set(Some(Vec::new()));
    act();
    CAPTURED.take().unwrap()
}

/// Target, level, message and fields.
type Row = [String; 4];

/// The rows of the table below the heading `## Events`.
fn documented() -> Vec<Row> {
    let page = include_str!("../../docs/observability.md");
    let (_, section) = page.split_once("\n## Events\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [target, level, message, fields, _meaning] = *cells.as_slice() else {
            panic!("not a row of five cells: {row}")
        };
        [target, level, message, fields].map(|cell| cell.replace('`', ""))
    })
    .collect()
}

fn row(event: &Emitted) -> Row {
    let [pool, role, fields @ ..] = event.names.as_slice() else { panic!("{event:?}") };
    assert_eq!((*pool, *role), ("pool", "role"));
    let level = event.level.to_string().to_lowercase();
    [event.target.to_owned(), level, event.message.clone(), fields.join(", ")]
}

#[test]
fn the_table_in_the_docs_lists_the_events_that_are_emitted() {
    let emitted: Vec<_> = captured(|| emit_each(&Label::default())).iter().map(row).collect();
    assert_eq!(documented(), emitted, "left the docs, right the code");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn no_other_file_emits_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&folder) {
        let text = fs::read_to_string(&path).unwrap();
        let is_list = path.ends_with("events.rs") || path.ends_with("events/tests.rs");
        for level in ["error!", "warn!", "info!", "debug!", "trace!", "event!"] {
            let emits = text.contains(&format!("tracing::{level}"));
            assert!(is_list || !emits, "{} calls tracing::{level}", path.display());
        }
    }
}
