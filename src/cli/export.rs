//! `export`: what a run has kept, for other programs.

mod recording;

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indexmap::IndexMap;
use ratatui::style::Color;
use serde_json::Value;

use super::at_least_one;
use super::progress::Progress;
use super::screen;
use super::usage::Usage;
use crate::export::film::Film;
use crate::export::picture::Scale;
use crate::export::series::series;
use crate::export::surface::Surface;
use crate::export::{arrays, create, metrics, picture, replace, writable};
use crate::protocol::Slice;
use crate::run;
use crate::run::dir::RunDir;
use crate::theme::{LEVELS, Theme};
use crate::ui::SMALLEST;
use recording::Recording;

/// Frames of a film, if nothing is said.
const FRAMES: Option<NonZero<usize>> = NonZero::new(200);
/// Columns and rows of a recorded screen at most.
const LARGEST: (u16, u16) = (500, 200);

/// What a run has kept, as a table, as arrays, as pictures or as a film
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name, beginning of a name or folder of a run [default: the newest]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// The file to write: metrics as .csv, slices and metrics for Python as .npz, the screen for asciinema as .cast,
    /// the slices as .gif, as surfaces for ParaView (.pvd), or in a FOLDER/ a .png each [default: the metrics on standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Columns and rows of the screen in a .cast
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40", value_parser = size)]
    size: (u16, u16),
    /// Pixels of the width and the height of a .gif and of each .png
    #[arg(long, value_name = "COUNT", default_value_t = 480,
          value_parser = clap::value_parser!(u16).range(16..=2048))]
    pixels: u16,
    /// Colours of the screen and of pictures: a built-in theme, or NAME.toml in ~/.config/llamascape/themes
    /// [default: dark]
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
    /// Slices at most, evenly over the run [default: 200 in a .cast or .gif, and all elsewhere]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZero<usize>>)]
    frames: Option<NonZero<usize>>,
    /// Slices a second in a .cast and .gif
    #[arg(long, value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..=50))]
    fps: u16,
    /// No progress
    #[arg(long)]
    quiet: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Npz,
    Cast,
    Gif,
    Pvd,
    /// A folder of pictures.
    Pictures,
}

impl Form {
    /// The form that the end of the name says.
    fn of(out: &Path) -> anyhow::Result<Self> {
        if out.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Ok(Self::Pictures);
        }
        match out.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("npz") => Ok(Self::Npz),
            Some("cast") => Ok(Self::Cast),
            Some("gif") => Ok(Self::Gif),
            Some("pvd") => Ok(Self::Pvd),
            _ => Err(Usage::error(format!(
                "--out {}: the name must end in .csv, .npz, .cast, .gif or .pvd, or in / for a folder of .png",
                out.display()
            ))),
        }
    }
}

