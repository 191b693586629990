//! A slice as a file: JSON, CSV, npz for `NumPy`, and vtp for `ParaView`. All but vtp can be read again, so that
//! an evaluation which was interrupted goes on.

use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::npz::Npz;
use super::xml::is_legal;
use crate::landscape::evaluator::Objective;
use crate::landscape::survey::Grid;
use crate::protocol::{BatchInfo, PlaneInfo, PlaneKind, Slice};

/// Why a slice can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SurfaceError {
    /// The end of the name says no format.
    #[error("{0}: the name must end in .json, .csv, .npz or .vtp")]
    UnknownFormat(PathBuf),
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not the file of a slice.
    #[error("{path}: not a slice of llamascape: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A format that can be written only.
    #[error("{0}: a .vtp can't be read again: write .json, .csv or .npz to be able to resume")]
    WriteOnly(PathBuf),
}

/// A slice and all that one must know to read it. Losses are in nats; those that are missing or not finite are
/// null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// What all formats hold as one JSON object.
    #[serde(flatten)]
    pub caption: Caption,
    /// Coordinates along the first direction.
    pub alphas: Vec<f64>,
    /// Coordinates along the second direction.
    pub betas: Vec<f64>,
    /// `loss[i][j]` is the loss at `alphas[j]`, `betas[i]`.
    pub loss: Vec<Vec<Option<f64>>>,
}

/// What a slice is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caption {
    /// The model.
    pub model: String,
    /// The loss at the middle of the ranges.
    pub center: Center,
    /// The directions.
    pub plane: PlaneInfo,
    /// The batch, the same at every point.
    pub batch: BatchInfo,
    /// `mean` over the tokens, or `last` token.
    pub objective: String,
    /// `stack` or `materialise`; left out where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Seconds of the evaluation alone.
    pub seconds: f64,
    /// Points evaluated over those seconds.
    pub points_per_second: f64,
    /// Every point has been evaluated.
    pub complete: bool,
    /// The same for a person, in one line.
    pub note: String,
    /// Lines along several random directions, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
}

/// The loss at one point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Center {
    /// In nats.
    pub loss: Option<f64>,
}

/// Lines through the same weights along several directions, and where most of them lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    /// The seed of each.
    pub seeds: Vec<u64>,
    /// The losses of each, along the alphas.
    pub loss: Vec<Vec<Option<f64>>>,
    /// The middle one at each alpha.
    pub median: Vec<Option<f64>>,
    /// The lower quartile.
    pub low: Vec<Option<f64>>,
    /// The upper quartile.
    pub high: Vec<Option<f64>>,
}

impl Lines {
    /// The lines with their median and quartiles, taken over what is finite.
    pub fn new(seeds: Vec<u64>, loss: &[Vec<f64>]) -> Self {
        let points = loss.iter().map(Vec::len).min().unwrap_or(0);
        let quantile = |share: f64| {
            (0..points)
                .map(|point| {
                    let mut at: Vec<f64> =
                        loss.iter().map(|line| line[point]).filter(|loss| loss.is_finite()).collect();
                    at.sort_by(f64::total_cmp);
                    let place = share * at.len().checked_sub(1)? as f64;
                    let (below, rest) = (place as usize, place.fract());
                    let above = at[(below + 1).min(at.len() - 1)];
                    Some(at[below] * (1.0 - rest) + above * rest)
                })
                .collect()
        };
        let (median, low, high) = (quantile(0.5), quantile(0.25), quantile(0.75));
        Self { seeds, median, low, high, loss: loss.iter().map(|line| finite(line)).collect() }
    }
}

/// What is not finite is null.
pub fn finite(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| Some(*value).filter(|value| value.is_finite())).collect()
}

/// The honesty line: which loss on what, and what the directions are.
pub fn note(model: &str, plane: &PlaneInfo, batch: &BatchInfo, objective: Objective) -> String {
    let [first, second] = plane.seeds;
    note_on(model, plane, &format!("seeds {first} {second}"), batch, objective)
}

/// The same of lines along one direction each, drawn by these seeds.
pub fn note_of_lines(
    model: &str,
    plane: &PlaneInfo,
    seeds: &[u64],
    batch: &BatchInfo,
    objective: Objective,
) -> String {
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    note_on(model, plane, &format!("a line for each of the seeds {}", seeds.join(",")), batch, objective)
}

