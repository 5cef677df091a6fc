//! The table, the lines of JSON, and the last line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pool_testkit::measure::Spread;
use serde_json::{Value, json};

use crate::Outcome;
use crate::mode::Mode;
use crate::plot::{Bar, draw};
use crate::rounds::Samples;

/// The limit of a goal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// A goal for the figure of one contestant, or for its ratio to that of another.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) of: String,
    pub(crate) against: Option<String>,
    pub(crate) limit: Limit,
    /// A figure beyond the goal that is aimed at, too, but not judged.
    pub(crate) stretch: Option<f64>,
    /// The contestant, if it has taken part, that shows how near the goal can be reached without a pool.
    pub(crate) floor: Option<String>,
    /// Whether a miss counts; otherwise the goal is a stretch.
    pub(crate) is_judged: bool,
}

impl Goal {
    /// The ratio of the first contestant to this one.
    pub(crate) fn ratio(against: &str, limit: Limit) -> Self {
        Self { against: Some(against.into()), ..Self::figure(limit) }
    }

    /// The figure of the first contestant itself.
    pub(crate) fn figure(limit: Limit) -> Self {
        Self {
            of: "ours".into(),
            against: None,
            limit,
            stretch: None,
            floor: None,
            is_judged: true,
        }
    }

    pub(crate) fn of(self, of: impl Into<String>) -> Self {
        Self { of: of.into(), ..self }
    }

    pub(crate) fn stretch(self, stretch: f64) -> Self {
        Self { stretch: Some(stretch), ..self }
    }

    pub(crate) fn floor(self, floor: impl Into<String>) -> Self {
        Self { floor: Some(floor.into()), ..self }
    }

    /// Aimed at, but not judged.
    pub(crate) fn aside(self) -> Self {
        Self { is_judged: false, ..self }
    }

    fn words(&self) -> String {
        let (sign, limit) = match self.limit {
            Limit::AtMost(limit) => ("<=", limit),
            Limit::AtLeast(limit) => (">=", limit),
        };
        let stretch = self.stretch.map_or(String::new(), |stretch| format!(" ({stretch})"));
        format!("{sign} {limit}{stretch}")
    }
}

/// A measured row. The first contestant is called "ours".
pub(crate) struct Row {
    pub(crate) number: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<Samples>,
    pub(crate) goals: Vec<Goal>,
}

impl Row {
    fn values(&self, name: &str) -> &[f64] {
        let samples = self.samples.iter().find(|samples| samples.name == name);
        samples.map_or(&[], |samples| &samples.values)
    }

    /// The ratios of two contestants, one a round.
    fn ratio(&self, of: &str, against: &str) -> Spread {
        let pairs = self.values(of).iter().zip(self.values(against));
        Spread::of(pairs.map(|(of, against)| of / against).collect())
    }

    fn judge(&self, goal: &Goal) -> (Spread, bool) {
        let spread = match &goal.against {
            Some(against) => self.ratio(&goal.of, against),
            None => Spread::of(self.values(&goal.of).to_vec()),
        };
        let is_reached = match goal.limit {
            Limit::AtMost(limit) => spread.median <= limit,
            Limit::AtLeast(limit) => spread.median >= limit,
        };
        (spread, is_reached)
    }
}

/// A goal, judged: a line of the table.
struct Verdict {
    number: &'static str,
    what: String,
    ours: String,
    theirs: String,
    figure: String,
    goal: String,
    word: &'static str,
    /// Percentiles over the goal, or the other way round where more is better.
    of_goal: [f64; 3],
}

/// All rows so far.
pub(crate) struct Report {
    mode: Mode,
    folder: PathBuf,
    lines: Vec<Value>,
    verdicts: Vec<Verdict>,
    skipped: Vec<String>,
    /// The machine, the commit and the date, in a sentence.
    origin: String,
}

