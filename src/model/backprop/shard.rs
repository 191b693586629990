//! Some rows of a batch on their way through the model and back.

use candle_core::Result;

use super::layout::{LayerWeights, Linear, Part, Weight, Weights};
use crate::model::attention::{Attention, Strip};
use crate::model::config::LlamaConfig;
use crate::model::kernels::{self, Rotary, Turn};
use crate::model::llama::Llama;
use crate::model::matmul::{Into, Matrix, MatrixMut, multiply_on, padded};
use crate::model::ops::IGNORED;

/// What all shards of a model have in common.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) hidden_size: usize,
    pub(super) vocab_size: usize,
    intermediate_size: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f64,
    /// Has the tables of longer texts.
    llama: Llama,
    /// For the longest text so far.
    rotary: Rotary,
    /// Threads of one product.
    pub(super) threads: usize,
}

impl Shape {
    pub(super) fn of(llama: &Llama) -> Self {
        let config = llama.config();
        Self {
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            intermediate_size: config.intermediate_size,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            eps: config.rms_norm_eps,
            llama: llama.clone(),
            rotary: Rotary { cos: Vec::new(), sin: Vec::new(), half: config.head_dim / 2 },
            threads: 1,
        }
    }

    /// Tokens that a text may have.
    pub(super) fn context(&self) -> usize {
        self.llama.config().max_position_embeddings
    }

    /// Prepares for texts of `seq` tokens.
    pub(super) fn reach(&mut self, seq: usize) -> Result<()> {
        if self.rotary.cos.len() < seq * self.rotary.half {
            self.rotary = self.llama.rotary(seq)?;
        }
        Ok(())
    }

    fn attention(&self, seq: usize) -> Attention {
        Attention { heads: self.heads, kv_heads: self.kv_heads, head_dim: self.head_dim, seq }
    }

    /// Numbers between two rows of logits.
    fn logit_stride(&self) -> usize {
        padded(self.vocab_size)
    }

    /// `out = x weight' + bias`, or added to it. `x` is `(tokens, in)`, `weight` `(out, in)`; the rows of `out` may
    /// have room behind them.
    fn apply(
        &self,
        (weight, bias): (Weight, Option<&[f32]>),
        x: &[f32],
        tokens: usize,
        out: &mut [f32],
        into: Into,
    ) {
        let (inputs, stride) = (x.len() / tokens, out.len() / tokens);
        let outputs = weight.plain.len() / inputs;
        let weight = match weight.transposed {
            Some(transposed) => Matrix::new(transposed, inputs, outputs, padded(outputs)),
            None => Matrix::new(weight.plain, outputs, inputs, inputs).transposed(),
        };
        multiply_on(
            self.threads,
            MatrixMut::new(out, tokens, outputs, stride),
            into,
            Matrix::new(x, tokens, inputs, inputs),
            weight,
            1.0,
        );
        if let Some(bias) = bias {
            out.chunks_exact_mut(outputs).for_each(|row| kernels::add_scaled(row, 1.0, bias));
        }
    }

    /// `out = d weight`, or added to it: the gradient of the input of [`Self::apply`] from that of its output.
    fn apply_backward(&self, weight: &[f32], d: &[f32], tokens: usize, out: &mut [f32], into: Into) {
        let (inputs, stride) = (out.len() / tokens, d.len() / tokens);
        let outputs = weight.len() / inputs;
        multiply_on(
            self.threads,
            MatrixMut::new(out, tokens, inputs, inputs),
            into,
            Matrix::new(d, tokens, outputs, stride),
            Matrix::new(weight, outputs, inputs, inputs),
            1.0,
        );
    }
}

