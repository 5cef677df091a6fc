//! The id format of each release, determined by experiment.

use std::env;

use adapter_tokio::pool_proto::IdFormat;

use crate::release::{NEWEST, format_of, go};

/// Prints the facts behind the table in `docs/interop.md`, and checks those of the newest release.
#[test]
fn which_release_speaks_which_format() {
    let Some(go) = go() else { return };
    for release in &go.releases {
        println!(
            "{:8} {:?}  first id {}  {} {}{}{}",
            release.name,
            release.format,
            if release.zero_first { "00000000" } else { "random" },
            release.function("any"),
            release.function("by_id"),
            if release.has("put") { " Put" } else { "" },
            if release.has("clean") { " Clean" } else { "" },
        );
        if release.name == NEWEST {
            assert_eq!(release.format, IdFormat::Raw4, "see the documentation's table");
            assert!(release.zero_first, "see the documentation's table");
        }
    }
}

/// Returns the last available release before the format changed, and the first after it, by
/// bisection.
fn change(
    mut releases: Vec<String>,
    mut look: impl FnMut(&str) -> Option<IdFormat>,
) -> Option<(String, String)> {
    let first = loop {
        match look(releases.first()?) {
            Some(format) => break format,
            None => drop(releases.remove(0)),
        }
    };
    // The format changes between these two indices; `after` is unknown until another format is seen.
    let (mut before, mut after) = (0, None);
    loop {
        let end = after.unwrap_or(releases.len());
        if after.is_some() && before + 1 == end {
            return Some((releases[before].clone(), releases[end].clone()));
        }
        let at = if after.is_some() { before.midpoint(end) } else { releases.len() - 1 };
        match look(&releases[at]) {
            _ if at == before => return None,
            Some(format) if format == first => before = at,
            Some(_) => after = Some(at),
            None => {
                releases.remove(at);
                after = after.map(|after| after - 1);
            }
        }
    }
}

#[test]
#[ignore = "downloads releases: POOL_INTEROP_BISECT=v1.0.5..v1.0.50"]
fn the_release_at_which_the_format_changed() {
    let range = env::var("POOL_INTEROP_BISECT").unwrap_or("v1.0.5..v1.0.50".to_owned());
    let (from, to) = range.split_once("..").unwrap();
    let patch = |release: &str| release.rsplit('.').next().unwrap().parse::<u32>().unwrap();
    let releases = (patch(from)..=patch(to)).map(|patch| format!("v1.0.{patch}")).collect();
    let look = |release: &str| {
        let format = format_of(release);
        println!("{release}: {format:?}");
        format.ok()
    };
    let (before, after) = change(releases, look).expect("the format does not change in this range");
    println!("the last of the old format: {before}, the first of the new: {after}");
}

#[test]
fn a_format_change_is_found_although_some_releases_are_unavailable() {
    let releases = || (5..=50).map(|patch| format!("v1.0.{patch}")).collect::<Vec<_>>();
    for first_raw in 6..=50 {
        for missing in [vec![], vec![27], vec![first_raw], vec![5, 28, 50], (10..45).collect()] {
            let had = |patch: &u32| !missing.contains(patch);
            let mut looks = 0;
            let found = change(releases(), |release| {
                looks += 1;
                let patch = release[5..].parse().unwrap();
                let format = if patch < first_raw { IdFormat::Hex8 } else { IdFormat::Raw4 };
                had(&patch).then_some(format)
            });
            let before = (5..first_raw).rev().find(had);
            let after = (first_raw..=50).find(had);
            let wanted = before.zip(after);
            let wanted = wanted.map(|(a, b)| (format!("v1.0.{a}"), format!("v1.0.{b}")));
            assert_eq!(found, wanted, "{first_raw}, without {missing:?}");
            assert!(looks <= 8 + missing.len(), "{looks} looks");
        }
    }
}
