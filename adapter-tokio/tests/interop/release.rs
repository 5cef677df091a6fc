//! The Go programs: one for each release, built once per process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

use adapter_tokio::pool_proto::IdFormat;
use serde_json::{Value, json};

use crate::peer::Peer;

const MODULE: &str = "github.com/NodePassProject/pool";

/// The default releases: one for each generation of the module's functions, up to the newest.
const RELEASES: &str = "v1.0.5,v1.0.33,v1.0.50";

/// The newest release, which must be available in CI.
pub(crate) const NEWEST: &str = "v1.0.50";

/// Takes the place of older releases that cannot be downloaded; its source is in `standin/`.
const STANDIN: &str = "standin";

/// The root of a private certificate authority, and a server certificate that it has issued.
pub(crate) struct Authority {
    pub(crate) root: String,
    pub(crate) root_file: PathBuf,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A release of the module, and the program that is built on it.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Whether its server gives its first connection the id `00000000`.
    pub(crate) zero_first: bool,
    pub(crate) format: IdFormat,
    /// The functions of the release: the names of `any` and `by_id`, and whether it has `put`,
    /// `clean` and `flush`.
    facts: BTreeMap<String, Value>,
}

/// The programs under test, and the authority that they trust.
pub(crate) struct Go {
    pub(crate) releases: Vec<Release>,
    pub(crate) authority: Authority,
}

/// Returns the programs under test. If there are none, prints the reason and returns `None`; in CI,
/// it panics.
pub(crate) fn go() -> Option<&'static Go> {
    // On its own thread, because it blocks.
    static GO: LazyLock<Result<Go, String>> =
        LazyLock::new(|| std::thread::spawn(prepare).join().unwrap());
    match &*GO {
        Ok(go) => Some(go),
        Err(why) if in_ci() => panic!("CI needs Go and release {NEWEST} of the module: {why}"),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

/// Returns the newest release, if it is under test.
pub(crate) fn newest() -> Option<&'static Release> {
    let newest = go()?.releases.iter().find(|release| release.zero_first);
    if newest.is_none() {
        println!("skipped: none of the requested releases has the zero id");
    }
    newest
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true")
}

fn prepare() -> Result<Go, String> {
    go_command(&["version"]).output().map_err(|_| "no go toolchain")?;
    let asked = env::var("POOL_INTEROP_RELEASES").ok();
    let (mut programs, mut standin) = (Vec::new(), false);
    for release in asked.as_deref().unwrap_or(RELEASES).split(',').map(str::trim) {
        match build(release) {
            Ok(program) => programs.push((release, program)),
            Err(why) if asked.is_some() => panic!("{release}: {why}"),
            Err(why) if release == NEWEST => return Err(why),
            Err(why) => {
                println!("skipped: {release}: {why}");
                standin = true;
            }
        }
    }
    if standin {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(STANDIN);
        programs.push((STANDIN, build(&format!("{STANDIN}={}", source.display()))?));
    }
    let (_, program) = programs.first().ok_or("no release was requested")?;
    let authority = make_authority(program)?;
    let releases = programs.into_iter().map(|(name, program)| look_at(name, program, &authority));
    Ok(Go { releases: releases.collect(), authority })
}

fn go_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("go");
    // `-mod=mod` completes go.sum, which differs per release. `-buildvcs=false`: the copy of the
    // sources is not in our repository.
    command.args(arguments).env("GOFLAGS", "-mod=mod -buildvcs=false").env("CGO_ENABLED", "0");
    command
}

/// Builds the program on `release`, a version or `NAME=DIRECTORY`. The Go toolchain caches its
/// builds, so the next call is quick.
fn build(release: &str) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer");
    let (name, directory) = match release.split_once('=') {
        Some((name, directory)) => (name, Some(directory)),
        None => (release, None),
    };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop").join(name);
    fs::create_dir_all(&place).unwrap();
    for file in fs::read_dir(&sources).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), place.join(file.file_name())).unwrap();
    }
    let require =
        format!("-require={MODULE}@{}", if directory.is_some() { "v0.0.0" } else { name });
    let replace = format!("-replace={MODULE}={}", directory.unwrap_or_default());
    run(go_command(&["mod", "edit", &require]).current_dir(&place)).unwrap();
    match directory {
        Some(_) => run(go_command(&["mod", "edit", &replace]).current_dir(&place)).unwrap(),
        // Not part of the build: an unavailable release is not a failure of ours.
        None => download(&place)?,
    }
    let built = run(go_command(&["build", "-o", "program", "."]).current_dir(&place));
    built.unwrap_or_else(|why| panic!("{release}: {why}"));
    Ok(place.join("program"))
}

