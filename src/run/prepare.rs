//! From settings to a trainer at step 0 or at a checkpoint, stage by stage.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::model::chat::ChatTemplate;
use crate::model::checkpoint::hub::HubId;
use crate::model::checkpoint::{self, Checkpoint, Place};
use crate::model::config::LlamaConfig;
use crate::model::device::{self, DeviceError};
use crate::model::llama::Llama;
use crate::model::memory::{available, size};
use crate::model::params::Params;
use crate::model::tokenizer::{self, Tokenizer};
use crate::predict::Prompt;
use crate::protocol::{RunInfo, Stage};
use crate::ranks::Ranks;
use crate::settings::{DataSource, ModelSource, Precision, Settings};
use crate::train::corpus::{Batch, Corpus, CorpusError};
use crate::train::documents::{Document, read_documents};
use crate::train::facts::{self, Style};
use crate::train::preset::{Preset, initial_params};
use crate::train::resume::{self, State};
use crate::train::schedule::Schedule;
use crate::train::trainer::{Objective, Recipe, Snapshot, Trainer};

/// The share of a person's own text that is held out.
const HELD_OUT: f64 = 0.05;
/// Rows of the held-out batch at most.
const HELD_OUT_ROWS: usize = 16;
/// The prompt of the built-in corpus.
const CAPITAL: &str = "The capital of France is Paris";
/// Tokens in a row where nothing is said and the model is a checkpoint's.
const CHECKPOINT_CONTEXT: usize = 128;
/// What stands before an answer of the built-in corpus.
pub(super) const ANSWER: &str = "\nAnswer:";

