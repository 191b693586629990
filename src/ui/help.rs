//! The help: the table of keys, chapter by chapter.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::{Binding, Group};
use crate::theme::Theme;

use super::{popup, text};

/// All keys and what they do.
pub(super) struct Help<'a, A> {
    pub(super) bindings: &'a [Binding<A>],
    /// What keys do as the screen is now; those that do nothing are left out.
    pub(super) told: &'a dyn Fn(&Binding<A>) -> Option<&'static str>,
    /// What is on the screen, and what to look for.
    pub(super) about: [&'static str; 2],
    /// Lines above the first one on show, at most; negative, it is counted from the end, which is -1.
    pub(super) scroll: isize,
    pub(super) theme: &'a Theme,
}

/// Columns that the keys of a command take at most.
const MOST_COLUMNS: usize = 24;

/// Columns for the keys of each command, and for a gap beside them.
pub(super) fn key_columns<A>(bindings: &[Binding<A>]) -> usize {
    let widest = bindings.iter().map(|binding| text::width(&binding.key_names())).max().unwrap_or(0);
    widest.min(MOST_COLUMNS) + 2
}

/// The keys of a command in so many columns, a gap at their end.
pub(super) fn keys<A>(binding: &Binding<A>, columns: usize) -> String {
    // Without a key it is typed.
    let names = match binding.key_names() {
        names if names.is_empty() => format!(":{}", binding.name()),
        names => names,
    };
    let names = text::shorten(&names, columns.saturating_sub(2));
    let gap = columns.saturating_sub(text::width(&names));
    names + &" ".repeat(gap)
}

impl<A> Help<'_, A> {
    /// All of it, in lines of so many columns at most.
    fn lines(&self, columns: usize) -> Vec<Line<'static>> {
        let palette = &self.theme.palette;
        let key_columns = key_columns(self.bindings);
        let about = self.about.iter().flat_map(|about| text::wrap(about, columns));
        let mut lines: Vec<Line> = about.map(|line| Line::styled(line, palette.muted)).collect();
        for group in Group::ALL {
            let of_group = self.bindings.iter().filter(|binding| binding.group == group);
            let mut told = of_group.filter_map(|binding| Some((binding, (self.told)(binding)?))).peekable();
            if told.peek().is_none() {
                continue;
            }
            lines.push(Line::default());
            lines.push(Line::styled(group.title(), palette.title));
            for (binding, help) in told {
                let mut before = format!("  {}", keys(binding, key_columns));
                let below = " ".repeat(key_columns + 2);
                for line in text::wrap(help, columns.saturating_sub(below.len())) {
                    let before = std::mem::replace(&mut before, below.clone());
                    lines.push(Line::from(vec![Span::styled(before, palette.accent), Span::raw(line)]));
                }
            }
        }
        lines
    }
}

