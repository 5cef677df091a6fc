//! What is seen while it runs: bars on a terminal, a line for each phase elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// One phase.
#[derive(Clone)]
pub(crate) struct Phase {
    bar: ProgressBar,
}

impl Phase {
    /// Begins a phase of `steps` steps.
    pub(crate) fn begin(what: &str, steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("  … {what}");
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new(steps);
        let template = "  {spinner} {msg:<52} {bar:24} {pos:>5}/{len}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// One step further.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// The phase is over; `result` stays to be read.
    pub(crate) fn end(&self, result: &str) {
        self.bar.finish_and_clear();
        println!("  {result}");
    }
}
