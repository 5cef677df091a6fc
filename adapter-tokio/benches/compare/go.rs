//! The Go pool: the program of the interop tests, on the newest release of the module.
#![expect(clippy::indexing_slicing, reason = "of JSON, where a name that is missing is null")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::system::Other;

const MODULE: &str = "github.com/NodePassProject/pool";
const RELEASE: &str = "v1.0.50";

/// The program, built.
pub(crate) struct Go(PathBuf);

impl Go {
    /// Builds it in a copy of its sources, as the build completes `go.sum`.
    pub(crate) fn build() -> Outcome<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare-go");
        fs::create_dir_all(&place)?;
        for file in fs::read_dir(sources)? {
            let file = file?;
            fs::copy(file.path(), place.join(file.file_name()))?;
        }
        run(&place, &["mod", "edit", &format!("-require={MODULE}@{RELEASE}")])?;
        run(&place, &["build", "-o", "program", "."])?;
        Ok(Self(place.join("program")))
    }

    pub(crate) fn start(&self) -> Outcome<Program> {
        Ok(Program(Other::run(&mut Command::new(&self.0))?))
    }
}

fn run(place: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(place).env("CGO_ENABLED", "0");
    let output = command
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .output()
        .map_err(|_| "there is no Go toolchain")?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into())
}

/// The running program, which takes one request after the other.
pub(crate) struct Program(Other);

impl Program {
    pub(crate) fn call(&mut self, mut request: Value) -> Outcome<Value> {
        request["n"] = 1.into();
        self.0.write(&request.to_string())?;
        let answer: Value = serde_json::from_str(&self.0.read()?)?;
        match answer["error"].as_str() {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }
}
