//! The settings file: what flags say where the command line does not.
//!
//! Its tables name flags by their long names, and clap's definitions of the flags are the only ones there are. A value
//! of the file becomes the default of its flag: so a flag on the command line wins, and two that exclude each other
//! are no error where one of them comes from the file. What its table `[keys]` says is read by [`super::keys`].

use std::any::TypeId;
use std::error::Error as _;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command};
use toml::de::{DeTable, DeValue};

use super::keys::{self, Remapped};
use super::{given, screen, train};
use crate::theme::ColorDepth;

/// A settings file is not longer.
const MOST_BYTES: u64 = 1 << 20;

/// Flags of `train` that belong to one run: as defaults they would be wrong for the next. Without a screen, a run that
/// begins paused would wait for a key forever.
const OF_ONE_RUN: [&str; 5] = ["name", "run-dir", "resume", "json", "paused"];

/// What of the file counts for a run that goes on. The rest of its settings is kept with it.
const OF_THE_CALL: [&str; 4] = ["threads", "headless", "quiet", "log-level"];

/// A table of the file that names flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The flags of `train`, without those of the screen.
    Train,
    /// The flags of every screen.
    Screen,
}

impl Table {
    /// Every one of them.
    pub(super) const ALL: [Self; 2] = [Self::Train, Self::Screen];

    /// What the file calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Screen => "screen",
        }
    }

    /// The flags that it can name.
    pub(super) fn flags(self) -> Vec<Arg> {
        let of_screen = screen::Args::augment_args(Command::new("screen"));
        let is_of_screen = |arg: &Arg| of_screen.get_arguments().any(|other| other.get_id() == arg.get_id());
        match self {
            Self::Screen => of_screen.get_arguments().cloned().collect(),
            Self::Train => all_flags()
                .get_arguments()
                .filter(|arg| !is_of_screen(arg) && !OF_ONE_RUN.contains(&key(arg)))
                .cloned()
                .collect(),
        }
    }
}

/// All flags of `train`, those of the screen among them.
fn all_flags() -> Command {
    train::Args::augment_args(Command::new("train")).no_binary_name(true)
}

/// What the file calls a flag.
pub(super) fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// A line of the file that says what a flag comes to.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it stands.
    pub(super) table: Table,
    /// The flag.
    pub(super) flag: Arg,
    /// What it says, as the command line would. One that may be given more than once can have several.
    pub(super) values: Vec<String>,
    /// The number of the line.
    pub(super) line: usize,
}

/// What a settings file says.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    /// The file, if there is one.
    pub(super) path: Option<PathBuf>,
    /// Its lines from above, without those of the keys.
    pub(super) entries: Vec<Entry>,
    /// What it says of the keys.
    pub(super) remapped: Remapped,
}

/// Something wrong, and the line of the file.
pub(super) type Problem = (usize, String);

impl Defaults {
    /// Reads the file that was asked for, or else the user's own if there is one. What is wrong is told with file, line
    /// and key.
    pub(super) fn find(asked: Option<&Path>) -> Result<Self, String> {
        let Some(path) = asked.map(Path::to_owned).or_else(own) else { return Ok(Self::default()) };
        let said = |problem: String| format!("{}{problem}", path.display());
        match read(&path) {
            Ok(text) => {
                let read = parse(&text).and_then(Self::with_theme);
                let read = read.map_err(|(line, problem)| said(format!(", line {line}: {problem}")))?;
                Ok(Self { path: Some(path), ..read })
            }
            Err(error) if asked.is_none() && error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(said(format!(": {error}: give another file with --config, or --no-config"))),
        }
    }

    /// The same, if its theme can be had.
    fn with_theme(self) -> Result<Self, Problem> {
        for Entry { table, flag, values, line } in &self.entries {
            let themes = values.iter().filter(|_| key(flag) == "theme");
            for name in themes {
                screen::find_theme(name, ColorDepth::True)
                    .map_err(|problem| (*line, format!("{}.theme = {name}: {problem}", table.name())))?;
            }
        }
        Ok(self)
    }

