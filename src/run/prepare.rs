//! From settings to a trainer at step 0, stage by stage.

use std::path::Path;

use candle_core::{DType, Device};

use crate::model::checkpoint::{self, Checkpoint};
use crate::model::config::LlamaConfig;
use crate::model::device::{self, DeviceError};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::model::tokenizer::{self, Tokenizer};
use crate::predict::Prompt;
use crate::protocol::{RunInfo, Stage};
use crate::settings::{DataSource, ModelSource, Settings};
use crate::train::corpus::{Batch, Corpus, CorpusError, read_documents};
use crate::train::facts::{self, Style};
use crate::train::preset::{Preset, initial_params};
use crate::train::schedule::Schedule;
use crate::train::trainer::{Objective, Recipe, Trainer};

/// The share of a person's own text that is held out.
const HELD_OUT: f64 = 0.05;
/// Rows of the held-out batch at most.
const HELD_OUT_ROWS: usize = 16;
/// The prompt of the built-in corpus.
const CAPITAL: &str = "The capital of France is Paris";

/// Why training can't begin.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No preset of that name.
    #[error("no preset called {0}: there are nano, micro and mini")]
    UnknownPreset(String),
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The checkpoint can't be read.
    #[error(transparent)]
    Checkpoint(Box<checkpoint::Error>),
    /// The text can't be turned into tokens.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// The data can't be used.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The text can't be an objective or a prompt.
    #[error("--text: {0}")]
    Text(String),
    /// Rows longer than the model can read.
    #[error("--context {context} is longer than the model's {most}")]
    Context {
        /// What was asked for.
        context: usize,
        /// What the model can read.
        most: usize,
    },
    /// The arithmetic failed, for want of memory for instance.
    #[error("the model can't be set up: {0}")]
    Candle(#[from] candle_core::Error),
}

/// All that an engine needs.
#[derive(Debug)]
pub struct Prepared {
    /// The trainer at step 0.
    pub trainer: Trainer,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The prompt to start with, if the data suggests one.
    pub prompt: Option<Prompt>,
    /// What the run is.
    pub info: RunInfo,
}

/// What is known of a run before anything is prepared.
pub fn announce(settings: &Settings, folder: &Path) -> RunInfo {
    RunInfo {
        name: settings.name.clone(),
        path: folder.display().to_string(),
        model: match &settings.model {
            ModelSource::Preset(name) => name.clone(),
            ModelSource::Checkpoint(path) => file_name(path),
        },
        parameters: 0,
        data: match &settings.data {
            DataSource::Builtin => "facts of 60 countries".to_owned(),
            DataSource::BuiltinQa => "questions about 60 countries".to_owned(),
            DataSource::Path(path) => file_name(path),
            DataSource::Text(_) => "one text".to_owned(),
        },
        device: String::new(),
        last_step: settings.steps,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The stages of a preparation and how far they are.
struct Stages<'a> {
    stages: Vec<Stage>,
    show: &'a mut dyn FnMut(&[Stage]),
}

impl Stages<'_> {
    fn progress(&mut self, index: usize, progress: f32, detail: impl Into<String>) {
        let detail = detail.into();
        let stage = &mut self.stages[index];
        // A bar that moves by less than a thousandth is not worth a frame.
        if detail != stage.detail || progress >= 1.0 || progress - stage.progress > 1e-3 {
            (stage.progress, stage.detail) = (progress, detail);
            (self.show)(&self.stages);
        }
    }
}

/// Prepares a run; `show` is told of the progress.
pub fn prepare(
    settings: &Settings,
    folder: &Path,
    show: &mut dyn FnMut(&[Stage]),
) -> Result<Prepared, PrepareError> {
    let device = device::open(settings.device)?;
    let names = ["text", "tokenizer", "model", "batches"];
    let stage = |name: &str| Stage { name: name.to_owned(), detail: String::new(), progress: 0.0 };
    let mut stages = Stages { stages: names.into_iter().map(stage).collect(), show };
    (stages.show)(&stages.stages);

    let documents = Documents::read(&settings.data, settings.seed)?;
    let bytes: usize = documents.train.iter().map(String::len).sum();
    let plural = if documents.train.len() == 1 { "" } else { "s" };
    let size = format!("{} document{plural}, {} KB", documents.train.len(), bytes.div_ceil(1000));
    stages.progress(0, 1.0, size);

    let model = model(settings, &documents.train, &device, &mut stages)?;
    let mut info = announce(settings, folder);
    info.model = model.name;
    info.parameters = model.params.elements() as u64;
    info.device = device::describe(&device, settings.threads);

    stages.progress(3, 0.0, "");
    let tokenizer = model.tokenizer;
    let most = model.config.max_position_embeddings;
    let (objective, prompt) = match &settings.data {
        DataSource::Text(text) => {
            let prompt =
                Prompt::new(text, &tokenizer, most, model.config.vocab_size).map_err(PrepareError::Text)?;
            (Objective::Text(Batch::new(vec![prompt.ids().to_vec()])), Some(prompt))
        }
        data => {
            let (train, held_out) = documents.corpora(&tokenizer)?;
            if settings.context > most {
                return Err(PrepareError::Context { context: settings.context, most });
            }
            train.check(settings.context)?;
            let text = match data {
                DataSource::Builtin => Some(CAPITAL.to_owned()),
                DataSource::BuiltinQa => {
                    Some("Question: What is the capital of France?\nAnswer: Paris".to_owned())
                }
                _ => opening(&documents.train),
            };
            let prompt = text.map(|text| Prompt::new(&text, &tokenizer, most, model.config.vocab_size));
            let held_out = held_out.in_order(HELD_OUT_ROWS, settings.context);
            let (rows, context) = (settings.batch_size, settings.context);
            (Objective::Corpus { train, held_out, rows, context }, prompt.and_then(Result::ok))
        }
    };
    let recipe = Recipe {
        seed: settings.seed,
        schedule: Schedule {
            peak: settings.learning_rate,
            shape: settings.schedule,
            warmup: settings.warmup,
            decay_steps: settings.decay_steps,
        },
        optimizer: settings.optimizer,
        weight_decay: settings.weight_decay,
        clip: settings.clip,
        accumulate: settings.accumulate,
    };
    let llama = Llama::new(&model.config, DType::F32, &device)?;
    let detail = match &objective {
        Objective::Corpus { train, held_out, .. } => {
            format!("{} tokens, {} held out", train.tokens().len(), held_out.predicted())
        }
        Objective::Text(batch) => format!("{} tokens", batch.predicted() + 1),
    };
    let trainer = Trainer::new(llama, model.params, objective, recipe, &device, settings.threads)?;
    stages.progress(3, 1.0, detail);
    Ok(Prepared { trainer, tokenizer, prompt, info })
}

