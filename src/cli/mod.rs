//! What a person types: one file a command.

mod attach;
mod bench;
mod choices;
mod compare;
mod completions;
mod config;
mod defaults;
mod directions;
mod doctor;
mod engine;
mod eval;
mod evaluation;
mod export;
mod follow;
mod headless;
mod interrupt;
mod keys;
mod memory;
mod model;
mod poster;
mod probe;
mod progress;
mod ranges;
mod replay;
mod resume;
mod runs;
mod screen;
mod slice;
mod start;
mod tour;
mod train;
mod usage;
mod warnings;
mod wormhole;

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use log::LevelFilter;
use rustix::io::Errno;

use crate::escape::{printable, without_backtrace};
use crate::ranks::{Launch, Ranks, RanksError};
use crate::ui::text;
use defaults::{Defaults, Table};
pub use usage::Usage;

/// See how a language model learns.
///
/// Without a command: `train`, which trains a small Llama on facts about countries and shows it on this
/// terminal. With no flag either, and with runs that are being trained, those are listed first.
#[derive(Debug, Parser)]
#[command(name = "llamascape", version, long_version = env!("LLAMASCAPE_VERSION"))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Read this settings file in place of ~/.config/llamascape/config.toml
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "no_config")]
    config: Option<PathBuf>,
    /// Read no settings file
    #[arg(long, global = true)]
    no_config: bool,
    /// What the settings file says; read only for the commands that it counts for.
    #[arg(skip)]
    defaults: Defaults,
    /// The name of the command.
    #[arg(skip)]
    name: String,
    /// Neither a command nor a flag was given.
    #[arg(skip)]
    is_bare: bool,
    #[command(flatten)]
    train: train::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model and watch it
    Train(Box<train::Args>),
    /// Come back to a run that is being trained
    Attach(attach::Args),
    /// Look through what a run has written, without its model
    Replay(replay::Args),
    /// List the runs of this user, or delete some
    Runs(runs::Args),
    /// What a run has kept: its metrics as a table or arrays, its slices as arrays or pictures, its screen as a film
    Export(export::Args),
    /// Loss and next-token probabilities of a text
    Eval(eval::Args),
    /// Two models side by side
    Compare(Box<compare::Args>),
    /// The loss on a plane through a model's weights, to a file
    Slice(Box<slice::Args>),
    /// Sweep one or two single parameters of a model
    Probe(Box<probe::Args>),
    /// The guided story of how a model learns, on a live model
    Tour(tour::Args),
    /// A picture to print of the loss around each of several models
    Poster(Box<poster::Args>),
    /// Train a model off a plateau, and see the plane through its weights open under them, to a file
    Wormhole(Box<wormhole::Args>),
    /// What this machine does: training, slices, screen
    Bench(bench::Args),
    /// What this terminal and this machine can do, and what to set where that is little
    Doctor(doctor::Args),
    /// The settings file, and what it says
    Config(config::Args),
    /// What a shell needs to complete commands and flags
    Completions(completions::Args),
    /// The manual page
    Man(completions::ManArgs),
    /// The process behind a screen
    #[command(hide = true)]
    Engine(engine::Args),
}

/// Reads the command line and the settings file; an error is clap's own, with its exit code.
pub fn parse() -> Result<Cli, clap::Error> {
    parse_from(&std::env::args_os().collect::<Vec<_>>())
}

/// The command line is read twice: it says which settings file counts and what of it, and then the file gives the
/// defaults.
fn parse_from(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    if let Some(error) = stray(&mut command, &matches) {
        return Err(error);
    }
    let mut cli = Cli::from_matches(&matches)?;
    let tables = cli.tables();
    // A file that was asked for is to be one, even where nothing of it counts.
    if cli.no_config || tables.is_empty() && cli.config.is_none() {
        return Ok(cli);
    }
    let defaults = Defaults::find(cli.config.as_deref()).map_err(|problem| {
        clap::Error::raw(ErrorKind::ValueValidation, format!("{}\n", text::escape(&problem)))
    })?;
    if !matches!(cli.command, Some(Command::Config(_))) {
        let command = defaults.apply(Cli::command(), tables, &matches);
        cli = Cli::from_matches(&command.try_get_matches_from(arguments)?)?;
    }
    cli.defaults = defaults;
    Ok(cli)
}

