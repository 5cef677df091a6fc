//! The programs, from their command lines.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use pool_proto::tape::Recorded;
use pool_proto::{ClientConfig, Instant};

/// Runs a program. Returns its exit code and output.
fn run(program: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), said.concat())
}

fn evaluate(arguments: &[&str]) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_evaluate"), arguments)
}

fn whatif(arguments: &[&str]) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_whatif"), arguments)
}

/// A tape of a real pool.
fn tape(name: &str) -> String {
    let tapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tape/tests/tapes");
    tapes.join(name).to_str().unwrap().to_owned()
}

/// A folder of this test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn evaluate_prints_a_table_and_writes_csv_and_pictures() {
    let folder = folder("evaluate");
    let (csv, svg) = (folder.join("rows.csv"), folder.join("svg"));
    let (csv, svg) = (csv.to_str().unwrap(), svg.to_str().unwrap());
    let laws = "default,go,fixed:8,default+max_dials=2,fitted,clairvoyant";
    let (code, said) = evaluate(&[
        "--patterns",
        "p10,out5refuse",
        "--rtt",
        "20",
        "--takers",
        "server",
        "--laws",
        laws,
        "--seeds",
        "2",
        "--csv",
        csv,
        "--svg",
        svg,
    ]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.lines().count(), 1 + 2 * 6, "{said}");
    let rows = std::fs::read_to_string(csv).unwrap();
    assert_eq!(rows.lines().count(), 1 + 2 * 6);
    assert!(rows.starts_with("pattern,rtt_ms,taker,law,requests,at_once_%"));
    let picture =
        std::fs::read_to_string(folder.join("svg/p10-20-ms-server-takes-go.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("arrivals a second"));
}

#[test]
fn goals_that_do_not_hold_fail() {
    let (code, said) =
        evaluate(&["--goals", "--laws", "fixed:1", "--rtt", "20", "--takers", "client"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("FAILS"), "{said}");
    assert!(said.contains("p10, 20 ms, client takes: "), "{said}");
    assert!(said.contains("holds   11 of  11 cells  the mean idle stock"), "{said}");
}

#[test]
fn errors_say_what_was_expected() {
    for (arguments, expected) in [
        (["--patterns", "p11"], "no pattern is called \"p11\"; expected p1, p10"),
        (["--laws", "best"], "no law is called \"best\"; expected default, recorded"),
        (["--set", "keeep=1s"], "no setting is called \"keeep\"; the settings are capacity"),
        (["--laws", "fitted"], "a fitted stock is fitted to another law"),
        (["--arrivals", "nowhere.csv"], "nowhere.csv: "),
        (["--warm-up", "1"], "expected a number from 0 up to, but not including, 1"),
    ] {
        let (code, said) = evaluate(&arguments);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn whatif_compares_and_recommends() {
    let file = folder("whatif").join("arrivals.csv");
    let arrivals: String = (0..2000).map(|n| format!("{}.{:02}\n", n / 50, n % 50 * 2)).collect();
    std::fs::write(&file, format!("# each 20 ms\nseconds\n{arrivals}")).unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = whatif(&[file, "--rtt", "20", "--law", "fixed:40", "--law", "go"]);
    assert_eq!(code, 0, "{said}");
    // A take each 20 ms, and a replacement after 70.5 ms: four are enough, as the last one is there
    // when the fifth caller comes.
    assert!(said.contains("recommended: fixed:4: 100.00 % at once"), "{said}");
    assert!(said.contains("less idle stock than fixed:40"), "{said}");
}

/// The laws of the rows of a table.
fn laws(said: &str, pattern: &str) -> Vec<String> {
    let rows = said.lines().filter(|line| line.trim_start().starts_with(pattern));
    rows.map(|row| row.split_whitespace().nth(3).unwrap().to_owned()).collect()
}

#[test]
fn whatif_reads_the_tape_of_a_client_with_its_settings_and_its_round_trip() {
    let client = tape("client.tape");
    let (code, said) = whatif(&[&client, "--law", "go", "--law", "recorded+keep=5s"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" callers of a client: "), "{said}");
    assert!(said.contains(", at which a dial takes "), "{said}");
    let laws_of = |said: &str| laws(said, "client.tape");
    assert_eq!(laws_of(&said)[..3], ["recorded", "go", "recorded+keep=5s"], "{said}");

    let (code, said) =
        whatif(&[&client, "--rtt", "40", "--set", "capacity=16", "--set", "keep=5s"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("round trip: 40.00 ms, by --rtt"), "{said}");
    assert_eq!(laws_of(&said)[..2], ["recorded", "recorded+capacity=16+keep=5s"], "{said}");
    let row = said.lines().find(|line| line.contains("recorded+capacity=16")).unwrap();
    assert!(row.contains(" 16.0 "), "{said}");
}

#[test]
fn whatif_reads_the_tape_of_a_server_and_that_of_its_client() {
    let server = tape("server.tape");
    let (code, said) = whatif(&[&server]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" callers of a server: "), "{said}");
    assert!(said.contains("round trip: 20.00 ms, assumed: name yours by --rtt"), "{said}");
    assert_eq!(laws(&said, "server.tape")[..1], ["default"], "{said}");

    let (code, said) = whatif(&[&server, "--client", &tape("client.tape")]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(" callers of a server: ") && said.contains(", at which a dial takes "),
        "{said}"
    );
    assert_eq!(laws(&said, "server.tape")[..1], ["recorded"], "{said}");

    let laws_of = ["--laws", "recorded,go", "--rtt", "20", "--takers", "server"];
    let (code, said) = evaluate(&[&["--arrivals", &tape("client.tape")][..], &laws_of].concat());
    assert_eq!(
        (code, laws(&said, "client.tape")),
        (0, vec!["recorded".into(), "go".into()]),
        "{said}"
    );
}

#[test]
fn files_that_tell_no_arrivals_are_refused() {
    let folder = folder("refused");
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        std::fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let mut later = std::fs::read(tape("client.tape")).unwrap();
    later[8] = 99;
    let config = ClientConfig::builder().build().unwrap();
    let (mut quiet, header) = Recorded::<(), _>::client(&config, Instant::EPOCH, 0);
    while quiet.poll_action().is_some() {}
    quiet.end_tape();
    let quiet = [header.seal(), quiet.take_block(&mut Vec::new()).unwrap().seal()].concat();
    for (file, expected) in [
        (write("later.tape", &later), "the tape has format 99, but this version reads format 1"),
        (write("quiet.tape", &quiet), "no caller of this client asked for any connection, and 0 "),
        (write("bad.csv", b"seconds\n1.5\nsoon\n"), "bad.csv, line 3: the time of the arrival is"),
        (
            write("noise", b"\xff\xfe\x00"),
            "expected the tape of a pool, which begins with \"pooltape\"",
        ),
    ] {
        let (code, said) = whatif(&[&file]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let server = tape("server.tape");
    let (code, said) = whatif(&[&server, "--client", &server]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("server.tape: expected the tape of a client; this one is of a server"));
    let (code, said) = whatif(&[&server, "--law", "recorded"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("law recorded has the settings on the tape of a client"), "{said}");
}