/// Why training can't begin.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No preset of that name.
    #[error("no preset called {0}: there are nano, micro and mini")]
    UnknownPreset(String),
    /// Settings that name a model as the Hub does not.
    #[error("{0} is no name of a model of the Hub: those read org/name or org/name@revision")]
    NotOfTheHub(String),
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
    /// A run goes on with something else than it was trained on.
    #[error(
        "the data is not what this run was trained on up to step {0}: begin a new run from its weights with --model"
    )]
    OtherData(u64),
    /// A checkpoint does not fit the run.
    #[error("{path}: {reason}, so the run can't go on from this checkpoint")]
    OtherState {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A training that no memory holds.
    #[error(
        "training would take {}, {} can be had: give less with --batch-size or --context, and more with --accumulate; \
         --optimizer sgd needs no moments, and --freeze trains less",
        size(*needed),
        size(*available)
    )]
    Memory {
        /// Bytes beside the weights: gradients, moments and activations.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// A pattern that freezes nothing.
    #[error("--freeze {pattern}: {problem}")]
    Freeze {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// bf16 where it helps nobody.
    #[error("--precision bf16 is for CUDA; elsewhere gradients are computed in f32")]
    Precision,
    /// The arithmetic failed, for want of memory for instance.
    #[error("the model can't be set up: {0}")]
    Candle(#[from] candle_core::Error),
}

/// All that an engine needs.
#[derive(Debug)]
pub struct Prepared {
    /// The trainer at step 0, or where a checkpoint left it.
    pub trainer: Trainer,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants to be spoken to, where it says so.
    pub chat: Option<ChatTemplate>,
    /// The prompt to start with, if the data suggests one.
    pub prompt: Option<Prompt>,
    /// What the run is.
    pub info: RunInfo,
    /// SHA-256 of the tokens that are learnt.
    pub data_sha256: String,
    /// What the checkpoint knew besides, where the run goes on from one.
    pub state: Option<State>,
}

/// What is known of a run before anything is prepared.
pub fn announce(settings: &Settings, folder: &Path) -> RunInfo {
    RunInfo {
        name: settings.name.clone(),
        path: folder.display().to_string(),
        model: match &settings.model {
            ModelSource::Preset(name) | ModelSource::Hub(name) => name.clone(),
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

/// Prepares a run, from the checkpoint `from` if there is one; `show` is told of the progress. Its steps will be taken
/// with all processes of `ranks`.
pub fn prepare(
    settings: &Settings,
    folder: &Path,
    from: Option<&Path>,
    ranks: &Ranks,
    show: &mut dyn FnMut(&[Stage]),
) -> Result<Prepared, PrepareError> {
    let device = device::open(settings.device)?;
    let names = ["text", "tokenizer", "model", "batches"];
    let stage = |name: &str| Stage { name: name.to_owned(), detail: String::new(), progress: 0.0 };
    let mut stages = Stages { stages: names.into_iter().map(stage).collect(), show };
    (stages.show)(&stages.stages);

    let documents = Documents::read(&settings.data, settings.seed)?;
    let bytes: usize = documents.train.iter().map(|document| document.text.len()).sum();
    let plural = if documents.train.len() == 1 { "" } else { "s" };
    let size = format!("{} document{plural}, {} KB", documents.train.len(), bytes.div_ceil(1000));
    stages.progress(0, 1.0, size);

    let model = model(settings, from, &documents.train, &device, &mut stages)?;
    let mut info = announce(settings, folder);
    info.model = model.name;
    info.parameters = model.params.elements() as u64;
    info.device = device::describe(&device, settings.threads);
    if ranks.are_several() {
        info.device = format!("{} processes, {} each", ranks.size(), info.device);
    }

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
            let (train, held_out) = documents.corpora(&tokenizer, settings.answers_only)?;
            let context = settings.context.unwrap_or(CHECKPOINT_CONTEXT.min(most));
            if context > most {
                return Err(PrepareError::Context { context, most });
            }
            train.check(context)?;
            let text = match data {
                DataSource::Builtin => Some(CAPITAL.to_owned()),
                DataSource::BuiltinQa => {
                    Some("Question: What is the capital of France?\nAnswer: Paris".to_owned())
                }
                _ => opening(&documents.train),
            };
            let prompt = text.map(|text| Prompt::new(&text, &tokenizer, most, model.config.vocab_size));
            let held_out = held_out.in_order(HELD_OUT_ROWS, context);
            let rows = settings.batch_size;
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
        dtype: dtype(settings.precision, &device)?,
    };
    let llama = Llama::new(&model.config, DType::F32, &device)?;
    let detail = match &objective {
        Objective::Corpus { train, held_out, .. } => {
            format!("{} tokens, {} held out", train.tokens().len(), held_out.predicted())
        }
        Objective::Text(batch) => format!("{} tokens", batch.predicted() + 1),
    };
    let data_sha256 = objective.sha256();
    let frozen = frozen(&settings.freeze, &model.params)?;
    let trained = |name: &str| !frozen.is_match(name);
    let mut trainer =
        Trainer::new(llama, model.params, trained, objective, recipe, &device, settings.threads)?;
    check_memory(&trainer, info.parameters * size_of::<f32>() as u64, ranks)?;
    let state = match (model.resumed, from) {
        (Some((snapshot, state)), Some(path)) => {
            if state.data_sha256 != data_sha256 {
                return Err(PrepareError::OtherData(state.progress.step));
            }
            let other = |reason| PrepareError::OtherState { path: path.to_owned(), reason };
            trainer.restore(&snapshot).map_err(other)?;
            if let Some(weight) = trainer.bad_weight() {
                return Err(other(format!("{weight} is not finite")));
            }
            Some(state)
        }
        _ => None,
    };
    stages.progress(
        3,
        1.0,
        format!("{detail}, {:.0} MB for training", trainer.bytes(ranks.size()) as f64 / 1e6),
    );
    Ok(Prepared { trainer, tokenizer, chat: model.chat, prompt, info, data_sha256, state })
}

/// Refuses what no memory holds: what is not there is not noticed before the process is killed. The processes of this
/// machine share its memory.
fn check_memory(trainer: &Trainer, weights: u64, ranks: &Ranks) -> Result<(), PrepareError> {
    let (_, here) = ranks.on_node();
    let needed = (trainer.bytes(ranks.size()) as u64).saturating_mul(here as u64).saturating_sub(weights);
    let available = available();
    if trainer.device().is_cpu() && needed > available {
        return Err(PrepareError::Memory { needed, available });
    }
    Ok(())
}

/// What gradients are computed in.
fn dtype(precision: Option<Precision>, device: &Device) -> Result<DType, PrepareError> {
    match (precision, device.is_cuda()) {
        (Some(Precision::Bf16) | None, true) => Ok(DType::BF16),
        (Some(Precision::F32) | None, _) => Ok(DType::F32),
        (Some(Precision::Bf16), false) => Err(PrepareError::Precision),
    }
}

/// The patterns of tensors that stay as they are. Each must name some, and together not all.
fn frozen(patterns: &[String], params: &Params) -> Result<GlobSet, PrepareError> {
    let error =
        |pattern: &str, problem: String| PrepareError::Freeze { pattern: pattern.to_owned(), problem };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|cause| error(pattern, cause.kind().to_string()))?;
        let matcher = glob.compile_matcher();
        if !params.iter().any(|(name, _)| matcher.is_match(name)) {
            return Err(error(pattern, "no tensor of the model has such a name".to_owned()));
        }
        set.add(glob);
    }
    let all = patterns.join(" ");
    let set = set.build().map_err(|cause| error(&all, cause.to_string()))?;
    if params.iter().all(|(name, _)| set.is_match(name)) {
        return Err(error(&all, "leaves nothing to train".to_owned()));
    }
    Ok(set)
}

struct Model {
    name: String,
    config: LlamaConfig,
    params: Params,
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    /// Where a run goes on.
    resumed: Option<(Snapshot, State)>,
}

/// Opens the checkpoint, or trains a tokenizer on the documents and draws the preset's weights.
fn model(
    settings: &Settings,
    from: Option<&Path>,
    documents: &[Document],
    device: &Device,
    stages: &mut Stages,
) -> Result<Model, PrepareError> {
    if let Some(folder) = from {
        let opened = resume::load(folder, device, &mut |share| {
            stages.progress(2, share, "reading weights and moments");
        });
        let (opened, snapshot, state) = opened.map_err(|error| PrepareError::Checkpoint(Box::new(error)))?;
        let Checkpoint { config, params, tokenizer, chat, .. } = opened;
        stages.progress(1, 1.0, format!("{} tokens", tokenizer.vocab_size()));
        stages.progress(2, 1.0, format!("{}, from step {}", count(params.elements()), state.progress.step));
        let name = announce(settings, folder).model;
        return Ok(Model { name, config, params, tokenizer, chat, resumed: Some((snapshot, state)) });
    }
    match &settings.model {
        ModelSource::Preset(name) => {
            let preset = Preset::named(name).ok_or_else(|| PrepareError::UnknownPreset(name.clone()))?;
            stages.progress(1, 0.1, "byte pairs");
            let tokenizer =
                Tokenizer::train(documents.iter().map(|document| &document.text), preset.vocab_size)?;
            stages.progress(1, 1.0, format!("{} tokens", tokenizer.vocab_size()));
            let context = settings.context.unwrap_or(preset.context);
            let config = preset.config(tokenizer.vocab_size(), context, tokenizer.eos());
            let params = initial_params(&config, settings.seed, device)?;
            stages.progress(2, 1.0, count(params.elements()));
            Ok(Model { name: name.clone(), config, params, tokenizer, chat: None, resumed: None })
        }
        ModelSource::Checkpoint(path) => opened(&Place::Path(path.clone()), device, stages),
        ModelSource::Hub(text) => {
            let id = HubId::parse(text).ok_or_else(|| PrepareError::NotOfTheHub(text.clone()))?;
            opened(&Place::Hub(id), device, stages)
        }
    }
}

/// Opens a checkpoint, which may have to be fetched.
fn opened(place: &Place, device: &Device, stages: &mut Stages) -> Result<Model, PrepareError> {
    let opened = Checkpoint::open_at(place, device, &mut |loading| {
        stages.progress(2, loading.share(), loading.to_string());
    });
    let opened = opened.map_err(|error| PrepareError::Checkpoint(Box::new(error)))?;
    let Checkpoint { name, config, params, tokenizer, chat } = opened;
    stages.progress(1, 1.0, format!("{} tokens", tokenizer.vocab_size()));
    stages.progress(2, 1.0, count(params.elements()));
    Ok(Model { name, config, params, tokenizer, chat, resumed: None })
}

fn count(parameters: usize) -> String {
    format!("{:.1} M parameters", parameters as f64 / 1e6)
}

/// Texts to train on, and texts apart from them where the source brings its own.
struct Documents {
    train: Vec<Document>,
    held_out: Option<Vec<Document>>,
}

impl Documents {
    fn read(data: &DataSource, seed: u64) -> Result<Self, PrepareError> {
        let facts = |style| {
            let sentences = facts::sentences(style, seed);
            // The answer begins behind its label, with the space.
            let document =
                |text: String| Document { answer: text.find(ANSWER).map(|at| at + ANSWER.len()), text };
            let documents = |texts: Vec<String>| texts.into_iter().map(document).collect();
            Self { train: documents(sentences.train), held_out: Some(documents(sentences.held_out)) }
        };
        Ok(match data {
            DataSource::Builtin => facts(Style::Statements),
            DataSource::BuiltinQa => facts(Style::QuestionsAndAnswers),
            DataSource::Path(path) => Self { train: read_documents(path)?, held_out: None },
            DataSource::Text(text) => Self { train: vec![Document::plain(text)], held_out: None },
        })
    }

    /// The documents as tokens, each with the token that ends a text behind it.
    fn corpora(&self, tokenizer: &Tokenizer, answers_only: bool) -> Result<(Corpus, Corpus), PrepareError> {
        let ended = |ids: Vec<u32>| ids.into_iter().chain(tokenizer.eos()).collect::<Vec<u32>>();
        let answers = |document: &Document| -> Result<(Vec<u32>, usize), PrepareError> {
            let byte = document.answer.unwrap_or(document.text.len());
            let (ids, answer) = tokenizer.encode_from(&document.text, byte)?;
            // Of a text without an answer not even the end is predicted.
            let answer = if document.answer.is_some() { answer } else { usize::MAX };
            Ok((ended(ids), answer))
        };
        let corpus = |documents: &[Document]| -> Result<Corpus, PrepareError> {
            if answers_only {
                let documents = documents.iter().map(answers).collect::<Result<Vec<_>, _>>()?;
                return Ok(Corpus::of_answers(documents));
            }
            let ids = |document: &Document| Ok(ended(tokenizer.encode(&document.text)?));
            Ok(Corpus::new(documents.iter().map(ids).collect::<Result<Vec<_>, PrepareError>>()?))
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
    answers_only: bool,
    tokenizer: &Tokenizer,
) -> Result<(Corpus, Corpus), PrepareError> {
    Documents::read(data, seed)?.corpora(tokenizer, answers_only)
}

/// The first few words of the first document: a prompt that the data itself suggests.
fn opening(documents: &[Document]) -> Option<String> {
    let words: Vec<&str> = documents.first()?.text.split_whitespace().take(6).collect();
    Some(words.join(" "))
}
