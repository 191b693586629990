//! What is measured at a step, each number under one name: `metrics.jsonl`, `TensorBoard`, the screen and CSV all
//! take it from here.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::tail::Tail;
use crate::protocol::{LayerNorm, Point};
use crate::train::trainer::StepReport;

/// The file's name in the folder of a run.
pub const FILE: &str = "metrics.jsonl";

/// All that is known of one step.
#[derive(Debug, Clone)]
pub struct Record {
    /// What the trainer says.
    pub report: StepReport,
    /// Gradient norm of each layer.
    pub layers: Vec<LayerNorm>,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Seconds the step took.
    pub seconds: f64,
    /// Held-out loss after the step, where it was measured.
    pub eval_loss: Option<f64>,
    /// Critical sharpness along the step of the newest slice, where one has come since the step before.
    pub sharpness: Option<f64>,
    /// Steps refused since the last record because something was not finite.
    pub nonfinite: u64,
    /// The loss stands out from those before it.
    pub spike: bool,
    /// Bytes of this process, where they were looked up.
    pub memory: Option<u64>,
}

/// A number under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The name; a slash groups.
    pub name: Cow<'static, str>,
    /// The number.
    pub value: f64,
    /// Two runs of one seed give the same.
    pub reproducible: bool,
}

impl Record {
    /// All numbers but the step's own, in the order of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<Metric> {
        let StepReport { learning_rate, norms, tokens, .. } = &self.report;
        let named = |name: &'static str, value: f64| Metric { name: name.into(), value, reproducible: true };
        let timed = |name, value| Metric { reproducible: false, ..named(name, value) };
        let mut metrics = vec![
            named("loss", norms.loss),
            named("grad_norm", norms.grad_norm),
            named("lr", *learning_rate),
            named("tokens", self.tokens as f64),
            timed("seconds", self.seconds),
            named("grad_norm_clipped", norms.clipped_norm),
            named("update_ratio", norms.update_norm / norms.weight_norm),
        ];
        metrics.extend(self.layers.iter().map(|layer| Metric {
            name: format!("{LAYER}{}", layer.name).into(),
            value: layer.grad_norm,
            reproducible: true,
        }));
        metrics.extend(self.eval_loss.map(|loss| named("eval_loss", loss)));
        metrics.extend(self.sharpness.map(|sharpness| timed("sharpness", sharpness)));
        metrics.extend(self.spike.then(|| named("spike", 1.0)));
        metrics.extend((self.nonfinite > 0).then(|| named("nonfinite", self.nonfinite as f64)));
        metrics.push(timed("tokens_per_second", *tokens as f64 / self.seconds));
        metrics.extend(self.memory.map(|bytes| timed("memory", bytes as f64)));
        metrics
    }

    /// The same as a screen wants it.
    pub fn point(&self) -> Point {
        Point {
            step: self.report.step,
            loss: self.report.norms.loss,
            held_out: self.eval_loss,
            grad_norm: self.report.norms.grad_norm,
            learning_rate: self.report.learning_rate,
            spike: self.spike,
        }
    }
}

/// One object: the step and what two runs of one seed share, besides `seconds` and `sharpness`. Numbers that are not
/// finite are null.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("step", &self.report.step)?;
        let kept = |metric: &Metric| metric.reproducible || matches!(&*metric.name, "seconds" | "sharpness");
        for metric in self.metrics().into_iter().filter(kept) {
            if matches!(&*metric.name, "tokens" | "nonfinite" | "spike") {
                line.serialize_entry(&metric.name, &(metric.value as u64))?;
            } else {
                line.serialize_entry(&metric.name, &metric.value)?;
            }
        }
        line.end()
    }
}

/// `metrics.jsonl`, open for appending. Every line is written whole, so a reader sees at most the last one torn.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// Lines that the disk has not taken yet.
    waiting: Vec<u8>,
    /// Lines for which there was no room among these.
    lost: u64,
}

impl MetricsFile {
    /// Bytes of lines that wait at most.
    const PATIENCE: usize = 16 << 20;

    /// Opens or makes the file.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, waiting: Vec::new(), lost: 0 })
    }

    /// Appends one line, and those that could not be written before. What fails now waits for the next time. Returns how
    /// many lines since the last one that was written are lost: too many waited.
    pub fn append(&mut self, record: &Record) -> std::io::Result<u64> {
        if self.waiting.len() < Self::PATIENCE {
            serde_json::to_writer(&mut self.waiting, record)?;
            self.waiting.push(b'\n');
        } else {
            self.lost += 1;
        }
        if let Err(error) = self.file.write_all(&self.waiting) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(std::mem::take(&mut self.lost))
    }

    /// Drops what begins with the first step behind this one, and a last line that is torn. A line in between that
    /// nobody can read stays.
    pub fn rewind(&mut self, step: u64) -> std::io::Result<()> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        let (mut line, mut length) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut line)? > 0 {
            let behind =
                serde_json::from_slice(&line).is_ok_and(|line| step_of(&line).is_some_and(|of| of > step));
            if behind || !line.ends_with(b"\n") {
                break;
            }
            length += line.len() as u64;
            line.clear();
        }
        self.waiting.clear();
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }
}