    /// The command with these defaults of its flags, for a command line that comes to `matches`.
    pub(super) fn apply(&self, command: Command, tables: &[Table], matches: &ArgMatches) -> Command {
        let (name, matches) =
            matches.subcommand().map_or((None, matches), |(name, inner)| (Some(name), inner));
        let entries = self.in_force(tables, matches);
        let set = |command: Command| {
            entries.iter().fold(command, |command, entry| {
                command.mut_arg(entry.flag.get_id().as_str(), |arg| arg.default_values(&entry.values))
            })
        };
        match name {
            Some(name) => command.mut_subcommand(name, set),
            None => set(command),
        }
    }

    /// What the command line leaves in force.
    fn in_force(&self, tables: &[Table], matches: &ArgMatches) -> Vec<&Entry> {
        let flags = all_flags();
        let given: Vec<&str> = given(matches).collect();
        let goes_on = given.contains(&"resume");
        let of_the_run =
            |entry: &Entry| entry.table == Table::Train && !OF_THE_CALL.contains(&key(&entry.flag));
        let is_left = |entry: &&Entry| {
            let id = entry.flag.get_id().as_str();
            tables.contains(&entry.table)
                && !(goes_on && of_the_run(entry))
                && !given.iter().any(|other| *other == id || exclude_each_other(&flags, id, other))
        };
        self.entries.iter().filter(is_left).collect()
    }
}

/// The user's own settings file, if there is a home.
pub(super) fn own() -> Option<PathBuf> {
    Some(screen::config_folder()?.join("config.toml"))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(std::io::Error::other("it is too long for settings"));
    }
    Ok(text)
}

/// Whether clap's definitions have two flags exclude each other.
fn exclude_each_other(flags: &Command, a: &str, b: &str) -> bool {
    let excludes = |a: &str, b: &str| {
        let flag = flags.get_arguments().find(|arg| arg.get_id().as_str() == a);
        flag.is_some_and(|flag| {
            flags.get_arg_conflicts_with(flag).iter().any(|other| other.get_id().as_str() == b)
        })
    };
    excludes(a, b) || excludes(b, a)
}

/// Reads the text of a settings file.
fn parse(text: &str) -> Result<Defaults, Problem> {
    let line_at = |place: usize| text.get(..place).map_or(1, |before| before.matches('\n').count() + 1);
    let file = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        (line, error.message().replace('\n', " "))
    })?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut remapped = Remapped::default();
    for (name, value) in file.get_ref() {
        let (line, name) = (line_at(name.span().start), &**name.get_ref());
        let table = Table::ALL.into_iter().find(|table| table.name() == name);
        if table.is_none() && name != keys::TABLE {
            let problem = format!("{name}: it is neither [train], [screen] nor [keys], nor in one of them");
            return Err((line, problem));
        }
        let DeValue::Table(lines) = value.get_ref() else {
            return Err((line, format!("{name}: it is a table: write [{name}], and what it holds below")));
        };
        let Some(table) = table else {
            remapped = Remapped::read(lines, line_at)?;
            continue;
        };
        let flags = table.flags();
        for (name, value) in lines {
            let (line, name) = (line_at(name.span().start), &**name.get_ref());
            let problem = |problem: String| (line, format!("{}.{name}{problem}", table.name()));
            let flag = flags.iter().find(|flag| key(flag) == name);
            let flag = flag.ok_or_else(|| problem(format!(": {}", unknown(table, name))))?;
            let values = values(value.get_ref(), flag).map_err(|wrong| problem(format!(": {wrong}")))?;
            check(flag, &values).map_err(&problem)?;
            // A switch that is off says nothing.
            if !values.is_empty() {
                entries.push(Entry { table, flag: flag.clone(), values, line });
            }
        }
    }
    entries.sort_by_key(|entry| entry.line);
    let flags = all_flags();
    for (index, entry) in entries.iter().enumerate() {
        let id = entry.flag.get_id().as_str();
        let excluded = |other: &&Entry| exclude_each_other(&flags, id, other.flag.get_id().as_str());
        if let Some(other) = entries[..index].iter().find(excluded) {
            let (name, one, two) = (entry.table.name(), key(&entry.flag), key(&other.flag));
            return Err((entry.line, format!("{name}.{one}: it can't be there together with {two}")));
        }
    }
    Ok(Defaults { path: None, entries, remapped })
}

