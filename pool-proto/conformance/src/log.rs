//! The log of this process at level info, as an operator reads it; of some pools, at level debug.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) message: String,
    pub(super) fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// A field that is a number.
    #[track_caller]
    pub(super) fn number(&self, field: &str) -> u64 {
        self.text(field).parse().unwrap()
    }

    #[track_caller]
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields.get(field).unwrap_or_else(|| panic!("no {field} in {self:?}"))
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => drop(self.fields.insert(name, value.to_owned())),
        }
    }
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
/// The names of the pools whose connections are followed.
static FOLLOWED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let most = if target == "pool::connection" { Level::DEBUG } else { Level::INFO };
        metadata.is_event() && *metadata.level() <= most && target.starts_with("pool")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: String::new(), fields: BTreeMap::new() };
        event.record(&mut line);
        if *event.metadata().level() <= Level::INFO || lock(&FOLLOWED).contains(line.text("pool")) {
            lock(&LINES).push(line);
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Begins the log, unless it has begun. Call it before the pools are built.
pub(super) fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
}

/// Follows the connections of the pools that are named by this address, from now on.
pub(super) fn follow(address: SocketAddr) {
    begin();
    lock(&FOLLOWED).insert(address.to_string());
}

/// The lines so far of the pool that is named by its address, in this role.
pub(super) fn of(address: SocketAddr, role: &str) -> Vec<Line> {
    let address = address.to_string();
    let is_its = |line: &&Line| line.text("pool") == address && line.text("role") == role;
    lock(&LINES).iter().filter(is_its).cloned().collect()
}
