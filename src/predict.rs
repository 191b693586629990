//! What a model says comes next.

use candle_core::{DType, Device, Result, Tensor};

use crate::model::checkpoint::Checkpoint;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;
use crate::protocol::{Candidate, Prediction};

/// What a model says of a text: how well it predicts each token, and what it expects at the end.
#[derive(Debug, Clone)]
pub struct Reading {
    /// `(seq, vocab_size)`, on the CPU.
    logits: Tensor,
    /// Loss in nats of each token but the first, given those before it.
    pub token_losses: Vec<f64>,
    /// Probabilities at the place of the last token, given those before it. The last token is the target.
    pub target: Vec<f64>,
    /// Probabilities of the token after the text.
    pub next: Vec<f64>,
}

impl Reading {
    /// Runs the model over `ids`, two tokens at least.
    pub fn of(llama: &Llama, params: &Params, ids: &[u32], device: &Device) -> Result<Self> {
        let input = Tensor::new(ids, device)?.unsqueeze(0)?; // (1, seq)
        let logits = llama.forward(params, &input)?.squeeze(0)?.to_device(&Device::Cpu)?; // (seq, vocab_size)
        let place = |at: usize| log_probabilities(&logits, at);
        let token_losses =
            (1..ids.len()).map(|at| Ok(-place(at - 1)?[ids[at] as usize])).collect::<Result<Vec<f64>>>()?;
        let probabilities = |at| -> Result<Vec<f64>> { Ok(place(at)?.into_iter().map(f64::exp).collect()) };
        let (target, next) = (probabilities(ids.len() - 2)?, probabilities(ids.len() - 1)?);
        Ok(Self { logits, token_losses, target, next })
    }

    /// Mean of the token losses.
    pub fn loss(&self) -> f64 {
        self.token_losses.iter().sum::<f64>() / self.token_losses.len() as f64
    }
}

/// Kullback-Leibler divergences in nats of two models' distributions at each place of one text, the token after it
/// included: `sum p (log p - log q)` with the first model's `p` and the second's `q`, and the other way round. Both
/// models must have the same tokens.
pub fn divergences(a: &Reading, b: &Reading) -> Result<Vec<[f64; 2]>> {
    let at = |place| -> Result<[f64; 2]> {
        let (a, b) = (log_probabilities(&a.logits, place)?, log_probabilities(&b.logits, place)?);
        let terms = a.into_iter().zip(b).map(|(a, b)| [a.exp() * (a - b), b.exp() * (b - a)]);
        Ok(terms.fold([0.0; 2], |sums, terms| [sums[0] + terms[0], sums[1] + terms[1]]))
    };
    (0..a.logits.dim(0)?).map(at).collect()
}

/// Means of [`divergences`] over all places.
pub fn mean_divergences(at_places: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|way| at_places.iter().map(|kl| kl[way]).sum::<f64>() / at_places.len() as f64)
}

/// Log-probabilities of the token that follows a place; `logits` is `(seq, vocab_size)`.
fn log_probabilities(logits: &Tensor, place: usize) -> Result<Vec<f64>> {
    Ok(log_softmax(&logits.get(place)?.to_dtype(DType::F64)?.to_vec1()?))
}

/// `x - log(sum(exp(x)))`.
fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - log_sum).collect()
}

/// The `count` likeliest tokens, likeliest first; of equals the smaller number.
pub fn likeliest(probabilities: &[f64], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..probabilities.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        probabilities[*b as usize].total_cmp(&probabilities[*a as usize]).then_with(|| a.cmp(b))
    };
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

/// Rank of a token: 1 plus the number of likelier ones.
pub fn rank(probabilities: &[f64], id: u32) -> usize {
    let own = probabilities[id as usize];
    1 + probabilities.iter().filter(|p| **p > own).count()
}

/// Entropy in bits.
pub fn entropy(probabilities: &[f64]) -> f64 {
    probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum()
}

/// The tokens that are likeliest to either of two models of one vocabulary, `count` of them.
pub fn likeliest_of_both(a: &[f64], b: &[f64], count: usize) -> Vec<u32> {
    let greater: Vec<f64> = a.iter().zip(b).map(|(a, b)| a.max(*b)).collect();
    likeliest(&greater, count)
}

/// A text whose last token a model is asked for, followed from step to step.
#[derive(Debug, Clone)]
pub struct Prompt {
    text: String,
    rendered: Option<String>,
    ids: Vec<u32>,
    previous: Option<Vec<f64>>,
}

impl Prompt {
    /// Bars that are drawn at most.
    pub const CANDIDATES: usize = 24;

    /// A prompt whose last token is the target; fails with one line for the person who typed it.
    pub fn new(
        text: &str,
        tokenizer: &Tokenizer,
        context: usize,
        vocab_size: usize,
    ) -> std::result::Result<Self, String> {
        let ids = tokenizer.encode(text).map_err(|error| error.to_string())?;
        Self::checked(text, None, ids, context, vocab_size)
    }

