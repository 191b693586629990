//! llamascape: a terminal observatory for how a language model learns.
//!
//! The map. A module uses only modules above it, those in the last column; `tests/house.rs` holds the map against the
//! files. [`protocol`] is the one to read first: all that passes between the engine, which trains, and the screen,
//! which shows.
//!
//! | module | holds | uses |
//! |---|---|---|
//! | [`ranks`] | the processes of one job, on one machine or many | |
//! | [`protocol`] | everything that crosses between engine and screen: plain data | |
//! | [`escape`] | text that is safe for a terminal | |
//! | [`model`] | the Llama, its parameters, tokenizer and checkpoints | `protocol` `ranks` |
//! | [`train`] | corpus, batches, optimizer, schedule, trainer | `model` `protocol` `ranks` |
//! | [`landscape`] | planes through the weights and the loss on them | `model` `protocol` `ranks` `train` |
//! | [`predict`] | what a model says comes next | `model` `protocol` |
//! | [`generate`] | texts that it writes | `model` |
//! | [`settings`] | what a run is made with | `model` `protocol` `train` |
//! | [`theme`] | colours and borders | |
//! | [`export`] | results as files that other programs read | `landscape` `model` `protocol` `theme` |
//! | [`run`] | the run's folder, the engine, and the socket screens connect to | `escape` `export` `generate` `landscape` `model` `predict` `protocol` `ranks` `settings` `train` |
//! | [`app`] | what a screen knows, and how keys and frames change it | `protocol` |
//! | [`ui`] | the picture of an [`app::App`] | `app` `escape` `protocol` `theme` |
//! | [`terminal`] | the loop of a screen in a real terminal, and the files that are exported from it | `app` `export` `protocol` `run` `theme` `ui` |
//! | [`cli`] | one file a command | `app` `escape` `export` `generate` `landscape` `model` `predict` `protocol` `ranks` `run` `settings` `terminal` `theme` `train` `ui` |
//!
//! The modules inside these that have folders of their own:
//!
//! | module | holds |
//! |---|---|
//! | `model::backprop` | the loss and its gradient on the CPU, without a graph |
//! | `model::checkpoint` | models on disk: safetensors, GGUF, and saving in one stroke |
//! | `model::checkpoint::hub` | models of the Hugging Face Hub, and the cache of them |
//! | `train::trainer` | a step of several processes together |
//! | `export::poster` | a picture to print |
//! | `run::dir` | the folder of a run, the list of runs, deletion |
//! | `run::engine` | the loop that trains, obeys and publishes |
//! | `run::lab` | what is tried beside a run, on copies of its weights |
//! | `run::lab::hole` | the wormhole |
//! | `run::lab::turning` | single parameters |
//! | `run::comparison` | two models side by side, in the process of their screen |
//! | `app::comparison` | the screen of a comparison |
//! | `app::probe` | the view of single parameters |
//! | `app::tour` | the guided tour and its chapters |
//! | `app::wormhole` | the view of the wormhole |
//! | `ui::comparison` | the picture of [`app::comparison`] |
//! | `ui::heatmap` | the landscape from above |
//! | `ui::relief` | the landscape from the side |
//! | `ui::layers` | every parameter over time |
//! | `ui::probe` | single parameters |
//! | `ui::timeline` | the slices of a run, and how two differ |
//! | `ui::wormhole` | the plane that stays and the one that travels |
//! | `cli::export` | the films of `export` |
//! | `cli::runs` | the deletion of runs |
//! | `cli::slice` | the pictures of `slice` |

pub mod app;
pub mod cli;
pub mod escape;
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
