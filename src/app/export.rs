//! Exports: what is on the screen, in a file whose name says in which form.

use std::path::Path;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::protocol::comparison::{PlaneChoice, Side, Sides};

use super::comparison::{self, Comparison};
use super::{App, Effect, Hint, LineEditor, Modal};

/// The forms in which something can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// The screen as SVG.
    Svg,
    /// The screen as text.
    Txt,
    /// The landscape as PNG.
    Png,
    /// The slice as arrays for `NumPy`.
    Npz,
    /// The slice as a table.
    Csv,
    /// The slice as JSON.
    Json,
    /// The slice as a surface in VTK's XML.
    Vtp,
}

impl ExportFormat {
    /// All of them, in the order in which tab goes through them.
    pub const ALL: [Self; 7] = [Self::Svg, Self::Txt, Self::Png, Self::Npz, Self::Csv, Self::Json, Self::Vtp];

    /// What to do about a name that says no form.
    pub const KNOWN: &'static str = "end the name in .svg .txt .png .npz .csv .json or .vtp";

    /// The form that the end of a file's name says.
    pub fn of(name: &str) -> Option<Self> {
        let extension = Path::new(name.trim()).extension()?;
        Self::ALL.into_iter().find(|format| extension == format.extension())
    }

    /// The end of a file's name that says it, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Txt => "txt",
            Self::Png => "png",
            Self::Npz => "npz",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Vtp => "vtp",
        }
    }

    /// What is in such a file.
    pub fn content(self) -> &'static str {
        match self {
            Self::Svg => "a picture of the screen",
            Self::Txt => "the text of the screen",
            Self::Png => "a picture of the slice, a square a sample",
            Self::Npz => "the slice as arrays for NumPy",
            Self::Csv => "the slice as lines of alpha, beta and loss",
            Self::Json => "the slice as one JSON object",
            Self::Vtp => "the slice as a surface for ParaView",
        }
    }

    /// Whether it is the screen that is in it, and not the slice.
    pub fn is_of_screen(self) -> bool {
        matches!(self, Self::Svg | Self::Txt)
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// What became of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The name of the file as it was typed.
    pub name: String,
    /// Where the file is, or in one line why there is none.
    pub outcome: Result<String, String>,
}

impl Exported {
    /// What to say of it, and the line on which another name may be typed where that is of use.
    fn told(self) -> (Option<LineEditor>, Hint) {
        match self.outcome {
            Ok(path) => (None, Hint::Answer(format!("wrote {path}"))),
            Err(why) => (Some(LineEditor::new(&self.name)), Hint::Refused(why)),
        }
    }
}

/// What a key makes of the name of a file.
enum Named {
    /// A name that is still being typed.
    Line,
    /// Nothing: it closes.
    Closed,
    /// A file to write.
    Write(ExportFormat, String),
    /// A name that says no form.
    Refused(Hint),
}

fn named(editor: &mut LineEditor, key: KeyEvent) -> Named {
    match key.code {
        KeyCode::Esc => return Named::Closed,
        KeyCode::Enter => return chosen(&editor.text()),
        KeyCode::Tab => *editor = LineEditor::new(&with_next_format(&editor.text())),
        _ => editor.key(key),
    }
    Named::Line
}

/// The file that a name means.
fn chosen(name: &str) -> Named {
    match ExportFormat::of(name) {
        Some(format) => Named::Write(format, name.trim().to_owned()),
        None => Named::Refused(Hint::Refused(ExportFormat::KNOWN.into())),
    }
}

/// The same name with the end that says the next form. An end that says none stays.
fn with_next_format(name: &str) -> String {
    let name = name.trim_end();
    let format = ExportFormat::of(name);
    let next = format.map_or(ExportFormat::Svg, ExportFormat::next).extension();
    let stem = format.and_then(|format| name.strip_suffix(format.extension())?.strip_suffix('.'));
    format!("{}.{next}", stem.unwrap_or(name))
}

/// A name for a file, of these parts.
fn file_name(parts: &[String]) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = parts.join("-").chars().map(plain).collect();
    format!("{name}.{}", ExportFormat::Svg.extension())
}

impl App {
    /// Asks for the name of the file. The one that is there names the run and the step.
    pub(super) fn begin_export(&mut self) -> Vec<Effect> {
        let mut parts = vec!["llamascape".to_owned()];
        parts.extend(self.engine.run.as_ref().map(|run| run.name.clone()));
        parts.extend(self.engine.status.as_ref().map(|status| status.step.to_string()));
        self.view.modal = Some(Modal::Export(LineEditor::new(&file_name(&parts))));
        Vec::new()
    }

