//! Looking at the loss around some weights: planes through weight space, and the loss on them.

pub mod curvature;
pub mod directions;
pub mod evaluator;
mod moving;
pub mod path;
pub mod plane;
pub mod probe;
pub mod selection;
pub mod shared;
mod stack;
pub mod survey;
