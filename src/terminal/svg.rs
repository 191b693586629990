//! A screen as text, and as an SVG picture that looks like it in any browser.
//!
//! Letters stay text, held in their columns whatever the font. Backgrounds are runs of cells; dots, blocks and lines
//! are drawn, one path a colour.

use std::collections::BTreeMap;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Modifier;
use ratatui::text::Span;

use super::shapes::{self, HEIGHT, Paths, WIDTH};
use crate::export::xml::{escape, hex, is_legal};
use crate::theme::{mix, rgb};

type Rgb = [u8; 3];

/// Units from the top of a cell to the line that its letters stand on.
const BASELINE: u32 = 12;

/// Letters of most monospaced fonts are 0.6 times as wide as they are high: this size makes them as wide as a cell.
const FONT: &str = "font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',\
                    monospace\" font-size=\"13.3\"";

/// What the terminal's own colours are taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    ink: Rgb,
    paper: Rgb,
}

impl Ground {
    /// Those of a terminal that is light, or is not.
    pub fn new(is_light: bool) -> Self {
        let (dark, light) = ([13, 17, 23], [246, 248, 250]);
        if is_light { Self { ink: dark, paper: light } } else { Self { ink: light, paper: dark } }
    }
}

/// The rows of a screen, without the blanks at their ends.
pub(super) fn text(buffer: &Buffer) -> String {
    let ground = Ground::new(false);
    let mut text = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        for cell in row(buffer, y, ground) {
            line.push_str(if cell.written.is_empty() { " " } else { cell.written });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A screen as a document of SVG with a title.
pub fn svg(buffer: &Buffer, title: &str, ground: Ground) -> String {
    let area = buffer.area;
    let rows: Vec<Vec<Seen>> = (area.top()..area.bottom()).map(|y| row(buffer, y, ground)).collect();
    let page = commonest(&rows).unwrap_or(ground.paper);
    let mut drawing = Drawing::default();
    for (cells, y) in rows.iter().zip(0..) {
        drawing.backgrounds(cells, HEIGHT * y, page);
        drawing.symbols(cells, HEIGHT * y);
    }
    let (width, height) = (u32::from(area.width) * WIDTH, u32::from(area.height) * HEIGHT);
    let title = escape(title);
    let page = hex(page);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{page}\"/>\n"
    );
    drawing.write(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// The background of most columns.
fn commonest(rows: &[Vec<Seen>]) -> Option<Rgb> {
    let mut columns: BTreeMap<Rgb, u32> = BTreeMap::new();
    for cell in rows.iter().flatten() {
        *columns.entry(cell.paper).or_default() += cell.columns;
    }
    columns.into_iter().max_by_key(|(_, columns)| *columns).map(|(paper, _)| paper)
}

/// A cell as it is seen.
struct Seen<'a> {
    /// Its first column.
    column: u32,
    /// The columns that it takes.
    columns: u32,
    /// What is written in it; empty where that is blank, or nothing that may be in a file.
    written: &'a str,
    /// The same, without what is in the background by now.
    symbol: &'a str,
    ink: Rgb,
    paper: Rgb,
    modifier: Modifier,
}

impl<'a> Seen<'a> {
    fn new(cell: &'a Cell, column: u16, columns: u16, ground: Ground) -> Self {
        let (mut ink, mut paper) = (rgb(cell.fg, ground.ink), rgb(cell.bg, ground.paper));
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut ink, &mut paper);
        }
        if cell.modifier.contains(Modifier::DIM) {
            ink = mix(paper, ink, 0.5);
        }
        let symbol = cell.symbol();
        let hidden = cell.modifier.contains(Modifier::HIDDEN) || !symbol.chars().all(is_legal);
        let written = if hidden || symbol.trim().is_empty() { "" } else { symbol };
        let mut symbol = written;
        if let Some(share) = shapes::shade(symbol) {
            (paper, symbol) = (mix(paper, ink, share), "");
        }
        let modifier = cell.modifier & (Modifier::BOLD | Modifier::ITALIC | Modifier::UNDERLINED);
        Self { column: column.into(), columns: columns.into(), written, symbol, ink, paper, modifier }
    }

    /// Letters that any font has, one column wide.
    fn is_plain(&self) -> bool {
        self.symbol.chars().all(|c| matches!(c, '!'..='\u{24f}' | '\u{370}'..='\u{3ff}'))
    }
}

