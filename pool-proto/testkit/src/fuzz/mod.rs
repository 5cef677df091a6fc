//! The bodies of the fuzz targets: each takes arbitrary bytes and panics when `pool-proto` does
//! something wrong with them.
//!
//! The files in `fuzz_targets/` run them under libFuzzer. `tests/corpus.rs` replays `fuzz/corpus/` and
//! `fuzz/regressions/` in `cargo test`, on any toolchain: nothing here needs libFuzzer.
//!
//! | target | input | compared with |
//! |---|---|---|
//! | `id_reader` | ids: reader, writer, text | a parser that sees everything at once |
//! | `allow_list` | allow lists: text, `permits` | a parser upon `core::net`, prefixes by shifting |
//! | `configuration` | builders, and machines with extreme settings at extreme times | the documented bounds; the harness of the machine's tests |
//! | `client_script`, `server_script` | one machine, any order of calls | the oracle and the ledger |
//! | `pair_script` | both machines with a network between them | the oracle, the ledger, and the checks of the simulated world |
//! | `tape` | tapes: headers, inputs of any kind and in any order | the format as it is documented; bounds |
//! | `tls_text` | fingerprints, TLS modes, PEM | an obvious parser; round trips |

mod allow_list;
mod choices;
mod configuration;
mod id_reader;
mod pair;
mod script;
mod tape;
#[cfg(feature = "tls")]
mod tls_text;

pub use allow_list::allow_list;
pub use configuration::configuration;
pub use id_reader::id_reader;
pub use pair::pair_script;
pub use script::{client_script, server_script};
pub use tape::tape;
#[cfg(feature = "tls")]
pub use tls_text::tls_text;

/// Runs a target on some bytes.
pub type Body = fn(&[u8]);

/// Every target by the name of its file and of its corpus.
pub const TARGETS: &[(&str, Body)] = &[
    ("allow_list", allow_list),
    ("client_script", client_script),
    ("configuration", configuration),
    ("id_reader", id_reader),
    ("pair_script", pair_script),
    ("server_script", server_script),
    ("tape", tape),
    #[cfg(feature = "tls")]
    ("tls_text", tls_text),
];
