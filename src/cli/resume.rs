//! Which run goes on, and where.

use anyhow::bail;

use crate::run::dir::RunDir;
use crate::run::host::Begin;
use crate::settings::Settings;
use crate::train::resume;

/// Finds the run of `RUN` or `RUN@STEP`, where it goes on, and its settings as `change` wants them. They are for the
/// engine to write, once it can go on.
pub(super) fn find(
    run: &str,
    headless: bool,
    change: impl FnOnce(Settings) -> Settings,
) -> anyhow::Result<(RunDir, Begin, Settings)> {
    let (name, step) = match run.rsplit_once('@').map(|(name, step)| (name, step.parse::<u64>())) {
        Some((name, Ok(step))) => (name, Some(step)),
        _ => (run, None),
    };
    let dir = RunDir::find(Some(name))?;
    // An engine that trains the run has it.
    drop(dir.lock()?);
    let steps = dir.checkpoints()?;
    let begin = match (step, steps.last()) {
        (Some(step), _) if steps.contains(&step) => Begin::From(step),
        (Some(step), _) => {
            let known: Vec<String> = steps.iter().map(u64::to_string).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            bail!("--resume {run}: there is no checkpoint of step {step}, but of {known}");
        }
        (None, Some(newest)) => Begin::From(*newest),
        (None, None) => Begin::Again,
    };
    if let Begin::From(step) = begin {
        resume::state(&dir.checkpoint(step)).map_err(|error| {
            let earlier = steps.iter().rev().find(|other| **other < step);
            let hint = earlier
                .map_or_else(String::new, |other| format!("; {name}@{other} is the checkpoint before"));
            anyhow::anyhow!("--resume {run}: {error}{hint}")
        })?;
    }
    let settings = change(dir.settings()?);
    settings.check().map_err(|problem| anyhow::anyhow!("--resume {run}: settings.json: {problem}"))?;
    if let (Begin::From(step), Some(last)) = (begin, settings.last_step(headless))
        && step >= last
    {
        bail!("--resume {run}: the run is at step {step} and ends at {last}: give a later end with --steps");
    }
    Ok((dir, begin, settings))
}
