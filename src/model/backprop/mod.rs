//! The loss of a Llama and its gradient on the CPU, over plain slices: no graph, and after the first batch
//! hardly an allocation.
//!
//! The rows of a batch are split into at most `SHARDS` shards, each of which goes through the model by itself:
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

use self::layout::{Layout, Linear, LinearLayout, Opened, Weights};
use self::shard::{Back, Done, Shape, Shard};
use super::config::LlamaConfig;
use super::host::zeros;
use super::kernels;
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
    /// In the parameters' order: copies of matrices, column by column.
    transposed: Vec<Vec<f32>>,
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
        let gradient =
            |(name, tensor): (&str, &candle_core::Tensor)| trained(name).then(|| zeros(tensor.elem_count()));
        Ok(Self {
            shape: Shape::of(llama),
            layout: Layout::of(llama.config(), params)?,
            pool: pool.map_err(candle_core::Error::wrap)?,
            shards: Vec::new(),
            transposed: Vec::new(),
            gradients: params.iter().map(gradient).collect(),
        })
    }

    /// The gradients, in the parameters' order; `None` for one that is not trained.
    pub fn gradients(&self) -> &[Option<Vec<f32>>] {
        &self.gradients
    }

    /// The same, to be changed: added to those of other processes.
    pub fn gradients_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.gradients.iter_mut().flatten().map(Vec::as_mut_slice)
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
        let Self { shape, layout, pool, shards, transposed, .. } = self;
        deal(texts, 1, pool.current_num_threads(), shape, shards)?;
        let opened = Opened::of(layout, params, texts.inputs.len(), transposed, pool)?;
        let weights = opened.weights();
        pool.install(|| {
            shards.par_iter_mut().with_max_len(1).for_each(|shard| {
                shard.embed(shape, &weights);
                weights.layers.iter().for_each(|layer| shard.forward(shape, layer, 0));
                shard.losses(shape, &weights);
            });
        });
        Ok(shards.iter().map(Shard::loss).sum())
    }

    /// Computes the gradients of `scale` times the sum of the losses of all batches, and returns that sum without the
    /// factor. One batch after another goes through the model, so more of them take no more memory. Without a batch
    /// the gradients are 0.
    pub fn gradient(&mut self, params: &Params, batches: &[Texts], scale: f32) -> Result<f64> {
        let Self { shape, layout, pool, shards, transposed, gradients } = self;
        if batches.is_empty() {
            gradients.iter_mut().flatten().for_each(|gradient| gradient.fill(0.0));
            return Ok(0.0);
        }
        let tokens = batches.iter().map(|texts| texts.inputs.len()).max().unwrap_or(0);
        let opened = Opened::of(layout, params, tokens, transposed, pool)?;
        let weights = opened.weights();
        let mut loss = 0.0;
        for (index, texts) in batches.iter().enumerate() {
            deal(texts, weights.layers.len(), pool.current_num_threads(), shape, shards)?;
            let into = if index == 0 { Into::Overwrite } else { Into::Add };
            let mut gather = Gather { layout, gradients, into };
            pool.install(|| backward(shape, &weights, shards, &mut gather, scale));
            loss += shards.iter().map(Shard::loss).sum::<f64>();
        }
        Ok(loss)
    }
}

/// Gives each shard its rows of a batch, and room for `layers` layers.
fn deal(
    texts: &Texts,
    layers: usize,
    threads: usize,
    shape: &mut Shape,
    shards: &mut Vec<Shard>,
) -> Result<()> {
    let Texts { inputs, targets, seq } = *texts;
    if seq == 0 || inputs.is_empty() || inputs.len() != targets.len() || !inputs.len().is_multiple_of(seq) {
        bail!("{} inputs and {} targets are no texts of {seq} tokens", inputs.len(), targets.len());
    }
    if seq > shape.context() {
        bail!("{seq} tokens are more than the model's context of {}", shape.context());
    }
    let vocabulary = shape.vocab_size;
    let outside = |id: &&u32| **id as usize >= vocabulary && **id != IGNORED;
    if let Some(id) = inputs.iter().find(|id| **id as usize >= vocabulary).or(targets.iter().find(outside)) {
        bail!("token {id} is outside the model's {vocabulary} tokens");
    }
    shape.reach(seq)?;
    let each = (inputs.len() / seq).div_ceil(SHARDS) * seq;
    shards.resize_with(inputs.len().div_ceil(each), Shard::default);
    // Shards that are fewer than the threads have some left over for their products.
    shape.threads = threads / shards.len();
    for (shard, (inputs, targets)) in shards.iter_mut().zip(inputs.chunks(each).zip(targets.chunks(each))) {
        shard.take(shape, inputs, targets, seq, layers);
    }
    Ok(())
}

/// Takes a batch through the model and back.
fn backward(shape: &Shape, weights: &Weights, shards: &mut [Shard], gather: &mut Gather, scale: f32) {
    shards.par_iter_mut().with_max_len(1).for_each(|shard| {
        shard.embed(shape, weights);
        let layers = weights.layers.iter().enumerate();
        layers.for_each(|(index, layer)| shard.forward(shape, layer, index));
        shard.head_backward(shape, weights, scale);
    });
    let layout = gather.layout;
    gather.gain(layout.norm, shards.iter().map(Shard::d_norm));
    let mut reached = weights.layers.len();
    for (layer, of_layer) in weights.layers.iter().enumerate().rev() {
        // Where nothing below is trained, its gradients are of no use.
        if !layout.below(layer).any(|place| gather.gradients[place].is_some()) {
            break;
        }
        let (backs, done): (Vec<Back>, Vec<Done>) = shards.iter_mut().map(|shard| shard.split(layer)).unzip();
        gather.weights(&layout.matrices(reached), &done, backs, |back| back.go(shape, of_layer));
        gather.gains(layout.gains(reached), &done);
        reached = layer;
    }
    let done: Vec<Done> = shards.iter().map(|shard| shard.done(reached)).collect();
    gather.weights(&layout.matrices(reached), &done, Vec::new(), |_: Back| {});
    gather.gains(layout.gains(reached), &done);
    if reached == 0 {
        gather.embedding(shape.hidden_size, shards);
    }
}

