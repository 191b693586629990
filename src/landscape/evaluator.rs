//! The loss at many points of a plane, on the CPU: one forward pass over a stack of points.
//!
//! A point is a model with weights `W + a D1 + b D2`. The activations of several points lie one below the other in
//! one tall matrix, and each linear map is `y = x W' + (a x) D1' + (b x) D2'`: three products, however many points
//! there are, so a batch of few tokens costs arithmetic and not memory traffic. What the points share goes into
//! the weights: on a row of the grid `W + b D2` is built and two products do; one point alone takes
//! `W + a D1 + b D2` and one product. Weights are built from the frozen ones, a matrix at a time, in a buffer of
//! the worker's own.
//!
//! Everything before the first tensor that moves is computed once and shared by all points.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Result, bail};
use serde::{Deserialize, Serialize};

use super::moving::{Linear, Moving, Points, Staging, norm};
use super::plane::Plane;
use crate::model::attention::{Attention, Strip};
use crate::model::kernels::{self, Rotary, Turn};
use crate::model::llama::Llama;
use crate::model::matmul::Into;
use crate::model::ops::IGNORED;
use crate::model::params::Params;
use crate::train::corpus::Batch;

/// Rows of logits that are held at a time.
const LOGIT_ROWS: usize = 128;
/// Tokens of the vocabulary whose logits are computed without asking whether to go on.
const LOGIT_COLUMNS: usize = 8192;
/// Which loss is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// The mean over all predicted tokens.
    Mean,
    /// The last token of each row, the target of a text.
    Last,
}

impl Objective {
    /// What a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Last => "last",
        }
    }
}

/// The losses of a point in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Of the objective.
    pub loss: f64,
    /// Of the last token of each row.
    pub last: f64,
}

/// A model on a plane, with the batch it is measured on.
#[derive(Debug)]
pub struct Evaluator {
    model: Model,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    /// Tokens in a row.
    seq: usize,
    objective: Objective,
    prefix: Prefix,
    /// Buffers that no worker uses at the moment.
    idle: Mutex<Vec<Buffers>>,
}

/// What all points share: the residual stream before the first stage that moves.
#[derive(Debug, Default)]
struct Prefix {
    stage: usize,
    /// `(tokens, hidden_size)`
    x: Vec<f32>,
}

impl Evaluator {
    /// Prepares the points of `plane` around `origin`, which nothing may write to meanwhile. The tensors are
    /// shared, not copied; they must be `f32` on the CPU.
    pub fn new(
        llama: &Llama,
        origin: &Params,
        plane: &Plane,
        batch: &Batch,
        objective: Objective,
    ) -> Result<Self> {
        let (inputs, targets) = batch.tensors(&Device::Cpu)?;
        let (_, seq) = inputs.dims2()?;
        if seq > llama.config().max_position_embeddings {
            bail!("{seq} tokens are more than the model's context");
        }
        let model = Model::new(llama, origin, plane, seq)?;
        let (inputs, targets) = (inputs.flatten_all()?.to_vec1()?, targets.flatten_all()?.to_vec1()?);
        if let Some(id) = inputs
            .iter()
            .chain(targets.iter().filter(|id| **id != IGNORED))
            .find(|id| **id as usize >= model.vocab_size)
        {
            bail!("token {id} is outside the model's {} tokens", model.vocab_size);
        }
        let prefix = Prefix::default();
        let mut evaluator = Self { model, inputs, targets, seq, objective, prefix, idle: Mutex::default() };
        let stage = evaluator.model.first_moving();
        let mut buffers = Buffers::default();
        let origin = Points(&[[0.0; 2]]);
        evaluator.stages(&origin, 0..stage, &mut buffers, &|| true)?;
        evaluator.prefix = Prefix { stage, x: buffers.x };
        Ok(evaluator)
    }

    /// Tokens of one point that every stage after the shared ones works on.
    pub fn rows_per_point(&self) -> usize {
        match self.prefix.stage {
            0 => self.inputs.len(),
            _ => self.prefix.x.len() / self.model.hidden_size,
        }
    }

    /// Bytes that a worker needs for `points` at a time.
    pub fn bytes(&self, points: usize) -> usize {
        let model = &self.model;
        let rows = points * self.rows_per_point();
        let inner = model.layers.first().map_or(0, |layer| layer.gate.weight.rows());
        let heads = model.num_attention_heads * model.head_dim;
        // x, y, the two halves of a feed-forward, keys or values, and what is scaled for a product.
        let width = model.hidden_size + 2 * heads.max(model.hidden_size) + 3 * inner.max(heads);
        let logits = rows.min(LOGIT_ROWS) * model.vocab_size;
        let staged = 3 * model.largest_moving();
        size_of::<f32>() * (rows * width + logits + staged + self.attention_shape().strip_len())
    }

