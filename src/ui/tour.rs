//! What the tour tells, below the screen that it is about.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::tour::{CHAPTERS, Tour, Turn};
use crate::app::{Action, App, Binding, View};
use crate::theme::Theme;

use super::text;

/// Columns of text at most: longer lines are hard to read.
const WIDTH: u16 = 120;

/// The page of the tour that is told.
pub(super) struct Page<'a> {
    pub(super) tour: &'a Tour,
    pub(super) text: &'a str,
    /// What its keys do, where nothing else takes them.
    pub(super) keys: Option<String>,
    pub(super) theme: &'a Theme,
}

/// The screen above the page, and the page. All pages of a chapter are as high as its highest: the screen stays.
pub(super) fn split(screen: Rect, tour: Option<&Tour>) -> [Rect; 2] {
    let rows = tour.map_or(0, |tour| {
        let lines = tour.texts().map(|words| text::wrap(words, columns(screen.width)).len());
        lines.max().unwrap_or(0) as u16 + 2
    });
    Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(screen)
}

/// What the keys of the tour do now, where nothing else takes them.
pub(super) fn keys(app: &App) -> Option<String> {
    let tour = app.tour.filter(|_| app.tour_listens())?;
    let [quit, away, enter] = ["quit", "tour", "move"].map(|command| app.options.bindings.shown(command));
    if tour.is_at_the_end() {
        return Some(format!("the end: {quit} leaves, {away} lets you go on alone · backspace goes back"));
    }
    let enter = if app.move_goes_on() { format!(" or {enter}") } else { String::new() };
    Some(format!("space{enter} goes on · backspace goes back · {away} puts the tour away"))
}

/// What the help says of a key in the tour, where that is not the usual.
pub(super) fn help(app: &App, binding: &Binding<Action>) -> Option<&'static str> {
    app.tour?;
    match (binding.action, &*binding.keys) {
        (Action::Quit, _) => Some("leave the tour: nothing of it is kept"),
        _ if !app.is_touring() => None,
        (Action::Move, _) if app.view.shown == View::Observatory => Some(
            "go on with the tour; move the training to the cursor, where there is one (charts: the next)",
        ),
        (_, [key]) => Turn::of(*key).map(|turn| match turn {
            Turn::On => "go on with the tour",
            Turn::Back => "go back in the tour",
        }),
        _ => None,
    }
}

/// Columns of text on a screen of so many.
fn columns(width: u16) -> usize {
    usize::from(width.saturating_sub(4).min(WIDTH))
}

/// A text in as few lines as so many columns allow, all about as long: no word is left alone in the last one.
fn balanced(words: &str, columns: usize) -> Vec<String> {
    let wrapped = text::wrap(words, columns);
    let even = text::width(words).div_ceil(wrapped.len());
    let mut narrower = (even..columns).map(|columns| text::wrap(words, columns));
    narrower.find(|lines| lines.len() == wrapped.len()).unwrap_or(wrapped)
}

