//! The table of keys in the settings file: commands of the screens by their names, and the keys that they are to have.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::defaults::Problem;
use crate::app::{Choice, Key, Keys, Misfit};

/// What the file calls the table.
pub(super) const TABLE: &str = "keys";

/// What the table says.
#[derive(Debug, Default)]
pub(super) struct Remapped {
    /// Its lines from above: commands, and the numbers of the lines.
    lines: Vec<(String, usize)>,
    /// What the keys of the screens come to.
    pub(super) keys: Keys,
}

impl Remapped {
    /// Reads the table; `line_at` is the number of the line at a place of the file.
    pub(super) fn read(table: &DeTable, line_at: impl Fn(usize) -> usize) -> Result<Self, Problem> {
        let mut lines = Vec::new();
        for (name, value) in table {
            let (line, command) = (line_at(name.span().start), &**name.get_ref());
            let keys = keys(value.get_ref()).map_err(|why| (line, format!("{TABLE}.{command}{why}")))?;
            lines.push((line, Choice { command: command.to_owned(), keys }));
        }
        lines.sort_by_key(|(line, _)| *line);
        let (lines, choices): (Vec<usize>, Vec<Choice>) = lines.into_iter().unzip();
        let keys = Keys::new(&choices).map_err(|Misfit { at, key, why }| {
            let key = key.map_or_else(String::new, |key| format!(" = {}", key.name()));
            (lines[at], format!("{TABLE}.{}{key}: {why}", choices[at].command))
        })?;
        let commands = choices.into_iter().map(|choice| choice.command);
        Ok(Self { lines: commands.zip(lines).collect(), keys })
    }

    /// Every command, the line that it is from if it is, and its keys; what a comparison has of them where that is not
    /// the same.
    pub(super) fn in_force(&self) -> Vec<(&'static str, Option<usize>, String)> {
        let row = |name: &'static str, keys: &[&[Key]]| {
            let line = self.lines.iter().find(|(command, _)| command == name).map(|(_, line)| *line);
            let keys = match keys {
                [training, comparison] if training != comparison => {
                    format!("{}, compare {}", written(training), written(comparison))
                }
                keys => keys.first().map_or_else(String::new, |keys| written(keys)),
            };
            (name, line, keys)
        };
        self.keys.commands().iter().map(|command| row(command.name, &command.keys)).collect()
    }
}

/// The keys that a value names; an error goes on where the name of the command ends.
fn keys(value: &DeValue) -> Result<Vec<Key>, String> {
    let names: Vec<&DeValue> = match value {
        DeValue::Array(names) => names.iter().map(Spanned::get_ref).collect(),
        value => vec![value],
    };
    let mut keys = Vec::new();
    for name in names {
        let DeValue::String(name) = name else {
            return Err(": it is a key in quotes, or a list of such".to_owned());
        };
        let key = Key::parse(name).map_err(|why| format!(" = {name}: {why}"))?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Keys as the file writes them.
fn written(keys: &[Key]) -> String {
    let one = |key: &Key| toml::Value::String(key.name()).to_string();
    match keys {
        [key] => one(key),
        keys => format!("[{}]", keys.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// The table with every command and its built-in keys, each in a comment that can be uncommented as it is.
pub(super) fn dump() -> String {
    let mut dump = format!(
        "\n[{TABLE}]\n# Commands of the screens: a key, a list of keys, or [] for none. The help shows how keys are \
         called.\n"
    );
    let keys = Keys::default();
    for command in keys.commands() {
        let keys = command.keys.first().map_or_else(String::new, |keys| written(keys));
        dump.push_str(&format!("# {}\n#{} = {keys}\n", command.help, command.name));
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Remapped, Problem> {
        let table = DeTable::parse(text).unwrap();
        Remapped::read(table.get_ref(), |place| text[..place].matches('\n').count() + 1)
    }

    #[test]
    fn a_command_has_a_key_a_list_of_keys_or_none() {
        let text = "step = \"y\"\n\nrun = [\"space\", \"f2\", \"f2\"]\ntheme = []\ntemplate = \"n\"";
        let rows = read(text).unwrap().in_force();
        for row in [
            ("step", Some(1), "\"y\""),
            ("run", Some(3), "[\"space\", \"f2\"]"),
            ("theme", Some(4), "[]"),
            ("template", Some(5), "\"n\""),
            ("new-plane", None, "\"n\", compare []"),
            ("back", None, "\"b\""),
        ] {
            let found = rows.iter().find(|(command, ..)| *command == row.0).unwrap();
            assert_eq!((found.0, found.1, found.2.as_str()), row);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_command_and_key() {
        for (text, line, words) in [
            ("\nlog = 7", 2, "keys.log: it is a key in quotes, or a list of such"),
            ("log = [[\"7\"]]", 1, "keys.log: it is a key in quotes, or a list of such"),
            ("log.key = \"7\"", 1, "keys.log: it is a key in quotes, or a list of such"),
            ("step = [\"s\", \"shift-s\"]", 1, "keys.step = shift-s: a key is a letter"),
            ("step = \"ctrl-i\"", 1, "keys.step = ctrl-i: a terminal sends it as tab"),
            ("run = \"s\"\nstpe = \"s\"", 2, "keys.stpe: there is no such command; the nearest is step"),
            ("step = \"h\"", 1, "keys.step = h: it moves"),
            ("back = \"ctrl-c\"", 1, "keys.back = ctrl-c: it always leaves"),
            ("step = \"y\"\nback = \"y\"", 2, "keys.back = y: keys.step has it already"),
            ("quit = []", 1, "keys.quit: quit must keep a key"),
            ("step = \"?\"", 1, "keys.step: help must keep a key"),
        ] {
            let (at, said) = read(text).unwrap_err();
            assert!(at == line && said.starts_with(words), "{text}: line {at}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
