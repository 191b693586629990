//! A screen in a real terminal: it is taken over and given back here, and here is the loop that turns keys and
//! frames into pictures.

mod abilities;
mod background;
mod export;
mod inputs;
mod look;
mod pictures;
mod query;
mod shapes;
mod start;
mod svg;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyEvent, MouseEvent};
use ratatui::crossterm::style::Print;
use ratatui::crossterm::{cursor, execute, queue, terminal as tty};
use ratatui::layout::Rect;
use ratatui::prelude::CrosstermBackend;
use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::comparison::{self, Comparison};
use crate::app::{
    self, App, Bindings, Cost, Effect, ExportFormat, Exported, Leave, Message, Options, Remembered,
};
use crate::protocol::comparison::{Phase, Scene};
use crate::protocol::{LogLine, Slice, ToScreen};
use crate::run::client::Link;
use crate::run::comparison::Host;
use crate::theme::Theme;
use crate::ui::{self, PixelMap, SMALLEST, text};

pub use abilities::{Abilities, abilities};
use background::{Background, Late};
use export::Subject;
use inputs::Inputs;
pub use look::{Look, LookError};
pub use pictures::Graphics;
use pictures::Pictures;
pub use start::choose;
pub use svg::{Ground, svg};

/// Frames a second at most: where the terminal is near, and over SSH.
const NEAR: Duration = Duration::from_millis(100);
const FAR: Duration = Duration::from_millis(150);

/// How long a notice stays.
const FADE: Duration = Duration::from_secs(4);

/// Has the terminal tell of the mouse's buttons and wheel, with coordinates of any size. crossterm's own command asks
/// for every movement, too, and each would wake the screen.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is taken over. A panic in any thread asks, and whoever gives the terminal back does it once: a
/// second time would put the cursor on what has been said since.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Why a screen can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The window has too few cells.
    #[error(
        "the terminal is {columns}x{rows}, llamascape needs {}x{}: enlarge it, or go without a screen: train --headless, compare --json",
        SMALLEST.0,
        SMALLEST.1
    )]
    TooSmall {
        /// Cells in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// The terminal does not do what it should.
    #[error("the terminal: {0}")]
    Io(#[from] io::Error),
}

/// Fails where the terminal is too small to begin with.
pub fn check_size() -> Result<(), TerminalError> {
    let (columns, rows) = tty::size()?;
    if columns < SMALLEST.0 || rows < SMALLEST.1 {
        return Err(TerminalError::TooSmall { columns, rows });
    }
    Ok(())
}

/// The terminal, taken over until it is closed or dropped.
pub struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<Frame>>,
    frame: Frame,
    output: File,
    mouse: bool,
    /// What stdout and stderr were: while the screen is up, nothing else may print on it.
    streams: Option<[OwnedFd; 2]>,
    background: Background,
    pictures: Pictures,
    /// When the pictures of the last second were drawn.
    drawn: Vec<Instant>,
    cost: Cost,
}

/// The bytes of one picture, collected so that they leave in one write.
#[derive(Debug, Clone, Default)]
pub struct Frame(Rc<RefCell<Vec<u8>>>);

impl Frame {
    /// The bytes so far; none are left.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    /// Takes the terminal over: its other screen, raw input, no cursor, and the mouse if the look asks for it. Before,
    /// it is asked for its background and its pictures, where the look has colours.
    pub fn open(look: &Look) -> Result<Self, TerminalError> {
        check_size()?;
        let output = File::from(rustix::io::dup(rustix::stdio::stdout()).map_err(io::Error::from)?);
        let frame = Frame::default();
        let screen = ratatui::Terminal::new(CrosstermBackend::new(frame.clone()))?;
        let (background, pictures) = (Background::default(), Pictures::default());
        tty::enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        // From here on it is given back whatever fails.
        let mouse = look.mouse;
        let mut terminal = Self {
            screen,
            frame,
            output,
            mouse,
            streams: None,
            background,
            pictures,
            drawn: Vec::new(),
            cost: Cost::default(),
        };
        if look.has_color() {
            (terminal.background, terminal.pictures) = background::ask(&mut terminal.output);
        }
        terminal.cover()?;
        Ok(terminal)
    }

    /// Puts its other screen up, and lets nothing else print there.
    fn cover(&mut self) -> io::Result<()> {
        let mouse = if self.mouse { MOUSE_ON } else { "" };
        execute!(self.output, tty::EnterAlternateScreen, cursor::Hide, Print(mouse))?;
        self.streams = Some(silence()?);
        Ok(())
    }

