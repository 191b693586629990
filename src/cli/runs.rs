//! `runs`: the runs of this user.

mod delete;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use serde::Serialize;

use crate::model::memory::size;
use crate::run::dir::{Listing, RunState, Summary, Unclear, list, runs_folder};
use crate::ui::text;

/// List the runs of this user, newest first, or delete some.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Only runs in one of these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<State>,
    /// Only runs of such a name: a pattern as of files, such as night-*, or a part of the name
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    name: Option<Pattern>,
    /// What decides the order, from the smallest up: with age the youngest comes first
    #[arg(long, value_name = "KEY", default_value = "age")]
    sort: Key,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Delete these runs and all their files: names, beginnings of names that only one has, or folders
    #[arg(
        long,
        value_name = "RUN",
        num_args = 1..,
        value_parser = NonEmptyStringValueParser::new(),
        conflicts_with_all = ["json", "state", "name", "sort", "reverse"]
    )]
    delete: Vec<String>,
    /// Delete without asking
    #[arg(long, requires = "delete")]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Running,
    Paused,
    Stopped,
    Crashed,
}

impl State {
    fn state(self) -> RunState {
        match self {
            Self::Running => RunState::Running,
            Self::Paused => RunState::Paused,
            Self::Stopped => RunState::Stopped,
            Self::Crashed => RunState::Crashed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Key {
    Name,
    State,
    Step,
    Loss,
    Age,
    Size,
}

/// Which names are meant.
#[derive(Debug, Clone)]
enum Pattern {
    Glob(GlobMatcher),
    Part(String),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Ok(Self::Part(text.to_owned()));
        }
        let glob = Glob::new(text).map_err(|error| error.kind().to_string())?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(name),
            Self::Part(part) => name.contains(part),
        }
    }
}

#[derive(Serialize)]
struct Output {
    runs: Vec<Summary>,
}

impl Args {
    /// Prints the list, or deletes.
    pub(super) fn run(self) -> anyhow::Result<()> {
        if !self.delete.is_empty() {
            return delete::delete(&self.delete, self.yes);
        }
        let mut listing = list()?;
        listing.measure();
        let any = !listing.runs.is_empty() || !listing.unclear.is_empty();
        self.choose(&mut listing);
        let left_out = if self.json { "; the run is left out" } else { "" };
        for run in &listing.unclear {
            super::print_error(&anyhow::anyhow!("{}{left_out}", run.reason));
        }
        if self.json {
            super::print(&format!("{}\n", serde_json::to_string(&Output { runs: listing.runs })?))
        } else if !any {
            let folder = runs_folder()?;
            super::print(&format!("no runs in {}; `llamascape train` starts one\n", folder.display()))
        } else {
            super::print(&table(&listing, Timestamp::now()))
        }
    }

    /// Leaves the runs that are asked for, in the order that is asked for.
    fn choose(&self, listing: &mut Listing) {
        let named = |name: &str| self.name.as_ref().is_none_or(|pattern| pattern.matches(name));
        let wanted = |run: &Summary| {
            self.state.is_empty() || self.state.iter().any(|state| state.state() == run.state)
        };
        listing.runs.retain(|run| named(&run.name) && wanted(run));
        listing.unclear.retain(|run| named(&run.name) && self.state.is_empty());
        sort(&mut listing.runs, self.sort, self.reverse);
    }
}

fn sort(runs: &mut [Summary], key: Key, reverse: bool) {
    runs.sort_by(|a, b| match key {
        Key::Name => a.name.cmp(&b.name),
        Key::State => a.state.cmp(&b.state),
        Key::Step => a.step.cmp(&b.step),
        Key::Loss => a.loss.unwrap_or(f64::INFINITY).total_cmp(&b.loss.unwrap_or(f64::INFINITY)),
        Key::Age => started(b).cmp(&started(a)),
        Key::Size => a.bytes.cmp(&b.bytes),
    });
    if reverse {
        runs.reverse();
    }
    // What is not known is the last, either way.
    runs.sort_by_key(|run| match key {
        Key::Loss => run.loss.is_none(),
        Key::Age => started(run).is_none(),
        Key::Name | Key::State | Key::Step | Key::Size => false,
    });
}

/// When it began, if its files tell.
pub(super) fn started(run: &Summary) -> Option<Timestamp> {
    run.started.parse().ok()
}

const HEADINGS: [&str; 7] = ["NAME", "STATE", "STEP", "LOSS", "MODEL", "AGE", "SIZE"];
/// Numbers stand right in their columns.
const TO_THE_RIGHT: [bool; 7] = [false, false, true, true, false, true, true];

