//! `slices.jsonl`: the slices of a run, one object a line. A line takes the place of all earlier lines of its step and
//! of later steps: a run that went back takes another course.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tail::Tail;
use crate::export::replace;
use crate::protocol::{BatchInfo, PlaneInfo, Sharpness, Slice, Timeline};

/// Lines at which the file is written anew with what a [`Timeline`] keeps of them.
const MOST: usize = 512;

/// A line. What is not finite is null.
#[derive(Serialize, Deserialize)]
struct Line {
    step: u64,
    generation: u64,
    alphas: Vec<f64>,
    betas: Vec<f64>,
    /// `loss[i][j]` is the loss at `alphas[j]`, `betas[i]`.
    loss: Vec<Vec<Option<f32>>>,
    center: Option<f64>,
    plane: PlaneInfo,
    batch: BatchInfo,
    seconds: f64,
    #[serde(default)]
    method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharpness: Option<Sharpness>,
}

impl Line {
    fn of(slice: &Slice) -> Self {
        let finite = |loss: &f32| Some(*loss).filter(|loss| loss.is_finite());
        Self {
            step: slice.step,
            generation: slice.generation,
            alphas: slice.alphas.clone(),
            betas: slice.betas.clone(),
            loss: slice
                .loss
                .chunks(slice.alphas.len().max(1))
                .map(|row| row.iter().map(finite).collect())
                .collect(),
            center: Some(slice.center).filter(|loss| loss.is_finite()),
            plane: slice.plane.clone(),
            batch: slice.batch.clone(),
            seconds: slice.seconds,
            method: slice.method.clone(),
            sharpness: slice.sharpness,
        }
    }

    /// `None` where its parts do not fit together.
    fn slice(self) -> Option<Slice> {
        let Self { step, generation, alphas, betas, loss, center, plane, batch, seconds, method, sharpness } =
            self;
        let ascends = |axis: &[f64]| axis.len() > 1 && axis.is_sorted_by(|a, b| a < b);
        let fits = loss.len() == betas.len() && loss.iter().all(|row| row.len() == alphas.len());
        let fits = fits && ascends(&alphas) && ascends(&betas);
        fits.then(|| Slice {
            step,
            generation,
            loss: loss.into_iter().flatten().map(|loss| loss.unwrap_or(f32::NAN)).collect(),
            alphas,
            betas,
            center: center.unwrap_or(f64::NAN),
            finest: true,
            plane,
            batch,
            seconds,
            method,
            sharpness,
        })
    }
}

/// The file's name in the folder of a run.
pub const FILE: &str = "slices.jsonl";

/// The slice on a line; `None` where it is torn or something else.
pub(super) fn slice(line: &[u8]) -> Option<Slice> {
    serde_json::from_slice(line).ok().and_then(Line::slice)
}

/// All slices of the run in `folder`, at the steps where it went on, oldest first.
pub fn all(folder: &Path) -> std::io::Result<Vec<Slice>> {
    let mut slices: Vec<Slice> = Vec::new();
    Tail::new(folder.join(FILE)).read(|line| {
        if let Some(slice) = slice(line) {
            while slices.pop_if(|before| before.step >= slice.step).is_some() {}
            slices.push(slice);
        }
    })?;
    Ok(slices)
}

/// The slices in a file, and the number of its lines. A line that is no slice is passed over.
fn read(path: &Path) -> std::io::Result<(Timeline, usize)> {
    let (mut timeline, mut lines) = (Timeline::default(), 0);
    Tail::new(path.to_owned()).read(|line| {
        lines += 1;
        if let Some(slice) = slice(line) {
            timeline.push(slice);
        }
    })?;
    Ok((timeline, lines))
}

/// The file of a run that is trained.
#[derive(Debug)]
pub struct SlicesFile {
    path: PathBuf,
    lines: usize,
}

impl SlicesFile {
    /// Opens the file of the run in `folder`, which goes on behind `step`, and returns its slices up to there.
    pub fn open(folder: &Path, step: u64) -> std::io::Result<(Self, Timeline)> {
        let path = folder.join(FILE);
        let (mut timeline, lines) = read(&path)?;
        timeline.rewind(step);
        Ok((Self { path, lines }, timeline))
    }

    /// Adds a slice at its finest. From time to time the file is written anew, with what is kept of a long run.
    pub fn append(&mut self, slice: &Slice) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&Line::of(slice))?;
        line.push(b'\n');
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(&line) {
            // A torn line would swallow the next one.
            file.set_len(length)?;
            return Err(error);
        }
        self.lines += 1;
        if self.lines > MOST {
            self.thin()?;
        }
        Ok(())
    }

    fn thin(&mut self) -> std::io::Result<()> {
        let (timeline, _) = read(&self.path)?;
        replace(&self.path, |file| {
            for slice in timeline.items() {
                serde_json::to_writer(&mut *file, &Line::of(slice))?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })?;
        self.lines = timeline.items().len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(step: u64) -> Slice {
        Slice {
            step,
            generation: 1,
            alphas: vec![-1.0, 0.0, 1.0],
            betas: vec![0.0, 1.0],
            loss: vec![1.5, 0.1, f32::INFINITY, 2.5, 1.0, 3.25],
            center: 0.1,
            finest: true,
            plane: PlaneInfo { kind: "random".to_owned(), seeds: [11, 111], ..PlaneInfo::default() },
            batch: BatchInfo { tokens: 4, sha256: "ab".to_owned(), source: "held-out".to_owned() },
            seconds: 0.5,
            method: "stack".to_owned(),
            sharpness: None,
        }
    }

    fn steps(timeline: &Timeline) -> Vec<u64> {
        timeline.items().iter().map(|slice| slice.step).collect()
    }

    #[test]
    fn a_slice_is_read_as_it_was_written_and_what_is_not_finite_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join(FILE)).unwrap().0.items().is_empty(), "a run without slices");
        let (mut file, _) = SlicesFile::open(folder.path(), 0).unwrap();
        file.append(&slice(3)).unwrap();
        let timeline = read(&folder.path().join(FILE)).unwrap().0;
        let [back] = timeline.items() else { panic!("{timeline:?}") };
        assert!(back.loss[2].is_nan());
        let mut loss = back.loss.clone();
        loss[2] = f32::INFINITY;
        assert_eq!(Slice { loss, ..back.clone() }, slice(3));
    }

    #[test]
    fn torn_lines_and_other_things_are_passed_over_and_another_course_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = SlicesFile::open(folder.path(), 0).unwrap();
        (1..=4).for_each(|step| file.append(&slice(step)).unwrap());
        let path = folder.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{}\n\u{1b}[31m\n{\"step\":5,\"lo\n");
        std::fs::write(&path, text).unwrap();
        let (mut file, timeline) = SlicesFile::open(folder.path(), 3).unwrap();
        assert_eq!(steps(&timeline), [1, 2, 3]);
        file.append(&slice(2)).unwrap();
        assert_eq!(steps(&read(&folder.path().join(FILE)).unwrap().0), [1, 2]);
        let all: Vec<u64> = all(folder.path()).unwrap().iter().map(|slice| slice.step).collect();
        assert_eq!(all, [1, 2]);
    }

    #[test]
    fn the_file_of_a_long_run_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = SlicesFile::open(folder.path(), 0).unwrap();
        (1..=2 * MOST as u64).for_each(|step| file.append(&slice(step)).unwrap());
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.lines().count() <= MOST);
        let timeline = read(&folder.path().join(FILE)).unwrap().0;
        assert_eq!((steps(&timeline)[0], steps(&timeline).last()), (1, Some(&(2 * MOST as u64))));
    }
}
