//! A slice as a picture: a map, a chart of a line, or a surface that turns.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};

use crate::cli::poster::{colors, foot};
use crate::cli::progress::Progress;
use crate::cli::usage::Usage;
use crate::cli::{printable, screen};
use crate::export::poster::raster::rasterise;
use crate::export::poster::{Layout, Panel, Paper, Poster, View, turning};
use crate::export::replace;
use crate::export::surface::Surface;
use crate::landscape::evaluator::Objective;

/// Pixels of a .png's width, and of a .gif's.
const WIDTHS: (u32, u16) = (1600, 960);
/// From how many degrees above the horizon a surface is seen that turns.
const TILT: f64 = 35.0;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawing {
    Svg,
    Png,
    Gif,
}

impl Drawing {
    /// The drawing that the end of a file's name says, if it says one.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "svg" => Some(Self::Svg),
            "png" => Some(Self::Png),
            "gif" => Some(Self::Gif),
            _ => None,
        }
    }

    /// Refuses a grid that can't be drawn like this.
    pub(super) fn check(self, (columns, rows): (usize, usize)) -> anyhow::Result<()> {
        let problem = match (self, columns, rows) {
            (_, 1, _) => "a picture has two columns at least",
            (Self::Gif, _, 1) => "a line does not turn: give a .svg or .png",
            _ => return Ok(()),
        };
        Err(Usage::error(format!("--grid {columns}x{rows}: {problem}")))
    }

    /// Draws a slice that is complete; `weights` is the loss at (0, 0).
    pub(super) fn write(
        self,
        surface: &Surface,
        weights: f64,
        log: bool,
        path: &Path,
        progress: &Progress,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<()> {
        let at = || format!("--out {}", path.display());
        let poster = poster(surface, weights, log)?;
        let file = match self {
            Self::Svg => poster.svg().into_bytes(),
            Self::Png => rasterise(&poster.svg(), WIDTHS.0).with_context(at)?,
            Self::Gif => {
                let mut file = Vec::new();
                let mut go_on = |drawn| {
                    progress.show_if_due(|| format!("drawing: {drawn} of {} pictures", turning::PICTURES));
                    !interrupted.load(Ordering::Relaxed)
                };
                let written = turning::write(&mut file, &poster, TILT, WIDTHS.1, &mut go_on);
                progress.end();
                match written {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        bail!("interrupted: {} is not written", path.display());
                    }
                    written => written.with_context(at)?,
                }
                file
            }
        };
        replace(path, |out| out.write_all(&file)).with_context(at)
    }
}

/// A sheet with the slice alone on it.
fn poster(surface: &Surface, weights: f64, log: bool) -> anyhow::Result<Poster> {
    let Surface { caption, alphas, betas, loss } = surface;
    let ends = |values: &[f64]| match values {
        [low, .., high] => format!("from {low} to {high}"),
        _ => values.first().map_or(String::new(), |value| format!("at {value}")),
    };
    let (is_line, note) = (betas.len() < 2, &caption.note);
    let place = if is_line && betas == &[0.0] {
        format!("d1 {}", ends(alphas))
    } else {
        format!("d1 {}, d2 {}", ends(alphas), ends(betas))
    };
    let size =
        if is_line { format!("{}", alphas.len()) } else { format!("{}x{}", alphas.len(), betas.len()) };
    let panel = Panel {
        name: printable(&caption.model),
        facts: vec![
            printable(note.strip_prefix(&format!("{}: ", caption.model)).unwrap_or(note)),
            format!("{place}, {size} points ({})", caption.method),
        ],
        alphas: alphas.clone(),
        betas: betas.clone(),
        loss: loss.iter().flatten().map(|loss| loss.unwrap_or(f64::NAN)).collect(),
        lines: caption.lines.clone(),
        weights,
    };
    Ok(Poster {
        title: if is_line { "The loss on a line" } else { "The loss on a plane" }.to_owned(),
        foot: foot(),
        layout: Layout::new(Paper::parse("A5-landscape").map_err(anyhow::Error::msg)?, None, 1)?,
        panels: vec![panel],
        colors: colors(&screen::theme(Some("light"))?),
        view: View::Map,
        log,
        own_scales: false,
        unit: if caption.objective == Objective::Last.name() { "nats" } else { "nats a token" },
    })
}