/// A line a run under a line of headings.
fn table(listing: &Listing, now: Timestamp) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(listing.runs.iter().map(|run| row(run, now)));
    rows.extend(listing.unclear.iter().map(unclear_row));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        rows.iter().map(|row| text::width(&row[column])).max().unwrap_or_default()
    });
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).zip(TO_THE_RIGHT).map(|((cell, width), to_the_right)| {
            let space = " ".repeat(width - text::width(cell));
            if to_the_right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        table.push_str(&cells.collect::<Vec<_>>().join("  "));
        table.push('\n');
    }
    table
}

fn row(run: &Summary, now: Timestamp) -> [String; 7] {
    [
        text::escape(&run.name),
        run.state.name().to_owned(),
        run.step.to_string(),
        run.loss.map_or_else(unknown, |loss| format!("{loss:.4}")),
        text::escape(&run.model),
        started(run).map_or_else(unknown, |started| text::span(age(started, now))),
        size(run.bytes),
    ]
}

fn unclear_row(run: &Unclear) -> [String; 7] {
    let name = text::escape(&run.name);
    [name, "unclear".to_owned(), unknown(), unknown(), unknown(), unknown(), size(run.bytes)]
}

fn unknown() -> String {
    "-".to_owned()
}

/// Seconds since then.
pub(super) fn age(started: Timestamp, now: Timestamp) -> u64 {
    // Clocks of two machines may differ a little.
    now.duration_since(started).as_secs().max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::dir::RunError;

    fn run(name: &str, step: u64, loss: Option<f64>, started: &str) -> Summary {
        Summary {
            name: name.to_owned(),
            path: PathBuf::from("/runs").join(name),
            state: RunState::Stopped,
            step,
            loss,
            model: "nano 1.0M".to_owned(),
            started: started.to_owned(),
            bytes: 1000 * step,
        }
    }

    fn sorted(key: Key, reverse: bool) -> Vec<String> {
        let mut runs = vec![
            run("c", 3, Some(1.5), "2026-01-03T00:00:00Z"),
            run("a", 1, None, "2026-01-01T00:00:00Z"),
            run("b", 20, Some(0.5), "never"),
        ];
        sort(&mut runs, key, reverse);
        runs.into_iter().map(|run| run.name).collect()
    }

    #[test]
    fn the_smallest_comes_first_or_last_and_what_is_not_known_always_last() {
        assert_eq!(sorted(Key::Name, false), ["a", "b", "c"]);
        assert_eq!(sorted(Key::Step, true), ["b", "c", "a"]);
        assert_eq!(sorted(Key::Size, false), ["a", "c", "b"]);
        assert_eq!(sorted(Key::Loss, false), ["b", "c", "a"]);
        assert_eq!(sorted(Key::Loss, true), ["c", "b", "a"]);
        assert_eq!(sorted(Key::Age, false), ["c", "a", "b"]);
        assert_eq!(sorted(Key::Age, true), ["a", "c", "b"]);
    }

    #[test]
    fn columns_stand_under_their_headings_whatever_the_names() {
        let listing = Listing {
            runs: vec![
                run("漢字", 1200, Some(0.25), "2026-01-01T00:00:00Z"),
                run("\u{1b}[2J", 7, None, "2026-01-02T11:57:00Z"),
            ],
            unclear: vec![Unclear {
                name: "torn".to_owned(),
                path: PathBuf::from("/runs/torn"),
                reason: RunError::NoHome,
                bytes: 12,
            }],
        };
        let now = "2026-01-02T12:00:00Z".parse().unwrap();
        let lines = [
            "NAME       STATE    STEP    LOSS  MODEL        AGE    SIZE",
            "漢字       stopped  1200  0.2500  nano 1.0M    1 d  1.2 MB",
            "<0x1B>[2J  stopped     7       -  nano 1.0M  3 min  7.0 kB",
            "torn       unclear     -       -  -              -  0.0 kB",
        ];
        assert_eq!(table(&listing, now).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let age = |started: &str| text::span(age(started.parse().unwrap(), now));
        assert_eq!(age("2026-01-30T23:00:01Z"), "59 min");
        assert_eq!(age("2026-01-31T00:00:09Z"), "0 s", "a clock that is ahead");
    }

    #[test]
    fn a_pattern_is_one_of_files_or_a_part_of_the_name() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("night", "overnight-2") && !matches("night", "day"));
        assert!(matches("*night", "overnight") && !matches("*night", "overnight-2"));
        assert!(matches("{a,b}-?", "b-1") && !matches("[ab]", "ab"));
        assert!(Pattern::parse("[").is_err());
    }
}