    /// Gives the terminal back and stops the shell's job that this process is part of. [`Self::resume`] follows once
    /// the shell lets it go on.
    fn suspend(&mut self) -> io::Result<()> {
        // What is no job of a shell would never go on.
        if getsid(None)? == getpgrp() {
            log::warn!("no shell has started this screen that could let it go on: it is not suspended");
            return Ok(());
        }
        self.restore();
        kill_current_process_group(Signal::STOP)?;
        Ok(())
    }

    /// Takes the terminal again after a stop, in whatever state it is, and draws everything anew the next time.
    fn resume(&mut self) -> io::Result<()> {
        // Stopped from outside, it has not given the terminal back.
        self.restore();
        tty::enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        self.cover()?;
        self.screen = ratatui::Terminal::new(CrosstermBackend::new(self.frame.clone()))?;
        Ok(())
    }

    /// Gives the terminal back as it was.
    pub fn close(mut self) {
        self.restore();
    }

    fn restore(&mut self) {
        if IS_TAKEN.swap(false, Ordering::Relaxed) {
            self.pictures.forget();
            // A terminal that is gone needs no restoring.
            let _ = self.output.write_all(self.pictures.farewell().as_bytes());
            let _ = give_back(&mut self.output);
        }
        if let Some([stdout, stderr]) = self.streams.take() {
            let _ = rustix::stdio::dup2_stdout(&stdout);
            let _ = rustix::stdio::dup2_stderr(&stderr);
        }
    }

    /// The screen as it was drawn last.
    fn area(&mut self) -> Rect {
        self.screen.get_frame().area()
    }

    /// The screen as it is drawn the next time.
    fn picture(&mut self, shown: &impl Shown, theme: &Theme) -> Buffer {
        let mut frame = self.screen.get_frame();
        shown.draw(theme, &mut frame);
        let buffer = frame.buffer_mut();
        let picture = buffer.clone();
        // It is drawn on again, and must be as empty as it was.
        buffer.reset();
        picture
    }

    /// Writes what is shown in this form to a new file of this name.
    fn export(&mut self, format: ExportFormat, name: String, shown: &impl Shown, theme: &Theme) -> Exported {
        let subject = Subject {
            screen: self.picture(shown, theme),
            title: shown.title(),
            ground: Ground::new(self.background.is_light),
            slice: shown.slice(),
        };
        let written = export::write(format, &name, etcetera::home_dir().ok(), &subject);
        let outcome = written.map(|path| path.display().to_string()).map_err(|error| error.to_string());
        Exported { name, outcome }
    }

    /// Draws the screen and sends what changed in one write, inside the brackets of a synchronized update.
    fn draw(&mut self, shown: &impl Shown, theme: &Theme) -> io::Result<()> {
        if !IS_TAKEN.load(Ordering::Relaxed) {
            // It is suspended, or a panic in another thread has given the terminal back and its message stands there.
            return Ok(());
        }
        let begun = Instant::now();
        queue!(self.frame, tty::BeginSynchronizedUpdate)?;
        let pictures = &mut self.pictures;
        self.screen.draw(|frame| {
            shown.draw(theme, frame);
            if let Some(map) = shown.pixel_map(theme, frame.area()) {
                pictures.measure(pictures::cell_of_window());
                pictures.draw(&map, theme, frame.buffer_mut());
            }
        })?;
        let farewell = pictures.farewell();
        queue!(self.frame, Print(farewell), tty::EndSynchronizedUpdate)?;
        let bytes = self.frame.take();
        let seconds = begun.elapsed().as_secs_f64();
        self.drawn.retain(|at| at.elapsed() < Duration::from_secs(1));
        self.drawn.push(begun);
        self.cost = Cost { bytes: bytes.len(), milliseconds: 1e3 * seconds, per_second: self.drawn.len() };
        self.output.write_all(&bytes)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

fn give_back(output: &mut impl Write) -> io::Result<()> {
    execute!(output, tty::EndSynchronizedUpdate, Print(MOUSE_OFF), tty::LeaveAlternateScreen, cursor::Show)?;
    tty::disable_raw_mode()
}

/// Points stdout and stderr at nothing and returns what they were.
fn silence() -> io::Result<[OwnedFd; 2]> {
    let kept = [rustix::io::dup(rustix::stdio::stdout())?, rustix::io::dup(rustix::stdio::stderr())?];
    let nothing = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(kept)
}

/// Gives the terminal back in the middle of a panic, and leads stderr to it, so that what is said is seen. Where there
/// is no screen it does nothing.
pub fn rescue() {
    let Ok(mut terminal) = File::options().write(true).open("/dev/tty") else { return };
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        let _ = give_back(&mut terminal);
        let _ = rustix::stdio::dup2_stderr(&terminal);
    }
}

/// Shows what `link` tells until the person leaves or it ends; how it was looked at comes back, too. The look says
/// which themes there are.
pub async fn show(
    terminal: &mut Terminal,
    link: Link,
    look: Look,
    options: Options,
) -> Result<(Leave, Remembered), TerminalError> {
    start_log();
    let look = look.on(terminal.background.is_light);
    let zone = Some(TimeZone::system());
    let pictures = terminal.pictures.are_shown();
    let app = App::new(Options { themes: look.names.clone(), zone, pictures, ..options });
    let mut training = Training { app, link };
    let leave = run(terminal, &mut training, look).await?;
    Ok((leave.unwrap_or(Leave::Detach), training.app.remembered()))
}

/// Shows a comparison until the person leaves or it fails, and returns why it failed.
pub async fn compare(
    terminal: &mut Terminal,
    host: &Host,
    look: Look,
    bindings: Bindings<comparison::Action>,
) -> Result<Option<String>, TerminalError> {
    start_log();
    let look = look.on(terminal.background.is_light);
    let app = Comparison::new(look.names.clone(), bindings);
    let failed = run(terminal, &mut Comparing { app, host, scenes: host.scenes() }, look).await?;
    Ok(failed.flatten())
}

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
    /// The map to be drawn in pixels over what is drawn on a screen of this size.
    fn pixel_map(&self, _theme: &Theme, _screen: Rect) -> Option<PixelMap<'_>> {
        None
    }
    /// What is shown, in a few words.
    fn title(&self) -> String;
    /// The slice that is exported from here, and the model that is at its middle.
    fn slice(&self) -> Option<(String, &Slice)>;
    fn exported(&mut self, exported: Exported);
}