/// Why a table has no such key.
fn unknown(table: Table, name: &str) -> String {
    let holds = |other: &Table| *other != table && other.flags().iter().any(|flag| key(flag) == name);
    if let Some(other) = Table::ALL.iter().find(|other| holds(other)) {
        return format!("it belongs into [{}]", other.name());
    }
    if table == Table::Train && OF_ONE_RUN.contains(&name) {
        return format!("it is for one run: give --{name} on the command line");
    }
    "there is no such key; `llamascape config --dump-default` lists them".to_owned()
}

/// Whether a flag takes any text.
fn is_text(flag: &Arg) -> bool {
    let of = flag.get_value_parser().type_id();
    of == TypeId::of::<String>() || of == TypeId::of::<PathBuf>()
}

/// A value of the file as the command line would say it; nothing for a switch that is off.
fn values(value: &DeValue, flag: &Arg) -> Result<Vec<String>, String> {
    match value {
        DeValue::Boolean(is_on) if !flag.get_action().takes_values() => {
            Ok(if *is_on { vec!["true".to_owned()] } else { Vec::new() })
        }
        _ if !flag.get_action().takes_values() => Err("it is true or false".to_owned()),
        DeValue::Array(values) if matches!(flag.get_action(), ArgAction::Append) => {
            values.iter().map(|value| single(value.get_ref(), flag)).collect()
        }
        value => Ok(vec![single(value, flag)?]),
    }
}

fn single(value: &DeValue, flag: &Arg) -> Result<String, String> {
    let is_text = is_text(flag);
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if !is_text && number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) if !is_text => Ok(number.as_str().to_owned()),
        _ if is_text => Err("it is a text in quotes".to_owned()),
        _ => Err("it is a decimal number or a text in quotes".to_owned()),
    }
}

/// Fails where the command line would not take the values.
fn check(flag: &Arg, values: &[String]) -> Result<(), String> {
    if !flag.get_action().takes_values() {
        return Ok(());
    }
    for value in values {
        let argument = format!("--{}={value}", key(flag));
        if let Err(error) = all_flags().try_get_matches_from([argument]) {
            let names = possible(flag);
            let reason = match error.source() {
                Some(source) => source.to_string(),
                None if names.is_empty() => "it can't be read".to_owned(),
                None => format!("it is one of {}", names.join(", ")),
            };
            return Err(format!(" = {value}: {reason}"));
        }
    }
    Ok(())
}

