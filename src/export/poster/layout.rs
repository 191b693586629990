//! Where things are on the paper. Lengths are in millimetres.

use super::PosterError;

/// A sheet of the A series of ISO 216.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paper {
    /// Its width in millimetres.
    pub width: f64,
    /// Its height in millimetres.
    pub height: f64,
}

impl Paper {
    /// `A0` to `A5`, upright, or with `-landscape` behind it on its side.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SIDES: [f64; 7] = [1189.0, 841.0, 594.0, 420.0, 297.0, 210.0, 148.0];
        let (name, on_side) = text.strip_suffix("-landscape").map_or((text, false), |name| (name, true));
        let number = name.strip_prefix(['A', 'a']).and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| SIDES.get(number..number + 2)) {
            Some(&[long, short]) if on_side => Ok(Self { width: long, height: short }),
            Some(&[long, short]) => Ok(Self { width: short, height: long }),
            _ => Err("not a paper from A0 to A5, such as A3 or A3-landscape".to_owned()),
        }
    }
}

/// A rectangle on the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A sheet with a title at the top, panels in rows, and a line at the foot.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub(super) paper: Paper,
    pub(super) margin: f64,
    /// The font sizes of the title and of the foot.
    pub(super) fonts: [f64; 2],
    /// A panel each, row by row.
    pub(super) panels: Vec<Frame>,
}

impl Layout {
    /// A panel is at least so wide and so high.
    const LEAST: [f64; 2] = [50.0, 60.0];
    /// Lines at the foot at most.
    pub(super) const FOOT: usize = 2;

    /// So many panels in so many columns, or in those that leave them the most room: pairs stay side by side.
    pub fn new(paper: Paper, columns: Option<usize>, count: usize) -> Result<Self, PosterError> {
        let short = paper.width.min(paper.height);
        let (margin, fonts) = (0.045 * short, [0.028 * short, (0.0075 * short).max(1.4)]);
        let area = Frame {
            x: margin,
            y: margin + 2.0 * fonts[0],
            width: paper.width - 2.0 * margin,
            height: paper.height - 2.0 * margin - 2.0 * fonts[0] - (Self::FOOT as f64 + 1.0) * 1.4 * fonts[1],
        };
        let size = |columns: usize| {
            let rows = count.div_ceil(columns);
            let share = |length: f64, parts: usize| (length - margin * (parts as f64 - 1.0)) / parts as f64;
            [share(area.width, columns), share(area.height, rows)]
        };
        let room = |columns: usize| {
            let [width, height] = size(columns);
            width.min(0.8 * height)
        };
        let columns = match columns {
            Some(columns) => columns.clamp(1, count.max(1)),
            None if count < 2 => 1,
            // A pair stands side by side, or one above the other where that is larger.
            None => (if count == 2 { 1 } else { 2 }..=count.next_multiple_of(2))
                .filter(|columns| *columns == 1 || columns.is_multiple_of(2))
                .max_by(|a, b| room(*a).total_cmp(&room(*b)).then(b.cmp(a)))
                .unwrap_or(2),
        };
        let [width, height] = size(columns);
        if width < Self::LEAST[0] || height < Self::LEAST[1] {
            return Err(PosterError::TooSmall { count, columns, size: [width, height], least: Self::LEAST });
        }
        let panel = |index: usize| Frame {
            x: area.x + (index % columns) as f64 * (width + margin),
            y: area.y + (index / columns) as f64 * (height + margin),
            width,
            height,
        };
        Ok(Self { paper, margin, fonts, panels: (0..count).map(panel).collect() })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sheets are whole millimetres")]
mod tests {
    use super::*;

    #[test]
    fn papers_are_those_of_the_a_series() {
        let sides = |text| Paper::parse(text).map(|paper| (paper.width, paper.height));
        assert_eq!(sides("A3"), Ok((297.0, 420.0)));
        assert_eq!(sides("a0-landscape"), Ok((1189.0, 841.0)));
        assert_eq!(sides("A5"), Ok((148.0, 210.0)));
        for wrong in ["A6", "A", "B3", "letter", "A3-portrait", "A-1", ""] {
            assert!(sides(wrong).unwrap_err().contains("A3-landscape"), "{wrong}");
        }
    }

    #[test]
    fn panels_lie_on_the_paper_apart_from_each_other_and_pairs_together() {
        let paper = Paper::parse("A3").unwrap();
        for count in 1..=8 {
            let panels = Layout::new(paper, None, count).unwrap().panels;
            assert_eq!(panels.len(), count);
            for (index, a) in panels.iter().enumerate() {
                assert!(a.x > 0.0 && a.x + a.width < paper.width && a.y + a.height < paper.height);
                let apart = |b: &Frame| {
                    a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y
                };
                assert!(panels[index + 1..].iter().all(apart), "{count}");
            }
            // A pair alone on a high sheet is larger one above the other.
            let beside = |pair: &[Frame]| pair[0].y == pair[1].y;
            assert!(panels.chunks_exact(2).all(beside) != (count == 2), "{count}");
        }
        let wide = Layout::new(Paper::parse("A3-landscape").unwrap(), None, 2).unwrap().panels;
        assert_eq!(wide[0].y, wide[1].y);
        let column = Layout::new(paper, Some(1), 2).unwrap().panels;
        assert!(column[0].x == column[1].x && column[0].y < column[1].y);
    }

    #[test]
    fn panels_that_nobody_could_read_are_refused() {
        let error = Layout::new(Paper::parse("A5").unwrap(), None, 40).unwrap_err().to_string();
        assert!(error.contains("40 panels") && error.contains("--paper"), "{error}");
        assert!(Layout::new(Paper::parse("A5").unwrap(), None, 1).is_ok());
    }
}