/// What the loop has to do.
enum Next<Leave> {
    UseTheme(String),
    Export(ExportFormat, String),
    Suspend,
    Leave(Leave),
}

/// A run and its engine, wherever that is.
struct Training {
    app: App,
    link: Link,
}

impl Training {
    /// The name of the run.
    fn name(&self) -> &str {
        self.app.engine.run.as_ref().map_or("", |run| &run.name)
    }

    fn update(&mut self, message: Message) -> Vec<Next<Leave>> {
        let carry_out = |effect| match effect {
            Effect::Send(command) => {
                // Where the connection is gone, its own message tells.
                let _ = self.link.commands.send(command);
                None
            }
            Effect::UseTheme(name) => Some(Next::UseTheme(name)),
            Effect::Export(format, name) => Some(Next::Export(format, name)),
            Effect::Suspend => Some(Next::Suspend),
            Effect::Leave(leave) => Some(Next::Leave(leave)),
        };
        self.app.update(message).into_iter().filter_map(carry_out).collect()
    }
}

impl Shown for Training {
    type News = Message;
    type Leave = Leave;

    async fn news(&mut self) -> Message {
        match self.link.frames.recv().await {
            Some(Ok(frame)) => Message::Engine(frame),
            Some(Err(error)) => Message::Lost(error.to_string()),
            // The last picture stays until the person leaves.
            None if matches!(self.app.link, app::Link::Ended(_)) => std::future::pending().await,
            None => Message::Lost("the connection has ended".to_owned()),
        }
    }

    fn hear(&mut self, news: Message) -> Vec<Next<Leave>> {
        if let Message::Engine(ToScreen::Update(update)) = &news {
            let zone = self.app.options.zone.as_ref();
            for line in &update.log {
                feed(line, zone);
            }
            tui_logger::move_events();
        }
        self.update(news)
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Next<Leave>> {
        self.update(Message::Key(key))
    }

    fn point(&mut self, mouse: MouseEvent, screen: Rect) -> Vec<Next<Leave>> {
        let pointed = ui::pointed(&self.app, screen, mouse);
        pointed.map_or_else(Vec::new, |pointed| self.update(Message::Mouse(pointed)))
    }

    fn cost(&mut self, cost: Cost) {
        self.app.cost = cost;
    }

    fn fades(&self) -> bool {
        self.app.view.toasts.fade()
    }

    fn fade(&mut self) {
        self.app.fade();
    }

    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame) {
        ui::view(&self.app, theme, frame);
    }

    fn pixel_map(&self, theme: &Theme, screen: Rect) -> Option<PixelMap<'_>> {
        ui::pixel_map(&self.app, theme, screen)
    }

    fn title(&self) -> String {
        let step = self.app.engine.status.as_ref().map_or(0, |status| status.step);
        format!("llamascape: {}, step {step}", self.name())
    }

    fn slice(&self) -> Option<(String, &Slice)> {
        let slice = self.app.engine.slice.as_ref()?;
        Some((format!("{}@{}", self.name(), slice.step), slice))
    }

    fn exported(&mut self, exported: Exported) {
        self.app.update(Message::Exported(exported));
    }
}

/// A comparison and its engine in this process.
struct Comparing<'a> {
    app: Comparison,
    host: &'a Host,
    scenes: watch::Receiver<Scene>,
}

