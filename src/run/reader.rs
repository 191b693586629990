//! What the model says of the prompt: with the weights as they are, or with those at a place of the landscape that
//! somebody looks at.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Result;

use super::board::Board;
use super::pace::Pace;
use super::pictures::{Pictures, is_place};
use crate::generate::{Generator, Sampling};
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;
use crate::predict::Prompt;
use crate::protocol::Prediction;
use crate::train::trainer::Trainer;

/// Tokens of a sample.
const SAMPLE: usize = 32;
/// Tokens of the line that is written on below the bars.
const LINE: usize = 12;

/// A line that is being written on from the prompt.
struct Line {
    generator: Generator,
    /// The weights at the place that is looked at; without them the trainer's own write.
    params: Option<Params>,
    /// What those weights say of the prompt, as it was published.
    prediction: Prediction,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Line").field("prediction", &self.prediction).finish_non_exhaustive()
    }
}

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
    /// The line that what is published still lacks.
    line: Option<Line>,
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
            line: None,
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
        self.line = self.line.take().filter(|line| line.params.is_some());
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
        self.line = None;
        self.read_on = pictures.and_then(Pictures::number);
        let begun = Instant::now();
        let read = match (self.place, pictures) {
            (Some(place), Some(pictures)) => self.there(trainer, pictures, place),
            _ => self.here(trainer).map(|own| own.map(|own| (own, None))),
        };
        match read {
            Ok(Some((prediction, params))) => {
                self.board.set_prediction(prediction.clone());
                if prediction.written.is_none() {
                    self.line = self.generator(LINE).map(|generator| Line { generator, params, prediction });
                }
            }
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

    /// What the weights at a place of the slice on show say, beside what the weights themselves do, and those weights.
    fn there(
        &mut self,
        trainer: &Trainer,
        pictures: &Pictures,
        place: [f64; 2],
    ) -> Result<Option<(Prediction, Option<Params>)>> {
        self.here(trainer)?;
        let Some(prompt) = &self.prompt else { return Ok(None) };
        let (step, params) = pictures.weights_at(place)?;
        let said = prompt.beside(trainer.llama(), &params, &self.tokenizer, trainer.device(), step)?;
        Ok(Some((Prediction { at: Some(place), ..said }, Some(params))))
    }

    /// Whether what is published lacks its line.
    pub fn lacks_line(&self) -> bool {
        self.line.is_some()
    }

    /// Writes one more token of the line that is lacking, and publishes what lacked it once it is whole: an engine that
    /// waits looks for commands between tokens.
    pub fn write_on(&mut self, trainer: &Trainer) {
        let Some(line) = &mut self.line else { return };
        let own = trainer.params();
        let params = line.params.as_ref().unwrap_or(&own);
        match line.generator.next(trainer.llama(), params, self.tokenizer.eos()) {
            Ok(Some(_)) => return,
            Ok(None) => {
                line.prediction.written = Some(line.generator.text(&self.tokenizer));
                if line.params.is_none() {
                    self.own = Some(line.prediction.clone());
                }
                self.board.set_prediction(line.prediction.clone());
            }
            Err(error) => log::error!("the prompt can't be written on: {error}"),
        }
        self.line = None;
    }

    /// Writes the whole line of a place that is looked at, where that is due beside a running training. The weights
    /// themselves are others by the next step.
    pub fn write_beside(&mut self, trainer: &Trainer) {
        if self.place.is_none() || !self.lacks_line() || !self.pace.due() {
            return;
        }
        let begun = Instant::now();
        while self.lacks_line() {
            self.write_on(trainer);
        }
        self.pace.took(begun.elapsed());
    }

    /// Writes on from the prompt without its target.
    fn generator(&self, count: usize) -> Option<Generator> {
        let (_, known) = self.prompt.as_ref()?.ids().split_last()?;
        Some(Generator::new(known, count, Sampling::GREEDY))
    }

    /// Lets the model write on from the prompt's beginning.
    pub fn sample(&self, trainer: &Trainer) -> Option<String> {
        let (prompt, params) = (self.prompt.as_ref()?, trainer.params());
        let known = &prompt.ids()[..prompt.ids().len() - 1];
        let generator = self.generator(SAMPLE)?;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use candle_core::{DType, Device};

    use super::super::board::Cursor;
    use super::super::kept::Kept;
    use super::super::slicer::Slicer;
    use super::*;
    use crate::model::llama::Llama;
    use crate::protocol::{OptimizerKind, PlaneKind};
    use crate::train::corpus::Batch;
    use crate::train::preset::{Preset, initial_params};
    use crate::train::trainer::{Objective, Recipe};

    const TEXT: &str = "The capital of France is Paris";

    /// A reader of a text, of a model at step 0.
    fn begun() -> (Reader, Trainer, Arc<Board>) {
        let tokenizer = Tokenizer::train([TEXT].iter(), 300).unwrap();
        let config = Preset::named("nano").unwrap().config(tokenizer.vocab_size(), 64, None);
        let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
        let params = initial_params(&config, 3, &Device::Cpu).unwrap();
        let prompt = Prompt::new(TEXT, &tokenizer, 64, tokenizer.vocab_size()).unwrap();
        let recipe = Recipe { seed: 1, clip: 1.0, ..Recipe::plain(OptimizerKind::Sgd, 1e-2) };
        let objective = Objective::Text(Batch::new(vec![prompt.ids().to_vec()]));
        let trainer = Trainer::new(llama, params, |_| true, objective, recipe, &Device::Cpu, 1).unwrap();
        let board = Arc::new(Board::default());
        (Reader::new(Arc::clone(&board), tokenizer, Some(prompt)), trainer, board)
    }

    fn published(board: &Board) -> Prediction {
        board.since(&mut Cursor::default()).0.prediction.unwrap()
    }

    /// Writes the line, a token at a time, and takes what is published then.
    fn written(reader: &mut Reader, trainer: &Trainer, board: &Board) -> Prediction {
        let bars = published(board);
        let mut tokens = 0;
        while reader.lacks_line() {
            assert_eq!(published(board), bars, "it is published once it is whole");
            reader.write_on(trainer);
            tokens += 1;
        }
        assert!(tokens <= LINE + 1);
        let whole = published(board);
        assert_eq!(Prediction { written: None, ..whole.clone() }, bars);
        whole
    }

    #[test]
    fn the_bars_are_published_first_and_then_again_with_the_line_of_the_same_weights() {
        let (mut reader, mut trainer, board) = begun();
        reader.read(&trainer);
        assert_eq!(published(&board).written, None);
        let line = written(&mut reader, &trainer, &board).written.unwrap();
        let generator = reader.generator(LINE).unwrap();
        assert_eq!(line, generator.finish(trainer.llama(), &trainer.params(), reader.tokenizer()).unwrap());

        trainer.step().unwrap();
        reader.moved();
        reader.read(&trainer);
        let moved = published(&board);
        assert_eq!((moved.step, moved.written), (1, None), "that was the line of other weights");
        trainer.step().unwrap();
        reader.moved();
        assert!(!reader.lacks_line(), "the weights that were to write it are gone");
    }

    #[test]
    fn a_place_writes_a_line_of_its_own_and_the_weights_keep_theirs() {
        let (mut reader, trainer, board) = begun();
        let (told, levels) = mpsc::channel();
        let slicer = Slicer::spawn(1, move |report| drop(told.send(report))).unwrap();
        let mut pictures = Pictures::new(slicer, 9, PlaneKind::Random, 0);
        pictures.begin(&trainer, None, &Kept::within(0), false).unwrap();
        pictures.receive(levels.recv().unwrap()).unwrap();
        reader.read(&trainer);
        let here = written(&mut reader, &trainer, &board);

        reader.look_at(Some([1.0, -1.0]), Some(&pictures));
        reader.refresh(&trainer, Some(&pictures));
        let there = written(&mut reader, &trainer, &board);
        assert_eq!(there.at, Some([1.0, -1.0]));
        assert!(there.written.is_some() && there.written != here.written, "{there:?}");

        reader.look_away();
        reader.refresh(&trainer, Some(&pictures));
        assert!(!reader.lacks_line());
        assert_eq!(published(&board), here, "nothing is written twice");
    }
}
