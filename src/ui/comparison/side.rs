//! One of the two models: its landscape, and what it would say next or what it writes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::Marker;
use crate::app::comparison::Comparison;
use crate::protocol::Prediction;
use crate::protocol::comparison::{PlaneChoice, Sample, Side, SideView, Template};
use crate::theme::Theme;
use crate::ui::bars::{self, Bars};
use crate::ui::heatmap::Mark;
use crate::ui::panel::{self, Panel};
use crate::ui::picture::{self, Picture};
use crate::ui::surface::Surface;
use crate::ui::{PixelMap, honesty, text};

/// The pane of a landscape. In the plane through both there is one, that of A.
pub(super) struct Map<'a> {
    pub(super) app: &'a Comparison,
    pub(super) theme: &'a Theme,
    pub(super) side: Side,
    pub(super) surface: Option<&'a Surface<'a>>,
}

/// Columns of a pane's upper edge that neither its title nor what stands to the right of it has.
const EDGE: u16 = 8;

/// The cells of the map, or of the surface, in the pane of this area, where there is one.
pub(super) fn cells(app: &Comparison, side: Side, area: Rect) -> Option<Rect> {
    let view = &app.scene.sides[side as usize];
    let surface = Surface::new(view.slice.as_deref()?, app.landscape.stretch)?;
    let honesty = honesty::parts(surface.slice, view.drift.as_ref());
    let places = picture::places(surface.slice, &honesty, true, panel::inside(area));
    Some(if app.landscape.relief { places.whole } else { places.cells })
}

/// The map in the pane of a model, to be drawn in pixels.
pub(super) fn pixel_map<'a>(
    app: &Comparison,
    theme: &Theme,
    (side, area): (Side, Rect),
    surface: Surface<'a>,
) -> Option<PixelMap<'a>> {
    let (cells, view) = (cells(app, side, area)?, &app.landscape);
    let map = theme.maps.get(view.map % theme.maps.len().max(1))?;
    let drift = app.scene.sides[side as usize].drift.as_ref();
    let weights = drift.map_or([0.0; 2], |drift| drift.inside);
    let ends = ends();
    let further: &[Mark] = if app.scene.plane == PlaneChoice::Through { &ends } else { &[] };
    Some(PixelMap::new((side as u8, cells), surface, (map, theme), weights, further, view.chosen))
}

/// The two models in the plane through both.
fn ends() -> [Mark; 2] {
    let mark = |side: Side, alpha| Mark { place: [alpha, 0.0], symbol: side.name() };
    [mark(Side::A, 0.0), mark(Side::B, 1.0)]
}

impl Widget for Map<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme, side, surface } = self;
        let view = &app.scene.sides[side as usize];
        let through = self.through();
        let low = area.height < picture::ROWS + 2;
        let beside = if low { joined(&self.losses("")).width() as u16 } else { 0 };
        let title = self.title(usize::from(area.width.saturating_sub(beside + EDGE)));
        let right = if low { self.losses_that_fit() } else { facts(view) };
        let focused = through || app.sides.include(side);
        let inner = Panel { theme, focused, title: &title, right }.draw(area, buffer);
        let Some(surface) = surface else {
            let why = match (&view.slice, view.slicing) {
                (Some(_), _) => "no point of this slice has a finite loss".to_owned(),
                (None, true) => "evaluating the slice ..".to_owned(),
                (None, false) => format!("no slice yet: {} draws one", app.bindings.shown("new-plane")),
            };
            picture::missing(&why, theme, inner, buffer);
            return;
        };
        let (drift, ends) = (view.drift.as_ref(), ends());
        Picture {
            surface,
            theme,
            view: &app.landscape,
            drift,
            honesty: honesty::parts(surface.slice, drift),
            marks: if through { &ends } else { &[] },
            readout: Some(joined(&self.losses(" nats"))),
        }
        .render(inner, buffer);
    }
}

