//! AdamW with decoupled weight decay, the learning-rate schedule, and clipping by the global norm.

use crate::params::Kind;
use crate::{Config, Layout};
use skep_kernels::sin_cos_f64;

/// The learning rate of `step` (from 0): linear warm-up, then half a cosine down to `final_rate` at the last step.
pub fn learning_rate(config: &Config, step: u64) -> f64 {
    if step < config.warmup {
        return config.learning_rate * (step + 1) as f64 / config.warmup as f64;
    }
    let span = config.steps.saturating_sub(config.warmup).max(1);
    let progress = ((step - config.warmup) as f64 / span as f64).min(1.0);
    let (_, cosine) = sin_cos_f64(std::f64::consts::PI * progress);
    let part = config.final_rate + (1.0 - config.final_rate) * 0.5 * (1.0 + cosine);
    config.learning_rate * part
}

/// Euclidean norm of a gradient, summed in f64 in order.
pub(crate) fn global_norm(gradient: &[f32]) -> f64 {
    let mut lanes = [0f64; 16];
    for part in gradient.chunks(16) {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane += f64::from(*x) * f64::from(*x);
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum.sqrt()
}

/// The optimiser's state: two moments for each parameter, and the powers of their decays.
#[derive(Clone, Debug)]
pub struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    power1: f64,
    power2: f64,
}

impl AdamW {
    /// The state before the first step, for `parameters` parameters.
    pub fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], power1: 1.0, power2: 1.0 }
    }

    /// One step at `rate` along `gradient`, each of whose values is multiplied by `factor` first (the clipping).
    ///
    /// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `p -= rate·(m̂ / (√v̂ + ε) + decay·p)`; gains do not decay. The constants
    /// of the step are computed in f64 and rounded once.
    pub fn step(
        &mut self,
        config: &Config,
        layout: &Layout,
        rate: f64,
        factor: f32,
        gradient: &[f32],
        params: &mut [f32],
    ) {
        self.power1 *= config.beta1;
        self.power2 *= config.beta2;
        let (b1, c1) = (config.beta1 as f32, (1.0 - config.beta1) as f32);
        let (b2, c2) = (config.beta2 as f32, (1.0 - config.beta2) as f32);
        let rate_first = (rate / (1.0 - self.power1)) as f32;
        let correct_second = (1.0 / (1.0 - self.power2)) as f32;
        let epsilon = config.epsilon as f32;
        for tensor in layout.tensors() {
            let decay = if tensor.kind == Kind::Gain { 0.0 } else { (rate * config.weight_decay) as f32 };
            let range = tensor.range();
            let moments = self.first[range.clone()].iter_mut().zip(&mut self.second[range.clone()]);
            let values = params[range.clone()].iter_mut().zip(&gradient[range]);
            for ((p, g), (m, v)) in values.zip(moments) {
                let g = g * factor;
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * (g * g);
                let step = rate_first * *m / ((*v * correct_second).sqrt() + epsilon);
                *p -= step + decay * *p;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::tests::tiny;

    #[test]
    fn the_schedule_rises_then_falls() {
        let config = Config { steps: 100, warmup: 10, learning_rate: 0.01, final_rate: 0.1, ..tiny() };
        let rate = |step| learning_rate(&config, step);
        assert!((rate(0) - 0.001).abs() < 1e-12 && (rate(9) - 0.01).abs() < 1e-12 && (rate(10) - 0.01).abs() < 1e-12);
        assert!((10..99).all(|s| rate(s + 1) < rate(s)));
        assert!((rate(100) - 0.001).abs() < 1e-12 && rate(5000) == rate(100));
    }

    #[test]
    fn the_first_step_has_the_size_of_the_rate_and_gains_do_not_decay() {
        let config = Config { weight_decay: 0.5, ..tiny() };
        let layout = Layout::new(&config.shape).unwrap();
        let mut params = vec![1.0f32; layout.len()];
        let mut gradient = vec![0.0; layout.len()];
        let gain = layout.tensors().iter().find(|t| t.kind == Kind::Gain).unwrap().offset;
        (gradient[0], gradient[gain]) = (3.0, -7.0);
        AdamW::new(layout.len()).step(&config, &layout, 0.01, 1.0, &gradient, &mut params);
        assert!((params[0] - (1.0 - 0.01 - 0.005)).abs() < 1e-6);
        assert!((params[1] - (1.0 - 0.005)).abs() < 1e-6);
        assert!((params[gain] - 1.01).abs() < 1e-6 && params[gain + 1] == 1.0);
    }
}