/// Downloads the module unless it is cached. A failure is remembered in the target directory, and
/// not retried until that is cleaned.
fn download(place: &Path) -> Result<(), String> {
    let refusal = place.join("refused");
    if let Ok(why) = fs::read_to_string(&refusal) {
        return Err(why);
    }
    let downloaded = run(go_command(&["mod", "download", MODULE]).current_dir(place));
    downloaded.map_err(|why| {
        let why = format!("the module cannot be downloaded: {why}");
        fs::write(refusal, &why).unwrap();
        why
    })
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(errors.trim().to_owned()) }
}

fn make_authority(program: &Path) -> Result<Authority, String> {
    let made = Peer::start(program, None).call_and_wait(json!({ "do": "authority" }))?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    // The process id keeps concurrent runs apart.
    let root_file = directory.join(format!("root-{}.pem", std::process::id()));
    fs::write(&root_file, text("root")).unwrap();
    Ok(Authority {
        root: text("root"),
        root_file,
        certificate: text("certificate"),
        key: text("key"),
    })
}

/// Returns the id format of a release, or the reason why it is unavailable.
pub(crate) fn format_of(release: &str) -> Result<IdFormat, String> {
    let program = build(release)?;
    let authority = make_authority(&program)?;
    Ok(look_at(release, program, &authority).format)
}

/// Determines by experiment the id format of the servers of a release.
fn look_at(release: &str, program: PathBuf, authority: &Authority) -> Release {
    let peer = Peer::start(&program, Some(authority));
    let facts = peer.call_and_wait(json!({ "do": "facts" })).unwrap();
    let facts = facts["facts"].as_object().unwrap().clone().into_iter().collect();
    let server = peer.call_and_wait(json!({
        "do": "server", "address": "127.0.0.1:0", "max": 2, "keep_alive_ms": 15_000,
    }));
    let address = server.unwrap()["address"].as_str().unwrap().to_owned();
    let ids = [(); 2].map(|()| first_bytes(&address));
    let format = match ids[1].len() {
        4 => IdFormat::Raw4,
        8 => IdFormat::Hex8,
        other => panic!("{release} sends {other} bytes first: {ids:?}"),
    };
    let zero: &[u8] = if format == IdFormat::Raw4 { &[0; 4] } else { b"00000000" };
    let name = release.split('=').next().unwrap_or(release).to_owned();
    Release { name, zero_first: ids[0] == zero, program, format, facts }
}

/// Returns the bytes that a server sends before it has been silent for 100 ms.
fn first_bytes(address: &str) -> Vec<u8> {
    use std::io::Read;
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(crate::rig::SOON)).unwrap();
    let mut bytes = [0; 64];
    let mut count = tcp.read(&mut bytes).unwrap();
    let silence = std::time::Duration::from_millis(100);
    tcp.set_read_timeout(Some(silence)).unwrap();
    while let Ok(more @ 1..) = tcp.read(&mut bytes[count..]) {
        count += more;
    }
    bytes[..count].to_vec()
}

impl Release {
    pub(crate) fn start(&self) -> Peer {
        Peer::start(&self.program, go().map(|go| &go.authority))
    }

    /// Returns whether this is a release of the Go package, with its tuning and its faults, and not
    /// the stand-in.
    pub(crate) fn is_go_package(&self) -> bool {
        self.name != STANDIN
    }

    pub(crate) fn has(&self, function: &str) -> bool {
        self.facts.get(function) == Some(&Value::Bool(true))
    }

    pub(crate) fn function(&self, what: &str) -> &str {
        self.facts.get(what).and_then(Value::as_str).unwrap_or_default()
    }
}
