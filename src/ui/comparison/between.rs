//! What is between the two models: the loss on the way from one to the other, and where they expect other tokens.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::comparison::Comparison;
use crate::protocol::comparison::{Between, PathLoss, Place};
use crate::theme::{ColorMap, LEVELS, Theme};
use crate::ui::gradient::sparkline;
use crate::ui::text;

/// The rows below both models.
pub(super) struct Strip<'a> {
    pub(super) app: &'a Comparison,
    pub(super) theme: &'a Theme,
}

/// Rows of the strip on a screen of so many rows.
pub(super) fn rows(screen: u16) -> u16 {
    match screen {
        ..30 => 1,
        30..40 => 2,
        _ => 5,
    }
}

/// Nats below which a barrier is what single precision makes of a straight line.
const SEEN: f64 = 5e-4;

/// Columns that a token takes at most.
const TOKEN_WIDTH: usize = 12;

/// Columns of the names of a table's rows.
const NAMES_WIDTH: u16 = 9;

/// The divergences over the whole prompt, and the overlap.
pub(super) fn facts(between: &Between, theme: &Theme) -> Vec<Line<'static>> {
    let fact = |name: &'static str, value: String| {
        Line::from(vec![Span::styled(name, theme.palette.muted), Span::raw(value)])
    };
    let mut facts = Vec::new();
    if let Some([ab, ba]) = between.kl {
        facts.push(fact("KL A|B ", text::norm(ab)));
        facts.push(fact("B|A ", text::norm(ba)));
    }
    if let Some(overlap) = between.overlap {
        facts.push(fact("target's top 10: ", format!("{overlap} in both")));
    }
    facts
}

impl Widget for Strip<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let area = area.intersection(buffer.area);
        let first = Rect { height: area.height.min(1), ..area };
        if area.height <= 1 {
            let used = self.path(first, true, buffer) + 2;
            self.tokens(right_of(first, used), buffer);
            return;
        }
        let used = self.path(first, false, buffer) + 4;
        let mut beside = Line::default();
        let room = usize::from(right_of(first, used).width);
        for fact in facts(&self.app.scene.between, self.theme) {
            if beside.width() + fact.width() + 2 > room {
                break;
            }
            beside.extend(fact.spans);
            beside.push_span("  ");
        }
        beside.render(right_of(first, used), buffer);
        let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
        let between = &self.app.scene.between;
        if below.height >= 4 && between.caveat.is_none() && !between.places.is_empty() {
            self.table(below, buffer);
        } else {
            self.tokens(below, buffer);
        }
    }
}

fn right_of(area: Rect, columns: u16) -> Rect {
    let columns = columns.min(area.width);
    Rect { x: area.x + columns, width: area.width - columns, ..area }
}

