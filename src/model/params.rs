//! Parameters as a value: an ordered map from name to tensor.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var, bail};
use indexmap::IndexMap;

use super::ops;

/// A model's parameters under their Hugging Face names, in the order the data flows through them.
///
/// Cloning shares the tensors. What is trained are [`Var`]s that an optimizer changes in place, so whoever
/// wants the weights of one moment takes [`Params::frozen`].
#[derive(Debug, Clone, Default)]
pub struct Params(IndexMap<String, Tensor>);

impl Params {
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.0.insert(name.into(), tensor);
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The count of numbers in all tensors.
    pub fn elements(&self) -> usize {
        self.0.values().map(Tensor::elem_count).sum()
    }

    /// Whether these are a small model's, which takes steps that would destroy what a large one has learnt.
    pub fn is_small(&self) -> bool {
        self.elements() < 20_000_000
    }

    /// A copy that nothing else writes to and that no gradient flows through.
    pub fn frozen(&self) -> Result<Self> {
        self.0.iter().map(|(name, tensor)| Ok((name.clone(), tensor.detach().copy()?))).collect()
    }

    /// The same numbers as variables: leaves that receive gradients.
    pub fn into_vars(self) -> Result<Vars> {
        self.0.into_iter().map(|(name, tensor)| Ok((name, Var::from_tensor(&tensor)?))).collect()
    }
}

impl FromIterator<(String, Tensor)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Parameters that are being trained.
#[derive(Debug, Clone)]
pub struct Vars(IndexMap<String, Var>);

impl Vars {
    /// The tensors, sharing storage: a forward pass over them is differentiable.
    pub fn params(&self) -> Params {
        self.0.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    /// The tensors without a graph: nothing computed from them can be differentiated. They share storage.
    pub fn detached(&self) -> Params {
        self.0.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }

    /// The gradient of each variable in order; fails for one that received none.
    pub fn gradients(&self, grads: &GradStore) -> Result<Vec<Tensor>> {
        self.iter()
            .map(|(name, var)| match grads.get(var.as_tensor()) {
                Some(grad) => grad.contiguous(),
                None => bail!("{name} received no gradient"),
            })
            .collect()
    }

    /// Norm of the gradient over all variables.
    pub fn grad_norm(&self, grads: &GradStore) -> Result<f64> {
        Ok(ops::square_sums(&self.gradients(grads)?)?.iter().sum::<f64>().sqrt())
    }

    /// Names and variables in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, var)| (name.as_str(), var))
    }
}

impl FromIterator<(String, Var)> for Vars {
    fn from_iter<I: IntoIterator<Item = (String, Var)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
