//! What the model says of the prompt: with the weights as they are, or with those at a place of the landscape that
//! somebody looks at.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Result;

use super::board::Board;
use super::pace::Pace;
use super::pictures::{Pictures, is_place};
use crate::generate::{Generator, Sampling};
use crate::model::tokenizer::Tokenizer;
use crate::predict::Prompt;
use crate::protocol::Prediction;
use crate::train::trainer::Trainer;

/// Tokens of a sample.
const SAMPLE: usize = 32;

/// Reads the prompt and publishes what comes of it.
#[derive(Debug)]
pub struct Reader {
    board: Arc<Board>,
    tokenizer: Tokenizer,
    prompt: Option<Prompt>,
    /// What the weights themselves say, unless they are others by now.
    own: Option<Prediction>,
    /// The place that is looked at; without one, the weights themselves are.
    place: Option<[f64; 2]>,
    /// The number of the slice on which the place was read.
    read_on: Option<u64>,
    /// Something else is asked for than what is published.
    stale: bool,
    pace: Pace,
}

impl Reader {
    /// Nothing is read yet.
    pub fn new(board: Arc<Board>, tokenizer: Tokenizer, prompt: Option<Prompt>) -> Self {
        Self {
            board,
            tokenizer,
            prompt,
            own: None,
            place: None,
            read_on: None,
            stale: false,
            pace: Pace::default(),
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The text that is read, if there is one.
    pub fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// Takes another prompt, to be read by [`Self::refresh`].
    pub fn set_prompt(&mut self, text: &str, trainer: &Trainer) {
        let config = trainer.llama().config();
        match Prompt::new(text, &self.tokenizer, config.max_position_embeddings, config.vocab_size) {
            Ok(prompt) => {
                self.prompt = Some(prompt);
                self.own = None;
                self.stale = true;
            }
            Err(reason) => log::warn!("the prompt: {reason}"),
        }
    }

    /// Looks at a place of the slice on show, if there is one, or at the weights themselves, to be read by
    /// [`Self::refresh`].
    pub fn look_at(&mut self, place: Option<[f64; 2]>, pictures: Option<&Pictures>) {
        if place.is_some() && pictures.and_then(Pictures::number).is_none() {
            log::warn!("there is no slice yet, and so no place to look at");
            return;
        }
        if place.is_some_and(|place| !is_place(place)) {
            log::warn!("no slice has such a place to look at");
            return;
        }
        self.stale |= self.place != place;
        self.place = place;
    }

    /// Looks at the weights themselves.
    pub fn look_away(&mut self) {
        self.look_at(None, None);
    }

    /// The weights are others now.
    pub fn moved(&mut self) {
        self.own = None;
    }

    /// Whether the prompt is to be read again beside a running training.
    pub fn due(&self) -> bool {
        self.place.is_none() && self.pace.due()
    }

    /// Publishes what the weights themselves say. A place that is looked at is read again on the next slice instead.
    pub fn read(&mut self, trainer: &Trainer) {
        if self.place.is_none() {
            self.stale = true;
            self.refresh(trainer, None);
        }
    }

    /// Whether something else is to be published: another place or prompt, or the place on another slice.
    pub fn is_stale(&self, pictures: Option<&Pictures>) -> bool {
        self.stale || self.place.is_some() && self.read_on != pictures.and_then(Pictures::number)
    }

    /// Publishes what is asked for, where that is something else.
    pub fn refresh(&mut self, trainer: &Trainer, pictures: Option<&Pictures>) {
        if !self.is_stale(pictures) {
            return;
        }
        // What fails once is not tried again and again.
        self.stale = false;
        self.read_on = pictures.and_then(Pictures::number);
        let begun = Instant::now();
        let prediction = match (self.place, pictures) {
            (Some(place), Some(pictures)) => self.there(trainer, pictures, place),
            _ => self.here(trainer),
        };
        match prediction {
            Ok(Some(prediction)) => self.board.set_prediction(prediction),
            Ok(None) => {}
            Err(error) => log::error!("the prompt can't be predicted: {error}"),
        }
        self.pace.took(begun.elapsed());
    }

    /// What the weights themselves say.
    fn here(&mut self, trainer: &Trainer) -> Result<Option<Prediction>> {
        let Some(prompt) = &mut self.prompt else { return Ok(None) };
        if self.own.is_none() {
            let (params, step) = (trainer.params(), trainer.steps_taken());
            let own = prompt.predict(trainer.llama(), &params, &self.tokenizer, trainer.device(), step)?;
            self.own = Some(own);
        }
        Ok(self.own.clone())
    }

    /// What the weights at a place of the slice on show say, beside what the weights themselves do.
    fn there(
        &mut self,
        trainer: &Trainer,
        pictures: &Pictures,
        place: [f64; 2],
    ) -> Result<Option<Prediction>> {
        self.here(trainer)?;
        let Some(prompt) = &self.prompt else { return Ok(None) };
        let (step, params) = pictures.weights_at(place)?;
        prompt.look(trainer.llama(), &params, &self.tokenizer, trainer.device(), step, place).map(Some)
    }

    /// Lets the model write on from the prompt's beginning.
    pub fn sample(&self, trainer: &Trainer) -> Option<String> {
        let (prompt, params) = (self.prompt.as_ref()?, trainer.params());
        let known = &prompt.ids()[..prompt.ids().len() - 1];
        let generator = Generator::new(known, SAMPLE, Sampling::GREEDY);
        match generator.finish(trainer.llama(), &params, &self.tokenizer) {
            Ok(written) => {
                let text = self.tokenizer.text(known) + &written;
                log::info!("step {}: {}", trainer.steps_taken(), text.replace('\n', " "));
                Some(text)
            }
            Err(error) => {
                log::error!("nothing can be sampled: {error}");
                None
            }
        }
    }
}