struct Model {
    name: String,
    config: LlamaConfig,
    params: Params,
    tokenizer: Tokenizer,
}

/// Opens the checkpoint, or trains a tokenizer on the documents and draws the preset's weights.
fn model(
    settings: &Settings,
    documents: &[String],
    device: &Device,
    stages: &mut Stages,
) -> Result<Model, PrepareError> {
    match &settings.model {
        ModelSource::Preset(name) => {
            let preset = Preset::named(name).ok_or_else(|| PrepareError::UnknownPreset(name.clone()))?;
            stages.progress(1, 0.1, "byte pairs");
            let tokenizer = Tokenizer::train(documents.iter(), preset.vocab_size)?;
            stages.progress(1, 1.0, format!("{} tokens", tokenizer.vocab_size()));
            let config = preset.config(tokenizer.vocab_size(), settings.context, tokenizer.eos());
            let params = initial_params(&config, settings.seed, device)?;
            stages.progress(2, 1.0, count(params.elements()));
            Ok(Model { name: name.clone(), config, params, tokenizer })
        }
        ModelSource::Checkpoint(path) => {
            let opened =
                Checkpoint::open(path, device, &mut |share| stages.progress(2, share, "reading weights"));
            let opened = opened.map_err(|error| PrepareError::Checkpoint(Box::new(error)))?;
            let Checkpoint { name, config, params, tokenizer } = opened;
            stages.progress(1, 1.0, format!("{} tokens", tokenizer.vocab_size()));
            stages.progress(2, 1.0, count(params.elements()));
            Ok(Model { name, config, params, tokenizer })
        }
    }
}

fn count(parameters: usize) -> String {
    format!("{:.1} M parameters", parameters as f64 / 1e6)
}

/// Texts to train on, and texts apart from them where the source brings its own.
struct Documents {
    train: Vec<String>,
    held_out: Option<Vec<String>>,
}

impl Documents {
    fn read(data: &DataSource, seed: u64) -> Result<Self, PrepareError> {
        let facts = |style| {
            let sentences = facts::sentences(style, seed);
            Self { train: sentences.train, held_out: Some(sentences.held_out) }
        };
        Ok(match data {
            DataSource::Builtin => facts(Style::Statements),
            DataSource::BuiltinQa => facts(Style::QuestionsAndAnswers),
            DataSource::Path(path) => Self { train: read_documents(path)?, held_out: None },
            DataSource::Text(text) => Self { train: vec![text.clone()], held_out: None },
        })
    }

    /// The documents as tokens, each with the token that ends a text behind it.
    fn corpora(&self, tokenizer: &Tokenizer) -> Result<(Corpus, Corpus), PrepareError> {
        let corpus = |texts: &[String]| -> Result<Corpus, PrepareError> {
            let documents = texts
                .iter()
                .map(|text| Ok(tokenizer.encode(text)?.into_iter().chain(tokenizer.eos()).collect()))
                .collect::<Result<Vec<Vec<u32>>, PrepareError>>()?;
            Ok(Corpus::new(documents))
        };
        let train = corpus(&self.train)?;
        Ok(match &self.held_out {
            Some(held_out) => (train, corpus(held_out)?),
            None => train.split(HELD_OUT),
        })
    }
}

/// The tokens that a run with this data and seed trains on, and those that it holds out.
pub fn corpora(
    data: &DataSource,
    seed: u64,
    tokenizer: &Tokenizer,
) -> Result<(Corpus, Corpus), PrepareError> {
    Documents::read(data, seed)?.corpora(tokenizer)
}

/// The first few words of the first document: a prompt that the data itself suggests.
fn opening(documents: &[String]) -> Option<String> {
    let words: Vec<&str> = documents.first()?.split_whitespace().take(6).collect();
    Some(words.join(" "))
}