impl Comparing<'_> {
    fn update(&mut self, message: comparison::Message) -> Vec<Next<Option<String>>> {
        let carry_out = |effect| match effect {
            comparison::Effect::Ask(ask) => {
                self.host.ask(ask);
                None
            }
            comparison::Effect::UseTheme(name) => Some(Next::UseTheme(name)),
            comparison::Effect::Export(format, name) => Some(Next::Export(format, name)),
            comparison::Effect::Suspend => Some(Next::Suspend),
            comparison::Effect::Leave => Some(Next::Leave(None)),
        };
        self.app.update(message).into_iter().filter_map(carry_out).collect()
    }
}

impl Shown for Comparing<'_> {
    type News = Scene;
    type Leave = Option<String>;

    async fn news(&mut self) -> Scene {
        if self.scenes.changed().await.is_ok() {
            return self.scenes.borrow_and_update().clone();
        }
        // The engine says why it ends before it does, unless it panicked.
        let phase = Phase::Failed("the comparison's engine has ended".to_owned());
        Scene { phase, ..Scene::default() }
    }

    fn hear(&mut self, scene: Scene) -> Vec<Next<Option<String>>> {
        if let Phase::Failed(error) = scene.phase {
            return vec![Next::Leave(Some(error))];
        }
        self.update(comparison::Message::Scene(Box::new(scene)))
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Next<Option<String>>> {
        self.update(comparison::Message::Key(key))
    }

    fn point(&mut self, mouse: MouseEvent, screen: Rect) -> Vec<Next<Option<String>>> {
        let pointed = ui::comparison::pointed(&self.app, screen, mouse);
        pointed.map_or_else(Vec::new, |pointed| self.update(comparison::Message::Mouse(pointed)))
    }

    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame) {
        ui::comparison::view(&self.app, theme, frame);
    }

    fn title(&self) -> String {
        let [a, b] = &self.app.scene.sides;
        format!("llamascape: {} and {}", a.name, b.name)
    }

    fn slice(&self) -> Option<(String, &Slice)> {
        let side = &self.app.scene.sides[self.app.exported_side() as usize];
        let slice = side.slice.as_deref()?;
        let model = match slice.step {
            0 => side.name.clone(),
            steps => format!("{} after {steps} steps", side.name),
        };
        Some((model, slice))
    }

    fn exported(&mut self, exported: Exported) {
        self.app.update(comparison::Message::Exported(exported));
    }
}

/// The loop. Nothing comes back where the terminal is gone.
async fn run<S: Shown>(
    terminal: &mut Terminal,
    shown: &mut S,
    look: Look,
) -> Result<Option<S::Leave>, TerminalError> {
    let mut theme = look.theme;
    let late = Late::new(terminal.background.is_awaited, terminal.pictures.is_awaited);
    let mut inputs = Inputs::read(late)?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut ends = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(hung_up), Ok(terminated), Ok(interrupted)] = &mut ends else {
        return Err(io::Error::other("signals can't be caught").into());
    };
    let interval = if std::env::var_os("SSH_CONNECTION").is_some() { FAR } else { NEAR };

    terminal.draw(shown, &theme)?;
    let mut drawn = Instant::now();
    // When to draw again, if anything has changed.
    let mut due: Option<Instant> = None;
    let mut fade: Option<Instant> = None;
    loop {
        // What a person does is answered at once; what the engine says waits for the next frame.
        let (soonest, effects) = tokio::select! {
            biased;
            input = inputs.next() => match input {
                Some(Event::Key(key)) => (Instant::now(), shown.press(key)),
                Some(Event::Mouse(mouse)) => (Instant::now(), shown.point(mouse, terminal.area())),
                Some(_) => continue,
                None => return Ok(None),
            },
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
                match terminal.draw(shown, &theme) {
                    Ok(()) => {
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
            news = shown.news() => (drawn + interval, shown.hear(news)),
        };
        fade = if shown.fades() { fade.or_else(|| Some(Instant::now() + FADE)) } else { None };
        due = Some(due.map_or(soonest, |due| due.min(soonest)));
        for effect in effects {
            match effect {
                Next::UseTheme(name) => match look.themes.load(&name) {
                    Ok(chosen) => theme = chosen,
                    Err(error) => log::warn!("{}", text::escape(&error.to_string())),
                },
                Next::Export(format, name) => {
                    let exported = terminal.export(format, name, shown, &theme);
                    shown.exported(exported);
                }
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

/// Hands a line of the engine's log to the log pane, with the time at which it was written.
fn feed(line: &LogLine, zone: Option<&TimeZone>) {
    let (level, text) = text::logged(line, zone);
    log::log!(target: "engine", level, "{text}");
}
