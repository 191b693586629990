//! `tour`: the guided story, on a live model that is nobody's run.

use std::io::IsTerminal;
use std::num::NonZero;

use anyhow::bail;

use super::{LogLevel, screen, train};
use crate::app::tour::{CHAPTERS, Tour};
use crate::app::{Keys, Options};
use crate::generate::Sampling;
use crate::model::device::DeviceChoice;
use crate::run::comparison::{self, Host};
use crate::run::dir::{RunDir, socket_folder};
use crate::run::host::Begin;

/// What the folders of tours begin with.
const PREFIX: &str = "tour-";

/// The guided story of how a model learns, in ten chapters, on a live model
///
/// Space goes on; the keys of a training work meanwhile. The model is trained for the tour alone: nothing is saved,
/// and nothing of the user's runs is touched.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Begin at this model instead of a small one that begins at random: org/name or org/name@revision on the Hub, a
    /// folder in its layout, a .gguf file, a run by name or folder, or RUN@STEP. It learns one text
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The text that a model of your own reads and learns
    #[arg(long, value_name = "TEXT", requires = "model", default_value = comparison::PROMPT)]
    text: String,
    /// Begin at this chapter
    #[arg(long, value_name = "N", default_value = "1", value_parser = chapter)]
    chapter: usize,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = train::device)]
    device: DeviceChoice,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    #[command(flatten)]
    screen: screen::Args,
}

fn chapter(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=CHAPTERS.len()).contains(number));
    number.ok_or_else(|| format!("the tour has chapters 1 to {}", CHAPTERS.len()))
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Shows the tour; its screens have these keys.
    pub(super) fn run(self, threads: usize, keys: Keys) -> anyhow::Result<()> {
        if !std::io::stdout().is_terminal() {
            bail!("the tour needs a terminal; `llamascape wormhole` tells its main story without one");
        }
        let look = self.screen.look()?;
        crate::terminal::check_size()?;
        let mut settings = train::Args::with(self.flags())?.settings(threads)?;
        settings.device = self.device;
        let folder = socket_folder()?;
        sweep(&folder);
        let path = folder.join(format!("{PREFIX}{}", std::process::id()));
        let dir = RunDir::create(Some(&path), &settings)?;
        let engine = train::start_engine(&dir, &settings, Begin::New, LogLevel::Info, true);
        let socket = engine.inspect_err(|_| dir.discard())?;
        let tour = Tour::at(self.chapter, self.model.is_some());
        let options = Options { bindings: keys.training, tour: Some(tour), ..Options::default() };
        let pair = || {
            Host::start(comparison::Settings {
                models: None,
                text: None,
                templates: [false; 2],
                device: self.device,
                threads,
                learning_rate: None,
                grid: settings.grid,
                sampling: Sampling::GREEDY,
            })
        };
        screen::tour(&socket, look, options, &keys.comparison, pair)
    }

    /// The same as flags of `train`.
    fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--name=tour".to_owned(), "--paused".to_owned()];
        if let Some(model) = &self.model {
            flags.extend([format!("--model={model}"), format!("--text={}", self.text)]);
        }
        flags
    }
}

/// Removes what is left of tours whose engine was killed.
fn sweep(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_tour = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_tour
            && let Ok(dir) = RunDir::open(&entry.path())
            && let Ok(_lock) = dir.lock()
        {
            dir.discard();
        }
    }
}