    /// The losses at the points `[alpha, beta]`, on the calling thread. `go_on` is asked many times a
    /// second; once it says no, the rest is left and `None` comes back.
    pub fn losses(&self, points: &[[f64; 2]], go_on: &dyn Fn() -> bool) -> Result<Option<Vec<Losses>>> {
        let numbers: Vec<[f32; 2]> = points.iter().map(|point| point.map(|x| x as f32)).collect();
        let points = Points(&numbers);
        let mut buffers = self.lock().pop().unwrap_or_default();
        buffers.x.clear();
        for _ in points.0 {
            buffers.x.extend(&self.prefix.x);
        }
        let stages = self.prefix.stage..self.model.stages();
        let done = self.stages(&points, stages, &mut buffers, go_on)?;
        let losses = if done { self.head(&points, &mut buffers, go_on)? } else { None };
        self.lock().push(buffers);
        Ok(losses)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Buffers>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the residual stream of all points through these stages. Stage 0 looks up the embedding; each layer
    /// has two, attention and feed-forward. Returns whether they were all done.
    fn stages(
        &self,
        points: &Points,
        stages: std::ops::Range<usize>,
        buffers: &mut Buffers,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        for stage in stages {
            if !go_on() {
                return Ok(false);
            }
            let Some(layer) = stage.checked_sub(1) else {
                self.embed(points, buffers)?;
                continue;
            };
            let (layer, part) = (&self.model.layers[layer / 2], layer % 2);
            if part == 1 {
                self.feed_forward(layer, points, buffers)?;
                continue;
            }
            self.attention(layer, points, buffers)?;
            // From here on a position concerns itself alone, and only the last is asked for.
            if stage + 2 == self.model.stages() && self.objective == Objective::Last {
                keep_last(&mut buffers.x, self.seq, self.model.hidden_size);
            }
        }
        Ok(true)
    }

    fn embed(&self, points: &Points, buffers: &mut Buffers) -> Result<()> {
        let hidden = self.model.hidden_size;
        let table = self.model.embedding.open()?;
        buffers.x.resize(points.len() * self.inputs.len() * hidden, 0.0); // (points * tokens, hidden_size)
        let places = points.0.iter().flat_map(|point| self.inputs.iter().map(move |id| (point, *id)));
        for (row, (point, id)) in buffers.x.chunks_exact_mut(hidden).zip(places) {
            let at = id as usize * hidden;
            table.read(at..at + hidden, *point, row);
        }
        Ok(())
    }

    fn attention_shape(&self) -> Attention {
        Attention {
            heads: self.model.num_attention_heads,
            kv_heads: self.model.num_key_value_heads,
            head_dim: self.model.head_dim,
            seq: self.seq,
        }
    }

    fn attention(&self, layer: &Layer, points: &Points, buffers: &mut Buffers) -> Result<()> {
        let model = &self.model;
        let shape = self.attention_shape();
        let Buffers { x, y, a, b, c, log_sums, strip, staging } = buffers;
        norm(&layer.input_norm, model.eps, points, x, y)?; // (points * tokens, hidden_size)
        layer.q.apply(points, y, a, staging)?; // (points * tokens, heads * head_dim)
        layer.k.apply(points, y, b, staging)?; // (points * tokens, kv_heads * head_dim)
        layer.v.apply(points, y, c, staging)?;
        kernels::rotate(a, shape.heads, self.seq, &model.rotary, Turn::Forward);
        kernels::rotate(b, shape.kv_heads, self.seq, &model.rotary, Turn::Forward);

        y.resize(a.len(), 0.0); // (points * tokens, heads * head_dim)
        log_sums.resize(shape.heads * self.seq, 0.0);
        let (row, kv_row) = (self.seq * shape.width(), self.seq * shape.kv_width());
        let texts = a.chunks_exact(row).zip(b.chunks_exact(kv_row)).zip(c.chunks_exact(kv_row));
        for (((q, k), v), out) in texts.zip(y.chunks_exact_mut(row)) {
            shape.forward([q, k, v], out, log_sums, strip);
        }
        layer.o.apply_onto(points, y, x, staging)
    }

    fn feed_forward(&self, layer: &Layer, points: &Points, buffers: &mut Buffers) -> Result<()> {
        let Buffers { x, y, a, b, c, staging, .. } = buffers;
        norm(&layer.post_norm, self.model.eps, points, x, y)?;
        layer.gate.apply(points, y, a, staging)?; // (points * tokens, intermediate_size)
        layer.up.apply(points, y, b, staging)?;
        c.resize(a.len(), 0.0);
        kernels::swiglu(a, b, c);
        layer.down.apply_onto(points, c, x, staging)
    }

    /// Logits and losses from the residual stream, some rows at a time.
    fn head(
        &self,
        points: &Points,
        buffers: &mut Buffers,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Losses>>> {
        let model = &self.model;
        let Buffers { x, y, a: logits, staging, .. } = buffers;
        norm(&model.norm, model.eps, points, x, y)?;
        let rows = y.len() / model.hidden_size;
        let tokens = rows / points.len();
        let weights = model.head.open()?;
        let mut staged = staging.stage(&weights, points);
        let mut token_losses = Vec::with_capacity(rows);
        for first in (0..rows).step_by(LOGIT_ROWS) {
            let block = first..rows.min(first + LOGIT_ROWS);
            logits.resize(block.len() * model.vocab_size, 0.0);
            for first in (0..model.vocab_size).step_by(LOGIT_COLUMNS) {
                if !go_on() {
                    return Ok(None);
                }
                let columns = first..model.vocab_size.min(first + LOGIT_COLUMNS);
                staged.apply(points, block.clone(), columns, tokens, y, logits, Into::Overwrite);
            }
            for (logits, row) in logits.chunks_exact(model.vocab_size).zip(block) {
                // A text has `skipped` rows before the one that was kept, or keeps them all.
                let skipped = self.targets.len() / tokens - 1;
                let target = self.targets[row % tokens * (skipped + 1) + skipped];
                let predicted = target != IGNORED;
                token_losses
                    .push(predicted.then(|| f64::from(kernels::cross_entropy(logits, target as usize))));
            }
        }
        let mean = |losses: &mut dyn Iterator<Item = Option<f64>>| {
            let (sum, count) = losses.flatten().fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1));
            sum / f64::from(count)
        };
        let texts = self.inputs.len() / self.seq;
        let each = tokens / texts;
        let losses = token_losses.chunks_exact(tokens).map(|losses| {
            let last = mean(&mut losses.chunks_exact(each).map(|text| text[each - 1]));
            let loss = match self.objective {
                Objective::Mean => mean(&mut losses.iter().copied()),
                Objective::Last => last,
            };
            Losses { loss, last }
        });
        Ok(Some(losses.collect()))
    }
}

