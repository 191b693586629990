//! Keys and the mouse, read on a thread of its own.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, PipeWriter};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

use super::background::Late;
use crate::app::Gesture;

/// What a person does, for one screen. Another one may follow in this process: once this is dropped, nothing is read
/// any more, so that no key for the next one is lost.
#[derive(Debug)]
pub(super) struct Inputs {
    events: mpsc::UnboundedReceiver<Event>,
    /// Its other end hangs up with it.
    held: Option<PipeWriter>,
    pump: Option<JoinHandle<io::Result<()>>>,
}

impl Inputs {
    /// Starts to read. The thread ends when the terminal does, too: crossterm alone would spin on a terminal that is
    /// gone.
    pub(super) fn read(late: Late) -> io::Result<Self> {
        let terminal = if io::stdin().is_terminal() {
            File::from(rustix::io::dup(rustix::stdio::stdin())?)
        } else {
            File::open("/dev/tty")?
        };
        let (sender, events) = mpsc::unbounded_channel();
        let (end, held) = io::pipe()?;
        let pump = move || pump(&terminal, &end, late, &sender);
        let pump = std::thread::Builder::new().name("keys".to_owned()).spawn(pump)?;
        Ok(Self { events, held: Some(held), pump: Some(pump) })
    }

    /// Waits for what a person does; `None` once the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        drop(self.held.take());
        if let Some(pump) = self.pump.take() {
            // Where it failed, the terminal is gone: the screen has ended for that.
            let _ = pump.join();
        }
    }
}

/// Hands on what is read, until the terminal or the other end of the pipe hangs up.
fn pump(
    terminal: &File,
    end: &PipeReader,
    mut late: Late,
    sender: &mpsc::UnboundedSender<Event>,
) -> io::Result<()> {
    loop {
        let mut polled = [PollFd::new(terminal, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        if polled.iter().any(|polled| polled.revents().intersects(gone)) {
            return Ok(());
        }
        // crossterm reads nothing at all in no time.
        while event::poll(Duration::from_millis(1))? {
            let event = event::read()?;
            let tells = match event {
                Event::Key(key) => !late.swallows(key),
                Event::Mouse(mouse) => Gesture::of(mouse).is_some(),
                _ => false,
            };
            if tells && sender.send(event).is_err() {
                return Ok(());
            }
        }
    }
}
