//! The Llama: its forward pass over a value of parameters, the same on every device.

use candle_core::{DType, Device, Result, Tensor};

use super::config::{LlamaConfig, RopeScaling};
use super::kernels::Rotary;
use super::ops;
use super::params::Params;

/// A Llama without its parameters: its shape, and what it computes with.
///
/// The parameters are handed to each call, so that training, a slice through a frozen copy and a loaded
/// checkpoint all take this one path.
#[derive(Debug, Clone)]
pub struct Llama {
    config: LlamaConfig,
    /// Radians per position of each of the `head_dim / 2` rotations.
    frequencies: Vec<f64>,
    dtype: DType,
    device: Device,
}

impl Llama {
    /// Prepares a model of this shape for computing in `dtype` on `device`; fails where the device cannot.
    pub fn new(config: &LlamaConfig, dtype: DType, device: &Device) -> Result<Self> {
        let frequencies = rope_frequencies(config);
        let llama = Self { config: config.clone(), frequencies, dtype, device: device.clone() };
        // A type that the device lacks is known here, and not in the middle of a run.
        llama.rope_tables(0, 1)?;
        Ok(llama)
    }

    /// The model's shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The tables of the rotary embedding for texts of `seq` tokens, as plain numbers.
    pub fn rotary(&self, seq: usize) -> Result<Rotary> {
        let [cos, sin] = self.rope_tables(0, seq)?;
        let table = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
        Ok(Rotary { cos: table(&cos)?, sin: table(&sin)?, half: self.config.head_dim / 2 })
    }

    /// Logits of the next token at every position. `ids` is `(batch, seq)` of `u32`, the result
    /// `(batch, seq, vocab_size)`.
    pub fn forward(&self, params: &Params, ids: &Tensor) -> Result<Tensor> {
        let (batch, seq) = ids.dims2()?;
        let logits = self.head(params, &self.residual(params, 1, ids, None)?)?; // (batch * seq, vocab_size)
        logits.reshape((batch, seq, logits.dim(1)?))
    }

    /// Loss in nats of each token of `targets` given those before it: `(batch * seq)`. `inputs` and `targets`
    /// are `(batch, seq)` of `u32`, the targets one place ahead of the inputs.
    pub fn token_losses(&self, params: &Params, inputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.stacked_losses(params, 1, inputs, targets)
    }

    /// [`Self::token_losses`] at so many points in weight space: `(points * batch * seq)`. A parameter may have a
    /// dimension in front for the points; those without one are the same at all of them.
    pub fn stacked_losses(
        &self,
        params: &Params,
        points: usize,
        inputs: &Tensor,
        targets: &Tensor,
    ) -> Result<Tensor> {
        let logits = self.head(params, &self.residual(params, points, inputs, None)?)?;
        let targets = targets.flatten_all()?;
        let targets = if points == 1 { targets } else { targets.repeat(points)? };
        // Half a precision is too little for the sum over a vocabulary.
        let logits = if logits.dtype() == DType::BF16 { logits.to_dtype(DType::F32)? } else { logits };
        ops::cross_entropy(&logits, &targets)
    }

    /// Mean of [`Self::token_losses`] over the targets that are not [`ops::IGNORED`], a scalar.
    pub fn loss(&self, params: &Params, inputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let losses = self.token_losses(params, inputs, targets)?; // (batch * seq)
        let predicted = targets.flatten_all()?.ne(ops::IGNORED)?.to_dtype(losses.dtype())?.sum_all()?;
        losses.sum_all()?.div(&predicted)
    }

    /// Logits of the token after `ids`, which follow those that `cache` has seen: `(vocab_size)`. No gradient flows
    /// through what is cached.
    pub fn next(&self, params: &Params, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        let input = Tensor::new(ids, &self.device)?.unsqueeze(0)?; // (1, seq)
        let x = self.residual(params, 1, &input, Some(cache))?; // (seq, hidden_size)
        self.head(params, &x.narrow(0, ids.len() - 1, 1)?)?.squeeze(0)
    }

