//! The Llama: its shape, parameters, tokenizer and checkpoints.

pub mod attention;
pub mod backprop;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod gaussian;
pub mod host;
pub mod kernels;
pub mod llama;
pub mod matmul;
pub mod memory;
pub mod ops;
pub mod params;
pub mod shapes;
pub mod sharing;
pub mod tokenizer;
