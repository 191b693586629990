//! `metrics.jsonl`: one object a step, as people's scripts read it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

/// One line. Numbers that are not finite are null.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    /// The step, from 1.
    pub step: u64,
    /// Loss in nats before the update.
    pub loss: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// The learning rate taken.
    pub lr: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Seconds this step took.
    pub seconds: f64,
    /// Held-out loss after the step, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// Critical sharpness along the step of the newest slice, where one has come since the line before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f64>,
}

/// The file, open for appending. Every line is written whole, so a reader sees at most the last one torn.
#[derive(Debug)]
pub struct MetricsFile(File);

impl MetricsFile {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    /// Appends one line.
    pub fn append(&mut self, metrics: &Metrics) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(metrics)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_with_null_for_what_is_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path).unwrap();
        let metrics = Metrics {
            step: 1,
            loss: f64::NAN,
            grad_norm: 0.5,
            lr: 1e-2,
            tokens: 512,
            seconds: 0.25,
            eval_loss: None,
            sharpness: None,
        };
        file.append(&metrics).unwrap();
        file.append(&Metrics { eval_loss: Some(2.5), ..metrics }).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"step":1,"loss":null,"grad_norm":0.5,"lr":0.01,"tokens":512,"seconds":0.25}"#
        );
        assert!(lines[1].ends_with(r#""eval_loss":2.5}"#));
    }
}