/// What the backward pass of a layer needs of its forward pass. All are rows of tokens.
#[derive(Debug, Default)]
struct Saved {
    /// The residual stream before the layer.
    x: Vec<f32>,
    /// Normalised: the input of the attention.
    x_normed: Vec<f32>,
    /// Queries and keys, rotated, and values.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// What the heads have gathered.
    heads: Vec<f32>,
    /// `(texts, heads, seq)`
    log_sums: Vec<f32>,
    /// The residual stream between attention and feed-forward.
    y: Vec<f32>,
    /// Normalised: the input of the feed-forward.
    y_normed: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// Gradients within one layer, and what its weights' gradients need besides. All are rows of tokens.
#[derive(Debug, Default)]
struct Flow {
    /// Of the residual stream behind the layer, between its halves, and before it.
    behind: Vec<f32>,
    between: Vec<f32>,
    before: Vec<f32>,
    /// Of what was normalised.
    normed: Vec<f32>,
    /// The gated unit's output; on the way back its gradient first.
    hidden: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    heads: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// Of the gains before attention and feed-forward.
    gains: [Vec<f32>; 2],
}

/// Rows of a batch, and the room they need.
#[derive(Debug, Default)]
pub(super) struct Shard {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    seq: usize,
    /// The residual stream, `(tokens, hidden_size)`.
    stream: Vec<f32>,
    layers: Vec<Saved>,
    /// The residual stream, normalised for the head.
    normed: Vec<f32>,
    /// `(tokens, vocab_size)`, the rows [`padded`]; on the way back their gradient.
    logits: Vec<f32>,
    d_norm: Vec<f32>,
    /// Of even layers and of odd ones: while the gradients of one layer's weights are put together, the way back
    /// through the next goes on.
    flows: [Flow; 2],
    strip: Strip,
    /// Sum of the losses of its tokens.
    loss: f64,
}

impl Shard {
    /// Takes these rows and makes room.
    pub(super) fn take(&mut self, shape: &Shape, inputs: &[u32], targets: &[u32], seq: usize, layers: usize) {
        self.inputs.clear();
        self.inputs.extend(inputs);
        self.targets.clear();
        self.targets.extend(targets);
        self.seq = seq;
        let tokens = inputs.len();
        let attention = shape.attention(seq);
        let fit = |buffer: &mut Vec<f32>, width: usize| buffer.resize(tokens * width, 0.0);
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let (width, kv_width) = (attention.width(), attention.kv_width());
        fit(&mut self.stream, hidden);
        fit(&mut self.normed, hidden);
        fit(&mut self.logits, shape.logit_stride());
        self.d_norm.resize(hidden, 0.0);
        if self.layers.len() < layers {
            self.layers.resize_with(layers, Saved::default);
        }
        for saved in &mut self.layers[..layers] {
            for buffer in [&mut saved.x, &mut saved.x_normed, &mut saved.y, &mut saved.y_normed] {
                fit(buffer, hidden);
            }
            fit(&mut saved.q, width);
            fit(&mut saved.k, kv_width);
            fit(&mut saved.v, kv_width);
            fit(&mut saved.heads, width);
            fit(&mut saved.log_sums, shape.heads);
            fit(&mut saved.gate, inner);
            fit(&mut saved.up, inner);
        }
        for flow in &mut self.flows {
            for buffer in [&mut flow.behind, &mut flow.between, &mut flow.before, &mut flow.normed] {
                fit(buffer, hidden);
            }
            for buffer in [&mut flow.hidden, &mut flow.gate, &mut flow.up] {
                fit(buffer, inner);
            }
            fit(&mut flow.heads, width);
            fit(&mut flow.q, width);
            fit(&mut flow.k, kv_width);
            fit(&mut flow.v, kv_width);
            flow.gains.iter_mut().for_each(|gain| gain.resize(hidden, 0.0));
        }
    }

    /// Looks the tokens up.
    pub(super) fn embed(&mut self, shape: &Shape, weights: &Weights) {
        let rows = self.stream.chunks_exact_mut(shape.hidden_size).zip(&self.inputs);
        for (row, id) in rows {
            let at = *id as usize * shape.hidden_size;
            row.copy_from_slice(&weights.embedding[at..at + shape.hidden_size]);
        }
    }

    /// Takes the residual stream through a layer; what its backward pass needs is kept in place `slot`.
    pub(super) fn forward(&mut self, shape: &Shape, weights: &LayerWeights, slot: usize) {
        let Self { stream, seq, strip, flows: [flow, _], .. } = self;
        let saved = &mut self.layers[slot];
        let tokens = self.inputs.len();
        let attention = shape.attention(*seq);
        let apply = |part: Part, x: &[f32], out: &mut [f32], into: Into| {
            shape.apply(weights.linear(part), x, tokens, out, into);
        };

        saved.x.copy_from_slice(stream);
        kernels::rms_norm(stream, weights.input_norm, shape.eps, &mut saved.x_normed);
        apply(Part::Query, &saved.x_normed, &mut saved.q, Into::Overwrite);
        apply(Part::Key, &saved.x_normed, &mut saved.k, Into::Overwrite);
        apply(Part::Value, &saved.x_normed, &mut saved.v, Into::Overwrite);
        kernels::rotate(&mut saved.q, shape.heads, *seq, &shape.rotary, Turn::Forward);
        kernels::rotate(&mut saved.k, shape.kv_heads, *seq, &shape.rotary, Turn::Forward);
        let (row, kv_row, sums) = (*seq * attention.width(), *seq * attention.kv_width(), *seq * shape.heads);
        let keys = saved.k.chunks_exact(kv_row).zip(saved.v.chunks_exact(kv_row));
        let outs = saved.heads.chunks_exact_mut(row).zip(saved.log_sums.chunks_exact_mut(sums));
        for ((q, (k, v)), (out, log_sums)) in saved.q.chunks_exact(row).zip(keys).zip(outs) {
            attention.forward([q, k, v], out, log_sums, strip);
        }
        apply(Part::Output, &saved.heads, stream, Into::Add);

        saved.y.copy_from_slice(stream);
        kernels::rms_norm(stream, weights.post_norm, shape.eps, &mut saved.y_normed);
        apply(Part::Gate, &saved.y_normed, &mut saved.gate, Into::Overwrite);
        apply(Part::Up, &saved.y_normed, &mut saved.up, Into::Overwrite);
        kernels::swiglu(&saved.gate, &saved.up, &mut flow.hidden);
        apply(Part::Down, &flow.hidden, stream, Into::Add);
    }