/// A flag of `train` before the name of a command, which it would not reach.
fn stray(command: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let name = matches.subcommand_name()?;
    let is_stray =
        |arg: &&clap::Arg| !arg.is_global_set() && given(matches).any(|id| id == arg.get_id().as_str());
    let flag = command.get_arguments().find(is_stray)?.get_long().unwrap_or_default();
    let problem = format!("--{flag} stands before `{name}`: flags come after the command");
    Some(command.error(ErrorKind::ArgumentConflict, problem))
}

/// The flags that stand on the command line.
fn given(matches: &ArgMatches) -> impl Iterator<Item = &str> {
    matches
        .ids()
        .map(clap::Id::as_str)
        .filter(move |id| matches.value_source(id) == Some(ValueSource::CommandLine))
}

impl Cli {
    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches).map_err(|error| error.format(&mut Self::command()))?;
        let name = matches.subcommand_name();
        let is_bare = name.is_none() && given(matches).next().is_none();
        let own = matches.subcommand().map_or(matches, |(_, own)| own);
        if given(own).any(|flag| flag == "theme")
            && let Some(screen) = cli.screen()
        {
            screen.theme_is_asked_for = true;
        }
        Ok(Self { name: name.unwrap_or("train").to_owned(), is_bare, ..cli })
    }

    /// The flags of the screen on which a run is watched.
    fn screen(&mut self) -> Option<&mut screen::Args> {
        match &mut self.command {
            None => Some(&mut self.train.screen),
            Some(Command::Train(args)) => Some(&mut args.screen),
            Some(Command::Attach(args)) => Some(&mut args.screen),
            Some(_) => None,
        }
    }

    /// The name of the command that was asked for.
    pub fn command_name(&self) -> &str {
        &self.name
    }

    /// The tables of the settings file that count for the command.
    fn tables(&self) -> &'static [Table] {
        match &self.command {
            None | Some(Command::Train(_)) => &Table::ALL,
            Some(Command::Attach(_) | Command::Replay(_) | Command::Compare(_) | Command::Tour(_)) => {
                &[Table::Screen]
            }
            Some(Command::Config(args)) if args.reads() => &Table::ALL,
            Some(_) => &[],
        }
    }

    /// The threads to compute with, if this process is alone.
    pub fn threads(&self) -> usize {
        self.asked_threads().unwrap_or_else(|| Ranks::alone().cores())
    }

    fn asked_threads(&self) -> Option<usize> {
        let asked = match &self.command {
            None => self.train.threads(),
            Some(Command::Train(args)) => args.threads(),
            Some(Command::Eval(args)) => args.threads(),
            Some(Command::Compare(args)) => args.threads(),
            Some(Command::Slice(args)) => args.threads(),
            Some(Command::Probe(args)) => args.threads(),
            Some(Command::Poster(args)) => args.threads(),
            Some(Command::Wormhole(args)) => args.threads(),
            Some(Command::Tour(args)) => args.threads(),
            Some(Command::Bench(args)) => args.threads(),
            Some(Command::Engine(args)) => args.threads(),
            Some(
                Command::Attach(_)
                | Command::Replay(_)
                | Command::Runs(_)
                | Command::Export(_)
                | Command::Doctor(_)
                | Command::Config(_)
                | Command::Completions(_)
                | Command::Man(_),
            ) => None,
        };
        asked.map(NonZero::get)
    }

    /// Meets the processes that a launcher has started beside this one, where the command knows what to do with them.
    pub fn join(&self, launch: &Launch) -> anyhow::Result<Ranks> {
        let takes_several = match &self.command {
            Some(Command::Slice(_)) => true,
            Some(Command::Train(args)) => args.headless,
            None => self.train.headless,
            Some(_) => false,
        };
        if launch.size() > 1 && !takes_several && Ranks::CAN_BE_SEVERAL {
            let with = if self.name == "train" { " without --headless" } else { "" };
            return Err(Usage::error(format!(
                "{}{with} runs in one process, and {} were started; `slice` and `train --headless` take several",
                self.name,
                launch.size()
            )));
        }
        Ranks::join(launch).map_err(|error| match error {
            RanksError::NotBuilt(_) => Usage::error(error),
            error => error.into(),
        })
    }

    /// Does what was asked for, or what the first of several processes asks for.
    pub fn run(self, ranks: &Ranks) -> anyhow::Result<()> {
        let threads = self.asked_threads().unwrap_or_else(|| ranks.cores());
        if !ranks.are_several() {
            return self.dispatch(threads, ranks);
        }
        // The variables that `main` has set know nothing of the other processes of the machine.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        let ended = pool.map_err(anyhow::Error::from).and_then(|()| {
            if ranks.is_first() { self.dispatch(threads, ranks) } else { follow::follow(ranks, threads) }
        });
        if ranks.is_first() {
            if !ranks.is_lost() {
                ranks.tell(&follow::Errand::End)?;
            }
        } else if ended.is_err() {
            ranks.lose();
        }
        ended
    }

    fn dispatch(self, threads: usize, ranks: &Ranks) -> anyhow::Result<()> {
        match self.command {
            None if self.is_bare => start::start(self.train, threads, self.defaults.remapped.keys.training),
            None => self.train.run(threads, self.defaults.remapped.keys.training, ranks),
            Some(Command::Train(args)) => args.run(threads, self.defaults.remapped.keys.training, ranks),
            Some(Command::Attach(args)) => args.run(self.defaults.remapped.keys.training),
            Some(Command::Replay(args)) => args.run(self.defaults.remapped.keys.training),
            Some(Command::Runs(args)) => args.run(),
            Some(Command::Export(args)) => args.run(),
            Some(Command::Eval(args)) => args.run(),
            Some(Command::Compare(args)) => args.run(threads, self.defaults.remapped.keys.comparison),
            Some(Command::Slice(args)) => args.run(ranks),
            Some(Command::Probe(args)) => args.run(),
            Some(Command::Poster(args)) => args.run(),
            Some(Command::Wormhole(args)) => args.run(threads),
            Some(Command::Tour(args)) => args.run(threads, self.defaults.remapped.keys),
            Some(Command::Bench(args)) => args.run(threads),
            Some(Command::Doctor(args)) => args.run(threads),
            Some(Command::Config(args)) => args.run(&self.defaults),
            Some(Command::Completions(args)) => args.run(),
            Some(Command::Man(args)) => args.run(),
            Some(Command::Engine(args)) => args.run(),
        }
    }
}