fn note_on(model: &str, plane: &PlaneInfo, seeds: &str, batch: &BatchInfo, objective: Objective) -> String {
    let loss = match objective {
        Objective::Mean => format!("mean loss of {} tokens", batch.tokens),
        Objective::Last => "loss of the last token".to_owned(),
    };
    let hash = batch.sha256.get(..4).unwrap_or(&batch.sha256);
    let mut note = format!("{model}: {loss} of {} #{hash}; {} directions", batch.source, plane.kind);
    if plane.kind == PlaneKind::Random.name() {
        note.push_str(&format!(", {} norm, {seeds}", plane.normalization));
    }
    note.push_str(&format!(", over {} tensors ({} numbers), ", plane.tensors, plane.parameters));
    // A line has one direction.
    note.push_str(&match plane.norms {
        [first, 0.0] => format!("norm {first:.4}"),
        [first, second] => format!("norms {first:.4} {second:.4}, cosine {:.1e}", plane.cosine),
    });
    if let Some(explained) = plane.explained {
        let [first, second] = explained.shares.map(|share| 100.0 * share);
        let [walk, _] = explained.random_walk.map(|share| 100.0 * share);
        note.push_str(&format!(
            "; it holds {first:.0} + {second:.0} % of the path (a random walk: {walk:.0} %)"
        ));
    }
    if let Some(spectrum) = plane.spectrum {
        note.push_str(&format!(
            "; eigenvalues {:.4} and {:.4}, {} of {} probed are negative",
            spectrum.greatest, spectrum.least, spectrum.negative, spectrum.probed
        ));
    }
    note
}

/// A way to write a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Lines of `alpha,beta,loss`; what else one must know stands in lines that begin with `#`.
    Csv,
    /// `alphas`, `betas` and `loss` as `NumPy` arrays of f64, and `caption`, the bytes of a JSON object.
    Npz,
    /// A surface whose height is the loss, in VTK's XML.
    Vtp,
}

impl Format {
    /// The format that the end of the name says.
    pub fn of(path: &Path) -> Result<Self, SurfaceError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("npz") => Ok(Self::Npz),
            Some("vtp") => Ok(Self::Vtp),
            _ => Err(SurfaceError::UnknownFormat(path.to_owned())),
        }
    }

    /// Whether [`Surface::read`] reads what was written so.
    pub fn is_read_again(self) -> bool {
        self != Self::Vtp
    }
}

impl Surface {
    /// What is known of a grid, with its caption.
    pub fn new(caption: Caption, grid: &Grid) -> Self {
        let loss = finite(&grid.loss()).chunks(grid.alphas().len().max(1)).map(<[_]>::to_vec).collect();
        Self { caption, alphas: grid.alphas().to_vec(), betas: grid.betas().to_vec(), loss }
    }

    /// What a screen shows of a model: the mean loss of a batch.
    pub fn shown(model: String, slice: &Slice) -> Self {
        let Slice { alphas, betas, plane, batch, seconds, method, .. } = slice;
        let losses: Vec<f64> = slice.loss.iter().copied().map(f64::from).collect();
        // The sides of such a grid are odd: it has a point in the middle.
        let center = losses.get(losses.len() / 2).copied();
        let caption = Caption {
            note: note(&model, plane, batch, Objective::Mean),
            model,
            center: Center { loss: center.filter(|loss| loss.is_finite()) },
            plane: plane.clone(),
            batch: batch.clone(),
            objective: Objective::Mean.name().to_owned(),
            method: method.clone(),
            seconds: *seconds,
            points_per_second: if *seconds > 0.0 { losses.len() as f64 / seconds } else { 0.0 },
            complete: true,
            lines: None,
        };
        let loss = finite(&losses).chunks(alphas.len().max(1)).map(<[_]>::to_vec).collect();
        Self { caption, alphas: alphas.clone(), betas: betas.clone(), loss }
    }

    /// Writes the file beside and renames it, so that a reader, or a disk that is full, finds the old one whole.
    pub fn write(&self, path: &Path) -> Result<(), SurfaceError> {
        let format = Format::of(path)?;
        super::replace(path, |file| self.fill(file, format))
            .map_err(|source| SurfaceError::Io { path: path.to_owned(), source })
    }

