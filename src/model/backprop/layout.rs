//! Where each tensor of a Llama stands among its parameters, and their numbers.

use candle_core::{Error, Result};

use crate::model::config::LlamaConfig;
use crate::model::host::Numbers;
use crate::model::params::Params;

/// The matrices of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Part {
    pub(super) const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    fn name(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }
}

/// Places in the parameters' order.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) embedding: usize,
    pub(super) layers: Vec<LayerLayout>,
    pub(super) norm: usize,
    /// The embedding's where they are tied.
    pub(super) head: usize,
}

#[derive(Debug)]
pub(super) struct LayerLayout {
    pub(super) input_norm: usize,
    pub(super) post_norm: usize,
    /// In the order of [`Part::ALL`].
    pub(super) linear: [LinearLayout; 7],
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LinearLayout {
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
}

impl Layout {
    pub(super) fn of(config: &LlamaConfig, params: &Params) -> Result<Self> {
        let find = |name: &str| params.iter().position(|(other, _)| other == name);
        let place = |name: &str| find(name).ok_or_else(|| Error::Msg(format!("the parameters lack {name}")));
        let layer = |layer: usize| -> Result<LayerLayout> {
            let norm = |name: &str| place(&format!("model.layers.{layer}.{name}.weight"));
            let mut linear = [LinearLayout { weight: 0, bias: None }; 7];
            for (linear, part) in linear.iter_mut().zip(Part::ALL) {
                let name = format!("model.layers.{layer}.{}", part.name());
                linear.weight = place(&format!("{name}.weight"))?;
                linear.bias = find(&format!("{name}.bias"));
            }
            Ok(LayerLayout {
                input_norm: norm("input_layernorm")?,
                post_norm: norm("post_attention_layernorm")?,
                linear,
            })
        };
        let embedding = place("model.embed_tokens.weight")?;
        Ok(Self {
            embedding,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: place("model.norm.weight")?,
            head: if config.tie_word_embeddings { embedding } else { place("lm_head.weight")? },
        })
    }

    /// The places of the embedding and of all layers up to this one.
    pub(super) fn below(&self, layer: usize) -> impl Iterator<Item = usize> {
        let layers = self.layers[..=layer].iter().flat_map(|layer| {
            let linear = layer.linear.iter().flat_map(|linear| [Some(linear.weight), linear.bias]);
            linear.flatten().chain([layer.input_norm, layer.post_norm])
        });
        layers.chain([self.embedding])
    }
}

/// All parameters' numbers, held open.
pub(super) struct Opened<'a> {
    layout: &'a Layout,
    numbers: Vec<Numbers<'a>>,
}

impl<'a> Opened<'a> {
    pub(super) fn of(layout: &'a Layout, params: &'a Params) -> Result<Self> {
        let numbers = params.iter().map(|(_, tensor)| Numbers::of(tensor)).collect::<Result<_>>()?;
        Ok(Self { layout, numbers })
    }

    pub(super) fn weights(&self) -> Weights<'_> {
        let numbers = |place: usize| -> &[f32] { &self.numbers[place] };
        let layer = |layer: &LayerLayout| LayerWeights {
            input_norm: numbers(layer.input_norm),
            post_norm: numbers(layer.post_norm),
            linear: layer.linear.map(|linear| (numbers(linear.weight), linear.bias.map(numbers))),
        };
        Weights {
            embedding: numbers(self.layout.embedding),
            layers: self.layout.layers.iter().map(layer).collect(),
            norm: numbers(self.layout.norm),
            head: numbers(self.layout.head),
        }
    }
}

/// A model's numbers.
pub(super) struct Weights<'a> {
    /// `(vocab_size, hidden_size)`
    pub(super) embedding: &'a [f32],
    pub(super) layers: Vec<LayerWeights<'a>>,
    /// `(hidden_size)`
    pub(super) norm: &'a [f32],
    /// `(vocab_size, hidden_size)`
    pub(super) head: &'a [f32],
}

pub(super) struct LayerWeights<'a> {
    pub(super) input_norm: &'a [f32],
    pub(super) post_norm: &'a [f32],
    /// In the order of [`Part::ALL`]: `(out, in)` and perhaps a bias `(out)`.
    linear: [(&'a [f32], Option<&'a [f32]>); 7],
}

impl<'a> LayerWeights<'a> {
    pub(super) fn linear(&self, part: Part) -> (&'a [f32], Option<&'a [f32]>) {
        self.linear[part as usize]
    }
}

/// What the gradient of a weight `(out, in)` is the product of.
pub(super) struct Linear<'a> {
    /// Of the output, `(tokens, out)`.
    pub(super) gradient: &'a [f32],
    /// `(tokens, in)`
    pub(super) input: &'a [f32],
    /// Numbers in a row of the input.
    pub(super) width: usize,
}