impl Args {
    /// Writes what was asked for.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let dir = RunDir::find(self.run.as_deref())?;
        let Some(out) = &self.out else {
            return super::print(&metrics::csv(&steps(&dir)?));
        };
        if out.canonicalize().is_ok_and(|path| path.starts_with(dir.path())) {
            bail!("--out {}: is a file of the run: choose another", out.display());
        }
        let form = Form::of(out)?;
        if form != Form::Pictures {
            writable(out).with_context(|| out.display().to_string())?;
        }
        match form {
            Form::Csv => {
                let table = metrics::csv(&steps(&dir)?);
                let written = replace(out, |file| file.write_all(table.as_bytes()));
                written.with_context(|| out.display().to_string())
            }
            Form::Npz => self.arrays(&dir, out),
            Form::Cast => self.recording(&dir, out),
            Form::Gif => self.film(&dir, out),
            Form::Pvd => {
                let (slices, name) = (self.slices(&dir, None)?, dir.settings()?.name);
                let shown =
                    |slice: &Slice| (slice.step, Surface::shown(format!("{name}@{}", slice.step), slice));
                series(out, slices.iter().map(shown)).with_context(|| out.display().to_string())
            }
            Form::Pictures => self.pictures(&dir, out),
        }
    }

    fn arrays(&self, dir: &RunDir, out: &Path) -> anyhow::Result<()> {
        // Of a run that has kept no slices, the metrics are all there is, and the other way round.
        let slices = self.chosen(kept(dir)?, None);
        let lines = if slices.is_empty() { steps(dir)? } else { lines(dir)? };
        let chosen = arrays::of_one_grid(&slices);
        let left_out = slices.len() - chosen.len();
        if let Some(first) = chosen.first().filter(|_| left_out > 0) {
            eprintln!(
                "warning: {left_out} of {} slices have another grid than {}x{} and are left out",
                slices.len(),
                first.alphas.len(),
                first.betas.len()
            );
        }
        replace(out, |file| arrays::npz(file, &chosen, &lines)).with_context(|| out.display().to_string())
    }

    fn recording(&self, dir: &RunDir, out: &Path) -> anyhow::Result<()> {
        let title = format!("llamascape: {}", super::printable(&dir.settings()?.name));
        let Self { size, fps, .. } = *self;
        let recording = Recording { title, size, theme: self.theme()?, fps };
        let scenes = run::replay::scenes(dir, self.slices(dir, FRAMES)?)?;
        let progress = Progress::new(self.quiet);
        let written = replace(out, |file| recording.write(scenes, file, &progress));
        progress.end();
        written.with_context(|| out.display().to_string())
    }

    fn film(&self, dir: &RunDir, out: &Path) -> anyhow::Result<()> {
        let stops = stops(&self.theme()?);
        let slices = self.slices(dir, FRAMES)?;
        let scale = Scale::shared(&slices, stops);
        let progress = Progress::new(self.quiet);
        let written = replace(out, |file| {
            let mut film = Film::begin(BufWriter::new(file), self.pixels, self.fps, &scale)?;
            for (index, slice) in slices.iter().enumerate() {
                progress.show_if_due(|| format!("slice {} of {}", index + 1, slices.len()));
                film.show(slice)?;
            }
            film.end()
        });
        progress.end();
        written.with_context(|| out.display().to_string())
    }

    fn pictures(&self, dir: &RunDir, folder: &Path) -> anyhow::Result<()> {
        let stops = stops(&self.theme()?);
        let slices = self.slices(dir, None)?;
        let scale = Scale::shared(&slices, stops);
        let path = |slice: &Slice| folder.join(format!("step-{:06}.png", slice.step));
        if let Some(path) = slices.iter().map(path).find(|path| path.symlink_metadata().is_ok()) {
            bail!("{}: is there already: choose another folder", path.display());
        }
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let progress = Progress::new(self.quiet);
        let written = slices.iter().enumerate().try_for_each(|(index, slice)| -> anyhow::Result<()> {
            progress.show_if_due(|| format!("slice {} of {}", index + 1, slices.len()));
            let (path, png) = (path(slice), picture::square(slice, self.pixels, &scale)?);
            create(&path, |file| file.write_all(&png)).with_context(|| path.display().to_string())
        });
        progress.end();
        written
    }

    fn theme(&self) -> anyhow::Result<Theme> {
        screen::theme(self.theme.as_deref())
    }

    /// The slices of the run, oldest first, at least one and at most as many as were asked for.
    fn slices(&self, dir: &RunDir, default: Option<NonZero<usize>>) -> anyhow::Result<Vec<Slice>> {
        let slices = kept(dir)?;
        if slices.is_empty() {
            let path = dir.path().join(run::slices::FILE);
            bail!("{}: no slice was kept: train with --slice-every, or watch it on a screen", path.display());
        }
        Ok(self.chosen(slices, default))
    }

    /// As many of the slices as were asked for.
    fn chosen(&self, slices: Vec<Slice>, default: Option<NonZero<usize>>) -> Vec<Slice> {
        match self.frames.or(default) {
            Some(most) => evenly(slices, most),
            None => slices,
        }
    }
}

