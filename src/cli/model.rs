//! What a person means by MODEL, and by a text or data to measure it on.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use candle_core::Device;

use super::progress::Progress;
use super::{LogLevel, at_least_one, warnings};
use crate::landscape::selection::{Selection, SelectionError};
use crate::model::checkpoint::hub::HubId;
use crate::model::checkpoint::{Checkpoint, Place};
use crate::model::device::DeviceChoice;
use crate::model::tokenizer::Tokenizer;
use crate::run::dir::RunDir;
use crate::run::prepare;
use crate::run::source::Source;
use crate::settings::DataSource;
use crate::train::corpus::Batch;

/// Opens a folder in Hugging Face layout, a .gguf file, a run by name or folder (its newest checkpoint), `RUN@STEP`,
/// or a model of the Hub, which is fetched first. The progress goes to stderr.
pub(super) fn open(model: &str, device: &Device, quiet: bool) -> anyhow::Result<Checkpoint> {
    let progress = Progress::new(quiet);
    let opened = find(model)?.open(device, &mut |loading| {
        progress.show_if_due(|| format!("{loading}, {:.0} %", 100.0 * loading.share()));
    });
    progress.end();
    Ok(opened?)
}

/// Where a model lies: a path, a run, `RUN@STEP`, or on the Hub.
pub(super) fn find(model: &str) -> anyhow::Result<Source> {
    let source = |place, name| Source { place, name };
    let path = Path::new(model);
    if path.exists() {
        return Ok(source(Place::Path(path.to_owned()), None));
    }
    if let Some((run, step)) = model.rsplit_once('@')
        && let (Ok(dir), Ok(step)) = (RunDir::find(Some(run)), step.parse())
    {
        let kept = dir.checkpoints()?;
        if !kept.contains(&step) {
            let kept: Vec<String> = kept.iter().map(u64::to_string).collect();
            let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            bail!("{model}: the run keeps no checkpoint of that step; those it keeps: {kept}");
        }
        // A folder is called by its own name, a run by the one it was given.
        let folder = Path::new(run).file_name().filter(|_| Path::new(run).is_dir());
        let name = match folder {
            Some(folder) => folder.to_string_lossy().into_owned(),
            None => dir.settings().map_or_else(|_| run.to_owned(), |settings| settings.name),
        };
        return Ok(source(Place::Path(dir.checkpoint(step)), Some(format!("{name}@{step}"))));
    }
    if let Ok(dir) = RunDir::find(Some(model)) {
        let name = dir.settings().ok().map(|settings| settings.name);
        return Ok(source(Place::Path(dir.path().to_owned()), name));
    }
    // What begins with a folder that is there is a path with a slip in it: its own error says that nothing is there.
    let in_folder = path.parent().is_some_and(Path::is_dir);
    Ok(match HubId::parse(model).filter(|_| !in_folder) {
        Some(id) => source(Place::Hub(id), None),
        None => source(Place::Path(path.to_owned()), None),
    })
}

/// The run that a MODEL is, if it is one.
pub(super) fn run(model: &str) -> Option<RunDir> {
    let name = model.rsplit_once('@').map_or(model, |(run, _)| run);
    RunDir::open(Path::new(name)).or_else(|_| RunDir::find(Some(name))).ok()
}

/// The flags of a command that asks a model once.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct AskArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = super::train::device)]
    pub(super) device: DeviceChoice,
    /// Threads to compute with [default: all]
    #[arg(long, value_name = "COUNT", value_parser = super::threads)]
    pub(super) threads: Option<NonZero<usize>>,
    /// No progress, and no word but errors
    #[arg(long)]
    pub(super) quiet: bool,
    /// What is said on stderr beside progress
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: LogLevel,
}

impl AskArgs {
    /// Has warnings said from now on.
    pub(super) fn begin(&self) {
        warnings::say(self.log_level, self.quiet);
    }
}