/// What of a log is kept or said: what is of this level and the graver ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::Error,
            Self::Warn => LevelFilter::Warn,
            Self::Info => LevelFilter::Info,
            Self::Debug => LevelFilter::Debug,
        }
    }

    /// As it is typed.
    fn name(self) -> String {
        self.filter().as_str().to_lowercase()
    }
}

/// A number of threads that a machine could have.
fn threads(text: &str) -> Result<NonZero<usize>, String> {
    const MOST: usize = 1024;
    let count = text.parse().ok().filter(|count: &NonZero<usize>| count.get() <= MOST);
    count.ok_or_else(|| format!("not a number of threads from 1 to {MOST}"))
}

/// What is counted and can't be 0.
fn at_least_one<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "a whole number, at least 1")
}

/// One line of what, where and what to do, then its causes, a line each.
pub fn print_error(error: &anyhow::Error) {
    let mut said = without_backtrace(&error.to_string()).to_owned();
    // Where the terminal is gone nobody can be told.
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "llamascape: {}", printable(&said));
    for cause in error.chain().skip(1) {
        // Many errors quote their cause already.
        let cause = cause.to_string();
        let cause = without_backtrace(&cause).to_owned();
        if !said.contains(&cause) {
            let _ = writeln!(stderr, "  because: {}", printable(&cause));
            said.push_str(&cause);
        }
    }
}

/// Writes to stdout. A reader that has gone, as `head` does, has seen enough; and a terminal that has gone shows nothing.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) else { return Ok(()) };
    // A file says that it is no terminal, whatever else is wrong with it.
    let terminal = rustix::termios::tcgetattr(rustix::stdio::stdout());
    let is_gone =
        error.kind() == std::io::ErrorKind::BrokenPipe || terminal.is_err_and(|error| error == Errno::IO);
    if is_gone { Ok(()) } else { Err(error).context("standard output can't be written") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_may_be_0_and_that_is_said_in_plain_words() {
        for flags in ["train --steps 0", "train --batch-size=-1", "eval a --top no", "bench --seconds 0"] {
            let arguments = ["llamascape"].into_iter().chain(flags.split(' '));
            let error = Cli::command().try_get_matches_from(arguments).unwrap_err().to_string();
            assert!(error.contains(": a whole number, at least 1"), "{error}");
        }
    }
}