    /// The residual stream behind the last block, `(points * batch * seq, hidden_size)`. With a cache, `ids` follow the
    /// tokens that it has seen.
    fn residual(
        &self,
        params: &Params,
        points: usize,
        ids: &Tensor,
        mut cache: Option<&mut Cache>,
    ) -> Result<Tensor> {
        let (batch, seq) = ids.dims2()?;
        let seen = cache.as_ref().map_or(0, |cache| cache.seen);
        if seen + seq > self.config.max_position_embeddings {
            candle_core::bail!(
                "{} tokens are more than the model's context of {}",
                seen + seq,
                self.config.max_position_embeddings
            );
        }
        let embedding = get(params, "model.embed_tokens.weight")?;
        let [cos, sin] = self.rope_tables(seen, seq)?;
        let mask = ops::causal_mask(seen, seq, &cos)?;
        let rope = Rope { cos, sin, mask, batch: points * batch, seq };
        let ids = ids.flatten_all()?;
        let mut x = match embedding.rank() {
            3 => embedding.index_select(&ids, 1)?.flatten(0, 1)?,
            _ if points == 1 => embedding.index_select(&ids, 0)?,
            _ => embedding.index_select(&ids, 0)?.repeat((points, 1))?,
        }; // (points * batch * seq, hidden_size)
        for layer in 0..self.config.num_hidden_layers {
            x = self.block(params, layer, &x, &rope, cache.as_deref_mut())?;
        }
        if let Some(cache) = cache {
            cache.seen += seq;
        }
        Ok(x)
    }

    /// Cosines and sines of the rotary embedding for `seq` positions that follow `seen` others, both
    /// `(seq, head_dim / 2)`.
    ///
    /// No table is kept for the whole context: a model may claim one that no text ever fills.
    fn rope_tables(&self, seen: usize, seq: usize) -> Result<[Tensor; 2]> {
        let frequencies = &self.frequencies;
        let table = |f: fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> =
                (seen..seen + seq).flat_map(|p| frequencies.iter().map(move |w| f(p as f64 * w))).collect();
            Tensor::from_vec(values, (seq, frequencies.len()), &self.device)?.to_dtype(self.dtype)
        };
        Ok([table(f64::cos)?, table(f64::sin)?])
    }

    /// Logits of rows of the residual stream: `(rows, hidden_size)` to `(rows, vocab_size)`.
    fn head(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let x = self.norm(params, "model.norm.weight", x)?;
        let tied = self.config.tie_word_embeddings;
        let head = get(params, if tied { "model.embed_tokens.weight" } else { "lm_head.weight" })?;
        product(&x, head) // (rows, vocab_size)
    }

    fn norm(&self, params: &Params, name: &str, x: &Tensor) -> Result<Tensor> {
        by_point(x, get(params, name)?, |x, weight| ops::rms_norm(x, weight, self.config.rms_norm_eps))
    }

    /// One block: attention and a gated feed-forward, each on the normalised residual stream `x`,
    /// `(batch * seq, hidden_size)`, and added to it.
    fn block(
        &self,
        params: &Params,
        layer: usize,
        x: &Tensor,
        rope: &Rope,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor> {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let norm = |x: &Tensor, part: &str| self.norm(params, &name(part), x);
        let project = |x: &Tensor, part: &str| linear(params, &name(part), x);

        let y = norm(x, "input_layernorm.weight")?; // (batch * seq, hidden_size)
        let q = self.heads(&project(&y, "self_attn.q_proj")?, self.config.num_attention_heads, rope)?;
        let k = self.heads(&project(&y, "self_attn.k_proj")?, self.config.num_key_value_heads, rope)?;
        let v = self.heads(&project(&y, "self_attn.v_proj")?, self.config.num_key_value_heads, rope)?;
        let q = ops::rotary(&q, &rope.cos, &rope.sin)?; // (batch, heads, seq, head_dim)
        let k = ops::rotary(&k, &rope.cos, &rope.sin)?; // (batch, kv_heads, seq, head_dim)
        let (k, v) = match cache {
            Some(cache) => cache.extend(layer, &k, &v)?, // (batch, kv_heads, seen + seq, head_dim)
            None => (k, v),
        };
        let y = ops::causal_attention(&q, &k, &v, &rope.mask)?; // (batch, heads, seq, head_dim)
        let width = self.config.num_attention_heads * self.config.head_dim;
        let y = y.transpose(1, 2)?.reshape((rope.batch * rope.seq, width))?;
        let x = (x + project(&y, "self_attn.o_proj")?)?; // (batch * seq, hidden_size)

        let y = norm(&x, "post_attention_layernorm.weight")?;
        let gate = project(&y, "mlp.gate_proj")?; // (batch * seq, intermediate_size)
        let up = project(&y, "mlp.up_proj")?;
        &x + project(&ops::swiglu(&gate, &up)?, "mlp.down_proj")?
    }

    /// `(batch * seq, heads * head_dim)` to `(batch, heads, seq, head_dim)`.
    fn heads(&self, x: &Tensor, heads: usize, rope: &Rope) -> Result<Tensor> {
        x.reshape((rope.batch, rope.seq, heads, self.config.head_dim))?.transpose(1, 2)?.contiguous()
    }
}

