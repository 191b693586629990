//! The loss of a Llama and its gradient on the CPU, over plain slices: no graph, and after the first batch
//! hardly an allocation.
//!
//! The rows of a batch are split into at most [`SHARDS`] shards, each of which goes through the model by itself:
//! a small model's operations are too short to be worth splitting among threads. The gradients of the weights
//! are products over the tokens of all shards, so they are split by the weights' rows instead; the shards are
//! added up in order. Neither split depends on the number of threads, so that changes no bit of the result.
//!
//! On other devices the gradient comes from candle, by way of [`super::llama::Llama::loss`]; tests hold the two
//! together.

mod layout;
mod shard;

use candle_core::{Result, bail};
use rayon::ThreadPool;
use rayon::prelude::*;

use self::layout::{Layout, Linear, Opened, Part};
use self::shard::{Shape, Shard};
use super::llama::Llama;
use super::matmul::{Into, Matrix, MatrixMut, multiply};
use super::ops::IGNORED;
use super::params::Params;

/// Parts into which the rows of a batch are split.
const SHARDS: usize = 4;
/// Rows of a weight whose gradient is one piece of work.
const TILE: usize = 128;

/// A batch of texts of one length, one after another.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// `(texts, seq)`
    pub inputs: &'a [u32],
    /// `(texts, seq)`, one place ahead of the inputs; [`IGNORED`] where nothing is predicted.
    pub targets: &'a [u32],
    /// Tokens of a text.
    pub seq: usize,
}

/// Computes gradients of one model, batch after batch.
#[derive(Debug)]
pub struct Backprop {
    shape: Shape,
    layout: Layout,
    pool: ThreadPool,
    shards: Vec<Shard>,
    /// In the parameters' order; `None` for one that is not trained.
    gradients: Vec<Option<Vec<f32>>>,
}

impl Backprop {
    /// Prepares the gradients of those of `params` that `trained` picks, to be computed by `threads` threads.
    pub fn new(
        llama: &Llama,
        params: &Params,
        trained: impl Fn(&str) -> bool,
        threads: usize,
    ) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
        let gradient = |(name, tensor): (&str, &candle_core::Tensor)| {
            trained(name).then(|| vec![0.0; tensor.elem_count()])
        };
        Ok(Self {
            shape: Shape::of(llama)?,
            layout: Layout::of(llama.config(), params)?,
            pool: pool.map_err(candle_core::Error::wrap)?,
            shards: Vec::new(),
            gradients: params.iter().map(gradient).collect(),
        })
    }

    /// The gradients, in the parameters' order; `None` for one that is not trained.
    pub fn gradients(&self) -> &[Option<Vec<f32>>] {
        &self.gradients
    }

    /// The gradients, to take along.
    pub fn into_gradients(self) -> Vec<Option<Vec<f32>>> {
        self.gradients
    }

    /// Where the numbers of the last batch first went bad on their way through the model, if they did.
    pub fn first_bad(&self) -> Option<String> {
        let layer = self.shards.iter().filter_map(Shard::first_bad).min()?;
        Some(match layer.checked_sub(1) {
            _ if layer == self.layout.layers.len() => "the residual stream before the head".to_owned(),
            None => "the embedding of a token".to_owned(),
            Some(before) => format!("the residual stream behind layer {before}"),
        })
    }

    /// The threads that compute.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// The sum of the losses of the tokens that are predicted, in nats, without a gradient.
    pub fn loss(&mut self, params: &Params, texts: &Texts) -> Result<f64> {
        self.deal(texts, 1)?;
        let Self { shape, layout, pool, shards, .. } = self;
        let opened = Opened::of(layout, params)?;
        let weights = opened.weights();
        pool.install(|| {
            shards.par_iter_mut().with_max_len(1).for_each(|shard| {
                shard.embed(shape, &weights);
                weights.layers.iter().for_each(|layer| shard.forward(shape, layer, 0));
                shard.losses(shape, &weights);
            });
        });
        Ok(self.shards.iter().map(Shard::loss).sum())
    }

    /// Adds `scale` times the sum of the losses of a batch to the gradients, or begins with it, and returns that
    /// sum without the factor.
    pub fn add(&mut self, params: &Params, texts: &Texts, scale: f32, into: Into) -> Result<f64> {
        self.deal(texts, self.layout.layers.len())?;
        let Self { shape, layout, pool, shards, gradients } = self;
        let opened = Opened::of(layout, params)?;
        let weights = opened.weights();
        let work = || {
            shards.par_iter_mut().with_max_len(1).for_each(|shard| {
                shard.embed(shape, &weights);
                let layers = weights.layers.iter().enumerate();
                layers.for_each(|(index, layer)| shard.forward(shape, layer, index));
                shard.head_backward(shape, &weights, scale);
            });
            let mut gather = Gather { shards, gradients, into };
            gather.gain(layout.norm, |shard| shard.d_norm());
            gather.weights(&[(layout.head, None)], |shard, _| shard.head_operands());
            for (index, layer) in weights.layers.iter().enumerate().rev() {
                let places = &layout.layers[index];
                // Nothing below this layer is trained: its gradients are of no use.
                if !layout.below(index).any(|place| gather.gradients[place].is_some()) {
                    return;
                }
                gather.shards.par_iter_mut().with_max_len(1).for_each(|shard| {
                    shard.backward(shape, layer, index);
                });
                gather.gain(places.input_norm, |shard| shard.d_gains(0));
                gather.gain(places.post_norm, |shard| shard.d_gains(1));
                let parts = places.linear.map(|linear| (linear.weight, linear.bias));
                gather.weights(&parts, |shard, part| shard.operands(index, Part::ALL[part]));
            }
            gather.embedding(layout.embedding, layout.embedding == layout.head, shape.hidden_size);
        };
        pool.install(work);
        Ok(self.shards.iter().map(Shard::loss).sum())
    }

    /// Gives each shard its rows of the batch, and room for `layers` layers.
    fn deal(&mut self, texts: &Texts, layers: usize) -> Result<()> {
        let Texts { inputs, targets, seq } = *texts;
        if seq == 0 || inputs.is_empty() || inputs.len() != targets.len() || !inputs.len().is_multiple_of(seq)
        {
            bail!("{} inputs and {} targets are no texts of {seq} tokens", inputs.len(), targets.len());
        }
        if seq > self.shape.positions() {
            bail!("{seq} tokens are more than the model's context of {}", self.shape.positions());
        }
        let vocabulary = self.shape.vocab_size;
        let outside = |id: &&u32| **id as usize >= vocabulary && **id != IGNORED;
        if let Some(id) =
            inputs.iter().find(|id| **id as usize >= vocabulary).or(targets.iter().find(outside))
        {
            bail!("token {id} is outside the model's {vocabulary} tokens");
        }
        let each = (inputs.len() / seq).div_ceil(SHARDS) * seq;
        self.shards.resize_with(inputs.len().div_ceil(each), Shard::default);
        let alone = self.shards.len() == 1;
        self.shape.threads = if alone { self.pool.current_num_threads() } else { 1 };
        for (shard, (inputs, targets)) in
            self.shards.iter_mut().zip(inputs.chunks(each).zip(targets.chunks(each)))
        {
            shard.take(&self.shape, inputs, targets, seq, layers);
        }
        Ok(())
    }
}

