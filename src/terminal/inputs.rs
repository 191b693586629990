//! Keys and the mouse, read on a thread of its own.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, PipeWriter};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
    pub(super) async fn next(&mut self) -> io::Result<Option<Event>> {
        let event = self.events.recv().await;
        if event.is_none() && self.pump.take().is_some_and(|pump| pump.join().is_err()) {
            return Err(io::Error::other("what reads the keys has failed"));
        }
        Ok(event)
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

/// How long crossterm may take to read what is there: nothing at all it reads in no time. Where an answer of the terminal
/// comes first and the machine has no time, it keeps what follows until it is asked again.
const READING: Duration = Duration::from_millis(10);
/// How often it is asked again where nothing more has come.
const AGAIN: u32 = 32;

/// Hands on what is read, until the terminal or the other end of the pipe hangs up.
fn pump(
    terminal: &File,
    end: &PipeReader,
    mut late: Late,
    sender: &mpsc::UnboundedSender<Event>,
) -> io::Result<()> {
    let mut again = 0;
    let now = Timespec::default();
    loop {
        let mut polled = [PollFd::new(terminal, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut polled, (again > 0).then_some(&now)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) => again -= 1,
            Ok(_) => again = AGAIN,
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        if polled.iter().any(|polled| polled.revents().intersects(gone)) {
            return Ok(());
        }
        while event::poll(READING)? {
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
