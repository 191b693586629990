//! Where each tensor of a Llama stands among its parameters, and their numbers.

use candle_core::{Error, Result};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::model::config::LlamaConfig;
use crate::model::host::Numbers;
use crate::model::kernels;
use crate::model::matmul::padded;
use crate::model::params::Params;
use crate::model::shapes::parameter_shapes;

const EMBEDDING: &str = "model.embed_tokens.weight";
/// Tokens below which exchanging rows and columns takes longer than it saves.
const ENOUGH: usize = 128;

/// Numbers in the copies of matrices with rows and columns exchanged, for so many tokens.
pub(super) fn transposed_floats(config: &LlamaConfig, tokens: usize) -> usize {
    if tokens < ENOUGH {
        return 0;
    }
    let untied_embedding = |name: &str| !config.tie_word_embeddings && name == EMBEDDING;
    let shapes = parameter_shapes(config).into_iter().filter(|(name, _)| !untied_embedding(name));
    shapes.filter(|(_, dims)| dims.len() == 2).map(|(_, dims)| padded(dims[0]) * dims[1]).sum()
}

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
        let embedding = place(EMBEDDING)?;
        Ok(Self {
            embedding,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: place("model.norm.weight")?,
            head: if config.tie_word_embeddings { embedding } else { place("lm_head.weight")? },
        })
    }

    /// The matrices of a layer, or with their number the head.
    pub(super) fn matrices(&self, layer: usize) -> Vec<LinearLayout> {
        match self.layers.get(layer) {
            Some(layer) => layer.linear.to_vec(),
            None => vec![LinearLayout { weight: self.head, bias: None }],
        }
    }

    /// The gains of a layer.
    pub(super) fn gains(&self, layer: usize) -> Option<[usize; 2]> {
        self.layers.get(layer).map(|layer| [layer.input_norm, layer.post_norm])
    }

    /// Whether a matrix that inputs are multiplied by stands there.
    fn is_linear(&self, place: usize) -> bool {
        let of = |layer: &LayerLayout| layer.linear.iter().any(|linear| linear.weight == place);
        place == self.head || self.layers.iter().any(of)
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
    /// In the parameters' order: matrices with rows and columns exchanged, or none.
    transposed: &'a [Vec<f32>],
}

impl<'a> Opened<'a> {
    /// Opens the parameters. A product `x weight'` goes through the whole matrix in an order that suits it badly,
    /// and each shard would put it right for itself: where there are `tokens` enough it is done here, once.
    pub(super) fn of(
        layout: &'a Layout,
        params: &'a Params,
        tokens: usize,
        transposed: &'a mut Vec<Vec<f32>>,
        pool: &ThreadPool,
    ) -> Result<Self> {
        let numbers = params.iter().map(|(_, tensor)| Numbers::of(tensor)).collect::<Result<Vec<_>>>()?;
        transposed.resize_with(numbers.len(), Vec::new);
        let plain: Vec<(&[f32], usize)> = params
            .iter()
            .zip(&numbers)
            .map(|((_, tensor), numbers)| (&**numbers, tensor.dims().last().copied().unwrap_or(0)))
            .collect();
        pool.install(|| {
            let all = transposed.par_iter_mut().zip(plain).enumerate().with_max_len(1);
            all.for_each(|(place, (out, (weight, columns)))| {
                if tokens < ENOUGH || !layout.is_linear(place) {
                    out.clear();
                    return;
                }
                let rows = weight.len() / columns;
                let stride = padded(rows);
                out.resize(columns * stride, 0.0);
                kernels::transpose((weight, columns), (rows, columns), (out, stride));
            });
        });
        Ok(Self { layout, numbers, transposed })
    }

    pub(super) fn weights(&self) -> Weights<'_> {
        let numbers = |place: usize| -> &[f32] { &self.numbers[place] };
        let weight = |place: usize| Weight {
            plain: &self.numbers[place],
            transposed: Some(&*self.transposed[place]).filter(|transposed| !transposed.is_empty()),
        };
        let layer = |layer: &LayerLayout| LayerWeights {
            input_norm: numbers(layer.input_norm),
            post_norm: numbers(layer.post_norm),
            linear: layer.linear.map(|linear| (weight(linear.weight), linear.bias.map(numbers))),
        };
        Weights {
            embedding: numbers(self.layout.embedding),
            layers: self.layout.layers.iter().map(layer).collect(),
            norm: numbers(self.layout.norm),
            head: weight(self.layout.head),
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
    pub(super) head: Weight<'a>,
}

/// A matrix `(out, in)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight<'a> {
    /// Row by row.
    pub(super) plain: &'a [f32],
    /// Column by column, each [`padded`].
    pub(super) transposed: Option<&'a [f32]>,
}

pub(super) struct LayerWeights<'a> {
    pub(super) input_norm: &'a [f32],
    pub(super) post_norm: &'a [f32],
    /// In the order of [`Part::ALL`]: `(out, in)` and perhaps a bias `(out)`.
    linear: [(Weight<'a>, Option<&'a [f32]>); 7],
}

impl<'a> LayerWeights<'a> {
    pub(super) fn linear(&self, part: Part) -> (Weight<'a>, Option<&'a [f32]>) {
        self.linear[part as usize]
    }
}

/// What the gradient of a weight `(out, in)` is the product of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear<'a> {
    /// Of the output, `(tokens, out)`.
    pub(super) gradient: &'a [f32],
    /// `(tokens, in)`
    pub(super) input: &'a [f32],
    /// Tokens.
    pub(super) tokens: usize,
}

impl Linear<'_> {
    /// Numbers in a row of the input.
    pub(super) fn width(&self) -> usize {
        self.input.len() / self.tokens
    }

    /// Numbers between two rows of the output.
    pub(super) fn stride(&self) -> usize {
        self.gradient.len() / self.tokens
    }
}
