//! One of the two models: its checkpoint, the prompt as it reads it, and the steps that it has taken here.

use candle_core::{DType, Device, Result};

use crate::generate::{Generator, Sampling};
use crate::landscape::plane::Position;
use crate::landscape::survey::Survey;
use crate::model::checkpoint::Checkpoint;
use crate::model::llama::Llama;
use crate::model::memory::{available, size};
use crate::model::params::Params;
use crate::predict::{Prompt, Reading};
use crate::protocol::comparison::{Sample, SideView, Template};
use crate::protocol::{Drift, OptimizerKind};
use crate::train::corpus::Batch;
use crate::train::trainer::{Objective, Recipe, StepReport, Trainer};

/// The gradient norm above which gradients are scaled down.
const CLIP: f64 = 1.0;
/// Tokens that are written at most.
const MOST_WRITTEN: usize = 128;

/// A checkpoint that reads a prompt.
#[derive(Debug)]
pub(super) struct Model {
    checkpoint: Checkpoint,
    llama: Llama,
    device: Device,
    threads: usize,
    prompt: Prompt,
    template: bool,
    /// The prompt has the form of the template already.
    given: bool,
    /// Made for the first step.
    trainer: Option<Trainer>,
    /// Counts the changes of the weights.
    revision: u64,
    at_weights: Option<Reading>,
    at_place: Option<Reading>,
}

impl Model {
    /// A checkpoint whose tables are made for computing on `device`. Fails with one line where it can't read the text.
    pub(super) fn new(
        checkpoint: Checkpoint,
        text: &str,
        template: bool,
        device: &Device,
        threads: usize,
    ) -> std::result::Result<Self, String> {
        let prompt = Prompt::of(&checkpoint, text, template)
            .map_err(|problem| format!("the prompt, to {}: {problem}", checkpoint.name))?;
        let llama = Llama::new(&checkpoint.config, DType::F32, device).map_err(|error| error.to_string())?;
        let given = is_given(&checkpoint, &prompt, template);
        Ok(Self {
            checkpoint,
            llama,
            device: device.clone(),
            threads,
            prompt,
            template,
            given,
            trainer: None,
            revision: 0,
            at_weights: None,
            at_place: None,
        })
    }

    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(super) fn llama(&self) -> &Llama {
        &self.llama
    }

    pub(super) fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// The prompt as a batch: every token but the first is predicted.
    pub(super) fn batch(&self) -> Batch {
        Batch::new(vec![self.prompt.ids().to_vec()])
    }

    /// Steps taken since the checkpoint.
    pub(super) fn steps(&self) -> u64 {
        self.trainer.as_ref().map_or(0, Trainer::steps_taken)
    }

    /// Counts the changes of the weights.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The weights as they are now, which no later step changes.
    pub(super) fn weights(&self) -> Result<Params> {
        match &self.trainer {
            Some(trainer) => trainer.params().frozen(),
            None => Ok(self.checkpoint.params.clone()),
        }
    }

    /// The weights, which the next step changes.
    fn params(&self) -> Params {
        self.trainer.as_ref().map_or_else(|| self.checkpoint.params.clone(), Trainer::params)
    }

    /// Refuses a step that no memory holds: weights of its own, gradients, and two moments.
    fn check_memory(&self) -> std::result::Result<(), String> {
        let needed = 4 * size_of::<f32>() as u64 * self.checkpoint.params.elements() as u64;
        let available = available();
        if self.device.is_cpu() && needed > available {
            let (needed, available) = (size(needed), size(available));
            return Err(format!("a step takes {needed} of memory, {available} can be had"));
        }
        Ok(())
    }

    /// Reads another text, or the same with its chat template put round it or taken off. Where it can't, nothing changes.
    pub(super) fn read(&mut self, prompt: Prompt, template: bool) {
        self.given = is_given(&self.checkpoint, &prompt, template);
        (self.prompt, self.template) = (prompt, template);
        (self.at_weights, self.at_place) = (None, None);
        let objective = Objective::Text(self.batch());
        if let Some(trainer) = &mut self.trainer {
            trainer.set_objective(objective);
        }
    }

    /// Whether the prompt is inside the chat template.
    pub(super) fn templated(&self) -> bool {
        self.template
    }

    /// Whether the prompt reads the same inside the chat template and as it is.
    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    /// Takes one step down the mean loss of the prompt. On an error, one line, the weights are those before it.
    pub(super) fn step(
        &mut self,
        rate: f64,
        optimizer: OptimizerKind,
    ) -> std::result::Result<StepReport, String> {
        if self.trainer.is_none() {
            self.check_memory()?;
            let recipe = Recipe { clip: CLIP, ..Recipe::plain(optimizer, rate) };
            let (params, objective) = (self.checkpoint.params.clone(), Objective::Text(self.batch()));
            let trainer = Trainer::new(
                self.llama.clone(),
                params,
                |_| true,
                objective,
                recipe,
                &self.device,
                self.threads,
            );
            self.trainer = Some(trainer.map_err(|error| format!("it can't be trained: {error}"))?);
        }
        let Some(trainer) = &mut self.trainer else { return Err("it can't be trained".to_owned()) };
        if trainer.optimizer().kind() != optimizer {
            trainer.set_optimizer(optimizer);
        }
        trainer.scale_learning_rate(rate / trainer.learning_rate());
        let report = trainer.step().map_err(|error| error.to_string())?;
        self.revision += 1;
        self.at_weights = None;
        Ok(report)
    }

