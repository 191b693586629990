//! `config`: the settings file, and what it says.

use super::defaults::{Defaults, Table, dump, key, own, said_default, written};
use super::keys;
use crate::ui::text;

/// The settings file, and what it says.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a settings file with every key, its default and what it does, to begin with
    #[arg(long)]
    dump_default: bool,
}

impl Args {
    /// Whether the file there is matters.
    pub(super) fn reads(&self) -> bool {
        !self.dump_default
    }

    /// Prints where the file is, and what is in force and why; or a file to begin with.
    pub(super) fn run(self, defaults: &Defaults) -> anyhow::Result<()> {
        let text = if self.dump_default { dump() } else { in_force(defaults) };
        super::print(&text)
    }
}

/// The file's path, and a line for all that it can say.
fn in_force(defaults: &Defaults) -> String {
    let mut table = match (&defaults.path, own()) {
        (Some(path), _) => text::escape(&path.display().to_string()),
        (None, Some(path)) => {
            let path = text::escape(&path.display().to_string());
            format!("{path} is not read; `llamascape config --dump-default` prints one to begin with")
        }
        (None, None) => {
            "there is no home folder to look for settings in: set HOME or XDG_CONFIG_HOME".to_owned()
        }
    };
    table.push('\n');
    for part in Table::ALL {
        table.push_str(&format!("\n[{}]\n", part.name()));
        for flag in part.flags() {
            let entry = defaults
                .entries
                .iter()
                .find(|entry| entry.table == part && entry.flag.get_id() == flag.get_id());
            let (origin, value) = match entry {
                Some(entry) => (format!("line {}", entry.line), written(&flag, &entry.values)),
                None => ("default".to_owned(), said_default(&flag).unwrap_or_else(|| "-".to_owned())),
            };
            table.push_str(&format!("{:14} {origin:9} {}\n", key(&flag), text::escape(&value)));
        }
    }
    table.push_str(&format!("\n[{}]\n", keys::TABLE));
    for (command, line, keys) in defaults.remapped.in_force() {
        let origin = line.map_or_else(|| "default".to_owned(), |line| format!("line {line}"));
        table.push_str(&format!("{command:14} {origin:9} {keys}\n"));
    }
    table
}
