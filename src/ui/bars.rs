//! The pane of the next token: the prompt, and a bar for each of the likeliest tokens.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::protocol::{Prediction, Token};
use crate::theme::Theme;

use super::panel::Panel;
use super::text;

/// What the model would say next, and what it said before.
pub(super) struct NextToken<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// Rows from which the line that is written on has one of them.
const ROWS_WITH_LINE: u16 = 6;

/// One row of the chart.
struct Row<'a> {
    token: &'a Token,
    probability: f64,
    previous: Option<f64>,
    is_target: bool,
    /// Shown when the row is not where its rank would put it.
    rank: Option<usize>,
}

impl Widget for NextToken<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let right = app.engine.prediction.as_ref().map_or_else(Vec::new, |shown| whose(shown, theme));
        let inner = Panel { theme, focused: app.view.focus == Pane::NextToken, title: "Next token", right }
            .draw(area, buffer);
        match &app.engine.prediction {
            Some(prediction) => {
                let head = vec![prompt(prediction, usize::from(inner.width), theme)];
                Bars { prediction, head, theme }.render(inner, buffer);
            }
            None => {
                Line::styled("no prediction yet: p sets a prompt", theme.palette.muted).render(inner, buffer);
            }
        }
    }
}

/// Whose bars these are, from the most to the least telling.
fn whose(prediction: &Prediction, theme: &Theme) -> Vec<Line<'static>> {
    let step = prediction.step;
    let Some([alpha, beta]) = prediction.at else {
        return vec![Line::raw(format!("p and change · step {step}")), Line::raw(format!("step {step}"))];
    };
    let cursor = &theme.symbols.cursor;
    let place = format!("{cursor} α {} β {}", text::coordinate(alpha), text::coordinate(beta));
    vec![
        Line::raw(format!("at {place} · against the weights")),
        Line::raw(format!("at {place}")),
        Line::raw(place),
        Line::raw(format!("at {cursor}")),
    ]
}

/// The inside of the pane.
pub(super) struct Bars<'a> {
    pub(super) prediction: &'a Prediction,
    /// What is above the bars.
    pub(super) head: Vec<Line<'a>>,
    pub(super) theme: &'a Theme,
}

impl Widget for Bars<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.height == 0 || area.width < 20 {
            return;
        }
        let gap = u16::from(area.height >= 9);
        let foot = u16::from(area.height >= 4);
        let written = self.prediction.written.as_ref().filter(|_| area.height >= ROWS_WITH_LINE);
        let (above, below) = (self.head.len() as u16 + gap, foot + u16::from(written.is_some()));
        let rows = self.rows(usize::from(area.height.saturating_sub(above + below)));
        for (line, place) in self.head.iter().zip(area.rows()) {
            line.render(place, buffer);
        }
        for (row, place) in rows.iter().zip(area.rows().skip(usize::from(above))) {
            self.bar(row, place, buffer);
        }
        if let Some(written) = written {
            let place = Rect { y: area.bottom() - below, height: 1, ..area };
            Line::styled(line(written, usize::from(area.width)), self.theme.palette.muted)
                .render(place, buffer);
        }
        if foot > 0 {
            self.foot(Rect { y: area.bottom() - 1, height: 1, ..area }, buffer);
        }
    }
}

/// What is written on from the prompt.
fn line(written: &str, width: usize) -> String {
    let written = text::one_line(written.trim());
    let line =
        if written.is_empty() { "writes nothing more".to_owned() } else { format!("writes: {written}") };
    text::shorten(&line, width)
}

/// The prompt, its target at the end and marked. What does not fit is cut off at the beginning.
pub(super) fn prompt(prediction: &Prediction, width: usize, theme: &Theme) -> Line<'static> {
    let Some((target, before)) = prediction.tokens.split_last() else { return Line::default() };
    let gap = if target.text.starts_with(' ') { " " } else { "" };
    let target = target.text.strip_prefix(' ').unwrap_or(&target.text);
    let target = text::shorten(&text::one_line(target), width / 2);
    let before: String = before.iter().map(|token| text::one_line(&token.text)).collect();
    let room = width.saturating_sub(text::width(&target) + 2 + gap.len());
    let before = text::shorten_start(&before, room);
    Line::from(vec![Span::raw(before + gap), Span::styled(format!("[{target}]"), theme.palette.target)])
}