/// The cells of a row. What a wide character covers is none of them.
fn row(buffer: &Buffer, y: u16, ground: Ground) -> Vec<Seen<'_>> {
    let area = buffer.area;
    let (mut cells, mut x) = (Vec::new(), area.left());
    while let Some(cell) = buffer.cell((x, y)) {
        let columns = Span::raw(cell.symbol()).width().clamp(1, usize::from(area.right() - x)) as u16;
        cells.push(Seen::new(cell, x - area.left(), columns, ground));
        x += columns;
    }
    cells
}

/// Letters beside each other that look alike, with at most one blank between them.
struct Run<'a> {
    first: &'a Seen<'a>,
    columns: u32,
    text: String,
}

impl<'a> Run<'a> {
    fn new(first: &'a Seen<'a>) -> Self {
        Self { first, columns: first.columns, text: first.symbol.to_owned() }
    }

    fn gap(&self, cell: &Seen) -> u32 {
        cell.column - (self.first.column + self.columns)
    }

    /// Whether it goes on with the cell. What a font may lack, and so be of another width, stands alone.
    fn takes(&self, cell: &Seen) -> bool {
        let alike = (cell.ink, cell.modifier) == (self.first.ink, self.first.modifier);
        alike && self.gap(cell) <= 1 && self.first.is_plain() && cell.is_plain()
    }

    fn push(&mut self, cell: &Seen) {
        let gap = self.gap(cell);
        if gap > 0 {
            self.text.push(' ');
        }
        self.text.push_str(cell.symbol);
        self.columns += gap + cell.columns;
    }

    fn element(&self, y: u32) -> String {
        let Seen { column, ink, modifier, .. } = self.first;
        let mut element = format!(
            "<text x=\"{}\" y=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"",
            column * WIDTH,
            y + BASELINE,
            self.columns * WIDTH,
            hex(*ink)
        );
        let attributes = [
            (Modifier::BOLD, " font-weight=\"bold\""),
            (Modifier::ITALIC, " font-style=\"italic\""),
            (Modifier::UNDERLINED, " text-decoration=\"underline\""),
        ];
        for (flag, attribute) in attributes {
            if modifier.contains(flag) {
                element.push_str(attribute);
            }
        }
        element.push_str(&format!(">{}</text>\n", escape(&self.text)));
        element
    }
}

/// What is on a page, by colour.
#[derive(Default)]
struct Drawing {
    papers: BTreeMap<Rgb, String>,
    inks: BTreeMap<Rgb, Paths>,
    texts: String,
}

impl Drawing {
    fn backgrounds(&mut self, cells: &[Seen], y: u32, page: Rgb) {
        for run in cells.chunk_by(|a, b| a.paper == b.paper) {
            let (first, columns) = (&run[0], run.iter().map(|cell| cell.columns).sum::<u32>());
            if first.paper != page {
                let path = self.papers.entry(first.paper).or_default();
                shapes::rectangle(path, [first.column * WIDTH, y, columns * WIDTH, HEIGHT]);
            }
        }
    }

    fn symbols(&mut self, cells: &[Seen], y: u32) {
        let mut runs: Vec<Run> = Vec::new();
        for cell in cells.iter().filter(|cell| !cell.symbol.is_empty()) {
            if self.inks.entry(cell.ink).or_default().add(cell.symbol, cell.column * WIDTH, y) {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.takes(cell) => last.push(cell),
                _ => runs.push(Run::new(cell)),
            }
        }
        for run in runs {
            self.texts.push_str(&run.element(y));
        }
    }

