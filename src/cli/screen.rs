//! The flags of the commands that open a screen.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use etcetera::BaseStrategy;

use super::usage::Usage;
use crate::app::start::{Choice, Row};
use crate::app::{Action, Bindings, Leave, Options, Remembered, View, comparison};
use crate::protocol::Outcome;
use crate::run::client;
use crate::run::comparison::Host;
use crate::run::dir::RunDir;
use crate::run::{panics, replay};
use crate::terminal::{self, Look, LookError, Terminal};
use crate::theme::{self, ColorDepth, Theme};
use crate::ui::text;

/// The file in the folder of a run that says how it was looked at.
const REMEMBERED: &str = "screen.json";

/// How the screen looks.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Colours of the screen: a built-in theme, or NAME.toml in ~/.config/llamascape/themes; T on the screen goes
    /// through them. Without a name: dark or light, as the terminal is
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
    /// Colours: as the terminal says, always, or never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
    /// The theme stands on the command line, not in the settings file.
    #[arg(skip)]
    pub(super) theme_is_asked_for: bool,
    /// Leave the mouse to the terminal, to select text; without this flag Shift selects in most terminals
    #[arg(long)]
    no_mouse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl Args {
    /// The look these flags and the environment ask for. Fails for a theme that does not exist or is wrong, before
    /// anything is begun.
    pub(super) fn look(&self) -> anyhow::Result<Look> {
        let depth = match self.color {
            When::Auto => colors(no_color()),
            When::Always => colors(false),
            When::Never => colors(true),
        };
        let look = look(self.theme.as_deref(), depth)?.with_mouse(!self.no_mouse);
        Ok(look.with_fixed(self.theme_is_asked_for))
    }
}

/// The theme of that name in all its colours, for a picture that no terminal has to show; without one `dark`.
pub(super) fn theme(name: Option<&str>) -> anyhow::Result<Theme> {
    Ok(look(name, ColorDepth::True)?.into_theme())
}

/// A look with the theme of that name, a person's own or a built-in one.
pub(super) fn find_theme(name: &str, depth: ColorDepth) -> Result<Look, LookError> {
    Look::new(Some(name), depth, themes())
}

/// Where a person's own themes are.
fn themes() -> Option<PathBuf> {
    Some(config_folder()?.join("themes"))
}

fn look(name: Option<&str>, depth: ColorDepth) -> anyhow::Result<Look> {
    Look::new(name, depth, themes()).map_err(|error| {
        let problem = format!("--theme: {}", text::escape(&error.to_string()));
        // Of a file that is there, the file is wrong.
        if matches!(error, LookError::Theme(_)) {
            Usage::error(problem)
        } else {
            anyhow::anyhow!("{problem}")
        }
    })
}

/// Whether the environment asks for no colours.
pub(super) fn no_color() -> bool {
    std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty())
}

/// The colours that the environment says the terminal has.
pub(super) fn colors(no_color: bool) -> ColorDepth {
    let variable = |name| std::env::var(name).ok();
    theme::color_depth(no_color, variable("COLORTERM").as_deref(), variable("TERM").as_deref())
}

/// Where the user's settings and own themes are, if there is a home.
pub(super) fn config_folder() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.config_dir().join("llamascape"))
}

/// Shows a comparison until the person leaves or it fails, and returns why it failed.
pub(super) fn compare(
    host: &Host,
    look: Look,
    bindings: Bindings<comparison::Action>,
) -> anyhow::Result<Option<String>> {
    block_on(async {
        let mut terminal = Terminal::open(&look)?;
        let failed = terminal::compare(&mut terminal, host, look, bindings).await;
        terminal.close();
        anyhow::Ok(failed?)
    })?
}

/// Shows the runs that `rows` tells, again and again, until the person chooses.
pub(super) fn choose(look: Look, rows: impl FnMut() -> Vec<Row>) -> anyhow::Result<Choice> {
    block_on(async {
        let mut terminal = Terminal::open(&look)?;
        let choice = terminal::choose(&mut terminal, look, rows).await;
        terminal.close();
        anyhow::Ok(choice?)
    })?
}