/// Bytes that a batch of `texts` texts of `seq` tokens needs beside weights and gradients.
pub fn bytes(config: &super::config::LlamaConfig, texts: usize, seq: usize) -> usize {
    shard::floats(config, texts * seq, seq, texts.min(SHARDS)) * size_of::<f32>()
}

/// Puts the gradients of weights together from what the shards have.
struct Gather<'a> {
    shards: &'a mut Vec<Shard>,
    gradients: &'a mut Vec<Option<Vec<f32>>>,
    into: Into,
}

/// A piece of a weight's gradient.
struct Tile<'a> {
    /// Which of the operands of a shard it is the product of.
    part: usize,
    first_row: usize,
    values: &'a mut [f32],
}

impl Gather<'_> {
    /// The gradient of a gain or bias, which the shards have in full.
    fn gain(&mut self, place: usize, of: impl Fn(&Shard) -> &[f32]) {
        let Some(gradient) = &mut self.gradients[place] else { return };
        if self.into == Into::Overwrite {
            gradient.fill(0.0);
        }
        for shard in &*self.shards {
            super::kernels::add_scaled(gradient, 1.0, of(shard));
        }
    }

    /// The gradients of weights, each `(out, in)` and at one of `places` with its bias: the products of a shard's
    /// gradients `(tokens, out)` and inputs `(tokens, in)`, added up over the shards in order.
    fn weights<'s>(
        &'s mut self,
        places: &[(usize, Option<usize>)],
        operands: impl Fn(&'s Shard, usize) -> Linear<'s> + Sync,
    ) {
        let Self { shards, gradients, into } = self;
        let shards: &'s Vec<Shard> = shards;
        let mut taken: Vec<(usize, Option<Vec<f32>>)> =
            places.iter().map(|(weight, _)| (*weight, gradients[*weight].take())).collect();
        let tiles: Vec<Tile> = taken
            .iter_mut()
            .enumerate()
            .filter_map(|(part, (_, gradient))| Some((part, gradient.as_mut()?)))
            .flat_map(|(part, gradient)| {
                let width = operands(&shards[0], part).width;
                gradient.chunks_mut(TILE * width).enumerate().map(move |(index, values)| Tile {
                    part,
                    first_row: index * TILE,
                    values,
                })
            })
            .collect();
        tiles.into_par_iter().with_max_len(1).for_each(|tile| {
            for (index, shard) in shards.iter().enumerate() {
                let Linear { gradient, input, width } = operands(shard, tile.part);
                let tokens = input.len() / width;
                let (outputs, rows) = (gradient.len() / tokens, tile.values.len() / width);
                let gradient = Matrix::new(&gradient[tile.first_row..], tokens, rows, outputs).transposed();
                let into = if index == 0 { *into } else { Into::Add };
                let out = MatrixMut::new(tile.values, rows, width, width);
                multiply(out, into, gradient, Matrix::new(input, tokens, width, width), 1.0);
            }
        });
        for (place, gradient) in taken {
            gradients[place] = gradient;
        }
        for (part, (_, bias)) in places.iter().enumerate() {
            let Some(bias) = bias.and_then(|place| gradients[place].as_mut()) else { continue };
            if *into == Into::Overwrite {
                bias.fill(0.0);
            }
            for shard in shards {
                for row in operands(shard, part).gradient.chunks_exact(bias.len()) {
                    super::kernels::add_scaled(bias, 1.0, row);
                }
            }
        }
    }

    /// The gradient of the rows of the embedding that were looked up, on top of what it has as a head.
    fn embedding(&mut self, place: usize, tied: bool, width: usize) {
        let Some(gradient) = &mut self.gradients[place] else { return };
        if !tied && self.into == Into::Overwrite {
            gradient.fill(0.0);
        }
        for shard in &*self.shards {
            let (ids, rows) = shard.embedding_operands();
            for (id, row) in ids.iter().zip(rows.chunks_exact(width)) {
                let at = *id as usize * width;
                super::kernels::add_scaled(&mut gradient[at..at + width], 1.0, row);
            }
        }
    }
}
