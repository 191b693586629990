//! The tour: the screen of a training, and for one chapter that of two models side by side.

use super::comparing::{Comparing, Left};
use super::training::Training;
use super::{Look, Terminal, TerminalError, run, start_log};
use crate::app::{Bindings, Leave, Options, comparison};
use crate::run::client::Link;
use crate::run::comparison::Host;

/// Shows what `link` tells, with a tour, until the person leaves or it ends. `pair` starts the engine of two models.
pub async fn tour(
    terminal: &mut Terminal,
    link: Link,
    look: Look,
    options: Options,
    bindings: &Bindings<comparison::Action>,
    pair: impl Fn() -> std::io::Result<Host>,
) -> Result<Leave, TerminalError> {
    start_log();
    let mut look = look.on(terminal.background.is_light);
    let mut training = Training::new(terminal, link, &look, options);
    loop {
        let leave = run(terminal, &mut training, &mut look).await?.unwrap_or(Leave::Detach);
        if leave != Leave::Compare {
            return Ok(leave);
        }
        let host = match pair() {
            Ok(host) => host,
            Err(error) => return Ok(Leave::Lost(error.to_string())),
        };
        // Its frames wait meanwhile: the engine sends no more than a screen takes.
        let mut comparing = Comparing::new(terminal, &host, &look, bindings.clone(), training.tour());
        let turn = match run(terminal, &mut comparing, &mut look).await? {
            Some(Left::Turned(turn)) => turn,
            Some(Left::Failed(error)) => return Ok(Leave::Lost(error)),
            Some(Left::ByChoice) | None => return Ok(Leave::Detach),
        };
        if let Some(leave) = training.turn(turn)
            && leave != Leave::Compare
        {
            return Ok(leave);
        }
    }
}