/// What the names of the gradient norms of layers begin with.
const LAYER: &str = "grad_norm/";

/// The gradient norm of each layer on a line.
pub fn layers(line: &IndexMap<String, Value>) -> Vec<LayerNorm> {
    let layer = |(name, value): (&String, &Value)| {
        let name = name.strip_prefix(LAYER)?.to_owned();
        Some(LayerNorm { name, grad_norm: value.as_f64().unwrap_or(f64::NAN) })
    };
    line.iter().filter_map(layer).collect()
}

fn step_of(line: &IndexMap<String, Value>) -> Option<u64> {
    line.get("step")?.as_u64()
}

/// Calls `each` with the lines of a file, but for those that nobody can read. A file that is not there has none.
pub fn read(path: &Path, mut each: impl FnMut(IndexMap<String, Value>)) -> std::io::Result<()> {
    Tail::new(path.to_owned()).read(|line| {
        if let Ok(line) = serde_json::from_slice(line) {
            each(line);
        }
    })
}

/// A line as a screen wants it.
pub fn point(line: &IndexMap<String, Value>) -> Option<Point> {
    let number = |name: &str| line.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    Some(Point {
        step: line.get("step")?.as_u64()?,
        loss: number("loss")?,
        held_out: number("eval_loss"),
        grad_norm: number("grad_norm")?,
        learning_rate: number("lr")?,
        spike: line.contains_key("spike"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::optimizer::StepNorms;

    fn record(step: u64) -> Record {
        let norms = StepNorms {
            loss: f64::NAN,
            per_tensor: Vec::new(),
            grad_norm: 0.5,
            clipped_norm: 0.25,
            update_norm: 0.25,
            weight_norm: 2.0,
        };
        Record {
            report: StepReport { step, learning_rate: 1e-2, tokens: 512, norms },
            layers: vec![LayerNorm { name: "layer 0".to_owned(), grad_norm: 0.5 }],
            tokens: 512 * step,
            seconds: 0.25,
            eval_loss: None,
            sharpness: None,
            nonfinite: 0,
            spike: false,
            memory: Some(1),
        }
    }

    #[test]
    fn a_line_is_one_object_with_null_for_what_is_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path).unwrap();
        file.append(&record(1)).unwrap();
        file.append(&Record { eval_loss: Some(2.5), ..record(2) }).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"step":1,"loss":null,"grad_norm":0.5,"lr":0.01,"tokens":512,"seconds":0.25,"grad_norm_clipped":0.25,"update_ratio":0.125,"grad_norm/layer 0":0.5}"#
        );
        assert!(lines[1].ends_with(r#""eval_loss":2.5}"#));
    }

    #[test]
    fn going_back_drops_what_came_after_and_a_torn_line_but_none_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path).unwrap();
        file.append(&record(1)).unwrap();
        file.file.write_all(b"not a line\n").unwrap();
        for step in 2..=5 {
            file.append(&record(step)).unwrap();
        }
        file.file.write_all(b"{\"step\":6,\"lo").unwrap();
        let lines = || {
            let mut lines = Vec::new();
            read(&path, |line| lines.push(line)).unwrap();
            lines
        };
        let steps = || lines().iter().filter_map(step_of).collect::<Vec<_>>();
        assert_eq!(steps(), [1, 2, 3, 4, 5]);
        file.rewind(3).unwrap();
        file.append(&record(4)).unwrap();
        assert_eq!(steps(), [1, 2, 3, 4]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("not a line"));
        let points: Vec<Point> = lines().iter().filter_map(point).collect();
        assert!(points[0].loss.is_nan() && points[3].step == 4);
        assert_eq!(layers(&lines()[0]), record(1).layers);
    }

    #[test]
    fn lines_that_cannot_be_read_to_their_end_are_an_error_and_not_fewer_lines() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path(), |_| ()).is_err(), "a folder opens, and can't be read");
    }

    #[test]
    fn lines_that_no_memory_waits_with_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path).unwrap();
        // A file that is open for reading alone takes nothing.
        let good = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        file.waiting = [vec![b' '; MetricsFile::PATIENCE - 2], vec![b'\n']].concat();
        for step in 1..=3 {
            assert!(file.append(&record(step)).is_err());
        }
        file.file = good;
        assert_eq!(file.append(&record(4)).unwrap(), 3);
        assert_eq!(file.append(&record(5)).unwrap(), 0);
        let mut steps = Vec::new();
        read(&path, |line| steps.extend(step_of(&line))).unwrap();
        assert_eq!(steps, [1, 5]);
    }
}