    fn write(&self, svg: &mut String) {
        let Self { papers, inks, texts } = self;
        let crisp = "shape-rendering=\"crispEdges\"";
        group(svg, crisp, "fill", papers.iter().map(|(color, path)| (*color, path.as_str())));
        let mut drawn = |attributes: &str, paint: &str, path: fn(&Paths) -> &str| {
            group(svg, attributes, paint, inks.iter().map(|(color, paths)| (*color, path(paths))));
        };
        drawn(crisp, "fill", |paths| paths.filled.as_str());
        drawn("fill=\"none\" stroke-width=\"1.2\"", "stroke", |paths| paths.light.path.as_str());
        drawn("fill=\"none\" stroke-width=\"2\"", "stroke", |paths| paths.heavy.path.as_str());
        let round = "fill=\"none\" stroke-width=\"2.4\" stroke-linecap=\"round\"";
        drawn(round, "stroke", |paths| paths.dots.as_str());
        svg.push_str(&format!("<g {FONT} xml:space=\"preserve\">\n{texts}</g>\n"));
    }
}

/// Adds paths with these attributes, each with the paint of its colour.
fn group<'a>(svg: &mut String, attributes: &str, paint: &str, paths: impl Iterator<Item = (Rgb, &'a str)>) {
    let mut paths = paths.filter(|(_, path)| !path.is_empty()).peekable();
    if paths.peek().is_none() {
        return;
    }
    svg.push_str(&format!("<g {attributes}>\n"));
    for (color, path) in paths {
        svg.push_str(&format!("<path {paint}=\"{}\" d=\"{path}\"/>\n", hex(color)));
    }
    svg.push_str("</g>\n");
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::{Color, Style};

    use super::*;

    fn picture(buffer: &Buffer) -> String {
        let svg = svg(buffer, "a <title>", Ground::new(false));
        resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        svg
    }

    fn cell(symbol: &str, style: Style) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 1, 1));
        buffer[(0, 0)].set_symbol(symbol).set_style(style);
        picture(&buffer)
    }

    #[test]
    fn letters_stay_text_in_runs_that_keep_their_columns() {
        let svg = picture(&Buffer::with_lines(["  loss 2.113   nats", "漢字a"]));
        let text = |x: u32, y: u32, length: u32, text: &str| {
            let place = format!("<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" lengthAdjust");
            let found = svg.lines().find(|line| line.starts_with(&place));
            assert!(found.is_some_and(|line| line.ends_with(&format!(">{text}</text>"))), "{text}:\n{svg}");
        };
        text(16, 12, 80, "loss 2.113");
        text(120, 12, 32, "nats");
        text(0, 28, 16, "漢");
        text(16, 28, 16, "字");
        text(32, 28, 8, "a");
    }

    #[test]
    fn the_text_of_a_screen_has_no_blanks_at_its_ends_and_wide_characters_once() {
        assert_eq!(text(&Buffer::with_lines(["  漢字 a  ", "", "░▒█⣿"])), "  漢字 a\n\n░▒█⣿\n");
    }

    #[test]
    fn what_xml_means_something_by_is_escaped_and_what_steers_a_terminal_is_left_out() {
        assert!(cell("<", Style::new()).contains(">&lt;</text>"));
        let svg = picture(&Buffer::with_lines(["<&>"]));
        assert!(svg.contains(">&lt;&amp;&gt;</text>") && svg.contains("<title>a &lt;title&gt;</title>"));
        let mut buffer = Buffer::with_lines(["abc"]);
        for (x, symbol) in [(0, "\u{1b}"), (1, "\u{9b}"), (2, "\u{ffff}")] {
            buffer[(x, 0)].set_symbol(symbol);
        }
        let is_clean = |text: &str| text.chars().all(|c| c == '\n' || is_legal(c));
        assert!(is_clean(&picture(&buffer)) && !picture(&buffer).contains("<text"));
        assert_eq!(text(&buffer), "\n");
        assert!(is_clean(&super::svg(&buffer, "\u{1b}[31m", Ground::new(true))));
    }

    #[test]
    fn dots_blocks_and_lines_are_drawn_in_their_colour() {
        let red = Style::new().fg(Color::Rgb(255, 0, 0));
        for (symbol, path) in [("⠁", "M2 2h0"), ("▀", "M0 0h8v8h-8z"), ("─", "M0 8h8")] {
            let svg = cell(symbol, red);
            assert!(svg.contains(&format!("=\"#ff0000\" d=\"{path}\"/>")), "{svg}");
            assert!(!svg.contains("<text"), "{svg}");
        }
        let shade = cell("▒", red.bg(Color::Rgb(0, 0, 255)));
        assert!(shade.contains("fill=\"#800080\"") && !shade.contains("<text"), "{shade}");
    }

    #[test]
    fn every_kind_of_colour_and_attribute_is_seen() {
        let fill = |color| {
            let svg = cell("a", Style::new().fg(color));
            let (_, rest) = svg.split_once("lengthAdjust=\"spacingAndGlyphs\" fill=\"").unwrap();
            rest[..7].to_owned()
        };
        let colors = [Color::Reset, Color::Red, Color::Indexed(9), Color::Indexed(67), Color::Rgb(1, 2, 3)];
        assert_eq!(colors.map(fill), ["#f6f8fa", "#cd0000", "#ff0000", "#5f87af", "#010203"]);
        let styled = cell("a", Style::new().add_modifier(Modifier::all() - Modifier::HIDDEN));
        for attribute in ["font-weight=\"bold\"", "font-style=\"italic\"", "text-decoration=\"underline\""] {
            assert!(styled.contains(attribute), "{styled}");
        }
        let plain = Style::new().fg(Color::White).bg(Color::Black);
        assert!(cell("a", plain.add_modifier(Modifier::REVERSED)).contains("Glyphs\" fill=\"#000000\""));
        assert!(cell("a", plain.add_modifier(Modifier::DIM)).contains("Glyphs\" fill=\"#808080\""));
    }

    #[test]
    fn equal_backgrounds_beside_each_other_are_one_rectangle_and_the_commonest_is_the_page() {
        let mut buffer = Buffer::empty(Rect::new(3, 5, 6, 2));
        buffer.set_style(buffer.area, Style::new().bg(Color::Black));
        buffer.set_style(Rect::new(4, 6, 3, 1), Style::new().bg(Color::White));
        let svg = picture(&buffer);
        assert!(svg.contains("<rect width=\"48\" height=\"32\" fill=\"#000000\"/>"), "{svg}");
        assert!(svg.contains("<path fill=\"#ffffff\" d=\"M8 16h24v16h-24z\"/>"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 1, "{svg}");
        picture(&Buffer::empty(Rect::ZERO));
    }

    #[test]
    fn a_screen_full_of_dots_and_colours_stays_small_and_is_the_same_each_time() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
        for (x, y) in (0..40).flat_map(|y| (0..120_u16).map(move |x| (x, y))) {
            let (right, up) = (i32::from(x) - 36, 2 * (i32::from(y) - 18));
            let level = (right * right + up * up) / 150 % 12;
            let (symbol, level) = match x {
                72.. => (["l", "o", "s", "s", " ", " "][usize::from(x % 6)], 0),
                _ => (if x % 3 == y % 3 { "⢎" } else { " " }, level as u8),
            };
            let style = Style::new().fg(Color::White).bg(Color::Rgb(20 * level, 40, 80));
            buffer[(x, y)].set_symbol(symbol).set_style(style);
        }
        let svg = picture(&buffer);
        assert!(svg.len() < 150_000, "{} bytes", svg.len());
        assert_eq!(svg, picture(&buffer));
    }
}