/// The flags that say on which batch a loss is measured.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct BatchArgs {
    /// Measure on this text: every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT", conflicts_with = "data")]
    text: Option<String>,
    /// Measure on rows of a file or folder of .txt, .md or .jsonl, builtin or builtin-qa [default: what the run
    /// holds out]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Rows of --data
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = at_least_one::<NonZero<usize>>)]
    rows: NonZero<usize>,
    /// Tokens in a row of --data [default: the model's context, at most 128]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one::<NonZero<usize>>)]
    context: Option<NonZero<usize>>,
}

impl BatchArgs {
    /// The batch, and where it comes from in a word.
    pub(super) fn batch(
        &self,
        model: &str,
        checkpoint: &Checkpoint,
    ) -> anyhow::Result<(Batch, &'static str)> {
        let (most, vocab_size) = (checkpoint.config.max_position_embeddings, checkpoint.config.vocab_size);
        let (batch, source) = match (&self.text, &self.data) {
            (Some(text), _) => (text_batch(text, checkpoint)?, "text"),
            (None, Some(data)) => {
                let data = match data.as_str() {
                    "builtin" => DataSource::Builtin,
                    "builtin-qa" => DataSource::BuiltinQa,
                    path => DataSource::Path(PathBuf::from(path)),
                };
                (self.rows_of(&data, 0, None, most, &checkpoint.tokenizer)?, "data")
            }
            (None, None) => {
                let settings = run(model).and_then(|dir| dir.settings().ok());
                let settings = settings.context("which loss? give --text TEXT or --data FILE")?;
                match &settings.data {
                    DataSource::Text(text) => (text_batch(text, checkpoint)?, "text"),
                    data => {
                        let tokenizer = &checkpoint.tokenizer;
                        (
                            self.rows_of(data, settings.seed, Some(settings.answers_only), most, tokenizer)?,
                            "held-out",
                        )
                    }
                }
            }
        };
        if let Some(id) = batch.rows().flatten().find(|id| **id as usize >= vocab_size) {
            bail!("token {id} is outside the model's {vocab_size} tokens: the tokenizer is another model's");
        }
        Ok((batch, source))
    }

    /// The first rows of data; of a run's, those that it holds out, where it may learn answers only.
    fn rows_of(
        &self,
        data: &DataSource,
        seed: u64,
        run: Option<bool>,
        most: usize,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Batch> {
        let context = self.context.map_or(most.min(128), NonZero::get);
        if context > most {
            bail!("--context {context} is longer than the model's {most}");
        }
        let (train, apart) = prepare::corpora(data, seed, run.unwrap_or(false), tokenizer)?;
        let corpus = if run.is_some() { apart } else { train };
        if corpus.tokens().len() < 2 {
            bail!("the data has {} tokens: a loss needs two", corpus.tokens().len());
        }
        Ok(corpus.in_order(self.rows.get(), context))
    }
}

/// The flags that say which tensors are turned.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct SelectionArgs {
    /// Only these layers, the end left out, such as 0..8
    #[arg(long, value_name = "RANGE")]
    layers: Option<String>,
    /// Only tensors whose names match, such as '*mlp*'
    #[arg(long, value_name = "GLOB")]
    tensors: Option<String>,
    /// Norm gains and biases too
    #[arg(long)]
    with_norms: bool,
    /// The embedding too; a tied head is the same tensor
    #[arg(long)]
    with_embeddings: bool,
}

impl SelectionArgs {
    /// What the flags come to.
    pub(super) fn selection(&self) -> Result<Selection, SelectionError> {
        Ok(Selection {
            layers: self.layers.as_deref().map(Selection::parse_layers).transpose()?,
            tensors: self.tensors.as_deref().map(Selection::parse_tensors).transpose()?,
            norms: self.with_norms,
            embeddings: self.with_embeddings,
        })
    }
}

/// A text as a batch of one row.
pub(super) fn text_batch(text: &str, checkpoint: &Checkpoint) -> anyhow::Result<Batch> {
    let prompt = super::eval::prompt(checkpoint, text, false)?;
    Ok(Batch::new(vec![prompt.ids().to_vec()]))
}
