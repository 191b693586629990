//! The terminal itself: taken over, drawn on, and given back as it was.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::style::Print;
use ratatui::crossterm::{cursor, execute, queue, terminal as tty};
use ratatui::layout::Rect;
use ratatui::prelude::CrosstermBackend;
use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
use tokio::time::Instant;

use super::background::{self, Background};
use super::export::{self, Subject};
use super::pictures::{self, Pictures};
use super::{Ground, Look, Shown};
use crate::app::{Cost, ExportFormat, Exported};
use crate::theme::Theme;
use crate::ui::SMALLEST;

/// Has the terminal tell of the mouse's buttons and wheel, and of its movements while a button is down, with
/// coordinates of any size. crossterm's own command asks for every movement, and each would wake the screen. Where
/// movements can't be told, the buttons still are.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// Whether the terminal is taken over. Whoever gives it back, which a panic in any thread does, does it once: a second
/// time would put the cursor on what has been said since. Nothing is drawn without it, so that nothing is after that.
static IS_TAKEN: Mutex<bool> = Mutex::new(false);

fn taken() -> MutexGuard<'static, bool> {
    IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a screen can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// There are no keys to be read.
    #[error(
        "there is no terminal for a screen: run it in one, or go without: train --headless, compare --json"
    )]
    None,
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

/// Fails where there is no terminal, or it is too small to begin with.
pub fn check_size() -> Result<(), TerminalError> {
    if !io::stdin().is_terminal() && File::open("/dev/tty").is_err() {
        return Err(TerminalError::None);
    }
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
    pub(super) background: Background,
    pub(super) pictures: Pictures,
    /// When the pictures of the last second were drawn.
    drawn: Vec<Instant>,
    pub(super) cost: Cost,
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
        *taken() = true;
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
    pub(super) fn suspend(&mut self) -> io::Result<()> {
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
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // Stopped from outside, it has not given the terminal back.
        self.restore();
        tty::enable_raw_mode()?;
        *taken() = true;
        self.cover()?;
        self.screen = ratatui::Terminal::new(CrosstermBackend::new(self.frame.clone()))?;
        Ok(())
    }

    /// Draws everything anew the next time, whatever the terminal shows now.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        self.pictures.forget();
        queue!(self.frame, tty::Clear(tty::ClearType::All))?;
        self.screen = ratatui::Terminal::new(CrosstermBackend::new(self.frame.clone()))?;
        Ok(())
    }

    /// Gives the terminal back as it was.
    pub fn close(mut self) {
        self.restore();
    }

    fn restore(&mut self) {
        let mut is_taken = taken();
        if std::mem::replace(&mut *is_taken, false) {
            self.pictures.forget();
            // A terminal that is gone needs no restoring.
            let _ = self.output.write_all(self.pictures.farewell().as_bytes());
            let _ = give_back(&mut self.output);
        }
        drop(is_taken);
        if let Some([stdout, stderr]) = self.streams.take() {
            let _ = rustix::stdio::dup2_stdout(&stdout);
            let _ = rustix::stdio::dup2_stderr(&stderr);
        }
    }

    /// The screen as it was drawn last.
    pub(super) fn area(&mut self) -> Rect {
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
    pub(super) fn export(
        &mut self,
        format: ExportFormat,
        name: String,
        shown: &impl Shown,
        theme: &Theme,
    ) -> Exported {
        let subject = Subject {
            screen: self.picture(shown, theme),
            title: shown.title(),
            ground: Ground::new(self.background.is_light),
            table: shown.table(),
            slice: shown.slice(),
        };
        let written = export::write(format, &name, etcetera::home_dir().ok(), &subject);
        let outcome = written.map(|path| path.display().to_string()).map_err(|error| error.to_string());
        Exported { name, outcome }
    }

    /// Draws the screen and sends what changed in one write, inside the brackets of a synchronized update.
    pub(super) fn draw(&mut self, shown: &impl Shown, theme: &Theme) -> io::Result<()> {
        if !*taken() {
            // It is suspended, or a panic in another thread has given the terminal back and its message stands there.
            return Ok(());
        }
        let begun = Instant::now();
        queue!(self.frame, tty::BeginSynchronizedUpdate)?;
        let pictures = &mut self.pictures;
        self.screen.draw(|frame| {
            shown.draw(theme, frame);
            let maps = shown.pixel_maps(theme, frame.area());
            if !maps.is_empty() {
                pictures.measure(pictures::cell_of_window());
            }
            for map in maps {
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
        // It may have been given back meanwhile.
        let is_taken = taken();
        if *is_taken { self.output.write_all(&bytes) } else { Ok(()) }
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
    if std::mem::replace(&mut *taken(), false) {
        let _ = give_back(&mut terminal);
        let _ = rustix::stdio::dup2_stderr(&terminal);
    }
}
