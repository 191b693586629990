//! A run: its folder, the engine that owns it, and the socket through which screens watch and command it.

pub mod activity;
pub mod board;
pub mod client;
pub mod comparison;
pub mod dir;
pub mod engine;
pub mod host;
pub mod input;
pub mod journal;
pub mod kept;
pub mod memory;
pub mod metrics;
pub mod pace;
pub mod pictures;
pub mod prepare;
pub mod reader;
pub mod recorder;
pub mod replay;
pub mod saver;
pub mod server;
pub mod slicer;
pub mod slices;
pub mod source;
pub mod tail;
pub mod tensorboard;
pub mod wire;