/// The keys and values of the tokens that a model has seen, so that the next one costs no more than itself.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// Keys and values of each layer, `(1, kv_heads, seen, head_dim)`.
    layers: Vec<(Tensor, Tensor)>,
    seen: usize,
}

impl Cache {
    /// Tokens it has seen.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Adds keys and values behind those of a layer; all of them come back.
    fn extend(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (k, v) = (k.detach(), v.detach());
        let Some((keys, values)) = self.layers.get_mut(layer) else {
            self.layers.push((k.clone(), v.clone()));
            return Ok((k, v));
        };
        *keys = Tensor::cat(&[&*keys, &k], 2)?;
        *values = Tensor::cat(&[&*values, &v], 2)?;
        Ok((keys.clone(), values.clone()))
    }
}

/// What every block of one forward pass shares.
struct Rope {
    /// `(seq, head_dim / 2)`
    cos: Tensor,
    /// `(seq, head_dim / 2)`
    sin: Tensor,
    /// `(seq, seen + seq)`
    mask: Tensor,
    batch: usize,
    seq: usize,
}

fn get<'a>(params: &'a Params, name: &str) -> Result<&'a Tensor> {
    params.get(name).ok_or_else(|| candle_core::Error::Msg(format!("the parameters lack {name}")))
}

/// `x weight^T + bias`, the bias where there is one. `x` is `(rows, in)`, `weight` `(out, in)`, or both begin with the
/// points.
fn linear(params: &Params, name: &str, x: &Tensor) -> Result<Tensor> {
    let y = product(x, get(params, &format!("{name}.weight"))?)?;
    match params.get(&format!("{name}.bias")) {
        Some(bias) => by_point(&y, bias, Tensor::broadcast_add),
        None => Ok(y),
    }
}

/// `x weight^T`: `(rows, in)` and `(out, in)`, or `(points * rows, in)` and `(points, out, in)`.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    match *weight.dims() {
        [points, _, width] => x.reshape((points, (), width))?.matmul(&weight.t()?)?.flatten(0, 1),
        _ => x.matmul(&weight.t()?),
    }
}

/// An operation on rows, `(rows, width)`, and a vector that is the same for all of them, `(width)`, or for those of each
/// point, `(points, width)`.
fn by_point(
    x: &Tensor,
    vector: &Tensor,
    operation: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    match *vector.dims() {
        [points, width] => operation(&x.reshape((points, (), width))?, &vector.unsqueeze(1)?)?.flatten(0, 1),
        _ => operation(x, vector),
    }
}

/// Radians per position of each of the `head_dim / 2` rotations, `rope_theta^(-2 i / head_dim)`, scaled as the
/// model asks.
fn rope_frequencies(config: &LlamaConfig) -> Vec<f64> {
    let frequency = |i: usize| config.rope_theta.powf(-2.0 * i as f64 / config.head_dim as f64);
    let base = (0..config.head_dim / 2).map(frequency);
    match &config.rope_scaling {
        None => base.collect(),
        Some(RopeScaling::Linear { factor }) => base.map(|w| w / factor).collect(),
        Some(RopeScaling::Divisors(divisors)) => {
            base.zip(divisors).map(|(w, &divisor)| w / f64::from(divisor)).collect()
        }
        // As in transformers' modeling_rope_utils.py, `_compute_llama3_parameters`.
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => base
            .map(|w| {
                let turns = *original_max_position_embeddings as f64 * w / std::f64::consts::TAU;
                let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let keep = keep.clamp(0.0, 1.0);
                w * keep + w / factor * (1.0 - keep)
            })
            .collect(),
    }
}