    fn logits(&mut self, shape: &Shape, weights: &Weights) {
        kernels::rms_norm(&self.stream, weights.norm, shape.eps, &mut self.normed);
        let head = (weights.head, None);
        shape.apply(head, &self.normed, self.inputs.len(), &mut self.logits, Into::Overwrite);
    }

    /// The losses of the tokens, and nothing to go back from.
    pub(super) fn losses(&mut self, shape: &Shape, weights: &Weights) {
        self.logits(shape, weights);
        let rows = self.logits.chunks_exact(shape.logit_stride()).zip(&self.targets);
        let losses = rows.filter(|(_, target)| **target != IGNORED);
        let loss =
            |row: &[f32], target: usize| f64::from(kernels::cross_entropy(&row[..shape.vocab_size], target));
        self.loss = losses.map(|(row, target)| loss(row, *target as usize)).sum();
    }

    /// The losses of the tokens, and `scale` times their gradient as far back as the residual stream.
    pub(super) fn head_backward(&mut self, shape: &Shape, weights: &Weights, scale: f32) {
        self.logits(shape, weights);
        self.loss = 0.0;
        for (row, target) in self.logits.chunks_exact_mut(shape.logit_stride()).zip(&self.targets) {
            let row = &mut row[..shape.vocab_size];
            if *target == IGNORED {
                row.fill(0.0);
            } else {
                self.loss += f64::from(kernels::cross_entropy_backward(row, *target as usize, scale));
            }
        }
        let flow = &mut self.flows[weights.layers.len() % 2];
        let (normed, before) = (&mut flow.normed, &mut flow.before);
        shape.apply_backward(weights.head.plain, &self.logits, self.inputs.len(), normed, Into::Overwrite);
        self.d_norm.fill(0.0);
        flow.between.fill(0.0);
        let (d, residual) = (&*normed, &*flow.between);
        kernels::rms_norm_backward(
            &self.stream,
            weights.norm,
            shape.eps,
            d,
            residual,
            before,
            &mut self.d_norm,
        );
    }

    /// The way back through a layer, and what is known of the layer behind it or of the head.
    pub(super) fn split(&mut self, layer: usize) -> (Back<'_>, Done<'_>) {
        let [even, odd] = &mut self.flows;
        let (flow, last) = if layer.is_multiple_of(2) { (even, &*odd) } else { (odd, &*even) };
        let tokens = self.inputs.len();
        let back = Back {
            saved: &self.layers[layer],
            flow,
            behind: &last.before,
            strip: &mut self.strip,
            tokens,
            seq: self.seq,
        };
        let head = Linear { gradient: &self.logits, input: &self.normed, tokens };
        (back, Done { flow: last, saved: self.layers.get(layer + 1), head, tokens })
    }

    /// What is known of the last layer that was gone back through, or with their number of the head.
    pub(super) fn done(&self, layer: usize) -> Done<'_> {
        let tokens = self.inputs.len();
        let head = Linear { gradient: &self.logits, input: &self.normed, tokens };
        Done { flow: &self.flows[layer % 2], saved: self.layers.get(layer), head, tokens }
    }

    /// Sum of the losses of its tokens, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// The first layer that the residual stream enters with a number that is not finite; the number of layers for
    /// the head.
    pub(super) fn first_bad(&self) -> Option<usize> {
        let streams = self.layers.iter().map(|saved| &saved.x).chain([&self.stream]);
        streams.enumerate().find(|(_, stream)| stream.iter().any(|x| !x.is_finite())).map(|(layer, _)| layer)
    }

    /// The gradient of the gain before the head.
    pub(super) fn d_norm(&self) -> &[f32] {
        &self.d_norm
    }

    /// The tokens and the gradient of the residual stream at its beginning, `(tokens, hidden_size)`.
    pub(super) fn embedding_operands(&self) -> (&[u32], &[f32]) {
        (&self.inputs, &self.flows[0].before)
    }
}

/// The way of a shard's gradient back through a layer.
pub(super) struct Back<'a> {
    saved: &'a Saved,
    flow: &'a mut Flow,
    /// The gradient of the residual stream behind the layer.
    behind: &'a [f32],
    strip: &'a mut Strip,
    tokens: usize,
    seq: usize,
}