impl Bars<'_> {
    /// The likeliest tokens, and the target in any case: in the last row with its rank, if it is not among them.
    fn rows(&self, count: usize) -> Vec<Row<'_>> {
        let prediction = self.prediction;
        let target = prediction.tokens.last();
        let is_target = |token: &Token| target.is_some_and(|target| target.id == token.id);
        let mut rows: Vec<Row> = prediction
            .candidates
            .iter()
            .take(count)
            .enumerate()
            .map(|(index, candidate)| {
                let is_target = is_target(&candidate.token);
                // The rows may be those of two models, and a change says more.
                let misplaced = is_target && prediction.rank != index + 1 && candidate.previous.is_none();
                Row {
                    token: &candidate.token,
                    probability: candidate.probability,
                    previous: candidate.previous,
                    is_target,
                    rank: misplaced.then_some(prediction.rank),
                }
            })
            .collect();
        if let Some(token) = target
            && count > 0
            && !rows.iter().any(|row| row.is_target)
        {
            rows.truncate(count - 1);
            rows.push(Row {
                token,
                probability: prediction.probability,
                previous: prediction.previous_probability,
                is_target: true,
                rank: Some(prediction.rank),
            });
        }
        rows
    }

    fn bar(&self, row: &Row, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let label_width = (area.width / 4).clamp(8, 16);
        let style = if row.is_target { palette.target } else { Style::new() };
        let mark = if row.is_target { self.theme.symbols.target.as_str() } else { " " };
        let label = text::shorten(&text::token(&row.token.text), usize::from(label_width) - 1);
        Line::from(Span::styled(format!("{mark}{label}"), style)).render(area, buffer);
        let numbers = 12;
        let bar = Rect {
            x: area.x + label_width + 1,
            width: area.width.saturating_sub(label_width + 1 + numbers),
            ..area
        };
        let fill = if row.is_target { palette.target } else { palette.bar };
        draw_bar(bar, row.probability, row.previous, fill, self.theme, buffer);
        let change = match (row.rank, row.previous) {
            (Some(rank), _) => Span::styled(text::shorten(&format!("#{rank}"), 5), palette.muted),
            (None, Some(before)) => match text::change(row.probability, before) {
                Some(change) if row.probability > before => Span::styled(change, palette.good),
                Some(change) => Span::styled(change, palette.bad),
                None => Span::raw(""),
            },
            (None, None) => Span::raw(""),
        };
        let place = Rect { x: area.right().saturating_sub(numbers - 1), width: numbers - 1, ..area };
        Line::from(vec![Span::styled(format!("{:<6}", text::probability(row.probability)), style), change])
            .render(place, buffer);
    }

    fn foot(&self, area: Rect, buffer: &mut Buffer) {
        let Self { prediction, theme, .. } = *self;
        let muted = theme.palette.muted;
        let mut rank = vec![Span::styled(format!("rank {}", prediction.rank), muted)];
        if let Some(before) = prediction.previous_rank.filter(|before| *before != prediction.rank) {
            let better = prediction.rank < before;
            let (arrow, style) =
                if better { ("↑", theme.palette.good) } else { ("↓", theme.palette.bad) };
            rank.push(Span::styled(format!(" {arrow}{}", before.abs_diff(prediction.rank)), style));
        }
        let rank = Line::from(rank);
        let entropy = format!("entropy {} bits", text::short_number(prediction.entropy));
        if text::width(&entropy) + rank.width() < usize::from(area.width) {
            Line::styled(entropy, muted).render(area, buffer);
        }
        rank.right_aligned().render(area, buffer);
    }
}

