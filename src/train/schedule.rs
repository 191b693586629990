//! The learning rate of each step.

use serde::{Deserialize, Serialize};

/// The shape of a schedule after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Half a cosine from the peak to the floor.
    Cosine,
    /// A straight line from the peak to the floor.
    Linear,
    /// The peak, always.
    Constant,
}

/// The share of the peak that remains when the schedule has ended.
pub const FLOOR: f64 = 0.02;

/// A learning rate as a function of the step alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// The shape after the warm-up.
    pub shape: Shape,
    /// Steps of a linear rise from 0 to the peak.
    pub warmup: u64,
    /// The step at which the floor is reached.
    pub decay_steps: u64,
}

impl Schedule {
    /// The rate of step `step`, counted from 1: `peak * step / warmup` up to `warmup`, then
    /// `peak * (FLOOR + (1 - FLOOR) * share)` with a share that falls from 1 to 0 at `decay_steps` and stays there.
    pub fn rate(&self, step: u64) -> f64 {
        if step <= self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let length = self.decay_steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f64 / length as f64).min(1.0);
        let share = match self.shape {
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Shape::Linear => 1.0 - progress,
            Shape::Constant => return self.peak,
        };
        self.peak * (FLOOR + (1.0 - FLOOR) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape) -> Schedule {
        Schedule { peak: 1.0, shape, warmup: 10, decay_steps: 110 }
    }

    #[test]
    fn the_warm_up_rises_in_a_straight_line_to_the_peak() {
        let schedule = schedule(Shape::Cosine);
        assert!((schedule.rate(1) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(5) - 0.5).abs() < 1e-12);
        assert!((schedule.rate(10) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn each_shape_passes_its_middle_and_stays_at_its_end() {
        for (shape, middle, end) in
            [(Shape::Cosine, 0.51, 0.02), (Shape::Linear, 0.51, 0.02), (Shape::Constant, 1.0, 1.0)]
        {
            assert!((schedule(shape).rate(60) - middle).abs() < 1e-12, "{shape:?}");
            assert!((schedule(shape).rate(110) - end).abs() < 1e-12, "{shape:?}");
            assert!((schedule(shape).rate(100_000) - end).abs() < 1e-12, "{shape:?}");
        }
    }

    #[test]
    fn a_schedule_may_end_before_its_warm_up() {
        let schedule = Schedule { peak: 1.0, shape: Shape::Linear, warmup: 10, decay_steps: 5 };
        assert!((schedule.rate(10) - 1.0).abs() < 1e-12);
        assert!((schedule.rate(11) - FLOOR).abs() < 1e-12);
    }
}