/// Where the tables and the picture of a full run go, below the workspace.
const PAGE: &str = "pool-proto/driver/docs/speed.md";
const PICTURE: &str = "pool-proto/driver/docs/speed.svg";
const README: &str = "README.md";

impl Report {
    pub(crate) fn new(mode: Mode) -> Outcome<Self> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../compare");
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let (machine, commit, date) = (machine(), commit(), date());
        println!("compare, {}: median (p10-p90); commit {commit}, {date}\n{machine}", mode.name());
        let head =
            json!({ "mode": mode.name(), "machine": machine, "commit": commit, "date": date });
        let origin =
            format!("Measured at commit {commit} on {date}, on {machine} (`{}` run).", mode.name());
        Ok(Self {
            mode,
            folder,
            lines: vec![head],
            verdicts: Vec::new(),
            skipped: Vec::new(),
            origin,
        })
    }

    /// Tells aloud that something was not measured.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("\nskipped: {what}: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// Prints a row, with the ratio of ours to each other.
    pub(crate) fn row(&mut self, row: &Row) {
        println!("\n{} {}, {}", row.number, row.what, row.unit);
        for samples in &row.samples {
            let spread = Spread::of(samples.values.clone());
            print!("  {:<38}{:>30}", samples.name, show(&spread));
            if samples.name != "ours" && !row.values("ours").is_empty() {
                print!("   ours: {} x", show_ratio(&row.ratio("ours", &samples.name)));
            }
            println!();
        }
        let goals: Vec<Value> = row.goals.iter().map(|goal| self.verdict(row, goal)).collect();
        self.lines.push(json!({
            "row": row.number,
            "what": row.what,
            "unit": row.unit,
            "contestants": row.samples.iter()
                .map(|samples| json!({ "name": samples.name, "rounds": samples.values }))
                .collect::<Vec<_>>(),
            "goals": goals,
        }));
    }

    fn verdict(&mut self, row: &Row, goal: &Goal) -> Value {
        let (spread, is_reached) = row.judge(goal);
        let word = match (is_reached, goal.is_judged) {
            (true, _) => "ok",
            (false, true) => "MISS",
            (false, false) => "not yet (stretch)",
        };
        let median = |name: &str| Spread::of(row.values(name).to_vec()).median;
        let figure = match goal.against {
            Some(_) => format!("{} x", show_ratio(&spread)),
            None => show(&spread),
        };
        let theirs: Vec<String> = [&goal.against, &goal.floor]
            .into_iter()
            .flatten()
            .filter(|name| !row.values(name).is_empty())
            .map(|name| format!("{name}: {}", self::figure(median(name))))
            .collect();
        let theirs = if theirs.is_empty() { "-".to_owned() } else { theirs.join("; ") };
        let beside = goal.against.as_ref().map_or(String::new(), |name| format!(" / {name}"));
        println!("  {}{beside}: {figure}, goal {}: {word}", goal.of, goal.words());
        let subject = if goal.of == "ours" { String::new() } else { format!(": {}", goal.of) };
        self.verdicts.push(Verdict {
            number: row.number,
            what: format!("{}{subject}, {}", row.what, row.unit),
            ours: self::figure(median(&goal.of)),
            theirs,
            figure,
            goal: goal.words(),
            word,
            of_goal: [spread.low, spread.median, spread.high].map(|value| match goal.limit {
                Limit::AtMost(limit) => value / limit,
                Limit::AtLeast(limit) => limit / value,
            }),
        });
        json!({
            "of": goal.of,
            "against": goal.against,
            "goal": goal.words(),
            "median": spread.median,
            "p10": spread.low,
            "p90": spread.high,
            "verdict": word,
        })
    }

    /// Prints the table and the last line, and writes the files.
    pub(crate) fn finish(self) -> Outcome {
        let table = self.table(|_| true);
        println!("\n{table}");
        let lines: Vec<String> = self.lines.iter().map(Value::to_string).collect();
        let path = self.folder.join("compare.jsonl");
        fs::File::create(&path)?.write_all((lines.join("\n") + "\n").as_bytes())?;
        let picture = self.folder.join("compare.svg");
        self.draw(&picture)?;
        println!("all rounds: {}; picture: {}", path.display(), picture.display());
        if self.mode == Mode::Full || std::env::args().any(|argument| argument == "--renew") {
            self.publish(&table)?;
        }
        let count = |word| self.verdicts.iter().filter(|verdict| verdict.word == word).count();
        println!("compare: {} ok, {} MISS", count("ok"), count("MISS"));
        Ok(())
    }

    /// The table of some verdicts, as Markdown.
    fn table(&self, is_shown: impl Fn(usize) -> bool) -> String {
        let mut table = String::from(
            "| # | what | ours | beside | ratio | goal | |\n|---|---|---|---|---|---|---|\n",
        );
        for (place, verdict) in self.verdicts.iter().enumerate() {
            let Verdict { number, what, ours, theirs, figure, goal, word, .. } = verdict;
            if is_shown(place) {
                table += &format!(
                    "| {number} | {what} | {ours} | {theirs} | {figure} | {goal} | {word} |\n"
                );
            }
        }
        for skipped in &self.skipped {
            table += &format!("| | skipped: {skipped} | | | | | |\n");
        }
        table
    }

    fn draw(&self, path: &Path) -> Outcome {
        let bars: Vec<Bar> = self
            .verdicts
            .iter()
            // Nothing can be said in parts of a goal of zero.
            .filter(|verdict| verdict.of_goal.iter().all(|part| part.is_finite()))
            .map(|verdict| Bar {
                name: format!("{} {}", verdict.number, verdict.what),
                spread: verdict.of_goal,
                is_reached: verdict.word == "ok",
            })
            .collect();
        if bars.is_empty() { Ok(()) } else { draw(path, "The figures over their goals", &bars) }
    }

    /// Renews the tables and the picture in the docs.
    fn publish(&self, table: &str) -> Outcome {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let first_of_its_number = |place: usize| {
            let number = |place: usize| self.verdicts.get(place).map(|verdict| verdict.number);
            place == 0 || number(place - 1) != number(place)
        };
        renew(&root.join(PAGE), &format!("{}\n\n{table}", self.origin))?;
        let short = self.table(first_of_its_number);
        renew(&root.join(README), &format!("{}\n\n{short}", self.origin))?;
        self.draw(&root.join(PICTURE))
    }
}

