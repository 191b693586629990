//! `doctor`: what this terminal and this machine can do, and what to set where that is little.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{defaults, screen};
use crate::model::checkpoint::hub::Hub;
use crate::model::device::{self, DeviceChoice};
use crate::model::memory::{available, size};
use crate::run::dir::{cache_folder, runs_folder};
use crate::terminal::{Abilities, Graphics, abilities};
use crate::theme::{ColorDepth, luminance};
use crate::ui::{SMALLEST, text};

/// Memory below which even a small model may not fit.
const LITTLE_MEMORY: u64 = 1 << 30;

/// What this terminal and this machine can do, and what to set where that is little.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. What is not known is null.
#[derive(Debug, Serialize)]
struct Report {
    terminal: Option<Screen>,
    term: Option<String>,
    colorterm: Option<String>,
    colors: &'static str,
    no_color: bool,
    locale: Option<String>,
    utf8: bool,
    multiplexer: Option<&'static str>,
    ssh: bool,
    threads: usize,
    memory_bytes: u64,
    cpu: Vec<&'static str>,
    device: String,
    runs: Folder,
    cache: Folder,
    models: Folder,
    config: Folder,
    advice: Vec<Advice>,
}

/// What the terminal says.
#[derive(Debug, Serialize)]
struct Screen {
    columns: u16,
    rows: u16,
    background: Option<String>,
    light: Option<bool>,
    synchronized: Option<bool>,
    braille_columns: Option<u16>,
    pictures: Option<&'static str>,
}

/// Where something is kept.
#[derive(Debug, Serialize)]
struct Folder {
    path: Option<String>,
    writable: bool,
}

/// What to set.
#[derive(Debug, Serialize)]
struct Advice {
    what: &'static str,
    advice: String,
}