/// Bytes that a batch of `texts` texts of `seq` tokens needs beside weights and gradients.
pub fn bytes(config: &LlamaConfig, texts: usize, seq: usize) -> usize {
    let tokens = texts.saturating_mul(seq);
    let activations = shard::floats(config, tokens, seq, texts.min(SHARDS));
    activations.saturating_add(layout::transposed_floats(config, tokens)).saturating_mul(size_of::<f32>())
}

/// Puts the gradients of weights together from what the shards have.
struct Gather<'a> {
    layout: &'a Layout,
    gradients: &'a mut Vec<Option<Vec<f32>>>,
    into: Into,
}

/// A piece of work of the backward pass.
enum Task<'s, 'g> {
    /// A shard goes back through a layer.
    Back(Back<'s>),
    /// Some rows of the gradient of a weight of the layer behind it.
    Tile {
        /// Which of the weights.
        part: usize,
        first_row: usize,
        values: &'g mut [f32],
    },
}

/// Some rows of the gradient of a weight, `values`, from what one shard knows.
fn tile(operands: Linear, first_row: usize, values: &mut [f32], into: Into) {
    let (width, tokens) = (operands.width(), operands.tokens);
    let rows = values.len() / width;
    multiply(
        MatrixMut::new(values, rows, width, width),
        into,
        Matrix::new(&operands.gradient[first_row..], tokens, rows, operands.stride()).transposed(),
        Matrix::new(operands.input, tokens, width, width),
        1.0,
    );
}

impl Gather<'_> {
    /// The gradient of a gain, which the shards have in full.
    fn gain<'s>(&mut self, place: usize, shards: impl Iterator<Item = &'s [f32]>) {
        let Some(gradient) = &mut self.gradients[place] else { return };
        if self.into == Into::Overwrite {
            gradient.fill(0.0);
        }
        shards.for_each(|of_shard| kernels::add_scaled(gradient, 1.0, of_shard));
    }

    /// The gradients of a layer's gains, if this is one.
    fn gains(&mut self, places: Option<[usize; 2]>, done: &[Done]) {
        for (which, place) in places.into_iter().flatten().enumerate() {
            self.gain(place, done.iter().map(|done| done.gains()[which]));
        }
    }

    /// The gradients of matrices, `(out, in)`, and their biases: the products of a shard's gradients,
    /// `(tokens, out)`, and inputs, `(tokens, in)`, added up over the shards in order. Meanwhile the shards go `back`
    /// through the layer before.
    fn weights<'s>(
        &mut self,
        matrices: &[LinearLayout],
        done: &[Done<'s>],
        backs: Vec<Back<'s>>,
        back: impl Fn(Back<'s>) + Sync,
    ) {
        let into = self.into;
        let mut taken: Vec<Option<Vec<f32>>> =
            matrices.iter().map(|matrix| self.gradients[matrix.weight].take()).collect();
        let tiles = taken.iter_mut().enumerate().filter_map(|(part, weight)| Some((part, weight.as_mut()?)));
        let tiles = tiles.flat_map(|(part, gradient)| {
            let rows = gradient.chunks_mut(TILE * done[0].operands(part).width()).enumerate();
            rows.map(move |(index, values)| Task::Tile { part, first_row: index * TILE, values })
        });
        let tasks: Vec<Task> = backs.into_iter().map(Task::Back).chain(tiles).collect();
        tasks.into_par_iter().with_max_len(1).for_each(|task| match task {
            Task::Back(shard) => back(shard),
            Task::Tile { part, first_row, values } => {
                for (index, done) in done.iter().enumerate() {
                    let into = if index == 0 { into } else { Into::Add };
                    tile(done.operands(part), first_row, values, into);
                }
            }
        });
        for (part, (matrix, gradient)) in matrices.iter().zip(taken).enumerate() {
            self.gradients[matrix.weight] = gradient;
            let Some(bias) = matrix.bias.and_then(|place| self.gradients[place].as_mut()) else { continue };
            if into == Into::Overwrite {
                bias.fill(0.0);
            }
            for done in done {
                for row in done.operands(part).gradient.chunks_exact(bias.len()) {
                    kernels::add_scaled(bias, 1.0, row);
                }
            }
        }
    }

    /// The gradient of the rows of the embedding that were looked up, on top of what it has as a head.
    fn embedding(&mut self, width: usize, shards: &[Shard]) {
        let place = self.layout.embedding;
        let tied = place == self.layout.head;
        let Some(gradient) = &mut self.gradients[place] else { return };
        if !tied && self.into == Into::Overwrite {
            gradient.fill(0.0);
        }
        for shard in shards {
            let (ids, rows) = shard.embedding_operands();
            for (id, row) in ids.iter().zip(rows.chunks_exact(width)) {
                let at = *id as usize * width;
                kernels::add_scaled(&mut gradient[at..at + width], 1.0, row);
            }
        }
    }
}
