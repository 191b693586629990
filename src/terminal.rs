//! A screen in a real terminal: it is taken over and given back here, and here is the loop that turns keys and
//! frames into pictures.

mod abilities;
mod background;
mod comparing;
mod device;
mod export;
mod inputs;
mod look;
mod pictures;
mod query;
mod shapes;
mod start;
mod svg;
mod touring;
mod training;

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEvent, MouseEvent};
use ratatui::layout::Rect;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::app::{Cost, ExportFormat, Exported};
use crate::protocol::Slice;
use crate::theme::Theme;
use crate::ui::{PixelMap, text};

pub use abilities::{Abilities, abilities};
use background::Late;
pub use comparing::compare;
pub use device::{Frame, Terminal, TerminalError, check_size, rescue};
use inputs::Inputs;
pub use look::{Look, LookError};
pub use pictures::Graphics;
pub use start::choose;
pub use svg::{Ground, svg};
pub use touring::tour;
pub use training::show;

/// The time between two frames at least: where the terminal is near, and over SSH.
const NEAR: Duration = Duration::from_millis(100);
const FAR: Duration = Duration::from_millis(150);
/// The same soon after a key or a click, whose answer may be the engine's.
const ANSWER: Duration = Duration::from_millis(30);
/// How soon that is.
const ASKED: Duration = Duration::from_millis(500);
/// Bytes a second that pictures take at most on average while nobody presses a key: after a large one the next one
/// waits. What was not taken, or was taken for keys, counts for so long.
const RATE: f64 = 14e3;
const CREDIT: Duration = Duration::from_secs(1);

/// How long a notice stays.
const FADE: Duration = Duration::from_secs(4);

/// What the loop shows.
trait Shown {
    /// What its engine tells.
    type News;
    /// Why it is left.
    type Leave;

    /// Waits for the engine. What is not waited for to the end is told the next time.
    async fn news(&mut self) -> Self::News;
    fn hear(&mut self, news: Self::News) -> Vec<Next<Self::Leave>>;
    fn press(&mut self, key: KeyEvent) -> Vec<Next<Self::Leave>>;
    /// The mouse did something on a screen of this size.
    fn point(&mut self, mouse: MouseEvent, screen: Rect) -> Vec<Next<Self::Leave>>;
    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame);
    /// What the last picture cost.
    fn cost(&mut self, _cost: Cost) {}
    /// Whether something on it goes after a while.
    fn fades(&self) -> bool {
        false
    }
    /// A while has gone by.
    fn fade(&mut self) {}
    /// The maps to be drawn in pixels over what is drawn on a screen of this size.
    fn pixel_maps(&self, _theme: &Theme, _screen: Rect) -> Vec<PixelMap<'_>> {
        Vec::new()
    }
    /// What is shown, in a few words.
    fn title(&self) -> String;
    /// The slice that is exported from here, and the model that is at its middle.
    fn slice(&self) -> Option<(String, &Slice)>;
    /// What a table holds in place of that slice.
    fn table(&self) -> Option<String> {
        None
    }
    fn exported(&mut self, exported: Exported);
}

/// What the loop has to do.
enum Next<Leave> {
    UseTheme(String),
    Export(ExportFormat, String),
    Repaint,
    Suspend,
    Leave(Leave),
}

/// The loop. Nothing comes back where the terminal is gone.
async fn run<S: Shown>(
    terminal: &mut Terminal,
    shown: &mut S,
    look: &mut Look,
) -> Result<Option<S::Leave>, TerminalError> {
    let late = Late::new(terminal.background.is_awaited, terminal.pictures.is_awaited);
    let mut inputs = Inputs::read(late)?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut ends = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(hung_up), Ok(terminated), Ok(interrupted)] = &mut ends else {
        return Err(io::Error::other("signals can't be caught").into());
    };
    let interval = if std::env::var_os("SSH_CONNECTION").is_some() { FAR } else { NEAR };

    terminal.draw(shown, &look.theme)?;
    let mut drawn = Instant::now();
    // Until when the bytes so far are within the rate.
    let mut paid = drawn;
    // When to draw again, if anything has changed.
    let mut due: Option<Instant> = None;
    let mut fade: Option<Instant> = None;
    let mut asked: Option<Instant> = None;
    loop {
        // What a person does is answered at once; what the engine says waits for the next frame.
        let (soonest, effects) = tokio::select! {
            biased;
            input = inputs.next() => {
                let now = Instant::now();
                asked = Some(now);
                match input? {
                    Some(Event::Key(key)) => (now, shown.press(key)),
                    Some(Event::Mouse(mouse)) => (now, shown.point(mouse, terminal.area())),
                    Some(_) => continue,
                    None => return Ok(None),
                }
            }
            _ = hung_up.recv() => return Ok(None),
            _ = terminated.recv() => return Ok(None),
            _ = interrupted.recv() => return Ok(None),
            _ = continued.recv() => match terminal.resume() {
                Ok(()) => (Instant::now(), Vec::new()),
                Err(_) => return Ok(None),
            },
            _ = resized.recv() => (Instant::now(), Vec::new()),
            () = at(due) => {
                due = None;
                drawn = Instant::now();
                match terminal.draw(shown, &look.theme) {
                    Ok(()) => {
                        let bytes = terminal.cost.bytes as f64;
                        let cost = Duration::from_secs_f64(bytes / RATE);
                        paid = (paid.max(drawn - CREDIT) + cost).min(drawn + CREDIT);
                        shown.cost(terminal.cost);
                        continue;
                    }
                    // The terminal is gone; the engine goes on.
                    Err(_) => return Ok(None),
                }
            }
            () = at(fade) => {
                fade = None;
                shown.fade();
                (Instant::now(), Vec::new())
            }
            news = shown.news() => {
                let answers = asked.is_some_and(|asked| asked.elapsed() < ASKED);
                let wait = if answers { interval.min(ANSWER) } else { interval };
                (paid.max(drawn + wait), shown.hear(news))
            }
        };
        fade = if shown.fades() { fade.or_else(|| Some(Instant::now() + FADE)) } else { None };
        due = Some(due.map_or(soonest, |due| due.min(soonest)));
        for effect in effects {
            match effect {
                Next::UseTheme(name) => match look.themes.load(&name) {
                    Ok(chosen) => look.theme = chosen,
                    Err(error) => log::warn!("{}", text::escape(&error.to_string())),
                },
                Next::Export(format, name) => {
                    let exported = terminal.export(format, name, shown, &look.theme);
                    shown.exported(exported);
                }
                Next::Repaint => terminal.repaint()?,
                Next::Suspend => terminal.suspend()?,
                Next::Leave(leave) => return Ok(Some(leave)),
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn start_log() {
    // A process has one logger: a second screen in it keeps the first one's.
    if tui_logger::init_logger(log::LevelFilter::Info).is_ok() {
        tui_logger::set_default_level(log::LevelFilter::Info);
    }
}