/// A line of the report: what, what was found, and what to set if that is not good.
struct Line(&'static str, String, Option<String>);

impl Args {
    /// Finds out and prints.
    pub(super) fn run(self, threads: usize) -> anyhow::Result<()> {
        // A terminal that can't be asked is as good as none.
        let mut report = Report::new(abilities().unwrap_or_default(), threads);
        let lines = report.lines();
        if self.json {
            let advised = |Line(what, _, advice): Line| advice.map(|advice| Advice { what, advice });
            report.advice = lines.into_iter().filter_map(advised).collect();
            return super::print(&format!("{}\n", serde_json::to_string(&report)?));
        }
        let mut table = String::new();
        for Line(what, found, advice) in lines {
            table.push_str(&format!("{what:13} {}\n", text::escape(&found)));
            if let Some(advice) = advice {
                table.push_str(&format!("{:13} -> {}\n", "", text::escape(&advice)));
            }
        }
        super::print(&table)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Report {
    fn new(abilities: Option<Abilities>, threads: usize) -> Self {
        let no_color = screen::no_color();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let is_utf8 = |locale: &String| locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        let device = device::open(DeviceChoice::Auto);
        Self {
            terminal: abilities.map(Screen::new),
            term: variable("TERM"),
            colorterm: variable("COLORTERM"),
            colors: match screen::colors(no_color) {
                ColorDepth::None => "none",
                ColorDepth::Ansi16 => "16",
                ColorDepth::Ansi256 => "256",
                ColorDepth::True => "true",
            },
            no_color,
            utf8: locale.as_ref().is_some_and(is_utf8),
            locale,
            multiplexer: if variable("TMUX").is_some() {
                Some("tmux")
            } else {
                variable("STY").map(|_| "screen")
            },
            ssh: variable("SSH_CONNECTION").is_some(),
            threads,
            memory_bytes: available(),
            cpu: vector_instructions(),
            device: device
                .map_or_else(|error| error.to_string(), |device| device::describe(&device, threads)),
            runs: Folder::new(runs_folder().ok()),
            cache: Folder::new(cache_folder().ok()),
            models: Folder::new(Hub::from_env(|name| std::env::var(name).ok()).ok().map(|hub| hub.cache)),
            config: Folder::new(defaults::own()),
            advice: Vec::new(),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = self.terminal_lines();
        let set = |value: Option<&str>| value.unwrap_or("not set").to_owned();
        let in_tmux = self.multiplexer == Some("tmux");
        let tmux = "in ~/.tmux.conf: set -g default-terminal tmux-256color; and set COLORTERM=truecolor";
        let few_colors = match self.colors {
            "true" => None,
            _ if self.no_color => Some("unset NO_COLOR, or give --color always, to have colours"),
            _ if in_tmux => Some(tmux),
            "none" => Some("set TERM to what the terminal is, such as xterm-256color"),
            _ => Some("if the terminal has 24-bit colour, set COLORTERM=truecolor"),
        };
        let colors = match self.colors {
            "true" => "16 million",
            colors => colors,
        };
        let no_color = if self.no_color { "set: no colours" } else { "not set" };
        let locale = if self.utf8 { None } else { Some("set LANG=C.UTF-8, or another locale of UTF-8") };
        let mut inside: Vec<&str> = self.multiplexer.into_iter().collect();
        if self.ssh {
            inside.push("SSH");
        }
        let inside =
            if inside.is_empty() { "neither tmux, screen nor SSH".to_owned() } else { inside.join(", ") };
        let is_little = self.memory_bytes < LITTLE_MEMORY;
        let memory = is_little.then(|| "end other programs, or stay with --preset nano".to_owned());
        let cpu = if self.cpu.is_empty() { "none known".to_owned() } else { self.cpu.join(" ") };
        lines.extend([
            Line("TERM", set(self.term.as_deref()), None),
            Line("COLORTERM", set(self.colorterm.as_deref()), None),
            Line("NO_COLOR", no_color.to_owned(), None),
            Line("colours", colors.to_owned(), few_colors.map(str::to_owned)),
            Line("locale", set(self.locale.as_deref()), locale.map(str::to_owned)),
            Line("inside", inside, None),
            Line("threads", self.threads.to_string(), None),
            Line("memory", format!("{} free", size(self.memory_bytes)), memory),
            Line("vectors", cpu, None),
            Line("device", self.device.clone(), None),
            self.runs.line("runs", "set XDG_STATE_HOME, or give --run-dir"),
            self.cache.line("cache", "set XDG_CACHE_HOME"),
            self.models.line("models", "set HF_HOME"),
            self.config.line("config", "set XDG_CONFIG_HOME, or give --config"),
        ]);
        lines
    }

    /// What only a terminal can tell.
    fn terminal_lines(&self) -> Vec<Line> {
        let Some(screen) = &self.terminal else {
            let names = ["size", "background", "synchronized", "braille", "pictures"];
            return names.map(|name| Line(name, "no terminal".to_owned(), None)).into();
        };
        let is_small = screen.columns < SMALLEST.0 || screen.rows < SMALLEST.1;
        let enlarge = is_small.then(|| format!("enlarge it to {}x{} or more", SMALLEST.0, SMALLEST.1));
        let background = match (&screen.background, screen.light) {
            (Some(color), Some(true)) => Line("background", format!("{color}, light"), None),
            (Some(color), _) => Line("background", format!("{color}, dark"), None),
            (None, _) => {
                let advice = "if it is light, give --theme light, or set COLORFGBG='0;15'";
                Line("background", "not told".to_owned(), Some(advice.to_owned()))
            }
        };
        let flicker =
            || Some("pictures may flicker: newer terminals, and tmux from 3.4, do better".to_owned());
        let synchronized = match screen.synchronized {
            Some(true) => Line("synchronized", "yes".to_owned(), None),
            Some(false) => Line("synchronized", "no".to_owned(), flicker()),
            None => Line("synchronized", "not told".to_owned(), flicker()),
        };
        let braille = match screen.braille_columns {
            Some(1) => Line("braille", "one column".to_owned(), None),
            Some(columns) => {
                let advice = "set a UTF-8 locale, and in the terminal that ambiguous characters are narrow";
                Line("braille", format!("{columns} columns"), Some(advice.to_owned()))
            }
            None => Line("braille", "not told".to_owned(), None),
        };
        let pictures = match (screen.pictures, self.multiplexer) {
            (Some(graphics), _) => {
                Line("pictures", format!("{graphics}: m on the screen draws the landscape so"), None)
            }
            (None, Some(multiplexer)) => Line("pictures", format!("not inside {multiplexer}"), None),
            (None, None) => Line("pictures", "none: the landscape is drawn in cells".to_owned(), None),
        };
        let size = Line("size", format!("{}x{}", screen.columns, screen.rows), enlarge);
        vec![size, background, synchronized, braille, pictures]
    }
}

impl Screen {
    fn new(found: Abilities) -> Self {
        let Abilities { columns, rows, background, synchronized, braille, pictures } = found;
        Self {
            columns,
            rows,
            background: background.map(|[r, g, b]| format!("#{r:02x}{g:02x}{b:02x}")),
            light: background.map(|color| luminance(color) > 0.5),
            synchronized,
            braille_columns: braille,
            pictures: pictures.map(Graphics::name),
        }
    }
}

impl Folder {
    fn new(path: Option<PathBuf>) -> Self {
        let writable = path.as_deref().is_some_and(|path| is_writable(path).is_ok());
        // JSON has no word for a path that is no Unicode.
        Self { path: path.map(|path| path.display().to_string()), writable }
    }

    fn line(&self, what: &'static str, remedy: &str) -> Line {
        match &self.path {
            Some(path) if self.writable => Line(what, path.clone(), None),
            Some(path) => Line(what, format!("{path} can't be written"), Some(remedy.to_owned())),
            None => Line(what, "there is no home folder".to_owned(), Some(remedy.to_owned())),
        }
    }
}

/// Whether a file or folder can be written, or made where it is to be: nothing is made to find out.
fn is_writable(path: &Path) -> io::Result<()> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    let mut wanted = rustix::fs::Access::WRITE_OK;
    if there.is_dir() {
        wanted |= rustix::fs::Access::EXEC_OK;
    } else if there != path {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(there, wanted)?)
}

/// Those that the kernels choose from.
#[cfg(target_arch = "x86_64")]
fn vector_instructions() -> Vec<&'static str> {
    let known = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    known.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

/// Elsewhere they are part of the architecture.
#[cfg(not(target_arch = "x86_64"))]
fn vector_instructions() -> Vec<&'static str> {
    if cfg!(target_feature = "neon") { vec!["neon"] } else { Vec::new() }
}
