//! What a person types: one file a command.

mod attach;
mod bench;
mod compare;
mod directions;
mod engine;
mod eval;
mod export;
mod headless;
mod interrupt;
mod memory;
mod model;
mod probe;
mod progress;
mod ranges;
mod resume;
mod runs;
mod screen;
mod slice;
mod train;

use std::io::Write;
use std::num::NonZero;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::run::journal::printable;

/// See how a language model learns.
///
/// Without a command: `train`, which trains a small Llama on facts about countries and shows it on this
/// terminal.
#[derive(Debug, Parser)]
#[command(name = "llamascape", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: train::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model and watch it
    Train(Box<train::Args>),
    /// Come back to a run that is being trained
    Attach(attach::Args),
    /// List the runs of this user
    Runs(runs::Args),
    /// The metrics of a run as a table
    Export(export::Args),
    /// Loss and next-token probabilities of a text
    Eval(eval::Args),
    /// Two models side by side
    Compare(Box<compare::Args>),
    /// The loss on a plane through a model's weights, to a file
    Slice(Box<slice::Args>),
    /// Sweep one or two single parameters of a model
    Probe(Box<probe::Args>),
    /// What this machine does: training, slices, screen
    Bench(bench::Args),
    /// The process behind a screen
    #[command(hide = true)]
    Engine(engine::Args),
}

/// Reads the command line; an error is clap's own, with its exit code.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

impl Cli {
    /// The threads to compute with.
    pub fn threads(&self) -> usize {
        let asked = match &self.command {
            None => self.train.threads(),
            Some(Command::Train(args)) => args.threads(),
            Some(Command::Eval(args)) => args.threads(),
            Some(Command::Compare(args)) => args.threads(),
            Some(Command::Slice(args)) => args.threads(),
            Some(Command::Probe(args)) => args.threads(),
            Some(Command::Bench(args)) => args.threads(),
            Some(Command::Engine(args)) => args.threads(),
            Some(Command::Attach(_) | Command::Runs(_) | Command::Export(_)) => None,
        };
        let available = std::thread::available_parallelism().map_or(1, NonZero::get);
        asked.map_or(available, NonZero::get)
    }

    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        let threads = self.threads();
        match self.command {
            None => self.train.run(threads),
            Some(Command::Train(args)) => args.run(threads),
            Some(Command::Attach(args)) => args.run(),
            Some(Command::Runs(args)) => args.run(),
            Some(Command::Export(args)) => args.run(),
            Some(Command::Eval(args)) => args.run(),
            Some(Command::Compare(args)) => args.run(threads),
            Some(Command::Slice(args)) => args.run(),
            Some(Command::Probe(args)) => args.run(),
            Some(Command::Bench(args)) => args.run(threads),
            Some(Command::Engine(args)) => args.run(),
        }
    }
}

/// A number of threads that a machine could have.
fn threads(text: &str) -> Result<NonZero<usize>, String> {
    const MOST: usize = 1024;
    let count = text.parse().ok().filter(|count: &NonZero<usize>| count.get() <= MOST);
    count.ok_or_else(|| format!("not a number of threads from 1 to {MOST}"))
}

/// One line of what, where and what to do, then its causes, a line each.
pub fn print_error(error: &anyhow::Error) {
    let mut said = without_backtrace(&error.to_string()).to_owned();
    eprintln!("llamascape: {}", printable(&said));
    for cause in error.chain().skip(1) {
        // Many errors quote their cause already.
        let cause = cause.to_string();
        let cause = without_backtrace(&cause).to_owned();
        if !said.contains(&cause) {
            eprintln!("  because: {}", printable(&cause));
            said.push_str(&cause);
        }
    }
}

/// candle writes a backtrace into its messages where `RUST_BACKTRACE` is set.
fn without_backtrace(message: &str) -> &str {
    message.split("\n   0: ").next().unwrap_or(message)
}

/// Writes to stdout. A reader that has gone, as `head` does, has seen enough.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output can't be written")
        }
        _ => Ok(()),
    }
}
