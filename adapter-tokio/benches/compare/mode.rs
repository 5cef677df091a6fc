//! How much is measured.

/// The amount of work of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// For `cargo test --benches`, which calls without `--bench`: shows that the rows run.
    Smoke,
    /// For continuous integration (`--ci`): shows the figures, with noise.
    Ci,
    /// A few minutes.
    Quick,
    /// For publication (`--full`).
    Full,
}

impl Mode {
    pub(crate) fn from_arguments() -> Self {
        let given = |flag: &str| std::env::args().any(|argument| argument == flag);
        match (given("--bench"), given("--full"), given("--ci")) {
            (_, true, _) => Self::Full,
            (_, _, true) => Self::Ci,
            (true, ..) => Self::Quick,
            _ => Self::Smoke,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Ci => "ci",
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// Picks the number for this mode; a smoke run does everything once or twice.
    pub(crate) const fn pick<T: Copy>(self, smoke: T, ci: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Ci => ci,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
