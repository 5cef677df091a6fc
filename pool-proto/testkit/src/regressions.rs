//! Seeds that have failed once. Each is a file whose name is the seed, and whose text describes the
//! failure.

use std::fs;

/// Returns the seeds in a folder, in their order.
///
/// # Panics
///
/// If the folder cannot be read, or has a file with another name: a seed that is passed over in silence
/// would look like one that has passed.
#[must_use]
pub fn seeds(folder: &str) -> Vec<u64> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut seeds: Vec<u64> = files
        .map(|file| {
            let name = file.unwrap_or_else(|error| panic!("{folder}: {error}")).file_name();
            let name = name.to_string_lossy();
            name.parse().unwrap_or_else(|_| panic!("{folder}/{name}: the name is to be a seed"))
        })
        .collect();
    seeds.sort_unstable();
    seeds
}