/// The words that a flag takes, if it takes no others.
fn possible(flag: &Arg) -> Vec<String> {
    if !flag.get_action().takes_values() {
        return Vec::new();
    }
    flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

/// What a flag comes to if nothing is said, in the words of its definition.
pub(super) fn said_default(flag: &Arg) -> Option<String> {
    if !flag.get_action().takes_values() {
        return Some("false".to_owned());
    }
    if let Some(value) = flag.get_default_values().first() {
        return value.to_str().map(str::to_owned);
    }
    let help = flag.get_help()?.to_string();
    Some(help.rsplit_once("[default: ")?.1.strip_suffix(']')?.to_owned())
}

/// A value as the file writes it.
pub(super) fn written(flag: &Arg, values: &[String]) -> String {
    let one = |value: &String| {
        let is_bare = !flag.get_action().takes_values()
            || !is_text(flag) && !value.starts_with('.') && value.parse::<f64>().is_ok_and(f64::is_finite);
        if is_bare { value.clone() } else { toml::Value::String(value.clone()).to_string() }
    };
    match values {
        [value] => one(value),
        values => format!("[{}]", values.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// A settings file with every key, each in a comment. Where the default is one value, the line says it and can be
/// uncommented as it is; the others name what they take.
pub(super) fn dump() -> String {
    let mut dump = "# Defaults of llamascape's flags. What stands on the command line wins; --no-config reads none of \
                    this.\n# Take the # away from a line to change it. Words in capitals stand for a value of yours.\n"
        .to_owned();
    for table in Table::ALL {
        dump.push_str(&format!("\n[{}]\n", table.name()));
        for flag in table.flags() {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let names = possible(&flag);
            let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
            dump.push_str(&format!("# {help}{names}\n"));
            let plain = said_default(&flag).map(|value| vec![value]).filter(|one| check(&flag, one).is_ok());
            if let Some(values) = plain {
                dump.push_str(&format!("#{} = {}\n", key(&flag), written(&flag, &values)));
            } else {
                let value = flag.get_value_names().and_then(|names| names.first());
                let value = value.map_or("VALUE", |name| name.as_str());
                dump.push_str(&format!("# {} = {value}\n", key(&flag)));
            }
        }
    }
    dump + &keys::dump()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Keys;

    fn problem(text: &str) -> Problem {
        parse(text).unwrap_err()
    }

    #[test]
    fn values_are_what_the_command_line_would_say() {
        let text = "[train]\nlr = 3e-3\npreset = \"micro\"\nbatch-size = 1_6\nfreeze = [\"a.*\", \"b\"]\n\
                    quiet = true\nheadless = false\n[screen]\ntheme = \"nord\"\nno-mouse = true\n";
        let entries = parse(text).unwrap().entries;
        let said: Vec<_> = entries.iter().map(|e| (e.line, key(&e.flag), e.values.join(" "))).collect();
        let expected = [
            (2, "lr", "3e-3"),
            (3, "preset", "micro"),
            (4, "batch-size", "16"),
            (5, "freeze", "a.* b"),
            (6, "quiet", "true"),
            (9, "theme", "nord"),
            (10, "no-mouse", "true"),
        ];
        assert_eq!(said, expected.map(|(line, key, value)| (line, key, value.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (text, line, words) in [
            ("[train]\nlr = \"fast\"", 2, "train.lr = fast: not a positive number"),
            ("[train]\n\nlrr = 1", 3, "train.lrr: there is no such key"),
            ("[train]\npreset = \"giant\"", 2, "train.preset = giant: it is one of nano, micro, mini"),
            ("[train]\ndata = 3", 2, "train.data: it is a text"),
            ("[train]\nlr = true", 2, "train.lr: it is a decimal number"),
            ("[train]\nquiet = 1", 2, "train.quiet: it is true or false"),
            ("[train]\nseed = [1]", 2, "train.seed: it is a decimal number"),
            ("[train]\ntheme = \"nord\"", 2, "train.theme: it belongs into [screen]"),
            ("[train]\nname = \"mine\"", 2, "train.name: it is for one run"),
            ("[train]\ndata = \"a\"\ntext = \"b\"", 3, "train.text: it can't be there together with data"),
            (
                "[keys]\nstep = \"s\"\n\nstpe = \"x\"",
                4,
                "keys.stpe: there is no such command; the nearest is step",
            ),
            ("lr = 1", 1, "lr: it is neither [train], [screen] nor [keys]"),
            ("\ntrain = 1", 2, "train: it is a table"),
            ("keys = 1", 1, "keys: it is a table"),
            ("[train]\nlr = ", 2, ""),
        ] {
            let (at, said) = problem(text);
            assert!(at == line && said.starts_with(words), "{text}: line {at}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }

    #[test]
    fn the_dump_is_read_again_as_what_it_says() {
        let uncommented: Vec<String> = dump()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
                _ => line.to_owned(),
            })
            .collect();
        let Defaults { entries, remapped, .. } = parse(&uncommented.join("\n")).unwrap();
        assert!(entries.len() > 10, "{entries:?}");
        assert!(
            remapped.keys == Keys::default() && remapped.in_force().iter().all(|(_, line, _)| line.is_some())
        );
        for entry in &entries {
            assert_eq!(said_default(&entry.flag).as_ref(), entry.values.first());
        }
        for table in Table::ALL {
            for flag in table.flags() {
                assert!(dump().contains(&format!("{} = ", key(&flag))), "{}", key(&flag));
            }
        }
    }
}