    pub(super) fn export_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Export(editor)) = &mut self.view.modal else { return Vec::new() };
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.view.modal = None;
            return self.quit();
        }
        let named = named(editor, key);
        self.name_export(named)
    }

    /// Writes a file of this name.
    pub(super) fn export(&mut self, name: &str) -> Vec<Effect> {
        self.name_export(chosen(name))
    }

    fn name_export(&mut self, named: Named) -> Vec<Effect> {
        match named {
            Named::Line => {}
            Named::Closed => self.view.modal = None,
            Named::Refused(hint) => self.view.hint = Some(hint),
            Named::Write(format, name) => {
                // What is written is the screen below.
                self.view.modal = None;
                return vec![Effect::Export(format, name)];
            }
        }
        Vec::new()
    }

    pub(super) fn exported(&mut self, exported: Exported) {
        let (editor, hint) = exported.told();
        self.view.modal = editor.map(Modal::Export).or(self.view.modal.take());
        self.view.hint = Some(hint);
    }
}

impl Comparison {
    /// The model whose slice is exported: the one that the keys mean, or A. The plane through both is that of A.
    pub fn exported_side(&self) -> Side {
        match self.sides {
            Sides::One(side) if self.scene.plane != PlaneChoice::Through => side,
            _ => Side::A,
        }
    }

    /// Asks for the name of the file. The one that is there names the models and their steps.
    pub(super) fn begin_export(&mut self) -> Vec<comparison::Effect> {
        let mut parts = vec!["llamascape".to_owned()];
        parts.extend(self.scene.sides.iter().flat_map(|side| [side.name.clone(), side.steps.to_string()]));
        self.modal = Some(comparison::Modal::Export(LineEditor::new(&file_name(&parts))));
        Vec::new()
    }

    pub(super) fn export_key(&mut self, key: KeyEvent) -> Vec<comparison::Effect> {
        let Some(comparison::Modal::Export(editor)) = &mut self.modal else { return Vec::new() };
        let named = named(editor, key);
        self.name_export(named)
    }

    /// Writes a file of this name.
    pub(super) fn export(&mut self, name: &str) -> Vec<comparison::Effect> {
        self.name_export(chosen(name))
    }

    fn name_export(&mut self, named: Named) -> Vec<comparison::Effect> {
        match named {
            Named::Line => {}
            Named::Closed => self.modal = None,
            Named::Refused(hint) => self.hint = Some(hint),
            Named::Write(format, name) => {
                // What is written is the screen below.
                self.modal = None;
                return vec![comparison::Effect::Export(format, name)];
            }
        }
        Vec::new()
    }