    /// Writes a file that is not there yet.
    pub fn create(&self, path: &Path) -> Result<(), SurfaceError> {
        let format = Format::of(path)?;
        super::create(path, |file| self.fill(file, format))
            .map_err(|source| SurfaceError::Io { path: path.to_owned(), source })
    }

    fn fill(&self, file: &mut NamedTempFile, format: Format) -> std::io::Result<()> {
        match format {
            Format::Json => file.write_all(json(self).as_bytes()),
            Format::Csv => file.write_all(self.csv().as_bytes()),
            Format::Vtp => file.write_all(self.vtp().as_bytes()),
            Format::Npz => super::arrays::fill(file, &self.arrays().map_err(std::io::Error::other)?),
        }
    }

    /// Reads what [`Self::write`] has written.
    pub fn read(path: &Path) -> Result<Self, SurfaceError> {
        let broken = |reason: String| SurfaceError::Broken { path: path.to_owned(), reason };
        let text = || {
            std::fs::read_to_string(path).map_err(|source| SurfaceError::Io { path: path.to_owned(), source })
        };
        let surface = match Format::of(path)? {
            Format::Json => serde_json::from_str(&text()?).map_err(|error| broken(error.to_string()))?,
            Format::Csv => Self::from_csv(&text()?).map_err(broken)?,
            Format::Npz => Self::from_npz(path).map_err(broken)?,
            Format::Vtp => return Err(SurfaceError::WriteOnly(path.to_owned())),
        };
        let Self { alphas, betas, loss, .. } = &surface;
        if loss.len() != betas.len() || loss.iter().any(|row| row.len() != alphas.len()) {
            return Err(broken("the losses are not as many as the coordinates".to_owned()));
        }
        if loss.is_empty() || alphas.is_empty() || !alphas.iter().chain(betas).all(|x| x.is_finite()) {
            return Err(broken("the coordinates are no numbers".to_owned()));
        }
        Ok(surface)
    }

    fn csv(&self) -> String {
        // A line of text from a file may hold anything.
        let note = self.caption.note.replace(char::is_control, " ");
        let mut text = format!("# {note}\n# {}\nalpha,beta,loss\n", json(&self.caption).trim());
        for (beta, row) in self.betas.iter().zip(&self.loss) {
            for (alpha, loss) in self.alphas.iter().zip(row) {
                text.push_str(&format!("{alpha},{beta},{}\n", loss.unwrap_or(f64::NAN)));
            }
        }
        text
    }

