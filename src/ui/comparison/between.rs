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
pub(super) fn rows(screen: u16, between: &Between) -> u16 {
    match screen {
        ..30 => 1,
        30..40 => 2,
        // What can't be compared has no table.
        _ if between.caveat.is_some() => 2,
        _ => 5,
    }
}

/// Nats below which a barrier is what single precision makes of a straight line.
const SEEN: f64 = 5e-4;

/// Columns that a token takes at most.
const TOKEN_WIDTH: usize = 12;

/// Tokens that are named where there is no room for all.
const NAMED: usize = 4;

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
        facts.push(fact("top 10 in common: ", overlap.to_string()));
    }
    facts
}

impl Widget for Strip<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let area = area.intersection(buffer.area);
        let first = Rect { height: area.height.min(1), ..area };
        let between = &self.app.scene.between;
        if let Some(caveat) = &between.caveat {
            self.caveat(&text::escape(caveat), area, buffer);
        } else if area.height <= 1 {
            let used = self.path(first, true, buffer) + 2;
            self.most(right_of(first, used), buffer);
        } else {
            self.path_and_facts(first, buffer);
            let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
            if below.height >= 4 && !between.places.is_empty() {
                self.table(below, buffer);
            } else {
                self.tokens(below, buffer);
            }
        }
    }
}

fn right_of(area: Rect, columns: u16) -> Rect {
    let columns = columns.min(area.width);
    Rect { x: area.x + columns, width: area.width - columns, ..area }
}

/// Of things so wide, with gaps between them, the first one from which on they fit, with an ellipsis for those before
/// it.
fn first_fitting(widths: &[usize], gap: usize, room: usize) -> usize {
    let from = |room: usize| {
        let mut taken = 0;
        let fits = |wide: &&usize| {
            taken += **wide + gap;
            taken <= room + gap
        };
        widths.len() - widths.iter().rev().take_while(fits).count()
    };
    if from(room) == 0 { 0 } else { from(room.saturating_sub(1 + gap)) }
}

