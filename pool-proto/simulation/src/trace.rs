//! The log of a life.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use pool_driver::pool_proto::Instant;

/// The log: printed if it is asked for, and always hashed, to compare two lives of a seed.
pub(crate) struct Trace {
    pub(crate) hasher: DefaultHasher,
    pub(crate) log: bool,
}

impl Trace {
    pub(crate) fn note(&mut self, now: Instant, line: fmt::Arguments<'_>) {
        struct Into<'a>(&'a mut DefaultHasher);
        impl fmt::Write for Into<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        let since = now.since(Instant::EPOCH);
        // Writing to a hasher does not fail.
        let _ =
            fmt::Write::write_fmt(&mut Into(&mut self.hasher), format_args!("{since:?} {line}"));
        if self.log {
            println!("{:>12.6} {line}", since.as_secs_f64());
        }
    }
}