impl Strip<'_> {
    /// The loss from A to B, or why there is no such way; the columns it takes come back.
    fn path(&self, area: Rect, short: bool, buffer: &mut Buffer) -> u16 {
        let palette = &self.theme.palette;
        let scene = &self.app.scene;
        let Some(path) = &scene.path else {
            let text = match &scene.between.no_path {
                Some(why) => format!("no path: {}", text::escape(why)),
                None => "path ..".into(),
            };
            let room = if short { area.width / 2 } else { area.width };
            let text = text::shorten(&text, usize::from(room));
            let used = text::width(&text) as u16;
            Line::from(Span::styled(text, palette.muted)).render(area, buffer);
            return used;
        };
        let name = "path ";
        Line::from(Span::styled(name, palette.muted)).render(area, buffer);
        let chart = right_of(area, name.len() as u16);
        let chart = Rect { width: chart.width.min(path.loss.len() as u16), ..chart };
        sparkline(&path.loss, palette.history, chart, buffer);
        let barrier = Line::from(self.barrier(path, short));
        let (start, wide) = (chart.right() - area.x, barrier.width() as u16);
        barrier.render(right_of(area, start), buffer);
        start + wide
    }

    fn barrier(&self, path: &PathLoss, short: bool) -> Vec<Span<'static>> {
        let muted = self.theme.palette.muted;
        let (way, unit) = if short { ("  ", "") } else { ("  A → B  ", " nats") };
        let mut spans = vec![Span::styled(way, muted)];
        if !path.loss.iter().any(|loss| loss.is_finite()) {
            spans.push(Span::raw("no finite loss"));
        } else if path.barrier < SEEN {
            spans.push(Span::raw("no barrier"));
        } else {
            spans.push(Span::styled("barrier ", muted));
            spans.push(Span::raw(format!("{}{unit}", text::norm(path.barrier))));
            spans.push(Span::styled(format!(" at t {}", text::short_number(path.barrier_at)), muted));
        }
        spans
    }

    /// The last tokens that fit, each with its divergence as a colour or a digit; or why there are none.
    fn tokens(&self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let between = &self.app.scene.between;
        if let Some(caveat) = &between.caveat {
            let lines = text::wrap(&text::escape(caveat), usize::from(area.width));
            let hidden = lines.len() > usize::from(area.height);
            for ((index, line), row) in lines.into_iter().enumerate().zip(area.rows()) {
                let last = hidden && index + 1 == usize::from(area.height);
                let line = if last { text::shorten(&(line + "…"), usize::from(area.width)) } else { line };
                Line::from(Span::styled(line, palette.warn)).render(row, buffer);
            }
            return;
        }
        let most = most(&between.places);
        let name = match (between.places.is_empty(), area.width) {
            (true, _) => "KL by token ..".to_owned(),
            (false, ..50) => "KL ".into(),
            (false, _) => format!("KL by token, at most {}  ", text::norm(most)),
        };
        let room = right_of(area, text::width(&name) as u16);
        Line::from(Span::styled(name, palette.muted)).render(area, buffer);
        let mut shown: Vec<Span> = Vec::new();
        let mut taken = 0;
        for (index, place) in between.places.iter().enumerate().rev() {
            let span = self.token(place, most, index + 1 == between.places.len());
            taken += span.width() + 1;
            if taken > usize::from(room.width) + 1 {
                break;
            }
            shown.push(span);
        }
        let mut line = Line::default();
        for span in shown.into_iter().rev() {
            line.push_span(span);
            line.push_span(" ");
        }
        line.render(room, buffer);
    }

    /// A token over the colour of its divergence, or with a digit for it; the target is bold.
    fn token(&self, place: &Place, most: f64, is_target: bool) -> Span<'static> {
        let label = text::shorten(&text::token(&place.token.text), TOKEN_WIDTH);
        let share = if most > 0.0 { (place.kl[0] / most).clamp(0.0, 1.0) } else { 0.0 };
        let bold = if is_target { Modifier::BOLD } else { Modifier::empty() };
        if !place.kl[0].is_finite() {
            return Span::styled(format!("{label}×"), self.theme.palette.invalid.add_modifier(bold));
        }
        match self.map() {
            Some(map) => {
                let level = (share * (LEVELS - 1) as f64).round() as usize;
                let style = Style::new().bg(map.background(level)).fg(map.mark(level));
                Span::styled(label, style.add_modifier(bold))
            }
            None => Span::styled(format!("{label} {:.0}", 9.0 * share), Style::new().add_modifier(bold)),
        }
    }

    /// The colours of the landscapes, where there are colours.
    fn map(&self) -> Option<&ColorMap> {
        let maps = &self.theme.maps;
        maps.get(self.app.landscape.map % maps.len().max(1)).filter(|_| self.theme.has_color)
    }

    /// The last tokens that fit, and below each its losses and its divergence.
    fn table(&self, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let places = &self.app.scene.between.places;
        let most = most(places);
        for (name, row) in ["token", "loss A", "loss B", "KL A|B"].into_iter().zip(area.rows()) {
            Line::from(Span::styled(name, muted)).render(row, buffer);
        }
        let mut columns: Vec<[Span; 4]> = places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let [a, b] = place.losses.map(|loss| Span::raw(text::norm(loss)));
                let token = self.token(place, most, index + 1 == places.len());
                [token, a, b, Span::raw(text::norm(place.kl[0]))]
            })
            .collect();
        // Behind the last token nothing is read, but both expect something.
        if let Some([kl, _]) = self.app.scene.between.next {
            let none = || Span::styled("-", muted);
            columns.push([Span::styled("next", muted), none(), none(), Span::raw(text::norm(kl))]);
        }
        let widths: Vec<u16> = columns
            .iter()
            .map(|column| column.iter().map(Span::width).max().unwrap_or(0) as u16 + 2)
            .collect();
        let room = area.width.saturating_sub(NAMES_WIDTH);
        let mut taken = 0;
        let fitting = widths.iter().rev().take_while(|wide| {
            taken += **wide;
            taken <= room
        });
        let first = widths.len() - fitting.count();
        let mut left = area.x + NAMES_WIDTH;
        for (column, wide) in columns.into_iter().zip(widths).skip(first) {
            for (span, row) in column.into_iter().zip(area.rows()) {
                let place = Rect { x: left, width: wide - 2, ..row };
                Line::from(span).right_aligned().render(place, buffer);
            }
            left += wide;
        }
    }
}

/// The greatest finite divergence.
fn most(places: &[Place]) -> f64 {
    places.iter().map(|place| place.kl[0]).filter(|kl| kl.is_finite()).fold(0.0, f64::max)
}