impl Strip<'_> {
    /// Why they can't be compared token by token; below that, or beside it in a single row, that there is no path.
    fn caveat(&self, caveat: &str, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let rows = usize::from(area.height.saturating_sub(1).max(1));
        let mut lines = text::wrap(caveat, width);
        if lines.len() > rows {
            lines.truncate(rows);
            if let Some(last) = lines.last_mut() {
                *last = text::shorten(&format!("{last}…"), width);
            }
        }
        let (count, wide) = (lines.len() as u16, lines.iter().map(|line| text::width(line)).max());
        for (line, row) in lines.into_iter().zip(area.rows()) {
            Line::from(Span::styled(line, self.theme.palette.warn)).render(row, buffer);
        }
        if area.height > 1 {
            self.path_and_facts(Rect { y: area.y + count, height: 1, ..area }, buffer);
        } else {
            self.path(right_of(area, wide.unwrap_or(0) as u16 + 2), true, buffer);
        }
    }

    /// The way from A to B, and beside it the divergences and the overlap, as they fit.
    fn path_and_facts(&self, area: Rect, buffer: &mut Buffer) {
        let beside = right_of(area, self.path(area, false, buffer) + 4);
        let mut line = Line::default();
        for fact in facts(&self.app.scene.between, self.theme) {
            if line.width() + fact.width() > usize::from(beside.width) {
                break;
            }
            line.extend(fact.spans);
            line.push_span("  ");
        }
        line.render(beside, buffer);
    }

    /// The loss from A to B, or why there is no such way; the columns it takes come back.
    fn path(&self, area: Rect, short: bool, buffer: &mut Buffer) -> u16 {
        let palette = &self.theme.palette;
        let scene = &self.app.scene;
        let Some(path) = &scene.path else {
            let forms = match &scene.between.no_path {
                Some(why) => vec![format!("no path: {}", text::escape(why)), "no path".into()],
                None => vec!["path ..".into()],
            };
            let fits = |form: &String| text::width(form) <= usize::from(area.width);
            let text = forms.into_iter().find(fits).unwrap_or_default();
            let used = text::width(&text) as u16;
            Line::from(Span::styled(text, palette.muted)).render(area, buffer);
            return used;
        };
        let name = "path ";
        Line::from(Span::styled(name, palette.muted)).render(area, buffer);
        let chart = right_of(area, name.len() as u16);
        let chart = Rect { width: chart.width.min(path.loss.len() as u16), ..chart };
        sparkline(&path.loss, palette.history, chart, buffer);
        let told = Line::from(self.heights(path, short));
        let (start, wide) = (chart.right() - area.x, told.width() as u16);
        told.render(right_of(area, start), buffer);
        start + wide
    }

    /// The least and the greatest loss on the way, and its barrier.
    fn heights(&self, path: &PathLoss, short: bool) -> Vec<Span<'static>> {
        let muted = self.theme.palette.muted;
        let finite = || path.loss.iter().copied().filter(|loss| loss.is_finite());
        let Some(low) = finite().reduce(f64::min) else { return vec![Span::raw("  no finite loss")] };
        let high = finite().fold(low, f64::max);
        let unit = if short { "" } else { " nats" };
        let mut spans = vec![Span::styled(format!(" {}{unit}  ", text::range(low, high)), muted)];
        if path.barrier < SEEN {
            spans.push(Span::raw("no barrier"));
            return spans;
        }
        spans.push(Span::styled("barrier ", muted));
        spans.push(Span::raw(text::norm(path.barrier)));
        if !short {
            spans.push(Span::styled(format!(" at t {}", text::short_number(path.barrier_at)), muted));
        }
        spans
    }

    /// The tokens at which they part most, the first of them cut rather than left out.
    fn most(&self, area: Rect, buffer: &mut Buffer) {
        let places = &self.app.scene.between.places;
        let name = if places.is_empty() { "KL .." } else { "top KL: " };
        let mut line = Line::from(Span::styled(name, self.theme.palette.muted));
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by(|a, b| places[*b].kl[0].total_cmp(&places[*a].kl[0]));
        let most = most(places);
        for (nth, index) in order.into_iter().take(NAMED).enumerate() {
            let gap = if nth > 0 { "  " } else { "" };
            let number = format!(" {}", text::norm(places[index].kl[0]));
            let room = usize::from(area.width).saturating_sub(line.width() + gap.len() + number.len());
            let columns = if nth > 0 { TOKEN_WIDTH } else { TOKEN_WIDTH.min(room) };
            let token = self.token(&places[index], most, index + 1 == places.len(), columns);
            if token.width() == 0 || token.width() > room {
                break;
            }
            line.extend([Span::raw(gap), token, Span::raw(number)]);
        }
        line.render(area, buffer);
    }

    /// The last tokens that fit, each over the colour of its divergence or, without colours, with its number.
    fn tokens(&self, area: Rect, buffer: &mut Buffer) {
        let places = &self.app.scene.between.places;
        let (most, has_colors) = (most(places), self.map().is_some());
        let (name, gap) = match (places.is_empty(), has_colors) {
            (true, _) => ("KL by token ..".to_owned(), " "),
            (false, true) => (format!("KL by token, at most {}  ", text::norm(most)), " "),
            (false, false) => ("KL by token, in nats  ".to_owned(), "  "),
        };
        let room = right_of(area, text::width(&name) as u16);
        Line::from(Span::styled(name, self.theme.palette.muted)).render(area, buffer);
        let shown: Vec<Line> = places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let token = self.token(place, most, index + 1 == places.len(), TOKEN_WIDTH);
                let number = if has_colors { String::new() } else { format!(" {}", text::norm(place.kl[0])) };
                Line::from(vec![token, Span::raw(number)])
            })
            .collect();
        let widths: Vec<usize> = shown.iter().map(Line::width).collect();
        let first = first_fitting(&widths, gap.len(), usize::from(room.width));
        let mut line = Line::from(if first > 0 { format!("…{gap}") } else { String::new() });
        for token in shown.into_iter().skip(first) {
            line.extend(token.spans);
            line.push_span(gap);
        }
        line.render(room, buffer);
    }

    /// A token in at most so many columns, over the colour of its divergence; the target is bold.
    fn token(&self, place: &Place, most: f64, is_target: bool, columns: usize) -> Span<'static> {
        let label = text::shorten(&text::token(&place.token.text), columns);
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
            None => Span::styled(label, Style::new().add_modifier(bold)),
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
                let token = self.token(place, most, index + 1 == places.len(), TOKEN_WIDTH);
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
        if first > 0 {
            let place = Rect { x: left - 2, width: 1, height: 1, ..area };
            Line::styled("…", muted).render(place.intersection(area), buffer);
        }
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