fn block_on<T>(screen: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(screen);
    // What still waits to be sent is of no use any more.
    runtime.shutdown_background();
    Ok(outcome)
}

/// Shows what the folder of a run tells, until the person leaves.
pub(super) fn replay(dir: &RunDir, look: Look, bindings: Bindings<Action>) -> anyhow::Result<()> {
    block_on(async {
        let link = replay::replay(dir)?;
        let remembered = Remembered { view: View::Timeline, ..Remembered::default() };
        let mut terminal = Terminal::open(&look)?;
        let options = Options { read_only: true, remembered, bindings, ..Options::default() };
        let leave = terminal::show(&mut terminal, link, look, options).await;
        terminal.close();
        match leave?.0 {
            Leave::Lost(reason) => Err(anyhow::Error::msg(reason)),
            Leave::Detach | Leave::Compare | Leave::Closed(_) => Ok(()),
        }
    })?
}

/// Shows the tour over the engine at `socket` until the person leaves or it ends.
pub(super) fn tour(
    socket: &Path,
    look: Look,
    options: Options,
    bindings: &Bindings<comparison::Action>,
    pair: impl Fn() -> std::io::Result<Host>,
) -> anyhow::Result<()> {
    let leave = block_on(async {
        let link = client::connect(socket, false).await.context("the engine can't be reached")?;
        let mut terminal = Terminal::open(&look)?;
        let left = terminal::tour(&mut terminal, link, look, options, bindings, pair).await;
        terminal.close();
        anyhow::Ok(left?)
    })??;
    match leave {
        Leave::Detach | Leave::Compare | Leave::Closed(Outcome::Stopped { .. } | Outcome::Crashed { .. }) => {
            Ok(())
        }
        Leave::Closed(Outcome::Failed { error }) => Err(anyhow::Error::msg(error)),
        Leave::Lost(reason) => Err(anyhow::anyhow!("the tour has ended: {reason}")),
    }
}

/// Watches the engine at `socket` until the person leaves or it ends, and says what became of it.
pub(super) fn watch(
    dir: &RunDir,
    socket: &Path,
    name: &str,
    look: Look,
    options: Options,
) -> anyhow::Result<()> {
    panics::concern(name, None);
    let read_only = options.read_only;
    // Nothing is lost where it can't be read.
    let remembered: Remembered = dir.read_json(REMEMBERED).unwrap_or_default();
    let look = match &remembered.theme {
        Some(theme) => look.recalled(theme),
        None => look,
    };
    let (leave, looked) = block_on(async {
        let link = client::connect(socket, options.read_only).await.context("the engine can't be reached")?;
        let mut terminal = Terminal::open(&look)?;
        let options = Options { remembered: remembered.clone(), ..options };
        let left = terminal::show(&mut terminal, link, look, options).await;
        terminal.close();
        anyhow::Ok(left?)
    })??;
    if !read_only && looked != remembered {
        // The run may have ended with its folder.
        let _ = dir.write_json(REMEMBERED, &looked);
    }
    match leave {
        Leave::Detach | Leave::Compare => {
            tell(&format!("{name} goes on without a screen; `llamascape attach {name}` comes back to it"));
            Ok(())
        }
        Leave::Closed(Outcome::Stopped { step, checkpoint }) => {
            tell(&match checkpoint {
                Some(folder) => format!("{name} ended at step {step}; its checkpoint is {folder}"),
                None => format!("{name} ended at step {step}; nothing was saved"),
            });
            Ok(())
        }
        Leave::Closed(Outcome::Failed { error }) => Err(anyhow::Error::msg(error)),
        Leave::Closed(Outcome::Crashed { step, .. }) => Err(anyhow::anyhow!(
            "{name} crashed at step {step}; `llamascape train --resume {name}` goes on with it"
        )),
        Leave::Lost(reason) => Err(anyhow::anyhow!(
            "lost the engine of {name}: {reason}; `llamascape attach {name}` tries again, `llamascape runs` tells \
             whether it still runs"
        )),
    }
}

/// Says a last word, where the terminal is still there to hear it.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
