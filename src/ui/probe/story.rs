//! What turning does, in numbers and plain words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::ProbeView;
use crate::protocol::probe::{Phase, Sweep, Visit, Walk};
use crate::ui::panel::Panel;
use crate::ui::text;

use super::{Shown, best, moved};

/// Digits and gaps of a count at most, before it is rounded.
const DIGITS: usize = 9;

impl Shown<'_> {
    /// The lines, the first the ones that matter most.
    pub(super) fn story(&self, width: usize) -> Vec<Line<'static>> {
        let mut lines = match &self.scene.walk {
            Some(walk) => self.walked_lines(walk, width),
            None => Vec::new(),
        };
        if let Some((sweep, cursor)) = self.swept {
            lines.push(Line::raw(text::shorten(&self.here(sweep, cursor, width), width)));
            if self.scene.walk.is_none() {
                lines.push(Line::raw(text::shorten(&self.lowest(sweep), width)));
            }
        } else {
            let loss = text::number(self.scene.loss);
            let norm = text::norm(self.scene.grad_norm);
            lines.push(Line::raw(format!("as it is: loss {loss}, gradient norm {norm}")));
        }
        if self.scene.walk.is_none() {
            lines.push(Line::from(Span::styled(self.advice(width), self.theme.palette.accent)));
        }
        lines.push(Line::from(Span::styled(self.honesty(width), self.theme.palette.muted)));
        lines
    }

    pub(super) fn numbers(&self, lines: Vec<Line<'static>>, area: Rect, buffer: &mut Buffer) {
        let right = vec![
            Line::raw(format!("weights of step {} · the run is not changed", self.scene.of_step)),
            Line::raw(format!("step {} · the run is not changed", self.scene.of_step)),
        ];
        let (theme, title) = (self.theme, "What turning does");
        let inner = Panel { theme, focused: false, title, right }.draw(area, buffer);
        for (line, row) in lines.into_iter().zip(inner.rows()) {
            line.render(row, buffer);
        }
    }

    /// The loss and the probability of the target under the cursor, against the values as they are.
    fn here(&self, sweep: &Sweep, cursor: [usize; 2], width: usize) -> String {
        let origin = ProbeView::origin(sweep);
        let [loss, p] = Self::at(sweep, cursor);
        let [_, p_before] = Self::at(sweep, origin);
        let target = self.target();
        if cursor == origin {
            let norm = text::norm(self.scene.grad_norm);
            let start = format!("as it is: loss {}", text::number(self.scene.loss));
            return format!("{start}, p({target}) {}, gradient norm {norm}", text::probability(p_before));
        }
        let place = self.place(sweep, cursor);
        let change = moved(loss - self.scene.loss);
        let p_change = moved(p - p_before);
        let (loss, p_here) = (text::number(loss), text::probability(p));
        let long = format!("turned by {place}: loss {loss} ({change}), p({target}) {p_here} ({p_change})");
        if text::width(&long) <= width {
            return long;
        }
        format!("turned by {place}: loss {loss} ({change}), p {p_here}")
    }

    /// Movements to a point of the sweep, and where there is one parameter the value that it has there.
    fn place(&self, sweep: &Sweep, [column, row]: [usize; 2]) -> String {
        let first = sweep.first[column];
        match self.chosen[..] {
            [only] => format!("{} to {}", moved(first), text::number(only.value + first)),
            _ => format!("{} and {}", moved(first), moved(sweep.second[row])),
        }
    }

    /// The least loss of the curve or the map.
    fn lowest(&self, sweep: &Sweep) -> String {
        let picture = if self.chosen.len() == 2 { "map" } else { "curve" };
        let Some(best) = best(sweep) else { return format!("no loss of this {picture} is finite") };
        if best == ProbeView::origin(sweep) {
            return format!("nothing on this {picture} is lower than where it is");
        }
        let [loss, _] = Self::at(sweep, best);
        let less = text::number(self.scene.loss - loss);
        let place = self.place(sweep, best);
        format!("the lowest of this {picture}: loss {}, {less} less, turned by {place}", text::number(loss))
    }

    /// What to do next.
    fn advice(&self, width: usize) -> String {
        let keys = &self.app.options.bindings;
        let [walk, choose] = ["run", "move"].map(|command| keys.shown(command));
        let all = match self.scene.phase {
            Phase::Walking => return "tuning two by turns, then as many steps of all ..".to_owned(),
            // The tour has the key.
            _ if self.app.is_touring() => return format!("{choose} on another row turns two"),
            _ if self.chosen.len() == 2 => [
                format!("{walk} tunes 1, then 2, then 1 .., and takes as many steps of all beside it"),
                format!("{walk} tunes both by turns, beside steps of all"),
            ],
            _ => [
                format!("{choose} on another row turns two; {walk} tunes two by turns, beside steps of all"),
                format!("{choose} on another row turns two; {walk} tunes two"),
            ],
        };
        let [long, short] = all;
        if text::width(&long) <= width { long } else { text::shorten(&short, width) }
    }

    /// How the best of the first has moved, and what by turns and all at once led to.
    fn walked_lines(&self, walk: &Walk, width: usize) -> Vec<Line<'static>> {
        let palette = &self.theme.palette;
        let mut lines = Vec::new();
        if let Some(mole) = self.mole(walk) {
            lines.push(Line::from(Span::styled(text::shorten(&mole, width), palette.accent)));
        }
        let losses = |visits: &[Visit]| {
            let (start, end) = (visits.first()?, visits.last()?);
            Some(format!("{} → {}", text::number(start.loss), text::number(end.loss)))
        };
        let taken = (walk.visits.len().saturating_sub(1)) / 2;
        let turns = if taken < walk.rounds {
            format!("two by turns, {taken} of {} rounds: ", walk.rounds)
        } else {
            format!("two by turns, {taken} rounds: ")
        };
        let count = self.app.engine.run.as_ref().map_or(0, |run| run.parameters);
        let exact = grouped(count);
        let count = match count {
            0 => String::new(),
            _ if exact.len() <= DIGITS => format!("{exact} "),
            count => format!("{} ", text::count(count as f64)),
        };
        let all = format!("{} steps of all {count}weights: ", walk.descent.len().saturating_sub(1));
        let columns = text::width(&turns).max(text::width(&all));
        if let Some(losses) = losses(&walk.visits) {
            let name = Span::raw(format!("{turns:<columns$}"));
            lines.push(Line::from(vec![name, Span::styled(losses, palette.train)]));
        }
        if let Some(losses) = losses(&walk.descent) {
            let room = width.saturating_sub(columns + text::width(&losses));
            let name = Span::raw(format!("{all:<columns$}"));
            let hardly = Span::styled(Self::hardly(walk, room), palette.muted);
            lines.push(Line::from(vec![name, Span::styled(losses, palette.held_out), hardly]));
        }
        lines
    }

    /// How far the steps of all moved just these two, in as many words as there is room for.
    fn hardly(walk: &Walk, room: usize) -> String {
        let Some(end) = walk.descent.last() else { return String::new() };
        let by = end.moves.map(moved).join(", ");
        let optimizer = text::escape(&walk.optimizer);
        let words = [
            format!(", these two moved by {by} ({optimizer})"),
            format!(", these two by {by}"),
            format!(", both by {by}"),
        ];
        words.into_iter().find(|words| text::width(words) <= room).unwrap_or_default()
    }

    /// The whack-a-mole: the best of the first, before the second was tuned and after.
    fn mole(&self, walk: &Walk) -> Option<String> {
        let first = self.chosen.first()?;
        let best = |visit: usize| walk.visits.get(visit).map(|visit| first.value + visit.moves[0]);
        let [before, after] = [best(1)?, best(3)?].map(text::number);
        let ends = self.scene.sweep.as_ref().map(|sweep| (sweep.first.first(), sweep.first.last()));
        let at_end = |visit: usize| {
            let moved = walk.visits.get(visit).map(|visit| visit.moves[0]);
            ends.is_some_and(|(first, last)| moved.as_ref() == first || moved.as_ref() == last)
        };
        let wider = self.app.options.bindings.shown("zoom-out");
        Some(if before == after && at_end(1) {
            format!("the best of 1 lies at the end of what was tried, {before}: {wider} goes farther")
        } else if before == after {
            format!("the best of 1 is {before}, and stays there when 2 is tuned")
        } else {
            format!("the best of 1 is {before}; once 2 is tuned it is {after}: it has moved")
        })
    }

    /// Which loss all this is.
    fn honesty(&self, width: usize) -> String {
        let (before, after) = ("the loss is the mean over the tokens of “", "”");
        let room = width.saturating_sub(text::width(before) + 1);
        let shown = text::shorten_start(&text::one_line(&self.scene.text), room);
        text::shorten(&format!("{before}{shown}{after}"), width)
    }
}

/// A count in groups of three digits.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}
