//! The Llama: its shape, parameters, tokenizer and checkpoints. The one part that knows candle's tensors.

pub mod attention;
pub mod backprop;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod gaussian;
pub mod host;
pub mod kernels;
pub mod llama;
pub mod matmul;
pub mod ops;
pub mod params;
pub mod shapes;
pub mod tokenizer;