impl Widget for Page<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { tour, text, keys, theme } = self;
        let palette = &theme.palette;
        let title = format!(" {} of {} · {} ", tour.number(), CHAPTERS.len(), tour.chapter().title);
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(if keys.is_some() { palette.focus } else { palette.border })
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(title, palette.title));
        let block = match keys {
            Some(keys) => {
                block.title_bottom(Line::styled(format!(" {keys} "), palette.muted).right_aligned())
            }
            None => block,
        };
        let inner = block.inner(area);
        block.render(area, buffer);
        let indented = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        for (line, row) in balanced(text, columns(area.width)).into_iter().zip(indented.rows()) {
            Line::raw(line).render(row, buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{Message, Modal, Options};
    use crate::protocol::{Phase, Status, ToScreen, Update};
    use crate::ui::fixture;
    use crate::ui::tests::{drawn, press, text_of};

    /// A tour at a chapter, of a run at step 412.
    fn app(chapter: usize) -> App {
        let mut app = App::new(Options { tour: Some(Tour::at(chapter, false)), ..Options::default() });
        app.update(Message::Engine(ToScreen::Welcome { version: crate::protocol::VERSION }));
        let status = Some(Status { phase: Phase::Paused, ..fixture::status() });
        let slice = Some(fixture::slice(9, |alpha, _| alpha as f32));
        let update = Update { status, slice, ..Update::default() };
        app.update(Message::Engine(ToScreen::Update(Box::new(update))));
        app
    }

    fn shown(app: &App, width: u16, height: u16) -> String {
        text_of(&drawn(app, width, height))
    }

    #[test]
    fn no_word_stands_alone_in_the_last_line() {
        let words = CHAPTERS.iter().flat_map(|chapter| chapter.beats).map(|beat| beat.text);
        for (words, columns) in words.flat_map(|words| [76, 116, 120].map(|columns| (words, columns))) {
            let lines = balanced(words, columns);
            assert_eq!(lines.len(), text::wrap(words, columns).len());
            assert_eq!(lines.concat(), words);
            assert!(lines.last().is_some_and(|last| last.contains(' ')), "{lines:?}");
        }
        assert_eq!(balanced("one two", 0).concat(), "one two");
    }

    #[test]
    fn the_screen_stays_from_page_to_page_of_a_chapter() {
        for width in [80, 120, 200] {
            let screen = Rect::new(0, 0, width, 40);
            for chapter in 1..=CHAPTERS.len() {
                let mut tour = Tour::at(chapter, false);
                let first = split(screen, Some(&tour));
                while tour.turn(Turn::On) && tour.number() == chapter {
                    assert_eq!(split(screen, Some(&tour)), first, "{chapter} at {width}");
                    assert!(
                        text::wrap(tour.text(), columns(width)).len() + 2 <= usize::from(first[1].height)
                    );
                }
            }
        }
    }

    #[test]
    fn the_box_promises_only_keys_that_do_it_now() {
        let mut app = app(5);
        assert!(shown(&app, 80, 24).contains("space or enter goes on · backspace goes back"));
        // A cursor: enter would move the training.
        app.update(Message::Key(KeyEvent::new(KeyCode::Right, KeyModifiers::NONE)));
        let text = shown(&app, 80, 24);
        assert!(text.contains("space goes on") && text.contains("enter moves the training"), "{text}");
        press(&mut app, '?');
        let text = shown(&app, 80, 24);
        assert!(
            text.contains("5 of 10") && !text.contains("space goes on"),
            "space scrolls the help\n{text}"
        );
        press(&mut app, '?');
        assert!(shown(&app, 80, 24).contains("space goes on"));
    }

    #[test]
    fn the_last_page_says_how_to_leave() {
        let mut app = app(10);
        press(&mut app, ' ');
        let text = shown(&app, 80, 24);
        assert!(text.contains("the end: q leaves, t lets you go on alone · backspace goes back"), "{text}");
    }

    #[test]
    fn the_help_and_the_footer_of_a_tour_say_what_keys_do_there() {
        let mut app = app(1);
        assert!(
            shown(&fixture::app(), 240, 60).contains("W save") && !shown(&app, 240, 60).contains("W save")
        );
        app.view.modal = Some(Modal::Help { scroll: 0 });
        let text = shown(&app, 160, 70);
        for part in
            ["go on with the tour", "leave the tour: nothing of it is kept", "put the guided tour away"]
        {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        for absent in ["run, or pause", "write a checkpoint", "`attach` comes back", "save and stop"] {
            assert!(!text.contains(absent), "{absent} is there:\n{text}");
        }
        app.view.modal = None;
        press(&mut app, 't');
        app.view.modal = Some(Modal::Help { scroll: 0 });
        assert!(shown(&app, 160, 70).contains("run, or pause"), "the tour is put away");
    }
}