    fn from_csv(text: &str) -> Result<Self, String> {
        let caption = text.lines().find_map(|line| line.strip_prefix("# {").map(|rest| format!("{{{rest}")));
        let caption = caption.ok_or("there is no line `# {..}` with what the slice is of")?;
        let caption: Caption = serde_json::from_str(&caption).map_err(|error| error.to_string())?;
        let (mut alphas, mut betas, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') || line == "alpha,beta,loss" {
                continue;
            }
            let numbers: Vec<f64> = line.split(',').filter_map(|number| number.parse().ok()).collect();
            let [alpha, beta, loss] = numbers[..] else {
                return Err(format!("line {}: not three numbers", index + 1));
            };
            if betas.last() != Some(&beta) {
                betas.push(beta);
            }
            if betas.len() == 1 {
                alphas.push(alpha);
            }
            losses.push(loss);
        }
        let loss = finite(&losses).chunks(alphas.len().max(1)).map(<[_]>::to_vec).collect();
        Ok(Self { caption, alphas, betas, loss })
    }

    fn arrays(&self) -> candle_core::Result<Vec<(&'static str, Tensor)>> {
        let losses: Vec<f64> = self.loss.iter().flatten().map(|loss| loss.unwrap_or(f64::NAN)).collect();
        let shape = (self.betas.len(), self.alphas.len());
        let caption = json(&self.caption);
        Ok(vec![
            ("alphas", Tensor::new(self.alphas.as_slice(), &Device::Cpu)?),
            ("betas", Tensor::new(self.betas.as_slice(), &Device::Cpu)?),
            ("loss", Tensor::from_vec(losses, shape, &Device::Cpu)?),
            ("caption", Tensor::new(caption.as_bytes(), &Device::Cpu)?),
        ])
    }

    fn from_npz(path: &Path) -> Result<Self, String> {
        let mut file = Npz::open(path)?;
        let caption = serde_json::from_slice(&file.bytes("caption")?).map_err(|error| error.to_string())?;
        let (_, alphas) = file.numbers("alphas")?;
        let (_, betas) = file.numbers("betas")?;
        let (dims, losses) = file.numbers("loss")?;
        let [_, columns] = dims[..] else { return Err("the losses have no rows and columns".to_owned()) };
        let loss = finite(&losses).chunks(columns.max(1)).map(<[_]>::to_vec).collect();
        Ok(Self { caption, alphas, betas, loss })
    }

    /// The points that have a loss, at (alpha, beta, loss), and the quadrangles between four of them. The format is
    /// that of VTK's "File Formats", section "`PolyData`".
    fn vtp(&self) -> String {
        let columns = self.alphas.len();
        let (mut points, mut losses, mut numbers) = (String::new(), String::new(), Vec::new());
        let mut count = 0_usize;
        for (beta, row) in self.betas.iter().zip(&self.loss) {
            for (alpha, loss) in self.alphas.iter().zip(row) {
                numbers.push(loss.map(|_| count));
                if let Some(loss) = loss {
                    points.push_str(&format!("{alpha} {beta} {loss}\n"));
                    losses.push_str(&format!("{loss}\n"));
                    count += 1;
                }
            }
        }
        let quads: Vec<[usize; 4]> = (1..self.betas.len())
            .flat_map(|row| (1..columns).map(move |column| row * columns + column))
            .filter_map(|at| {
                let corner = |index: usize| numbers[index];
                Some([corner(at - columns - 1)?, corner(at - columns)?, corner(at)?, corner(at - 1)?])
            })
            .collect();
        let (mut corners, mut ends) = (String::new(), String::new());
        for (index, [a, b, c, d]) in quads.iter().enumerate() {
            corners.push_str(&format!("{a} {b} {c} {d}\n"));
            ends.push_str(&format!("{}\n", 4 * (index + 1)));
        }
        // One row has no quadrangle: its points make a line.
        let line = if self.betas.len() == 1 && count > 1 {
            let numbers = (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
            format!(
                "<Lines>\n<DataArray type=\"Int64\" Name=\"connectivity\" format=\"ascii\">\n{numbers}\n\
                 </DataArray>\n<DataArray type=\"Int64\" Name=\"offsets\" format=\"ascii\">\n{count}\n\
                 </DataArray>\n</Lines>\n"
            )
        } else {
            String::new()
        };
        // A comment may hold no two hyphens, and text from a file may hold anything.
        let note = self.caption.note.replace("--", "- -").replace("--", "- -");
        let note = note.replace(|c| !is_legal(c) || matches!(c, '<' | '>' | '&'), "?");
        format!(
            "<?xml version=\"1.0\"?>\n<!-- {note} -->\n\
             <VTKFile type=\"PolyData\" version=\"0.1\" byte_order=\"LittleEndian\">\n<PolyData>\n\
             <Piece NumberOfPoints=\"{}\" NumberOfVerts=\"0\" NumberOfLines=\"{}\" NumberOfStrips=\"0\" \
             NumberOfPolys=\"{}\">\n\
             <PointData Scalars=\"loss\">\n<DataArray type=\"Float64\" Name=\"loss\" format=\"ascii\">\n{losses}\
             </DataArray>\n</PointData>\n\
             <Points>\n<DataArray type=\"Float64\" NumberOfComponents=\"3\" format=\"ascii\">\n{points}\
             </DataArray>\n</Points>\n{line}\
             <Polys>\n<DataArray type=\"Int64\" Name=\"connectivity\" format=\"ascii\">\n{corners}</DataArray>\n\
             <DataArray type=\"Int64\" Name=\"offsets\" format=\"ascii\">\n{ends}</DataArray>\n</Polys>\n\
             </Piece>\n</PolyData>\n</VTKFile>\n",
            count,
            usize::from(!line.is_empty()),
            quads.len(),
        )
    }
}

