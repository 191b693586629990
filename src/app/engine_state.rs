//! What a screen knows of the engine.

use crate::protocol::wormhole::{self, Film};
use crate::protocol::{
    Curvature, History, LayerNorm, Prediction, RunInfo, Sharpness, Slice, Status, TensorHistory, Timeline,
    Update, probe,
};

/// What the engine has told so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineState {
    /// What the run is.
    pub run: Option<RunInfo>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Its steps.
    pub history: History,
    /// Gradient norms of the newest step.
    pub layers: Vec<LayerNorm>,
    /// Names of the parameters.
    pub tensor_names: Vec<String>,
    /// Their norms over the run.
    pub tensors: TensorHistory,
    /// The newest slice.
    pub slice: Option<Slice>,
    /// The finished slices of the run.
    pub timeline: Timeline,
    /// The newest sharpness: not every slice comes with one.
    pub sharpness: Option<Sharpness>,
    /// The newest prediction.
    pub prediction: Option<Prediction>,
    /// The wormhole beside the run.
    pub wormhole: Option<wormhole::Scene>,
    /// The plane of the wormhole that stays.
    pub frozen: Option<Slice>,
    /// The plane of the wormhole that travels.
    pub film: Film,
    /// The probe beside the run.
    pub probe: Option<probe::Scene>,
    /// How the loss curves, where that was asked for.
    pub curvature: Option<Curvature>,
}

impl EngineState {
    /// Takes over what an update carries. Log lines are not kept here: the log pane has a store of its own.
    pub(super) fn apply(&mut self, update: Update) {
        let Update { run, status, history, points, layers, slice, prediction, .. } = update;
        self.run = run.or(self.run.take());
        self.status = status.or(self.status.take());
        self.sharpness = slice.as_ref().and_then(|slice| slice.sharpness).or(self.sharpness);
        self.slice = slice.or(self.slice.take());
        self.prediction = prediction.or(self.prediction.take());
        if let Some(layers) = layers {
            self.layers = layers;
        }
        if let Some(history) = history {
            self.history = history;
        }
        for point in points {
            self.history.push(point);
        }
        self.tensor_names = update.tensor_names.unwrap_or(std::mem::take(&mut self.tensor_names));
        self.tensors = update.tensor_history.unwrap_or(std::mem::take(&mut self.tensors));
        for norms in update.tensors {
            self.tensors.push(norms);
        }
        self.timeline = update.timeline.unwrap_or(std::mem::take(&mut self.timeline));
        for slice in update.finished {
            self.timeline.push(slice);
        }
        self.wormhole = update.wormhole.or(self.wormhole.take());
        self.frozen = update.frozen.or(self.frozen.take());
        self.film = update.film.unwrap_or(std::mem::take(&mut self.film));
        for frame in update.frames {
            self.film.push(frame);
        }
        self.probe = update.probe.or(self.probe.take());
        self.curvature = update.curvature.or(self.curvature.take());
    }
}
