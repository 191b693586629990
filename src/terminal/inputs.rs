//! Keys and the mouse, as they come from the terminal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

use super::background::Late;
use crate::app::Gesture;

/// Reads them on a thread of its own. The channel ends when the terminal does: crossterm alone would spin on a terminal
/// that is gone.
pub(super) fn read(mut late: Late) -> io::Result<mpsc::UnboundedReceiver<Event>> {
    let terminal = if io::stdin().is_terminal() {
        File::from(rustix::io::dup(rustix::stdio::stdin())?)
    } else {
        File::open("/dev/tty")?
    };
    let (sender, inputs) = mpsc::unbounded_channel();
    let pump = move || -> io::Result<()> {
        loop {
            let mut polled = [PollFd::new(&terminal, PollFlags::IN)];
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
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
    };
    // The thread ends with the process, or with the terminal, which the closed channel reports.
    std::thread::Builder::new().name("keys".to_owned()).spawn(pump)?;
    Ok(inputs)
}
