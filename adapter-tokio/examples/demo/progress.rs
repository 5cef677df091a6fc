//! Progress of the phases: bars on a terminal, a line for each phase elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A phase and its progress bar.
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

    /// Advances the bar by one step.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Ends the phase, and prints its result.
    pub(crate) fn end(&self, result: &str) {
        self.bar.finish_and_clear();
        println!("  {result}");
    }
}
