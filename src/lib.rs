//! llamascape: a terminal observatory for how a language model learns.
//!
//! The map, in the order data flows:
//!
//! - [`model`]: the Llama, its parameters, tokenizer and checkpoints
//! - [`train`]: corpus, batches, optimizer, schedule, trainer
//! - [`landscape`]: planes through the weights and the loss on them
//! - [`predict`]: what a model says comes next
//! - [`generate`]: texts that it writes
//! - [`ranks`]: the processes of one job, on one machine or many
//! - [`settings`]: what a run is made with
//! - [`run`]: the run's folder, the engine, and the socket screens connect to
//! - [`protocol`]: everything that crosses between engine and screen
//! - [`app`]: what a screen knows, and how keys and frames change it
//! - [`theme`]: colours and borders
//! - [`ui`]: the picture of an [`app::App`]
//! - [`terminal`]: the loop of a screen in a real terminal, and the files that are exported from it
//! - [`export`]: results as files that other programs read
//! - [`cli`]: one file a command

pub mod app;
pub mod cli;
pub mod export;
pub mod generate;
pub mod landscape;
pub mod model;
pub mod predict;
pub mod protocol;
pub mod ranks;
pub mod run;
pub mod settings;
pub mod terminal;
pub mod theme;
pub mod train;
pub mod ui;