impl Map<'_> {
    fn through(&self) -> bool {
        self.app.scene.plane == PlaneChoice::Through
    }

    /// The sides that this pane is about.
    fn shown(&self) -> impl Iterator<Item = Side> {
        let (through, side) = (self.through(), self.side);
        Side::BOTH.into_iter().filter(move |shown| through || *shown == side)
    }

    /// The sides whose losses are those of this picture's text.
    fn read(&self) -> impl Iterator<Item = Side> {
        let (one_text, side) = (self.app.scene.between.caveat.is_none(), self.side);
        self.shown().filter(move |shown| one_text || *shown == side)
    }

    /// What this pane is about, in at most so many columns: where there are two models, neither name gives way to the
    /// other.
    fn title(&self, columns: usize) -> String {
        const ARROW: &str = " → ";
        let titles: Vec<String> = self.shown().map(|side| title(self.app, side)).collect();
        let [a, b] = &titles[..] else { return text::shorten(&titles.concat(), columns) };
        let room = columns.saturating_sub(text::width(ARROW));
        // What the shorter one does not take is the other's.
        let of_a = text::width(a).min((room / 2).max(room.saturating_sub(text::width(b))));
        text::shorten(a, of_a) + ARROW + &text::shorten(b, room - of_a)
    }

    /// The loss at the weights, the one under the cursor, and the gradient's norm at the weights. Two models in one
    /// picture are there under their letters.
    fn losses(&self, unit: &str) -> Vec<Line<'static>> {
        let Self { app, theme, .. } = *self;
        let palette = &theme.palette;
        let ascii = app.landscape.marker == Marker::Ascii;
        let mut losses = Vec::new();
        for side in self.read() {
            let weights = if ascii { "O" } else { &theme.symbols.weights };
            let symbol = if self.through() { side.name() } else { weights };
            let loss = app.scene.sides[side as usize].loss.map_or_else(|| "..".into(), text::number);
            losses.push(Line::from(Span::styled(format!("{symbol} {loss}{unit}"), palette.title)));
        }
        if let (Some(chosen), Some(surface)) = (app.landscape.chosen, self.surface) {
            let loss = text::number(surface.under(chosen));
            let symbol = if ascii { "X" } else { &theme.symbols.cursor };
            losses.push(Line::from(Span::styled(format!("{symbol} {loss}"), palette.accent)));
        }
        let mut norms = Line::default();
        for side in self.read() {
            if let Some(norm) = app.scene.sides[side as usize].grad_norm {
                let name = if norms.spans.is_empty() { "|g| " } else { " " };
                let letter = if self.through() { format!("{} ", side.name()) } else { String::new() };
                norms.push_span(Span::styled(format!("{name}{letter}"), palette.muted));
                norms.push_span(text::norm(norm));
            }
        }
        losses.extend((!norms.spans.is_empty()).then_some(norms));
        losses
    }

    /// From all losses down to the first of them.
    fn losses_that_fit(&self) -> Vec<Line<'static>> {
        let losses = self.losses("");
        (1..=losses.len()).rev().map(|count| joined(&losses[..count])).collect()
    }
}

fn joined(parts: &[Line<'static>]) -> Line<'static> {
    let mut line = Line::default();
    for part in parts {
        if !line.spans.is_empty() {
            line.push_span("  ");
        }
        line.extend(part.spans.iter().cloned());
    }
    line
}

/// `A · SmolLM2-135M`.
fn title(app: &Comparison, side: Side) -> String {
    let name = text::escape(&app.scene.sides[side as usize].name);
    if name.is_empty() { side.name().into() } else { format!("{} · {name}", side.name()) }
}

/// `refining · step 3 · 134.5M`, from all of it down to the first.
fn facts(view: &SideView) -> Vec<Line<'static>> {
    let mut facts = Vec::new();
    if view.slicing && view.slice.is_some() {
        facts.push("refining".to_owned());
    }
    if view.steps > 0 {
        facts.push(format!("step {}", view.steps));
    }
    if let Some(slice) = view.slice.as_ref().filter(|slice| slice.step != view.steps) {
        facts.push(format!("picture of step {}", slice.step));
    }
    if view.parameters > 0 {
        facts.push(text::count(view.parameters as f64));
    }
    (1..=facts.len()).rev().map(|count| Line::raw(facts[..count].join(" · "))).collect()
}

/// The pane of the next token, or of the text that the model writes.
pub(super) struct NextToken<'a> {
    pub(super) app: &'a Comparison,
    pub(super) theme: &'a Theme,
    pub(super) side: Side,
}

/// Rows from which the text of a chat template has several of them.
const ROWS_FOR_TEMPLATE: u16 = 11;

impl Widget for NextToken<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme, side } = self;
        let view = &app.scene.sides[side as usize];
        let what = if view.sample.is_some() { "writes" } else { "next token" };
        let title = format!("{} · {what}", side.name());
        let focused = app.sides.include(side);
        let inner = Panel { theme, focused, title: &title, right: self.right() }.draw(area, buffer);
        match (&view.sample, &view.prediction) {
            (Some(sample), _) => self.sample(sample, inner, buffer),
            (None, Some(prediction)) => {
                let head = self.head(prediction, inner);
                Bars { prediction, head, theme }.render(inner, buffer);
            }
            (None, None) if app.scene.prompt.is_empty() => {
                let why = format!("no prompt yet: {} sets one", app.bindings.shown("prompt"));
                picture::missing(&why, theme, inner, buffer);
            }
            (None, None) => picture::missing("reading the prompt ..", theme, inner, buffer),
        }
    }
}

