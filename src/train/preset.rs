//! The models one can train from nothing.

use candle_core::{Device, Result, Tensor};

use crate::model::config::LlamaConfig;
use crate::model::gaussian;
use crate::model::params::Params;
use crate::model::shapes::parameter_shapes;

/// A shape to train from nothing, with the settings that suit it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// What a person types.
    pub name: &'static str,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    intermediate_size: usize,
    /// Tokens in a row of a batch.
    pub context: usize,
    /// Tokens its tokenizer may have.
    pub vocab_size: usize,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Learning rate. With twice as much, nano learns the capitals with some seeds and not with others.
    pub learning_rate: f64,
}

/// All presets, smallest first.
pub const PRESETS: [Preset; 3] = [
    Preset {
        name: "nano",
        hidden_size: 128,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        intermediate_size: 352,
        context: 64,
        vocab_size: 2048,
        batch_size: 8,
        learning_rate: 5e-3,
    },
    Preset {
        name: "micro",
        hidden_size: 256,
        num_hidden_layers: 6,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        intermediate_size: 704,
        context: 128,
        vocab_size: 4096,
        batch_size: 8,
        learning_rate: 3e-3,
    },
    Preset {
        name: "mini",
        hidden_size: 512,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        intermediate_size: 1408,
        context: 256,
        vocab_size: 8192,
        batch_size: 8,
        learning_rate: 1e-3,
    },
];

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// The model's shape for a tokenizer of `vocab_size` tokens and rows of `context` tokens.
    pub fn config(&self, vocab_size: usize, context: usize, eos: Option<u32>) -> LlamaConfig {
        LlamaConfig {
            vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.hidden_size / self.num_attention_heads,
            max_position_embeddings: context,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
            tie_word_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_ids: eos.into_iter().collect(),
        }
    }
}

/// Parameters to start from: the embedding normal with rows of norm one on average, other matrices normal with
/// standard deviation 0.02, gains one, biases zero, drawn from `seed` and each tensor's name.
///
/// With an embedding of 0.02 too, a small model takes some 200 steps more to tie one name to another.
pub fn initial_params(config: &LlamaConfig, seed: u64, device: &Device) -> Result<Params> {
    let tensor = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let values = match shape.len() {
            2 => {
                let embedding = name == "model.embed_tokens.weight";
                let deviation = if embedding { (config.hidden_size as f32).sqrt().recip() } else { 0.02 };
                gaussian::normal(seed, name, count).into_iter().map(|x| deviation * x).collect()
            }
            _ if name.ends_with("bias") => vec![0.0; count],
            _ => vec![1.0; count],
        };
        Tensor::from_vec(values, shape, device)
    };
    parameter_shapes(config)
        .into_iter()
        .map(|(name, shape)| {
            let tensor = tensor(&name, &shape)?;
            Ok((name, tensor))
        })
        .collect()
}
