//! Which tensors the directions of a plane touch.

use std::ops::Range;

use globset::{Glob, GlobMatcher};

use crate::model::params::Params;

/// Why a selection is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SelectionError {
    /// Not of the form `0..8`.
    #[error("--layers {0}: not a range of layers such as 0..8, where the end is left out")]
    NotARange(String),
    /// A range without a layer in it.
    #[error("--layers {}..{}: not layers of the model, which has {layers}, counted from 0; the end is left out", range.start, range.end)]
    EmptyRange {
        /// What was asked for.
        range: Range<usize>,
        /// Layers of the model.
        layers: usize,
    },
    /// Not a pattern.
    #[error("--tensors {pattern}: {reason}")]
    NotAPattern {
        /// What was typed.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern that matches nothing that may be turned.
    #[error("--tensors {pattern}: {}", if *left_out > 0 { "it matches only tensors that are left out: add --with-norms or --with-embeddings, or widen --layers" } else { "no tensor of the model has such a name; they read like model.layers.0.mlp.up_proj.weight" })]
    NothingMatches {
        /// What was typed.
        pattern: String,
        /// Tensors that match and are left out for another reason.
        left_out: usize,
    },
    /// Nothing at all.
    #[error("the model has no tensor that these directions may turn")]
    Nothing,
}

/// Tensors by layer, by name and by kind. The default is every matrix of the blocks and an untied head.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these layers, and nothing outside them.
    pub layers: Option<Range<usize>>,
    /// Only names that match.
    pub tensors: Option<GlobMatcher>,
    /// Norm gains and biases too.
    pub norms: bool,
    /// The embedding too. A tied head is the same tensor and moves with it.
    pub embeddings: bool,
}

impl Selection {
    /// What the directions of the film "How Models Learn" turn: the matrices and norm gains of the first half of so many
    /// layers.
    pub fn first_half(layers: usize) -> Self {
        Self { layers: Some(0..(layers / 2).max(1)), norms: true, ..Self::default() }
    }

    /// A half-open range of layers, such as `0..8`.
    pub fn parse_layers(text: &str) -> Result<Range<usize>, SelectionError> {
        let range =
            text.split_once("..").and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
        range.ok_or_else(|| SelectionError::NotARange(text.to_owned()))
    }

    /// A pattern of names, in which `*` stands for anything.
    pub fn parse_tensors(text: &str) -> Result<GlobMatcher, SelectionError> {
        let glob = Glob::new(text).map_err(|error| SelectionError::NotAPattern {
            pattern: text.to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(glob.compile_matcher())
    }

    /// The names of the tensors that are turned, in the order of the parameters. There is at least one.
    pub fn names(&self, params: &Params) -> Result<Vec<String>, SelectionError> {
        let layers = params.iter().filter_map(|(name, _)| layer_of(name)).max().map_or(0, |last| last + 1);
        if let Some(range) = &self.layers
            && (range.start >= range.end || range.start >= layers || range.end > layers)
        {
            return Err(SelectionError::EmptyRange { range: range.clone(), layers });
        }
        let matches = |name: &str| self.tensors.as_ref().is_none_or(|glob| glob.is_match(name));
        let may_turn = |name: &str, rank: usize| {
            let layer =
                self.layers.as_ref().is_none_or(|range| layer_of(name).is_some_and(|l| range.contains(&l)));
            let embedding = name == "model.embed_tokens.weight";
            layer && (rank > 1 || self.norms) && (!embedding || self.embeddings)
        };
        let matching: Vec<_> = params.iter().filter(|(name, _)| matches(name)).collect();
        let names: Vec<String> = matching
            .iter()
            .filter(|(name, tensor)| may_turn(name, tensor.rank()))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        match &self.tensors {
            _ if !names.is_empty() => Ok(names),
            Some(glob) => Err(SelectionError::NothingMatches {
                pattern: glob.glob().glob().to_owned(),
                left_out: matching.len(),
            }),
            None => Err(SelectionError::Nothing),
        }
    }
}

/// The layer that a tensor belongs to, if it belongs to one.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn params() -> Params {
        [
            ("model.embed_tokens.weight", vec![4, 2]),
            ("model.layers.0.input_layernorm.weight", vec![2]),
            ("model.layers.0.self_attn.q_proj.weight", vec![2, 2]),
            ("model.layers.0.self_attn.q_proj.bias", vec![2]),
            ("model.layers.1.mlp.up_proj.weight", vec![3, 2]),
            ("model.norm.weight", vec![2]),
            ("lm_head.weight", vec![4, 2]),
        ]
        .into_iter()
        .map(|(name, dims)| (name.to_owned(), Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap()))
        .collect()
    }

    #[test]
    fn by_default_every_matrix_but_the_embedding_is_turned() {
        let names = Selection::default().names(&params()).unwrap();
        assert_eq!(
            names,
            ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight", "lm_head.weight"]
        );
    }

    #[test]
    fn layers_patterns_and_switches_choose() {
        let names = |selection: Selection| selection.names(&params()).unwrap();
        let layers = Some(Selection::parse_layers("0..1").unwrap());
        assert_eq!(names(Selection { layers: layers.clone(), ..Selection::default() }).len(), 1);
        assert_eq!(names(Selection { layers, norms: true, ..Selection::default() }).len(), 3);
        let tensors = Some(Selection::parse_tensors("*up_proj*").unwrap());
        assert_eq!(
            names(Selection { tensors, ..Selection::default() }),
            ["model.layers.1.mlp.up_proj.weight"]
        );
        let all = Selection { norms: true, embeddings: true, ..Selection::default() };
        assert_eq!(names(all).len(), params().len());
    }

    #[test]
    fn the_first_half_of_the_layers_is_turned_with_its_norms_and_never_none() {
        let names = Selection::first_half(2).names(&params()).unwrap();
        assert!(
            names.iter().all(|name| name.starts_with("model.layers.0.")) && names.len() == 3,
            "{names:?}"
        );
        assert_eq!(
            [1, 16, 30].map(|layers| Selection::first_half(layers).layers),
            [Some(0..1), Some(0..8), Some(0..15)]
        );
    }

    #[test]
    fn what_selects_nothing_is_refused_and_says_why() {
        let error = |selection: Selection| selection.names(&params()).unwrap_err().to_string();
        for layers in [0..0, 2..4, 0..3, Range { start: 1, end: 0 }] {
            let selection = Selection { layers: Some(layers), ..Selection::default() };
            assert!(error(selection).contains("which has 2"));
        }
        let matching = |text: &str| Selection {
            tensors: Some(Selection::parse_tensors(text).unwrap()),
            ..Selection::default()
        };
        assert!(error(matching("*.conv.*")).contains("no tensor of the model"));
        assert!(error(matching("*layernorm*")).contains("--with-norms"));
        assert!(Selection::parse_layers("3").is_err() && Selection::parse_layers("a..b").is_err());
        assert!(Selection::parse_tensors("[").is_err());
    }
}
