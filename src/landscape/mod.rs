//! Slices of the loss landscape: directions through the weights, and the loss on the plane they span.

pub mod plane;
pub mod survey;