impl NextToken<'_> {
    fn view(&self) -> &SideView {
        &self.app.scene.sides[self.side as usize]
    }

    fn right(&self) -> Vec<Line<'static>> {
        let clear = || self.app.bindings.shown("clear");
        match &self.view().sample {
            Some(Sample { writing: true, .. }) => {
                return vec![Line::raw(format!("writing .. · {} stops", clear())), Line::raw("writing ..")];
            }
            Some(_) => return vec![Line::raw(format!("{} hides", clear()))],
            None => {}
        }
        let (long, short) = match self.view().template {
            Template::Absent => ("no chat template", "no template"),
            Template::Off => ("template not used", "template off"),
            Template::On => ("in chat template", "in template"),
            Template::Given => ("in template already", "in template"),
        };
        // Only models with the same tokens have rows in common.
        let rows = self.app.same_tokens().then_some(match self.side {
            Side::A => "likeliest of both",
            Side::B => "change against A",
        });
        let both = rows.iter().flat_map(|rows| [long, short].map(|template| format!("{rows} · {template}")));
        both.chain([long.to_owned(), short.to_owned()]).map(Line::raw).collect()
    }

    /// What is read: the prompt, or the end of what the template made of it.
    fn head(&self, prediction: &Prediction, area: Rect) -> Vec<Line<'static>> {
        let width = usize::from(area.width);
        let Some(rendered) = &self.view().rendered else {
            return vec![bars::prompt(prediction, width, self.theme)];
        };
        let palette = &self.theme.palette;
        let rows = if area.height >= ROWS_FOR_TEMPLATE { 3 } else { 1 };
        // Brackets around the target take two columns.
        let columns = width.saturating_sub(2);
        let lines = text::wrap(&text::shorten_start(&text::one_line(rendered), rows * columns), columns);
        let cut = lines.len().saturating_sub(rows);
        let mut head: Vec<String> = lines.into_iter().skip(cut).collect();
        if let Some(first) = head.first_mut().filter(|_| cut > 0) {
            *first = text::begin_cut(first);
        }
        let last = head.pop().unwrap_or_default();
        let target = prediction.tokens.last().map(|token| text::one_line(token.text.trim_start()));
        let end = target.filter(|target| !target.is_empty() && last.ends_with(target.as_str()));
        let muted = |text: String| Span::styled(text, palette.muted);
        let last = match end {
            Some(target) => Line::from(vec![
                muted(last[..last.len() - target.len()].to_owned()),
                Span::styled(format!("[{target}]"), palette.target),
            ]),
            None => Line::from(muted(last)),
        };
        head.into_iter().map(|line| Line::from(muted(line))).chain([last]).collect()
    }

    /// The prompt, what was written after it, and whether the model has ended there; its end in sight.
    fn sample(&self, sample: &Sample, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let end = match (sample.writing, sample.cut) {
            (true, _) => "",
            (false, true) => " …",
            (false, false) => " (ends)",
        };
        let parts = [sample.prompt.as_str(), &sample.text, end].map(text::escape_lines);
        let [given, written, _] = parts.each_ref().map(|part| part.chars().count());
        // Each line, and the number of its first character.
        let (mut lines, mut start) = (Vec::new(), 0);
        for paragraph in parts.concat().split('\n') {
            for line in text::wrap(paragraph, width) {
                let count = line.chars().count();
                lines.push((start, line));
                start += count;
            }
            start += 1;
        }
        let above = lines.len().saturating_sub(usize::from(area.height));
        if let Some((start, line)) = lines.get_mut(above).filter(|_| above > 0) {
            let cut = text::begin_cut(line);
            *start += line.chars().count().saturating_sub(cut.chars().count());
            *line = cut;
        }
        let muted = self.theme.palette.muted;
        for ((start, line), row) in lines.into_iter().skip(above).zip(area.rows()) {
            let part = |from: usize, to: usize| -> String {
                let (from, to) = (from.saturating_sub(start), to.saturating_sub(start));
                line.chars().skip(from).take(to - from).collect()
            };
            Line::from(vec![
                Span::styled(part(0, given), muted),
                Span::raw(part(given, given + written)),
                Span::styled(part(given + written, usize::MAX), muted),
            ])
            .render(row, buffer);
        }
    }
}