/// One line of JSON. A value of our own types has nothing that JSON can't hold.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::evaluator::Losses;
    use crate::landscape::survey::evenly;

    fn surface() -> Surface {
        let mut grid = Grid::new(evenly(-1.0, 1.0, 4), evenly(-0.1, 0.5, 3));
        for (row, column) in (0..3).flat_map(|row| (0..4).map(move |column| (row, column))) {
            if (row, column) != (2, 3) {
                let loss = if (row, column) == (0, 0) {
                    f64::INFINITY
                } else {
                    0.1 * row as f64 + column as f64 / 3.0
                };
                grid.set(row, column, Losses { loss, last: loss });
            }
        }
        let caption = Caption {
            model: "m, \"quoted\"".to_owned(),
            center: Center { loss: Some(1.0 / 3.0) },
            plane: PlaneInfo {
                kind: "random".to_owned(),
                seeds: [11, 111],
                cosine: 1e-17,
                ..PlaneInfo::default()
            },
            batch: BatchInfo { tokens: 5, sha256: "ab".to_owned(), source: "text".to_owned() },
            objective: "mean".to_owned(),
            method: "stack".to_owned(),
            seconds: 0.5,
            points_per_second: 22.0,
            complete: false,
            note: "mean of 5 tokens -- <one>".to_owned(),
            lines: None,
        };
        Surface::new(caption, &grid)
    }

    #[test]
    fn every_format_but_vtp_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["s.json", "s.csv", "s.npz"] {
            let path = folder.path().join(name);
            surface().write(&path).unwrap();
            assert_eq!(Surface::read(&path).unwrap(), surface(), "{name}");
        }
        let path = folder.path().join("s.vtp");
        surface().write(&path).unwrap();
        assert!(matches!(Surface::read(&path), Err(SurfaceError::WriteOnly(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing else is left there");
    }

    #[test]
    fn the_slice_of_a_screen_comes_back_with_what_is_known_of_it() {
        let slice = Slice {
            step: 7,
            generation: 1,
            alphas: vec![-1.0, 0.0, 1.0],
            betas: vec![0.5],
            loss: vec![1.0, 2.0, f32::NAN],
            center: 1.5,
            finest: false,
            plane: PlaneInfo { kind: "random".to_owned(), ..PlaneInfo::default() },
            batch: BatchInfo { tokens: 5, sha256: "é".to_owned(), source: "held-out".to_owned() },
            seconds: 0.0,
            method: "stack".to_owned(),
            sharpness: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let surface = Surface::shown("tidy-otter@7".to_owned(), &slice);
        surface.create(&path).unwrap();
        let read = Surface::read(&path).unwrap();
        assert_eq!(read, surface);
        assert_eq!(read.loss, [[Some(1.0), Some(2.0), None]]);
        assert_eq!(read.caption.center.loss, Some(2.0), "the middle of the ranges");
        assert!(read.caption.note.starts_with("tidy-otter@7: mean loss of 5 tokens of held-out #é"));
        assert!(surface.create(&path).is_err(), "it is there already");
    }

    #[test]
    fn a_vtp_leaves_out_missing_points_and_their_quadrangles() {
        let text = surface().vtp();
        assert!(text.contains("NumberOfPoints=\"10\"") && text.contains("NumberOfPolys=\"4\""), "{text}");
        assert!(text.contains("<!-- mean of 5 tokens - - ?one? -->"));
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        std::fs::write(&path, "{\"loss\": 3}").unwrap();
        assert!(Surface::read(&path).unwrap_err().to_string().contains("s.json: not a slice"));
        assert!(matches!(surface().write(&folder.path().join("s.doc")), Err(SurfaceError::UnknownFormat(_))));
        std::fs::write(&path, &json(&surface())[..300]).unwrap();
        assert!(Surface::read(&path).is_err());
    }

    #[test]
    fn a_disk_that_refuses_leaves_the_old_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere/s.json");
        assert!(matches!(surface().write(&path), Err(SurfaceError::Io { .. })));
    }

    #[test]
    fn the_band_of_lines_is_their_median_and_quartiles() {
        let lines = Lines::new(vec![1, 2, 3, 4, 5], &[1.0, 2.0, 3.0, 4.0, 100.0].map(|x| vec![x, f64::NAN]));
        assert_eq!((lines.median[0], lines.low[0], lines.high[0]), (Some(3.0), Some(2.0), Some(4.0)));
        assert_eq!((lines.median[1], lines.loss[4][1]), (None, None));
    }
}
