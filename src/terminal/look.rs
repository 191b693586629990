//! The themes that can be had, the built-in ones and those in the user's folder, and the one to begin with.

use std::io;
use std::path::{Path, PathBuf};

use crate::theme::{ColorDepth, Theme, ThemeError};

/// Why a theme can't be had. What files say is in it as they say it.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no such theme.
    #[error(transparent)]
    Theme(#[from] ThemeError),
    /// A file in the user's folder is no theme.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: ThemeError,
    },
    /// A file in the user's folder can't be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// The theme to begin with, and those that can be had in its place.
#[derive(Debug)]
pub struct Look {
    pub(super) theme: Theme,
    /// What to begin with on a light terminal, where nothing was asked for.
    light: Option<Theme>,
    /// The names of the themes, the one on show first.
    pub(super) names: Vec<String>,
    pub(super) themes: Themes,
    /// The screen has the mouse.
    pub(super) mouse: bool,
    /// The theme was asked for this time: what a run was looked at with does not count.
    fixed: bool,
}

impl Look {
    /// The theme of that name; without one, `dark` or `light` as the terminal is, and `mono` where there is no colour.
    /// The user's own themes lie in `folder` and come before built-in ones of the same name.
    pub fn new(name: Option<&str>, depth: ColorDepth, folder: Option<PathBuf>) -> Result<Self, LookError> {
        let themes = Themes { folder, depth };
        // A file that nobody asked for must not be what stops a run.
        let default = |name: &str| themes.load(name).or_else(|_| Theme::named(name, depth));
        let (theme, light) = match name {
            Some(name) => (themes.load(name)?, None),
            None if depth == ColorDepth::None => (default("mono")?, None),
            None => (default("dark")?, Some(default("light")?)),
        };
        let mut look = Self { names: themes.names(), themes, theme, light, mouse: true, fixed: false };
        look.begin_with_shown();
        Ok(look)
    }

    /// The same, with the mouse for the screen or for the terminal, which selects text with it.
    #[must_use]
    pub fn with_mouse(self, mouse: bool) -> Self {
        Self { mouse, ..self }
    }

    /// The same, with a theme that was asked for this time, or was not.
    #[must_use]
    pub fn with_fixed(self, fixed: bool) -> Self {
        Self { fixed, ..self }
    }

    /// The same with the theme that a run was looked at with, if that can be had and none was asked for this time.
    #[must_use]
    pub fn recalled(mut self, name: &str) -> Self {
        if !self.fixed
            && let Ok(theme) = self.themes.load(name)
        {
            (self.theme, self.light) = (theme, None);
            self.begin_with_shown();
        }
        self
    }

    /// The theme to begin with, where there is no terminal that may be light.
    pub fn into_theme(self) -> Theme {
        self.theme
    }

    /// Whether there are colours. Without them neither the terminal's background nor its pictures matter.
    pub(super) fn has_color(&self) -> bool {
        self.themes.depth != ColorDepth::None
    }

    /// The look on a terminal that is light, or is not.
    pub(super) fn on(mut self, is_light: bool) -> Self {
        if let Some(light) = self.light.take().filter(|_| is_light) {
            self.theme = light;
            self.begin_with_shown();
        }
        self
    }

    /// The screen goes through the names from the first.
    fn begin_with_shown(&mut self) {
        if let Some(at) = self.names.iter().position(|name| *name == self.theme.name) {
            self.names.rotate_left(at);
        }
    }
}

/// Where themes come from, and the colours they are brought down to.
#[derive(Debug)]
pub(super) struct Themes {
    folder: Option<PathBuf>,
    depth: ColorDepth,
}

impl Themes {
    /// The theme of that name: the user's, or else the built-in one.
    pub(super) fn load(&self, name: &str) -> Result<Theme, LookError> {
        let path =
            self.folder.as_ref().filter(|_| is_name(name)).map(|folder| folder.join(format!("{name}.toml")));
        let Some(path) = path else { return Ok(Theme::named(name, self.depth)?) };
        match read(&path) {
            Ok(text) => Theme::parse(name, &text, self.depth)
                .map_err(|problem| LookError::Wrong { path: path.clone(), problem }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Theme::named(name, self.depth)?),
            Err(cause) => Err(LookError::Io { path, cause }),
        }
    }

    /// The names of the built-in themes, the default first, and then the user's own in the order of the alphabet.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Theme::names().into_iter().map(str::to_owned).collect();
        let mut own: Vec<String> = self
            .folder
            .iter()
            .flat_map(std::fs::read_dir)
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let file = entry.file_name();
                let name = file.to_str()?.strip_suffix(".toml")?;
                (is_name(name) && !names.iter().any(|known| known == name)).then(|| name.to_owned())
            })
            .collect();
        own.sort();
        names.append(&mut own);
        names
    }
}

