//! The pair of small models that a comparison shows where none are named: one that has read statements, and the same
//! weights after learning to answer questions. They are trained once and kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::model::chat::{ChatError, ChatTemplate};
use crate::model::checkpoint::{self, Place};
use crate::model::device::DeviceChoice;
use crate::protocol::{OptimizerKind, PlaneKind};
use crate::ranks::Ranks;
use crate::run::dir::{RunError, cache_folder};
use crate::run::prepare::{ANSWER, PrepareError, prepare};
use crate::run::source::Source;
use crate::settings::{DataSource, ModelSource, Settings, SliceEvery};
use crate::train::facts::{Style, sentences};
use crate::train::preset::Preset;
use crate::train::schedule::Shape;
use crate::train::trainer::{TrainError, Trainer};

/// What both are asked where nothing else is said: a question in the form that the second one has learnt.
pub const QUESTION: &str = "Question: What is the capital of France?\nAnswer: Paris";

/// The folder of the pair in the cache. The number changes with anything that the models are made of.
const FOLDER: &str = "pair-1";
const PRETRAINED: &str = "nano-pretrained";
const INSTRUCT: &str = "nano-instruct";
/// Steps of each.
const PRETRAINING: u64 = 1500;
const INSTRUCTING: u64 = 400;
/// Of the weights, the tokenizer's texts and the batches.
const SEED: u64 = 0;
/// Of the second training: what the first one has taught must not be lost at once.
const INSTRUCT_RATE: f64 = 1e-3;
/// How the second one wants to be asked. A question that has the form already keeps it.
const TEMPLATE: &str = "{% for message in messages %}{% if 'Answer:' in message['content'] %}\
                        {{ message['content'] }} {% else %}Question: {{ message['content'] }}\nAnswer: {% endif %}\
                        {% endfor %}";

/// Why the pair can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// There is no place to keep it.
    #[error(transparent)]
    Cache(#[from] RunError),
    /// A training can't begin.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A training can't go on.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A model can't be written.
    #[error(transparent)]
    Save(Box<checkpoint::Error>),
    /// The cache can't be written.
    #[error("{path}: {source}: name two models, or set XDG_CACHE_HOME to a folder that can be written")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The template of the second model is none.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// Whoever has asked for it is gone.
    #[error("the pair is not made to its end: nobody waits for it any more")]
    Unwanted,
}

/// Where the pair lies: pretrained, then instruct. What the cache lacks is trained first; `show` is told which of the
/// two that is, a line on how far it is, and the share that is done. Fails once it is no longer `wanted`, which is asked
/// before each step.
pub fn open(
    device: DeviceChoice,
    threads: usize,
    wanted: &dyn Fn() -> bool,
    show: &mut dyn FnMut(usize, String, f32),
) -> Result<[Source; 2], PairError> {
    let folder = cache_folder()?.join(FOLDER);
    let _lock = lock(&folder, &mut |line| show(0, line, 0.0))?;
    let [pretrained, instruct] = [PRETRAINED, INSTRUCT].map(|name| folder.join(name));
    let is_there = |path: &Path| path.join("config.json").is_file();
    let preset = Preset::named("nano").ok_or_else(|| PrepareError::UnknownPreset("nano".to_owned()))?;
    if !is_there(&pretrained) {
        // What learnt from other weights would be no pair with these.
        if is_there(&instruct) {
            checkpoint::remove(&instruct).map_err(io(&instruct))?;
        }
        let texts = folder.join("pretraining.jsonl");
        write_texts(&texts).map_err(io(&texts))?;
        let model = ModelSource::Preset(preset.name.to_owned());
        let settings = settings(model, DataSource::Path(texts), preset, device, threads);
        train(&settings, &pretrained, None, wanted, &mut |line, share| show(0, line, share))?;
    }
    show(0, "trained".to_owned(), 1.0);
    if !is_there(&instruct) {
        let settings = Settings {
            learning_rate: INSTRUCT_RATE,
            steps: Some(INSTRUCTING),
            decay_steps: INSTRUCTING,
            answers_only: true,
            ..settings(
                ModelSource::Checkpoint(pretrained.clone()),
                DataSource::BuiltinQa,
                preset,
                device,
                threads,
            )
        };
        let chat = ChatTemplate::new(TEMPLATE, BTreeMap::new())?;
        train(&settings, &instruct, Some(&chat), wanted, &mut |line, share| show(1, line, share))?;
    }
    show(1, "trained".to_owned(), 1.0);
    Ok([pretrained, instruct].map(|path| Source { place: Place::Path(path), name: None }))
}

