//! Writing on: one token after another, each sampled from what the model says.

use candle_core::Result;
use candle_transformers::generation::LogitsProcessor;

use crate::model::llama::{Cache, Llama};
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Softmax temperature; 0 takes the likeliest token.
    pub temperature: f64,
    /// The likeliest tokens that together have this probability are drawn from (arXiv 1904.09751); 1 is all of them.
    pub top_p: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, seed: 0 };
}

/// A text that a model is writing. It keeps what the model has computed for the tokens so far, so the weights must
/// stay the same from token to token.
pub struct Generator {
    cache: Cache,
    processor: LogitsProcessor,
    /// Tokens that the model has not seen yet: the prompt at first, then the last one that was drawn.
    unseen: Vec<u32>,
    written: Vec<u32>,
    left: usize,
    ended: bool,
}

impl Generator {
    /// Writes on from `prompt`, one token at least, by at most `count` tokens.
    pub fn new(prompt: &[u32], count: usize, sampling: Sampling) -> Self {
        let Sampling { temperature, top_p, seed } = sampling;
        Self {
            cache: Cache::default(),
            processor: LogitsProcessor::new(seed, Some(temperature), Some(top_p)),
            unseen: prompt.to_vec(),
            written: Vec::new(),
            left: count,
            ended: false,
        }
    }

    /// Draws the next token; `None` at the end: a token came up that ends a text, `eos` or one of the configuration's,
    /// the context is full, or enough is written.
    pub fn next(&mut self, llama: &Llama, params: &Params, eos: Option<u32>) -> Result<Option<u32>> {
        let config = llama.config();
        if self.left == 0 || self.cache.seen() + self.unseen.len() > config.max_position_embeddings {
            return Ok(None);
        }
        let logits = llama.next(params, &self.unseen, &mut self.cache)?;
        let id = self.processor.sample(&logits)?;
        if config.eos_token_ids.contains(&id) || eos == Some(id) {
            (self.left, self.ended) = (0, true);
            return Ok(None);
        }
        self.left -= 1;
        self.unseen = vec![id];
        self.written.push(id);
        Ok(Some(id))
    }

    /// Whether a token came up that ends a text.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What is written so far.
    pub fn text(&self, tokenizer: &Tokenizer) -> String {
        tokenizer.text(&self.written)
    }

    /// Draws until the end; what is written comes back.
    pub fn finish(mut self, llama: &Llama, params: &Params, tokenizer: &Tokenizer) -> Result<String> {
        // The tokenizer may know an end that the configuration does not.
        while self.next(llama, params, tokenizer.eos())?.is_some() {}
        Ok(self.text(tokenizer))
    }
}