/// At most so many of the slices, evenly, the first and the last of them among these; of one, the last.
fn evenly(slices: Vec<Slice>, most: NonZero<usize>) -> Vec<Slice> {
    let most = most.get();
    if slices.len() <= most {
        return slices;
    }
    let last = slices.len() - 1;
    let kept: BTreeSet<usize> = (0..most).map(|back| last - back * last / (most - 1).max(1)).collect();
    slices.into_iter().enumerate().filter(|(index, _)| kept.contains(index)).map(|(_, slice)| slice).collect()
}

/// The slices of the run, oldest first.
fn kept(dir: &RunDir) -> anyhow::Result<Vec<Slice>> {
    let path = dir.path().join(run::slices::FILE);
    run::slices::all(dir.path()).with_context(|| path.display().to_string())
}

/// The metrics of the run, at least one line.
fn steps(dir: &RunDir) -> anyhow::Result<Vec<IndexMap<String, Value>>> {
    let lines = lines(dir)?;
    if lines.is_empty() {
        bail!("{}: no step was written down", dir.path().join(run::metrics::FILE).display());
    }
    Ok(lines)
}

/// The metrics of the run.
fn lines(dir: &RunDir) -> anyhow::Result<Vec<IndexMap<String, Value>>> {
    let path = dir.path().join(run::metrics::FILE);
    let mut lines = Vec::new();
    run::metrics::read(&path, |line| lines.push(line)).with_context(|| path.display().to_string())?;
    Ok(lines)
}

/// The colours of the theme's first map, from the least loss to the greatest.
pub(super) fn stops(theme: &Theme) -> Vec<[u8; 3]> {
    let levels =
        theme.maps.iter().take(1).flat_map(|map| (0..LEVELS).map(move |level| map.background(level)));
    let rgb = |color: Color| match color {
        Color::Rgb(r, g, b) => Some([r, g, b]),
        _ => None,
    };
    levels.filter_map(rgb).collect()
}

/// Columns and rows of a screen.
pub(super) fn size(text: &str) -> Result<(u16, u16), String> {
    let size = text.split_once('x').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let fits = |(columns, rows): &(u16, u16)| {
        (SMALLEST.0..=LARGEST.0).contains(columns) && (SMALLEST.1..=LARGEST.1).contains(rows)
    };
    size.filter(fits).ok_or_else(|| {
        format!(
            "not a size of a screen from {}x{} to {}x{}, such as 120x40",
            SMALLEST.0, SMALLEST.1, LARGEST.0, LARGEST.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    #[test]
    fn frames_are_taken_evenly_with_both_ends() {
        let slice = |step: u64| Slice {
            step,
            generation: 1,
            alphas: vec![0.0],
            betas: vec![0.0],
            loss: vec![1.0],
            center: 1.0,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: String::new() },
            seconds: 0.0,
            method: String::new(),
            sharpness: None,
        };
        let taken = |most: usize| -> Vec<u64> {
            let slices = (0..=10).map(slice).collect();
            evenly(slices, NonZero::new(most).unwrap()).iter().map(|slice| slice.step).collect()
        };
        assert_eq!(taken(11), (0..=10).collect::<Vec<u64>>());
        assert_eq!(taken(12).len(), 11);
        assert_eq!((taken(3), taken(2), taken(1)), (vec![0, 5, 10], vec![0, 10], vec![10]));
        assert_eq!(taken(10).len(), 10);
    }

    #[test]
    fn a_recorded_screen_is_large_enough_to_be_drawn() {
        assert_eq!(size("120x40"), Ok((120, 40)));
        for wrong in ["79x24", "80x23", "120", "x", "501x40", "120x40x2", "-1x40", ""] {
            assert!(size(wrong).unwrap_err().contains("80x24"), "{wrong}");
        }
    }
}