/// Whether a theme can have this name: it is that of a file in the folder, and is shown.
fn is_name(name: &str) -> bool {
    const LONGEST: usize = 40;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=LONGEST).contains(&name.len()) && name.chars().all(is_plain) && !name.starts_with(['.', '-'])
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would be waited for, and a device may never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn look(name: Option<&str>, folder: &tempfile::TempDir) -> Result<Look, LookError> {
        Look::new(name, ColorDepth::True, Some(folder.path().to_owned()))
    }

    #[test]
    fn a_users_theme_is_found_before_the_built_in_one_of_its_name() {
        let folder = folder(&[("nord.toml", "border = \"double\""), ("mine.toml", "inherits = \"light\"")]);
        let own = look(Some("nord"), &folder).unwrap().theme;
        assert_eq!(own.border, ratatui::widgets::BorderType::Double);
        assert_ne!(own, Theme::named("nord", ColorDepth::True).unwrap());
        let mine = look(Some("mine"), &folder).unwrap().theme;
        assert_eq!(mine.palette, Theme::named("light", ColorDepth::True).unwrap().palette);
        let gruvbox = look(Some("gruvbox"), &folder).unwrap().theme;
        assert_eq!(gruvbox, Theme::named("gruvbox", ColorDepth::True).unwrap());
    }

    #[test]
    fn the_names_go_round_through_the_users_own_from_the_one_on_show() {
        let files =
            ["zebra.toml", "mine.toml", "nord.toml", ".hidden.toml", "two words.toml", "notes.txt", ".toml"];
        let folder = folder(&files.map(|name| (name, "")));
        let names = look(Some("mine"), &folder).unwrap().names;
        assert_eq!(names[..3], ["mine", "zebra", "dark"]);
        assert_eq!(names.len(), Theme::names().len() + 2);
        let nowhere = Look::new(None, ColorDepth::True, Some(folder.path().join("nowhere"))).unwrap();
        assert_eq!(nowhere.names, Theme::names());
    }

    #[test]
    fn a_wrong_file_is_named_with_what_is_wrong_on_one_line() {
        let folder = folder(&[
            ("typo.toml", "[palette]\nacent = \"red\""),
            ("broken.toml", "[palette"),
            ("base.toml", "inherits = \"mine\""),
        ]);
        std::fs::write(folder.path().join("bytes.toml"), [0xff, 0xfe]).unwrap();
        std::fs::create_dir(folder.path().join("folder.toml")).unwrap();
        let wrong = [
            ("typo", "palette.acent: there is no such role"),
            ("broken", "line 1: "),
            ("base", "inherits: `mine` is not built in"),
            ("bytes", "UTF-8"),
            ("folder", "it is not a file"),
        ];
        for (name, reason) in wrong {
            let error = look(Some(name), &folder).unwrap_err().to_string();
            let path = folder.path().join(format!("{name}.toml"));
            assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
            assert!(error.contains(reason) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn a_name_leads_nowhere_but_into_the_folder() {
        let folder = folder(&[("mine.toml", "")]);
        let themes = folder.path().join("themes");
        std::fs::create_dir(&themes).unwrap();
        for name in ["../mine", "", "a/b", "a\u{1b}b", ".", ".."] {
            let error = Look::new(Some(name), ColorDepth::True, Some(themes.clone())).unwrap_err();
            assert!(matches!(error, LookError::Theme(ThemeError::Unknown { .. })), "{name}: {error}");
        }
    }

    #[test]
    fn a_run_is_looked_at_as_before_unless_another_theme_is_asked_for() {
        let folder = folder(&[]);
        let shown = |look: Look, name| {
            let look = look.recalled(name).on(true);
            (look.theme.name, look.names[0].clone())
        };
        let both = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(shown(look(None, &folder).unwrap(), "nord"), both("nord"));
        assert_eq!(shown(look(Some("dark"), &folder).unwrap(), "nord"), both("nord"), "a setting is no wish");
        assert_eq!(shown(look(Some("dark"), &folder).unwrap().with_fixed(true), "nord"), both("dark"));
        assert_eq!(shown(look(None, &folder).unwrap(), "gone"), both("light"));
    }

    #[test]
    fn what_was_not_asked_for_is_as_the_terminal_is() {
        let folder = folder(&[]);
        let first = |look: Look| (look.theme.name, look.names[0].clone());
        let both = |name: &str| (name.to_owned(), name.to_owned());
        assert!(look(None, &folder).unwrap().has_color());
        assert_eq!(first(look(None, &folder).unwrap().on(true)), both("light"));
        assert_eq!(first(look(None, &folder).unwrap().on(false)), both("dark"));
        assert_eq!(first(look(Some("nord"), &folder).unwrap().on(true)), both("nord"));
        let colorless = Look::new(None, ColorDepth::None, None).unwrap();
        assert!(!colorless.has_color());
        assert_eq!(first(colorless.on(true)), both("mono"));
    }

    #[test]
    fn a_wrong_file_that_nobody_asked_for_is_passed_over() {
        let folder = folder(&[("dark.toml", "["), ("light.toml", "[")]);
        assert_eq!(look(None, &folder).unwrap().theme, Theme::named("dark", ColorDepth::True).unwrap());
        assert!(look(Some("dark"), &folder).is_err());
    }
}