/// Keeps the last row of each text of `seq` rows.
fn keep_last(x: &mut Vec<f32>, seq: usize, hidden: usize) {
    let texts = x.len() / (seq * hidden);
    for text in 0..texts {
        let last = (text * seq + seq - 1) * hidden;
        x.copy_within(last..last + hidden, text * hidden);
    }
    x.truncate(texts * hidden);
}

/// What a worker writes into.
#[derive(Debug, Default)]
struct Buffers {
    /// The residual stream, `(points * tokens, hidden_size)`.
    x: Vec<f32>,
    y: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    /// `(heads, seq)`
    log_sums: Vec<f32>,
    strip: Strip,
    staging: Staging,
}

/// A Llama's tensors, and how each moves.
#[derive(Debug)]
struct Model {
    hidden_size: usize,
    vocab_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    eps: f64,
    rotary: Rotary,
    embedding: Moving,
    layers: Vec<Layer>,
    norm: Moving,
    head: Moving,
}

#[derive(Debug)]
struct Layer {
    input_norm: Moving,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    post_norm: Moving,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Model {
    /// For texts of `seq` tokens.
    fn new(llama: &Llama, origin: &Params, plane: &Plane, seq: usize) -> Result<Self> {
        let config = llama.config();
        let moving = |name: &str| Moving::new(origin, plane, name);
        let layer = |layer: usize| -> Result<Layer> {
            let linear = |name: &str| -> Result<Linear> {
                let name = format!("model.layers.{layer}.{name}");
                let bias = format!("{name}.bias");
                Ok(Linear {
                    weight: moving(&format!("{name}.weight"))?,
                    bias: origin.get(&bias).map(|_| moving(&bias)).transpose()?,
                })
            };
            let norm = |name: &str| moving(&format!("model.layers.{layer}.{name}.weight"));
            Ok(Layer {
                input_norm: norm("input_layernorm")?,
                q: linear("self_attn.q_proj")?,
                k: linear("self_attn.k_proj")?,
                v: linear("self_attn.v_proj")?,
                o: linear("self_attn.o_proj")?,
                post_norm: norm("post_attention_layernorm")?,
                gate: linear("mlp.gate_proj")?,
                up: linear("mlp.up_proj")?,
                down: linear("mlp.down_proj")?,
            })
        };
        let head = if config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        Ok(Self {
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            eps: config.rms_norm_eps,
            rotary: llama.rotary(seq)?,
            embedding: moving("model.embed_tokens.weight")?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: moving("model.norm.weight")?,
            head: moving(head)?,
        })
    }

    /// The embedding and two stages a layer; the head comes after them.
    fn stages(&self) -> usize {
        1 + 2 * self.layers.len()
    }

    /// The first stage in which a tensor moves.
    fn first_moving(&self) -> usize {
        if self.embedding.moves() {
            return 0;
        }
        let moves = |layer: &Layer| {
            let any = |linears: &[&Linear], norm: &Moving| {
                norm.moves() || linears.iter().any(|linear| linear.moves())
            };
            let attention = any(&[&layer.q, &layer.k, &layer.v, &layer.o], &layer.input_norm);
            [attention, any(&[&layer.gate, &layer.up, &layer.down], &layer.post_norm)]
        };
        let first = self.layers.iter().flat_map(moves).position(|moves| moves);
        first.map_or(self.stages(), |first| 1 + first)
    }

    /// Numbers in the largest matrix that moves as a whole.
    fn largest_moving(&self) -> usize {
        let linears = self.layers.iter().flat_map(|layer| {
            [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down].map(|l| &l.weight)
        });
        linears.chain([&self.head]).filter(|w| w.moves()).map(Moving::elements).max().unwrap_or(0)
    }
}
