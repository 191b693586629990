//! Training: what is learnt from, in which order, and how the weights follow the gradient.

pub mod corpus;
pub mod facts;
pub mod optimizer;
pub mod preset;
pub mod schedule;
pub mod trainer;