    /// A prompt for this model, inside its chat template if that is wished for.
    pub fn of(checkpoint: &Checkpoint, text: &str, template: bool) -> std::result::Result<Self, String> {
        let Checkpoint { name, config, tokenizer, chat, .. } = checkpoint;
        let (context, vocab_size) = (config.max_position_embeddings, config.vocab_size);
        if !template {
            return Self::new(text, tokenizer, context, vocab_size);
        }
        let chat = chat.as_ref().ok_or_else(|| format!("{name} has no chat template: ask it without one"))?;
        let rendered = chat.converse(text).map_err(|error| error.to_string())?;
        // The template says itself what begins a text.
        let ids = tokenizer.encode_raw(&rendered).map_err(|error| error.to_string())?;
        Self::checked(text, Some(rendered), ids, context, vocab_size)
    }

    fn checked(
        text: &str,
        rendered: Option<String>,
        ids: Vec<u32>,
        context: usize,
        vocab_size: usize,
    ) -> std::result::Result<Self, String> {
        if ids.len() < 2 {
            return Err(format!("{} token: a prompt needs two, the last is the target", ids.len()));
        }
        if ids.len() > context {
            return Err(format!(
                "{} tokens are more than the model's context of {context}: shorten it",
                ids.len()
            ));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(format!(
                "token {id} is outside the model's {vocab_size} tokens: the tokenizer is another model's"
            ));
        }
        Ok(Self { text: text.to_owned(), rendered, ids, previous: None })
    }

    /// The text as it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text inside the chat template, where it is in one.
    pub fn rendered(&self) -> Option<&str> {
        self.rendered.as_deref()
    }

    /// Its tokens, two at least.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Its last token.
    pub fn target(&self) -> u32 {
        self.ids[self.ids.len() - 1]
    }

    /// What the model says now, beside what it said the last time this was called.
    pub fn predict(
        &mut self,
        llama: &Llama,
        params: &Params,
        tokenizer: &Tokenizer,
        device: &Device,
        step: u64,
    ) -> Result<Prediction> {
        let reading = Reading::of(llama, params, &self.ids, device)?;
        let candidates = likeliest(&reading.target, Self::CANDIDATES);
        let prediction = self.prediction(&reading, &candidates, self.previous.as_deref(), tokenizer, step);
        self.previous = Some(reading.target);
        Ok(prediction)
    }

    /// What weights say, beside what the model said the last time that [`Self::predict`] was called.
    pub fn beside(
        &self,
        llama: &Llama,
        params: &Params,
        tokenizer: &Tokenizer,
        device: &Device,
        step: u64,
    ) -> Result<Prediction> {
        let reading = Reading::of(llama, params, &self.ids, device)?;
        let candidates = likeliest(&reading.target, Self::CANDIDATES);
        Ok(self.prediction(&reading, &candidates, self.previous.as_deref(), tokenizer, step))
    }

    /// A reading of this prompt at a step as bars of these candidates, beside other probabilities of the vocabulary.
    pub fn prediction(
        &self,
        reading: &Reading,
        candidates: &[u32],
        previous: Option<&[f64]>,
        tokenizer: &Tokenizer,
        step: u64,
    ) -> Prediction {
        let target = self.target();
        let before = |id: u32| previous.map(|p| p[id as usize]);
        let candidate = |&id: &u32| Candidate {
            token: tokenizer.token(id),
            probability: reading.target[id as usize],
            previous: before(id),
        };
        Prediction {
            step,
            at: None,
            prompt: self.text.clone(),
            tokens: self.ids.iter().map(|&id| tokenizer.token(id)).collect(),
            probability: reading.target[target as usize],
            previous_probability: before(target),
            rank: rank(&reading.target, target),
            previous_rank: previous.map(|p| rank(p, target)),
            loss: reading.loss(),
            entropy: entropy(&reading.target),
            candidates: candidates.iter().map(candidate).collect(),
            written: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_equals_in_order_of_their_numbers() {
        assert_eq!(likeliest(&[0.1, 0.4, 0.1, 0.3, 0.1], 4), [1, 3, 0, 2]);
        assert_eq!(likeliest(&[0.5, 0.5], 8), [0, 1]);
    }

    #[test]
    fn a_rank_counts_only_what_is_likelier() {
        assert_eq!(rank(&[0.2, 0.4, 0.2, 0.2], 2), 2);
        assert_eq!(rank(&[0.2, 0.4, 0.2, 0.2], 1), 1);
    }

    #[test]
    fn the_entropy_of_eight_equal_tokens_is_three_bits() {
        assert!((entropy(&[0.125; 8]) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_log_softmax_stands_logits_of_any_size() {
        let row = log_softmax(&[1000.0, 999.0, -1000.0]);
        assert!((row[0] + (1.0 + (-1.0_f64).exp()).ln()).abs() < 1e-9);
        assert!((row.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
