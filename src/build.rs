//! Says at build time what `--version` tells: the version, the commit, and what the program can compute on.

use std::process::Command;

fn main() {
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let mut version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rerun-if-changed=src/build.rs");
    // While it is being developed, a commit is no reason to compile everything again.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Some(commit) = git(&["rev-parse", "--short=9", "HEAD"])
    {
        version.push_str(&format!(" ({commit})"));
        if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={head}");
        }
    }
    let devices = [("CUDA", "cuda"), ("METAL", "metal")].into_iter().filter(|(name, _)| feature(name));
    let devices: Vec<&str> = std::iter::once("cpu").chain(devices.map(|(_, device)| device)).collect();
    let matrices = if feature("ACCELERATE") { "Accelerate" } else { "gemm" };
    let processes = if feature("MPI") { ", many processes by MPI" } else { "" };
    println!(
        "cargo::rustc-env=LLAMASCAPE_VERSION={version}; computes on {}, matrices by {matrices}{processes}",
        devices.join(", ")
    );
}

/// What git says, where there is one and this is its checkout.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
