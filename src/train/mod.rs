//! Training: what is learnt from, in which order, and how the weights follow the gradient.

pub mod composed;
pub mod corpus;
pub mod documents;
pub mod facts;
pub mod optimizer;
pub mod preset;
pub mod resume;
pub mod schedule;
pub mod trainer;