/// Left parts of a cell, by eighths.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar from the left, `fraction` of the area long, over a track; a tick where it ended before.
pub(super) fn draw_bar(
    area: Rect,
    fraction: f64,
    before: Option<f64>,
    fill: Style,
    theme: &Theme,
    buffer: &mut Buffer,
) {
    let area = Rect { height: area.height.min(1), ..area }.intersection(buffer.area);
    let eighths = |fraction: f64| {
        if fraction.is_finite() {
            (fraction.clamp(0.0, 1.0) * f64::from(area.width) * 8.0).round() as usize
        } else {
            0
        }
    };
    // Something is more than nothing.
    let length = eighths(fraction).max(usize::from(fraction > 0.0));
    let tick = before.map(|before| eighths(before) / 8).filter(|tick| *tick != length / 8);
    // Inside the bar the tick is a gap at the end of the cell before it: the bar begins where all others do.
    let (gap, tick) = match tick {
        Some(tick) if 8 * tick < length => (tick.checked_sub(1), None),
        tick => (None, tick),
    };
    for (column, place) in area.columns().enumerate() {
        let cell = &mut buffer[(place.x, place.y)];
        cell.set_char(EIGHTHS[length.saturating_sub(8 * column).min(8)])
            .set_style(theme.palette.track.patch(fill));
        if gap == Some(column) {
            // An eighth of a cell is seen between two colours only.
            cell.set_char(if theme.has_color { '▉' } else { '▌' });
        } else if tick == Some(column) {
            cell.set_char('▏').set_style(theme.palette.muted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::theme::ColorDepth;

    fn drawn(prediction: &Prediction, width: u16, height: u16) -> (Buffer, Theme) {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let head = vec![prompt(prediction, usize::from(width), &theme)];
        Bars { prediction, head, theme: &theme }.render(buffer.area, &mut buffer);
        (buffer, theme)
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        (0..buffer.area.height)
            .map(|y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>())
            .map(|line| line.trim_end().to_string())
            .collect()
    }

    #[test]
    fn bars_show_the_likeliest_tokens_with_their_change() {
        let (buffer, theme) = drawn(&fixture::prediction(), 40, 6);
        assert_eq!(
            lines(&buffer),
            [
                "The capital of France is [Paris]",
                "▸·Paris    ██████████▉██▏    .770  +.12",
                " ·the      █▏                .064  -.02",
                " ·Rome     ▊▏                .041  -.03",
                " ·in       ▍                 .022",
                "entropy 1.2 bits               rank 1 ↑3",
            ]
        );
        assert_eq!(buffer[(0, 1)].symbol(), "▸");
        assert_eq!(Some(buffer[(1, 1)].fg), theme.palette.target.fg);
    }

    #[test]
    fn a_target_that_is_not_among_the_likeliest_has_the_last_row_and_its_rank() {
        let mut prediction = fixture::prediction();
        prediction.tokens.last_mut().unwrap().text = " Ouagadougou".into();
        prediction.tokens.last_mut().unwrap().id = 999;
        (prediction.probability, prediction.rank) = (0.0003, 37);
        let lines = lines(&drawn(&prediction, 40, 6).0);
        assert!(lines[4].starts_with("▸·Ouagado…") && lines[4].ends_with("3e-4  #37"), "{}", lines[4]);
    }

    #[test]
    fn a_target_whose_row_is_not_that_of_its_rank_has_its_rank_where_there_is_no_change_to_tell() {
        let mut prediction = fixture::prediction();
        prediction.rank = 323;
        let row = |prediction: &Prediction| lines(&drawn(prediction, 40, 6).0)[1].clone();
        assert!(row(&prediction).ends_with(".770  +.12"), "{}", row(&prediction));
        prediction.candidates[0].previous = None;
        assert!(row(&prediction).ends_with(".770  #323"), "{}", row(&prediction));
    }

    #[test]
    fn what_the_model_writes_on_has_a_row_below_the_bars_where_there_is_one() {
        let mut prediction = fixture::prediction();
        prediction.written = Some(" Paris.\nThe capital of Italy is Rome. \x1b[2J".into());
        let lines_of = |prediction: &Prediction, height| lines(&drawn(prediction, 40, height).0);
        let rows = lines_of(&prediction, 6);
        assert!(rows[3].starts_with(" ·Rome") && rows[5].starts_with("entropy"), "{rows:#?}");
        assert!(rows[4].starts_with("writes: Paris.") && rows[4].ends_with('…'), "{}", rows[4]);
        let (wide, theme) = drawn(&prediction, 90, 6);
        assert!(lines(&wide)[4].contains("Rome. <0x1B>[2J"), "{}", lines(&wide)[4]);
        assert_eq!(Some(wide[(0, 4)].fg), theme.palette.muted.fg);
        assert!(!lines_of(&prediction, 5).join("").contains("writes"));
        prediction.written = Some(String::new());
        assert_eq!(lines_of(&prediction, 6)[4], "writes nothing more");
    }

    #[test]
    fn tokens_cannot_steer_the_terminal() {
        let mut prediction = fixture::prediction();
        prediction.candidates[1].token.text = "\x1b]0;x\u{7}".into();
        prediction.tokens[0].text = "\x1b[2J".into();
        let (buffer, _) = drawn(&prediction, 60, 8);
        assert!(buffer.content.iter().all(|cell| !cell.symbol().chars().any(char::is_control)));
        assert!(lines(&buffer)[2].contains("<0x1B>]0;x"));
    }

    #[test]
    fn wide_tokens_do_not_push_the_bars_away() {
        let mut prediction = fixture::prediction();
        prediction.candidates[1].token.text = " 漢字漢字漢字漢字".into();
        let (buffer, theme) = drawn(&prediction, 40, 8);
        assert_eq!(Some(buffer[(11, 2)].fg), theme.palette.bar.fg);
        assert!((0..11).any(|x| buffer[(x, 2)].symbol() == "…"));
    }

    #[test]
    fn the_end_of_a_long_prompt_is_what_stays() {
        let mut prediction = fixture::prediction();
        prediction.tokens[0].text = "word ".repeat(50);
        assert!(lines(&drawn(&prediction, 40, 8).0)[0].ends_with("France is [Paris]"));
    }
}
