//! A copy of the workspace with bugs in it, each behind a switch. The workspace itself has no trace of
//! them.

use std::fs;
use std::path::Path;

/// A sound text, and what stands there instead while a bug is on.
pub(crate) struct Edit {
    /// Below the folder of the sources.
    pub(crate) file: &'static str,
    /// Fits one place only.
    pub(crate) sound: &'static str,
    /// `planted!()` says whether the bug is on.
    pub(crate) planted: &'static str,
}

/// The switch, which stands in the copy only: `POOL_PLANTED=<number>` switches a bug on.
const SWITCH: &str = r#"
extern crate std as planted_std;

/// Whether a planted bug is switched on.
pub(crate) fn planted(number: usize) -> bool {
    use planted_std::{env, sync::OnceLock};
    static ON: OnceLock<Option<usize>> = OnceLock::new();
    let on = ON.get_or_init(|| env::var("POOL_PLANTED").ok()?.parse().ok());
    *on == Some(number)
}
"#;

/// Copies the core, its driver, its test kit and the simulation of real pools, and the files that their
/// build needs.
pub(crate) fn copy(workspace: &Path, copy: &Path) {
    let _ = fs::remove_dir_all(copy);
    for folder in ["src", "docs", "examples", "tests", "testkit", "driver", "simulation"] {
        let folder = Path::new("pool-proto").join(folder);
        copy_all(&workspace.join(&folder), &copy.join(folder));
    }
    for file in ["Cargo.lock", "pool-proto/Cargo.toml"] {
        fs::copy(workspace.join(file), copy.join(file)).unwrap();
    }
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let from = manifest.find("members = ").unwrap();
    let to = from + manifest[from..].find(']').unwrap() + 1;
    let members =
        ["pool-proto", "pool-proto/driver", "pool-proto/testkit", "pool-proto/simulation"];
    let members = format!("members = {members:?}");
    let manifest = [&manifest[..from], &members, &manifest[to..]].concat();
    // Under another version, so that a folder may hold the builds of both.
    let manifest = manifest.replacen("\nversion = \"0.1.0\"", "\nversion = \"0.1.1\"", 1);
    assert!(manifest.contains("\nversion = \"0.1.1\""), "the workspace has a new version");
    fs::write(copy.join("Cargo.toml"), manifest).unwrap();
}

/// Plants a bug in the sources of a copied package. Its number switches it on.
pub(crate) fn plant(sources: &Path, name: &str, number: usize, edits: &[Edit]) {
    for Edit { file, sound, planted } in edits {
        let path = sources.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let count = text.matches(sound).count();
        assert_eq!(count, 1, "“{name}” fits {count} places of {file}; it has to be planted anew");
        let planted = planted.replace("planted!()", &format!("crate::planted({number})"));
        fs::write(&path, text.replace(sound, &planted)).unwrap();
    }
}

/// Adds the switch to the sources of a copied package.
pub(crate) fn add_switch(sources: &Path) {
    let path = sources.join("lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + SWITCH).unwrap();
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
