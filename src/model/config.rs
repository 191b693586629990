//! The shape of a Llama.

use serde::{Deserialize, Serialize};

/// The shape of a Llama, in the terms of Hugging Face's `config.json`.
///
/// Weights are `(out, in)`. With `q = num_attention_heads * head_dim` and `kv = num_key_value_heads * head_dim`:
/// `q_proj` is `(q, hidden_size)`, `k_proj` and `v_proj` `(kv, hidden_size)`, `o_proj` `(hidden_size, q)`,
/// `gate_proj` and `up_proj` `(intermediate_size, hidden_size)`, `down_proj` `(hidden_size, intermediate_size)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest context.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every `RMSNorm`.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f64,
    /// How the wavelengths are stretched, if they are.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output head is the embedding, transposed.
    pub tie_word_embeddings: bool,
    /// Whether `q_proj`, `k_proj`, `v_proj` and `o_proj` have biases.
    pub attention_bias: bool,
    /// Whether `gate_proj`, `up_proj` and `down_proj` have biases.
    pub mlp_bias: bool,
    /// Token before a text, where the tokenizer puts one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<u32>,
}

impl LlamaConfig {
    /// Whether the same weights are the same function in both: a point between the weights of two models is a model
    /// only then.
    pub fn computes_like(&self, other: &Self) -> bool {
        let function = |config: &Self| Self {
            max_position_embeddings: 0,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
            ..config.clone()
        };
        function(self) == function(other)
    }
}

/// How rotary wavelengths are stretched for contexts longer than those first trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RopeScaling {
    /// Every wavelength times `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Llama 3.1's rule: long wavelengths stretched, short ones kept, a smooth ramp between.
    Llama3 {
        /// The stretch of long wavelengths.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context first trained on.
        original_max_position_embeddings: usize,
    },
    /// A divisor per frequency, `head_dim / 2` of them, as GGUF files carry in `rope_freqs.weight`.
    Divisors(Vec<f32>),
}
