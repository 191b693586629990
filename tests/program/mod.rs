//! The program as a person starts it, shut off from the home of whoever runs the tests.

use std::path::Path;
use std::process::{Command, Stdio};

/// llamascape with these arguments. What it keeps, caches and reads of its user lies under `home`.
pub(crate) fn llamascape(home: &Path, arguments: &[&str]) -> Command {
    let mut command = program(home, env!("CARGO_BIN_EXE_llamascape"));
    command.args(arguments);
    command
}

/// Another program that starts it.
pub(crate) fn program(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("XDG_CACHE_HOME", home)
        .env("XDG_DATA_HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("HF_HOME", home.join("huggingface"))
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null());
    command
}