impl Back<'_> {
    /// Takes the gradient of the residual stream back through the layer.
    pub(super) fn go(self, shape: &Shape, weights: &LayerWeights) {
        let Self { saved, flow, behind, strip, tokens, seq } = self;
        let attention = shape.attention(seq);
        let back = |part: Part, d: &[f32], out: &mut [f32], into: Into| {
            shape.apply_backward(weights.linear(part).0.plain, d, tokens, out, into);
        };
        flow.behind.copy_from_slice(behind);
        let [input_gain, post_gain] = &mut flow.gains;

        back(Part::Down, &flow.behind, &mut flow.hidden, Into::Overwrite);
        kernels::swiglu_backward(&saved.gate, &saved.up, &mut flow.hidden, &mut flow.gate, &mut flow.up);
        back(Part::Gate, &flow.gate, &mut flow.normed, Into::Overwrite);
        back(Part::Up, &flow.up, &mut flow.normed, Into::Add);
        post_gain.fill(0.0);
        let (d, gain) = (&flow.normed, weights.post_norm);
        kernels::rms_norm_backward(&saved.y, gain, shape.eps, d, &flow.behind, &mut flow.between, post_gain);

        back(Part::Output, &flow.between, &mut flow.heads, Into::Overwrite);
        let (row, kv_row, sums) = (seq * attention.width(), seq * attention.kv_width(), seq * shape.heads);
        let keys = saved.k.chunks_exact(kv_row).zip(saved.v.chunks_exact(kv_row));
        let inputs = saved.q.chunks_exact(row).zip(keys);
        let of_output = flow.heads.chunks_exact(row).zip(saved.log_sums.chunks_exact(sums));
        let keys = flow.k.chunks_exact_mut(kv_row).zip(flow.v.chunks_exact_mut(kv_row));
        let outs = flow.q.chunks_exact_mut(row).zip(keys);
        for (((q, (k, v)), (d, log_sums)), (d_q, (d_k, d_v))) in inputs.zip(of_output).zip(outs) {
            attention.backward([q, k, v], d, log_sums, [d_q, d_k, d_v], strip);
        }
        kernels::rotate(&mut flow.q, shape.heads, seq, &shape.rotary, Turn::Back);
        kernels::rotate(&mut flow.k, shape.kv_heads, seq, &shape.rotary, Turn::Back);
        back(Part::Query, &flow.q, &mut flow.normed, Into::Overwrite);
        back(Part::Key, &flow.k, &mut flow.normed, Into::Add);
        back(Part::Value, &flow.v, &mut flow.normed, Into::Add);
        input_gain.fill(0.0);
        let (d, gain) = (&flow.normed, weights.input_norm);
        kernels::rms_norm_backward(&saved.x, gain, shape.eps, d, &flow.between, &mut flow.before, input_gain);
    }
}

/// What a shard knows of a layer that was gone back through, or of the head.
pub(super) struct Done<'a> {
    flow: &'a Flow,
    saved: Option<&'a Saved>,
    head: Linear<'a>,
    tokens: usize,
}

impl<'a> Done<'a> {
    /// The gradients of a layer's gains: before the attention, before the feed-forward.
    pub(super) fn gains(&self) -> [&'a [f32]; 2] {
        self.flow.gains.each_ref().map(Vec::as_slice)
    }

    /// What the gradient of a weight of the layer, in the order of [`Part::ALL`], or that of the head is the product
    /// of.
    pub(super) fn operands(&self, part: usize) -> Linear<'a> {
        let (Some(saved), flow) = (self.saved, self.flow) else { return self.head };
        let (gradient, input) = match Part::ALL[part] {
            Part::Query => (&flow.q, &saved.x_normed),
            Part::Key => (&flow.k, &saved.x_normed),
            Part::Value => (&flow.v, &saved.x_normed),
            Part::Output => (&flow.between, &saved.heads),
            Part::Gate => (&flow.gate, &saved.y_normed),
            Part::Up => (&flow.up, &saved.y_normed),
            Part::Down => (&flow.behind, &flow.hidden),
        };
        Linear { gradient, input, tokens: self.tokens }
    }
}

/// Numbers that `shards` shards hold together for so many tokens.
pub(super) fn floats(config: &LlamaConfig, tokens: usize, seq: usize, shards: usize) -> usize {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let attention = Attention {
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads,
        head_dim: config.head_dim,
        seq,
    };
    let heads = 2 * attention.width() + 2 * attention.kv_width();
    let saved = 4 * hidden + heads + attention.heads + 2 * inner;
    let flow = 4 * hidden + 3 * inner + heads;
    let token = config.num_hidden_layers * saved + 2 * flow + 2 * hidden + padded(config.vocab_size);
    tokens.saturating_mul(token).saturating_add(shards * (5 * hidden + attention.strip_len()))
}