    /// Takes the weights of the checkpoint again.
    pub(super) fn back(&mut self) {
        self.trainer = None;
        self.revision += 1;
        self.at_weights = None;
    }

    /// Reads the prompt with the weights as they are, unless that is known, and returns the mean loss.
    pub(super) fn loss(&mut self) -> Result<f64> {
        if let Some(reading) = &self.at_weights {
            return Ok(reading.loss());
        }
        let reading = Reading::of(&self.llama, &self.params(), self.prompt.ids(), &self.device)?;
        Ok(self.at_weights.insert(reading).loss())
    }

    /// Reads the prompt with other weights; `None` goes back to its own.
    pub(super) fn look(&mut self, params: Option<&Params>) -> Result<()> {
        let read = |params| Reading::of(&self.llama, params, self.prompt.ids(), &self.device);
        self.at_place = params.map(read).transpose()?;
        Ok(())
    }

    /// What it says at the place that it was last looked at.
    pub(super) fn reading(&self) -> Option<&Reading> {
        self.at_place.as_ref().or(self.at_weights.as_ref())
    }

    /// Where its weights are on a slice around earlier ones.
    pub(super) fn drift(&self, survey: &Survey) -> Result<Drift> {
        let Position { distance, inside, captured } =
            survey.plane().position(survey.origin(), &self.params())?;
        Ok(Drift { distance, inside, captured, step_length: None })
    }

    /// Begins to write on from the prompt without its target, with these weights or else its own.
    pub(super) fn write(&self, params: Option<Params>, sampling: Sampling) -> Result<Writer> {
        let known = &self.prompt.ids()[..self.prompt.ids().len() - 1];
        let params = params.map_or_else(|| self.weights(), Ok)?;
        let prompt = self.checkpoint.tokenizer.text(known);
        Ok(Writer { generator: Generator::new(known, MOST_WRITTEN, sampling), params, prompt })
    }

    /// What is shown of it, in place of what stood there before.
    pub(super) fn describe(&self, view: &mut SideView) {
        let Checkpoint { name, params, chat, .. } = &self.checkpoint;
        view.name.clone_from(name);
        view.parameters = params.elements() as u64;
        view.template = match (chat, self.template) {
            (None, _) => Template::Absent,
            (Some(_), _) if self.given => Template::Given,
            (Some(_), false) => Template::Off,
            (Some(_), true) => Template::On,
        };
        view.rendered = self.prompt.rendered().filter(|_| !self.given).map(str::to_owned);
        view.steps = self.steps();
    }
}

/// Whether a prompt that is read inside the chat template, or as it is, is the same tokens the other way.
fn is_given(checkpoint: &Checkpoint, prompt: &Prompt, template: bool) -> bool {
    let other = Prompt::of(checkpoint, prompt.text(), !template);
    checkpoint.chat.is_some() && other.is_ok_and(|other| other.ids() == prompt.ids())
}

/// A text that a model is writing.
pub(super) struct Writer {
    generator: Generator,
    params: Params,
    prompt: String,
}

impl Writer {
    /// Writes one more token; the text so far comes back.
    pub(super) fn next(&mut self, model: &Model) -> Result<Sample> {
        let tokenizer = &model.checkpoint.tokenizer;
        let writing = self.generator.next(&model.llama, &self.params, tokenizer.eos())?.is_some();
        let (text, cut) = (self.generator.text(tokenizer), !writing && !self.generator.has_ended());
        Ok(Sample { prompt: self.prompt.clone(), text, writing, cut })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::chat::ChatTemplate;

    fn model(template: &str) -> Model {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-hf");
        let mut checkpoint = Checkpoint::open(&folder, &Device::Cpu, &mut |_| {}).unwrap();
        checkpoint.chat = Some(ChatTemplate::new(template, [].into()).unwrap());
        Model::new(checkpoint, "The capital of France is Paris", false, &Device::Cpu, 1).unwrap()
    }

    #[test]
    fn a_template_that_would_change_nothing_is_there_already() {
        let described = |model: &Model| {
            let mut view = SideView::default();
            model.describe(&mut view);
            (view.template, view.rendered.is_some())
        };
        // The tokenizer begins each text with that token, unless the text is a template's.
        let mut same = model("<|begin|>{{ messages[0].content }} ");
        assert_eq!(described(&same), (Template::Given, false));
        let inside = Prompt::of(&same.checkpoint, same.prompt.text(), true).unwrap();
        same.read(inside, true);
        assert_eq!(described(&same), (Template::Given, false));

        let mut other = model("<|begin|>User: {{ messages[0].content }} Model: ");
        assert_eq!(described(&other), (Template::Off, false));
        let inside = Prompt::of(&other.checkpoint, other.prompt.text(), true).unwrap();
        other.read(inside, true);
        assert_eq!(described(&other), (Template::On, true));
    }
}
