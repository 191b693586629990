//! Everything that is read from outside survives garbage: no panic, one clear line, bounded memory, bounded time.
//!
//! Each test makes its inputs from valid ones, and from a fixed seed, so that every run is the same. What is taken is
//! used: a model reads and takes a step, a file is written as it was read, a screen is drawn. A line for each reader says
//! `fuzz NAME: N inputs, N taken, N s`, and `LLAMASCAPE_FUZZ_ROUNDS=50` makes fifty times as many:
//!
//! ```text
//! cargo test --release --test garbage --no-run
//! LLAMASCAPE_FUZZ_ROUNDS=50 target/release/deps/garbage-* --nocapture --test-threads=1 | grep -ao 'fuzz .* inputs, .*'
//! ```
//!
//! A case that fails says its seed and where its bytes are; `LLAMASCAPE_FUZZ_SEED=N` tries it alone. A case that failed
//! once is a test with a name of its own in [`known`].

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
// What a reader says in refusal is read once and dropped, however large it is.
#![allow(clippy::result_large_err)]

#[path = "garbage/answers.rs"]
mod answers;
#[path = "garbage/checkpoints.rs"]
mod checkpoints;
#[path = "garbage/client.rs"]
mod client;
#[path = "garbage/commands.rs"]
mod commands;
#[path = "garbage/dice.rs"]
mod dice;
#[path = "garbage/engine.rs"]
mod engine;
#[path = "garbage/gguf.rs"]
mod gguf;
#[path = "garbage/hub.rs"]
mod hub;
#[path = "garbage/keyboard.rs"]
mod keyboard;
#[path = "garbage/known.rs"]
mod known;
#[path = "garbage/memory.rs"]
mod memory;
#[path = "garbage/models.rs"]
mod models;
mod program;
#[path = "garbage/runs.rs"]
mod runs;
#[path = "garbage/settings.rs"]
mod settings;
#[path = "garbage/surfaces.rs"]
mod surfaces;
#[path = "garbage/templates.rs"]
mod templates;
#[path = "garbage/texts.rs"]
mod texts;
#[path = "garbage/told.rs"]
mod told;
#[path = "garbage/typed.rs"]
mod typed;

#[path = "pty/mod.rs"]
mod pty;

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Bytes that a reader may hold at a time besides [`PER_BYTE`] for each byte of what it reads.
const MOST: usize = 64 << 20;
/// Bytes that a reader may hold for each byte of what it reads.
const PER_BYTE: usize = 8;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What a reader makes of an input of so many bytes: it holds little, and its refusal is one line.
fn reads<T, E: Display>(bytes: usize, read: impl FnOnce() -> Result<T, E>) -> Option<T> {
    let (result, peak) = memory::peak(read);
    assert!(peak <= MOST + PER_BYTE * bytes, "{bytes} bytes took {peak}");
    result.inspect_err(|error| is_one_line(&error.to_string())).ok()
}

/// Fails where words are not fit for one line of a terminal.
fn is_one_line(words: &str) {
    // candle adds a backtrace where RUST_BACKTRACE is set.
    let words = words.split("\n   0: ").next().unwrap();
    assert!(!words.is_empty() && !words.chars().any(char::is_control), "{words:?}");
}
