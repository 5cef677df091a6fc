//! The programs, from their command lines.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;
use std::process::Command;

/// Runs a program. Returns its exit code, and what it says.
fn run(program: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), said.concat())
}

fn evaluate(arguments: &[&str]) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_evaluate"), arguments)
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
        (["--laws", "best"], "no law is called \"best\"; expected default, nodepass"),
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
    let whatif = env!("CARGO_BIN_EXE_whatif");
    let (code, said) = run(whatif, &[file, "--rtt", "20", "--law", "fixed:40", "--law", "go"]);
    assert_eq!(code, 0, "{said}");
    // A take each 20 ms, and a replacement after 70.5 ms: four are enough, as the last one is there
    // when the fifth caller comes.
    assert!(said.contains("recommended: fixed:4: 100.00 % at once"), "{said}");
    assert!(said.contains("less idle stock than fixed:40"), "{said}");
}
