//! The last line: the keys that fit, from the table of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Binding, Group, VIEWS_RANK};
use crate::theme::Theme;

/// Hints of keys.
pub(super) struct Footer<'a> {
    /// As many of the first ones as fit.
    keys: Vec<Hint>,
    /// These are there in any case.
    always: Vec<Hint>,
    theme: &'a Theme,
}

/// The name of a key, and what it does.
type Hint = (String, &'static str);

impl<'a> Footer<'a> {
    /// The footer of a screen with these keys. `label` says what a key would do now, if it would do anything.
    pub(super) fn new<A: PartialEq>(
        bindings: &[Binding<A>],
        always: &[A],
        label: impl Fn(&Binding<A>) -> Option<&'static str>,
        theme: &'a Theme,
    ) -> Self {
        let hint = |binding: &Binding<A>| Some((binding.keys.first()?.name(), label(binding)?));
        let with_rank = |binding: &Binding<A>| Some((binding.rank, hint(binding)?));
        let mut ranked: Vec<(u8, Hint)> =
            bindings.iter().filter(|binding| binding.rank > 0).filter_map(with_rank).collect();
        ranked.extend(views(bindings).map(|keys| (VIEWS_RANK, (keys, "views"))));
        ranked.sort_by_key(|(rank, _)| *rank);
        let last = always.iter().filter_map(|action| bindings.iter().find(|known| known.action == *action));
        Self {
            keys: ranked.into_iter().map(|(_, hint)| hint).collect(),
            always: last.filter_map(hint).collect(),
            theme,
        }
    }

    fn hint(&self, (key, label): &Hint) -> Line<'static> {
        Line::from(vec![
            Span::styled(key.clone(), self.theme.palette.accent),
            Span::styled(format!(" {label}"), self.theme.palette.muted),
        ])
    }
}

/// `1-7`, where the views have digits for keys, in their order.
fn views<A>(bindings: &[Binding<A>]) -> Option<String> {
    let of_views = bindings.iter().filter(|binding| binding.group == Group::Views);
    let digit = |binding: &Binding<A>| binding.keys.first()?.name().parse::<u8>().ok();
    let digits: Vec<u8> = of_views.map(digit).collect::<Option<_>>()?;
    let (first, last) = (digits.first()?, digits.last()?);
    digits.is_sorted().then(|| format!("{first}-{last}"))
}

impl Widget for Footer<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let last: Vec<Line> = self.always.iter().map(|hint| self.hint(hint)).collect();
        let reserved: usize = last.iter().map(|hint| hint.width() + 2).sum();
        let room = usize::from(area.width).saturating_sub(reserved + 2);
        let mut line = Line::raw(" ");
        for hint in self.keys.iter().map(|hint| self.hint(hint)) {
            if line.width() + hint.width() + 2 > room {
                break;
            }
            line.extend(hint.spans);
            line.push_span("  ");
        }
        line.render(area, buffer);
        let mut right = Line::default();
        for hint in last {
            right.push_span("  ");
            right.extend(hint.spans);
        }
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        right.right_aligned().render(place, buffer);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use crate::app::App;
    use crate::theme::{ColorDepth, Theme};
    use crate::ui::tests::{drawn, press, remapped, text_of};
    use crate::ui::{fixture, view};

    #[test]
    fn the_footer_has_the_views_in_few_columns_and_by_name_where_there_is_room() {
        let footer = |app: &App, width| text_of(&drawn(app, width, 24)).lines().last().unwrap().to_owned();
        let assert_parts = |text: &str, parts: &[&str]| {
            for part in parts {
                assert!(text.contains(part), "{part} is missing: {text}");
            }
        };
        let mut app = fixture::app();
        assert_parts(&footer(&app, 80), &["space pause", "1-7 views", "x 3-D", ": commands", "? help"]);
        assert_parts(&footer(&app, 120), &["2 wormhole", "3 probe", "p prompt"]);
        assert_parts(&footer(&app, 240), &["5 layers", "r redraw", "W save", "7 log", "c colours"]);
        press(&mut app, '7');
        app.view.landscape.relief = true;
        let open = footer(&app, 240);
        assert!(!open.contains("7 log") && open.contains("x map"), "{open}");
        let app = remapped("timeline", &["y"]);
        assert!(!footer(&app, 240).contains("views") && footer(&app, 240).contains("y timeline"));
    }

    #[test]
    fn without_colours_no_colour_map_is_offered() {
        let mut app = fixture::app();
        let mono = Theme::named("mono", ColorDepth::None).unwrap();
        let text = |app: &App| {
            let mut terminal = Terminal::new(TestBackend::new(240, 70)).unwrap();
            terminal.draw(|frame| view(app, &mono, frame)).unwrap();
            text_of(terminal.backend().buffer())
        };
        assert!(text(&app).contains("T theme") && !text(&app).contains("c colours"));
        press(&mut app, '?');
        assert!(text(&app).contains("next theme") && !text(&app).contains("next colour map"));
    }
}