    pub(super) fn exported(&mut self, exported: Exported) {
        let (editor, hint) = exported.told();
        self.modal = editor.map(comparison::Modal::Export).or(self.modal.take());
        self.hint = Some(hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Message, Options};
    use crate::protocol::comparison::{Phase, Scene, SideView};
    use crate::protocol::{OptimizerKind, PlaneKind, RunInfo, Status};

    fn app() -> App {
        let mut app = App::new(Options { read_only: true, ..Options::default() });
        app.engine.run = Some(RunInfo { name: "tidy/otter".into(), ..RunInfo::default() });
        app.engine.status = Some(Status {
            phase: crate::protocol::Phase::Paused,
            step: 412,
            loss: None,
            held_out: None,
            grad_norm: None,
            clip: 1.0,
            learning_rate: 1e-2,
            optimizer: OptimizerKind::AdamW,
            tokens_per_second: None,
            seconds: 0.0,
            viewers: 1,
            drift: None,
            slicing: false,
            plane: PlaneKind::Random,
            back: None,
            checkpoints: Vec::new(),
        });
        app
    }

    fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
        app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn keys(app: &mut App, keys: &str) {
        for key in keys.chars() {
            press(app, KeyCode::Char(key));
        }
    }

    fn line(app: &App) -> Option<String> {
        match &app.view.modal {
            Some(Modal::Export(editor)) => Some(editor.text()),
            _ => None,
        }
    }

    #[test]
    fn the_end_of_a_name_says_what_is_written() {
        for format in ExportFormat::ALL {
            let extension = format.extension();
            assert_eq!(ExportFormat::of(&format!(" ~/a b/c.d.{extension} ")), Some(format));
            assert!(ExportFormat::KNOWN.contains(&format!(" .{extension}")));
        }
        for name in ["", "svg", ".svg", "a.svg/b", "a.gif", "a.SVG."] {
            assert_eq!(ExportFormat::of(name), None, "{name}");
        }
    }

    #[test]
    fn even_a_read_only_screen_exports_under_the_name_of_its_run_and_step() {
        let mut app = app();
        keys(&mut app, "e");
        assert_eq!(line(&app).as_deref(), Some("llamascape-tidy-otter-412.svg"));
        let effects = press(&mut app, KeyCode::Enter);
        assert_eq!(effects, [Effect::Export(ExportFormat::Svg, "llamascape-tidy-otter-412.svg".into())]);
        assert_eq!(app.view.modal, None, "what is drawn is the screen without the line");
        let outcome = Ok("/somewhere/a.svg".to_owned());
        let exported = Exported { name: "a.svg".into(), outcome };
        assert_eq!(app.update(Message::Exported(exported)), []);
        assert_eq!(app.view.hint, Some(Hint::Answer("wrote /somewhere/a.svg".into())));
        assert_eq!(app.view.modal, None);
    }

    #[test]
    fn tab_goes_through_the_formats_and_esc_leaves() {
        let mut app = app();
        keys(&mut app, "e");
        let mut ends = Vec::new();
        for _ in ExportFormat::ALL {
            press(&mut app, KeyCode::Tab);
            ends.push(line(&app).unwrap().rsplit_once('.').unwrap().1.to_owned());
        }
        assert_eq!(ends, ["txt", "png", "npz", "csv", "json", "vtp", "svg"]);
        assert_eq!(line(&app).as_deref(), Some("llamascape-tidy-otter-412.svg"));
        assert_eq!([with_next_format("a"), with_next_format("a.gif")], ["a.svg", "a.gif.svg"]);
        assert_eq!(press(&mut app, KeyCode::Esc), []);
        assert_eq!(app.view.modal, None);
    }

    #[test]
    fn a_name_that_says_no_format_and_a_file_that_is_there_ask_for_another() {
        let mut app = app();
        keys(&mut app, "e0");
        assert_eq!(press(&mut app, KeyCode::Enter), []);
        assert_eq!(app.view.hint, Some(Hint::Refused(ExportFormat::KNOWN.into())));
        assert!(line(&app).is_some());
        press(&mut app, KeyCode::Backspace);
        assert_eq!(press(&mut app, KeyCode::Enter).len(), 1);
        let exported = Exported { name: "a.svg".into(), outcome: Err("it is there already".into()) };
        app.update(Message::Exported(exported));
        assert_eq!(line(&app).as_deref(), Some("a.svg"));
        assert_eq!(app.view.hint, Some(Hint::Refused("it is there already".into())));
    }

    #[test]
    fn the_command_writes_at_once() {
        let mut app = app();
        keys(&mut app, ":export ~/two words.json");
        let effects = press(&mut app, KeyCode::Enter);
        assert_eq!(effects, [Effect::Export(ExportFormat::Json, "~/two words.json".into())]);
        keys(&mut app, ":export a.gif");
        assert_eq!(press(&mut app, KeyCode::Enter), []);
        assert_eq!(app.view.hint, Some(Hint::Refused(ExportFormat::KNOWN.into())));
        keys(&mut app, ":export");
        press(&mut app, KeyCode::Enter);
        assert!(line(&app).is_some());
    }

    #[test]
    fn a_comparison_exports_the_slice_of_the_model_that_the_keys_mean() {
        let side = |name: &str, steps| SideView { name: name.into(), steps, ..SideView::default() };
        let mut app = Comparison::new(vec!["dark".into()], crate::app::Bindings::default());
        let press = |app: &mut Comparison, code| {
            app.update(comparison::Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
        };
        press(&mut app, KeyCode::Char('e'));
        assert_eq!(app.modal, None, "the models are not there yet");
        let sides = [side("base", 0), side("org/chat", 3)];
        let scene = Scene { phase: Phase::Live, sides, ..Scene::default() };
        app.update(comparison::Message::Scene(Box::new(scene)));
        press(&mut app, KeyCode::Char('e'));
        let name = "llamascape-base-0-org-chat-3.svg".to_owned();
        let effects = press(&mut app, KeyCode::Enter);
        assert_eq!(effects, [comparison::Effect::Export(ExportFormat::Svg, name.clone())]);
        let exported = Exported { name, outcome: Err("it is there already".into()) };
        app.update(comparison::Message::Exported(exported));
        assert!(matches!(app.modal, Some(comparison::Modal::Export(_))));
        press(&mut app, KeyCode::Esc);

        assert_eq!(app.exported_side(), Side::A);
        app.sides = Sides::One(Side::B);
        assert_eq!(app.exported_side(), Side::B);
        app.scene.plane = PlaneChoice::Through;
        assert_eq!(app.exported_side(), Side::A);
    }
}