/// Replaces the text between the two marks of a file.
fn renew(path: &Path, text: &str) -> Outcome {
    const MARKS: [&str; 2] = ["<!-- compare: begin -->\n", "<!-- compare: end -->"];
    let old = fs::read_to_string(path)?;
    let (before, rest) = old.split_once(MARKS[0]).ok_or("no mark where the table begins")?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or("no mark where the table ends")?;
    Ok(fs::write(path, format!("{before}{}\n{text}\n{}{after}", MARKS[0], MARKS[1]))?)
}

/// A figure with three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn show(spread: &Spread) -> String {
    format!("{} ({}-{})", figure(spread.median), figure(spread.low), figure(spread.high))
}

/// Ratios are judged to the hundredth, so they are shown to the thousandth.
fn show_ratio(spread: &Spread) -> String {
    format!("{:.3} ({:.3}-{:.3})", spread.median, spread.low, spread.high)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let is_dirty = output("git", &["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
    let commit = commit.unwrap_or_else(|| "unknown".into());
    if is_dirty { commit + ", with changes" } else { commit }
}

fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(|| "unknown".into())
}

/// The processor, its cores, the system and the compiler.
fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(": ").map(|(_, model)| model.to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = output("uname", &["-sr"]).unwrap_or_else(|| std::env::consts::OS.into());
    let compiler = output("rustc", &["--version"]).unwrap_or_default();
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.into());
    format!("{model}, {cores} cores, {system}, {compiler}")
}