impl<A> Widget for Help<'_, A> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let unwrapped = self.lines(usize::from(u16::MAX));
        let wide = unwrapped.iter().map(Line::width).max().unwrap_or(0) as u16 + 6;
        // The frame, two columns of air before a line and one behind it.
        let lines = self.lines(usize::from(wide.min(area.width).saturating_sub(5)));
        let place = popup(area, wide, (lines.len() as u16 + 2).min(area.height.saturating_sub(2)), buffer);
        let palette = &self.theme.palette;
        let rows = usize::from(place.height.saturating_sub(2));
        let most = lines.len().saturating_sub(rows);
        let first = match self.scroll {
            0.. => most.min(self.scroll.unsigned_abs()),
            ..0 => most.saturating_add_signed(self.scroll + 1),
        };
        let below = lines.len() - (first + rows).min(lines.len());
        let foot = match (first, below) {
            (0, 0) => " esc closes ".to_string(),
            (_, 0) => format!(" ↑ {first} more · esc closes "),
            _ => format!(" ↓ {below} more · esc closes "),
        };
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Keys ", palette.title))
            .title_bottom(Line::styled(foot, palette.muted).right_aligned());
        let inner = block.inner(place);
        block.render(place, buffer);
        for (line, row) in lines.into_iter().skip(first).zip(inner.rows()) {
            line.render(Rect { x: row.x + 2, width: row.width.saturating_sub(2), ..row }, buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use crate::app::{App, BINDINGS, Message, Modal, Pane, View};
    use crate::theme::{ColorDepth, Theme};
    use crate::ui::tests::{drawn, press, remapped, text_of};
    use crate::ui::{Screen, about, fixture};

    #[test]
    fn the_help_lists_every_key_and_scrolls() {
        let mut app = fixture::app();
        press(&mut app, '?');
        let top = text_of(&drawn(&app, 80, 24));
        assert!(top.contains("run, or pause") && top.contains("more · esc closes"));
        app.update(Message::Key(KeyEvent::new(KeyCode::End, KeyModifiers::NONE)));
        assert!(text_of(&drawn(&app, 80, 24)).contains("these keys"));
        let all = text_of(&drawn(&app, 120, 60));
        // Some are of other screens.
        for binding in BINDINGS.iter().filter(|binding| app.allows(binding.action)) {
            assert!(all.contains(binding.help), "{}", binding.help);
        }
    }

    #[test]
    fn all_of_the_help_can_be_read_on_the_smallest_screen_and_it_scrolls_from_both_ends() {
        let mut app = fixture::app();
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let code = |app: &mut App, code| app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        let row = |text: &str, y: usize| text.lines().nth(y).unwrap().trim_matches(['│', ' ']).to_owned();
        for shown in [View::Observatory, View::Layers, View::Timeline, View::Wormhole, View::Probe] {
            app.view.shown = shown;
            app.view.modal = Some(Modal::Help { scroll: 0 });
            let mut text = text_of(&drawn(&app, 80, 24));
            let mut read: Vec<String> = (2..22).map(|y| row(&text, y)).collect();
            while text.contains('↓') {
                code(&mut app, KeyCode::Down);
                text = text_of(&drawn(&app, 80, 24));
                read.push(row(&text, 21));
            }
            let read = read.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
            let screen = Screen { app: &app, theme: &theme };
            let told = BINDINGS.iter().filter_map(|binding| screen.told(binding));
            for said in about(shown).into_iter().chain(told) {
                assert!(read.contains(said), "{said} is missing:\n{read}");
            }
            code(&mut app, KeyCode::Home);
            code(&mut app, KeyCode::End);
            assert_eq!(text_of(&drawn(&app, 80, 24)), text, "the end");
            code(&mut app, KeyCode::Up);
            assert!(text_of(&drawn(&app, 80, 24)).contains("↓ 1 more"));
        }
    }

    #[test]
    fn many_keys_of_a_command_leave_room_for_what_it_does() {
        let mut app = remapped("run", &["space", "enter", "backspace", "insert", "delete"]);
        press(&mut app, '?');
        let text = text_of(&drawn(&app, 120, 50));
        assert!(text.contains("space  enter  backspace…  run, or pause"), "{text}");
        assert!(text.contains(&format!("{:<26}take one step", "s  .")), "{text}");
    }

    #[test]
    fn the_help_of_a_replay_leaves_out_what_nobody_is_there_to_do() {
        let mut app = fixture::app();
        app.options.read_only = true;
        app.engine.status.as_mut().unwrap().viewers = 0;
        press(&mut app, '?');
        for (focus, shown) in [(Pane::Loss, View::Observatory), (Pane::Landscape, View::Timeline)] {
            (app.view.focus, app.view.shown) = (focus, shown);
            let text = text_of(&drawn(&app, 120, 60));
            assert!(!text.contains("move the training") && !text.contains(" Training "), "{text}");
        }
        app.view.shown = View::Observatory;
        let text = text_of(&drawn(&app, 120, 60));
        for part in ["next theme", "leave: go on training", "as a surface seen from the side"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        for absent in ["write a checkpoint", "evaluate the slice", " Training ", "viewer"] {
            assert!(!text.contains(absent), "{absent} is there:\n{text}");
        }
        press(&mut app, '?');
        press(&mut app, '5');
        press(&mut app, '?');
        let text = text_of(&drawn(&app, 120, 60));
        assert!(
            !text.contains("as a surface seen from the side") && text.contains("next colour map"),
            "{text}"
        );
    }
}
