//! Single parameters as plain data: what turning one or two of them does to the loss, and how far tuning one after
//! another gets beside steps that turn all of them.
//!
//! A screen sends [`Ask`]s; the engine publishes the whole [`Scene`] each time a part of it changes.

use serde::{Deserialize, Serialize};

use super::Prediction;

/// What a person can ask of the probe beside a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Pause the run, take its weights as they are now, list the parameters with the largest gradients and turn the
    /// first.
    Open,
    /// Turn these of the list: one, or two that differ.
    Choose {
        /// The first, as its place in the list.
        first: usize,
        /// The second, where two are turned.
        second: Option<usize>,
    },
    /// Put a parameter at the head of the list and turn it: `model.layers.3.mlp.up_proj.weight[12,34]`.
    Name(String),
    /// Move the parameters that are turned by this much from their values, within the range: the prediction follows.
    Turn([f64; 2]),
    /// Multiply the range of the sweep by this factor.
    Zoom(f64),
    /// Tune one parameter of the pair after the other, for so many rounds, and take as many optimizer steps of all
    /// parameters.
    Walk(usize),
    /// Forget it all, and give its memory back.
    End,
}

/// What the probe is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Computing the gradient.
    Ranking,
    /// Evaluating a sweep.
    Sweeping,
    /// Tuning and training.
    Walking,
    /// Waiting.
    Ready,
    /// Somebody ended it; its memory is given back.
    Ended,
    /// It could not be: one line of what and what to do.
    Failed(String),
}

/// All that is told of the probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// What it is doing.
    pub phase: Phase,
    /// The step of the run whose weights are probed.
    pub of_step: u64,
    /// The text whose mean loss is swept, its last token the target.
    pub text: String,
    /// The loss of the weights as they are.
    pub loss: f64,
    /// The norm of the gradient of that loss over all parameters.
    pub grad_norm: f64,
    /// The parameters that can be turned, the largest gradients first.
    pub listed: Vec<Parameter>,
    /// The places in the list of the one or two that are turned; empty before the first sweep.
    pub chosen: Vec<usize>,
    /// The newest sweep.
    pub sweep: Option<Sweep>,
    /// Where the parameters are turned to: movements from their values, and what the model says there.
    pub turned: Option<Turned>,
    /// The walk of the pair.
    pub walk: Option<Walk>,
    /// Why the last thing that was asked for did not happen: one line of what and what to do.
    pub refusal: Option<String>,
}

/// A single number of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its tensor.
    pub name: String,
    /// Its place there: row and column of a matrix, one number for a vector.
    pub index: Vec<usize>,
    /// What it is.
    pub value: f64,
    /// The derivative of the mean loss by it.
    pub grad: f64,
    /// The run trains it.
    pub trained: bool,
}

/// The loss over one parameter or two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Movements of the first from its value, ascending; 0 is among them.
    pub first: Vec<f64>,
    /// Movements of the second; `[0]` where one is turned.
    pub second: Vec<f64>,
    /// `loss[i * first.len() + j]` is the mean loss at `first[j]`, `second[i]`. Not finite where the model's is not.
    pub loss: Vec<f32>,
    /// The probability of the target likewise.
    pub p_target: Vec<f32>,
}

/// The model with its parameters turned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turned {
    /// Movements from their values.
    pub moves: [f64; 2],
    /// What it says there; the previous probabilities are those of the weights as they are.
    pub prediction: Prediction,
}

/// Tuning two parameters one after another, and steps that turn all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Rounds that were asked for.
    pub rounds: usize,
    /// The start, and the best of the first parameter and of the second in turns, each with the other where it was.
    pub visits: Vec<Visit>,
    /// The start, and where each optimizer step of all parameters leads.
    pub descent: Vec<Visit>,
    /// The optimizer and its learning rate, such as `adam, lr 1e-3`.
    pub optimizer: String,
}

/// A place of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// Movements of the two from their values.
    pub moves: [f64; 2],
    /// The mean loss there.
    pub loss: f64,
    /// The probability of the target there.
    pub p_target: f64,
}