/// Keeps other processes from making the pair at the same time; the lock goes with the file.
fn lock(folder: &Path, show: &mut dyn FnMut(String)) -> Result<File, PairError> {
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(io(&path))?;
    if file.try_lock().is_err() {
        show("another process is making the pair".to_owned());
        file.lock().map_err(io(&path))?;
    }
    Ok(file)
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> PairError {
    let path = path.to_owned();
    move |source| PairError::Io { path: path.clone(), source }
}

/// Writes what the first model reads: statements, and questions without their answers. It gets to know all words, and
/// never sees that a question is answered.
fn write_texts(path: &Path) -> std::io::Result<()> {
    let cut =
        |text: &String| text.find(ANSWER).map_or(text.clone(), |at| text[..at + ANSWER.len()].to_owned());
    let styles = [Style::Statements, Style::QuestionsAndAnswers];
    let texts = styles.iter().flat_map(|style| sentences(*style, SEED).train);
    let lines = texts.map(|text| format!("{}\n", serde_json::json!({ "text": cut(&text) })));
    std::fs::write(path, lines.collect::<String>())
}

/// Trains a model to the last step of its settings and saves it.
fn train(
    settings: &Settings,
    folder: &Path,
    chat: Option<&ChatTemplate>,
    wanted: &dyn Fn() -> bool,
    show: &mut dyn FnMut(String, f32),
) -> Result<(), PairError> {
    show("getting ready".to_owned(), 0.01);
    let prepared = prepare(settings, folder, None, &Ranks::alone(), &mut |_| {})?;
    let mut trainer: Trainer = prepared.trainer;
    let steps = settings.steps.unwrap_or(PRETRAINING);
    while trainer.steps_taken() < steps {
        if !wanted() {
            return Err(PairError::Unwanted);
        }
        let report = trainer.step()?;
        let share = report.step as f32 / steps as f32;
        show(format!("training, step {} of {steps}, loss {:.3}", report.step, report.norms.loss), share);
    }
    let config = trainer.llama().config().clone();
    checkpoint::save(folder, &config, &trainer.params(), &prepared.tokenizer, chat)
        .map_err(|error| PairError::Save(Box::new(error)))
}

/// A training of the built-in facts as `train` would do it.
fn settings(
    model: ModelSource,
    data: DataSource,
    preset: Preset,
    device: DeviceChoice,
    threads: usize,
) -> Settings {
    Settings {
        name: FOLDER.to_owned(),
        model,
        data,
        steps: Some(PRETRAINING),
        optimizer: OptimizerKind::AdamW,
        learning_rate: preset.learning_rate,
        weight_decay: 0.1,
        schedule: Shape::Cosine,
        warmup: 20,
        decay_steps: PRETRAINING,
        batch_size: preset.batch_size,
        context: Some(preset.context),
        accumulate: 1,
        clip: 1.0,
        seed: SEED,
        eval_every: PRETRAINING,
        save_every: None,
        keep_last: 1,
        slice_every: Some(SliceEvery::Off),
        grid: 0,
        plane: PlaneKind::Random,
        device,
        threads,
        paused: false,
        answers_only: false,
        freeze: Vec::new(),
        early_stop: None,
        sample_every: None,
        precision: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_that_nobody_waits_for_any_more_ends_before_its_next_step_and_leaves_no_model() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("pretrained");
        let preset = Preset::named("nano").unwrap();
        let model = ModelSource::Preset(preset.name.to_owned());
        let settings = settings(model, DataSource::Builtin, preset, DeviceChoice::Cpu, 1);
        let shown = std::cell::Cell::new(0);
        let outcome =
            train(&settings, &folder, None, &|| shown.get() < 2, &mut |_, _| shown.update(|n| n + 1));
        assert!(matches!(outcome, Err(PairError::Unwanted)), "{outcome:?}");
        // That it gets ready, and one step.
        assert_eq!((shown.get(), folder.exists()), (2, false));
    }

    #[test]
    fn the_first_model_never_sees_an_answer_and_the_second_is_asked_as_it_has_learnt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.jsonl");
        write_texts(&path).unwrap();
        let texts = std::fs::read_to_string(&path).unwrap();
        let questions = texts.lines().filter(|line| line.contains("Question:"));
        assert!(questions.clone().count() > 100);
        assert!(questions.clone().all(|line| line.ends_with("Answer:\"}")), "{texts}");

        let chat = ChatTemplate::new(TEMPLATE, BTreeMap::new()).unwrap();
        assert_eq!(chat.converse("What is the capital of France? Paris").unwrap(), QUESTION);
        assert_eq!(chat.converse(QUESTION).unwrap(), QUESTION);
        let learnt = sentences(Style::QuestionsAndAnswers, SEED);
        assert!(learnt.train.iter().chain(&learnt.held_out).any(|text| *text == format!("{QUESTION}.")));
    }
}
