//! The gradient of a batch over threads, the training loop's step, and evaluation.

use crate::optimiser::global_norm;
use crate::{AdamW, Config, Model, Stream, TrainError, Workspace, learning_rate};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where training sequences come from.
pub trait Dataset: Sync {
    /// A sequence of exactly `len` tokens, chosen by `stream` alone.
    ///
    /// # Errors
    /// [`TrainError::Text`] when the data cannot give one.
    fn sequence(&self, stream: &mut Stream, len: usize) -> Result<Vec<u32>, TrainError>;
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step, from 0.
    pub step: u64,
    /// Mean cross-entropy of the batch before the step, in nats per token.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// A run: parameters, optimiser state and the step that comes next.
#[derive(Debug)]
pub struct Trainer {
    config: Config,
    model: Model,
    params: Vec<f32>,
    optimiser: AdamW,
    step: u64,
    threads: usize,
    workspaces: Vec<Workspace>,
    gradients: Vec<Vec<f32>>,
}

impl Trainer {
    /// A run from fresh parameters. `threads` changes the speed, never a bit.
    ///
    /// # Errors
    /// [`TrainError::Shape`] or [`TrainError::Setting`] when the configuration makes no sense.
    pub fn new(config: Config, threads: usize) -> Result<Self, TrainError> {
        config.validate()?;
        let model = Model::new(&config.shape)?;
        let params = model.layout().initial(config.seed);
        let optimiser = AdamW::new(params.len());
        Ok(Self { config, model, params, optimiser, step: 0, threads, workspaces: Vec::new(), gradients: Vec::new() })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The parameters, in the order of [`Model::layout`].
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One step on the batch that the seed and the step choose.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] when the loss is not finite, and what `data` reports.
    pub fn step(&mut self, data: &dyn Dataset) -> Result<StepReport, TrainError> {
        let config = &self.config;
        let (sequences, len) = config.batch_of(self.step);
        let batch = (0..sequences as u64)
            .map(|i| {
                let number = self.step * config.batch as u64 + i;
                data.sequence(&mut Stream::new(config.seed, "sequence", number), len + 1)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let buffers = (&mut self.workspaces, &mut self.gradients);
        let loss = batch_gradient(&self.model, &self.params, &batch, self.threads, buffers)?;
        let gradient = &self.gradients[0];
        let norm = global_norm(gradient);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step: self.step });
        }
        let factor = if norm > config.clip { (config.clip / norm) as f32 } else { 1.0 };
        let rate = learning_rate(config, self.step);
        self.optimiser.step(config, self.model.layout(), rate, factor, gradient, &mut self.params);
        let report = StepReport { step: self.step, loss, gradient_norm: norm, learning_rate: rate };
        self.step += 1;
        Ok(report)
    }
}

/// Runs `work(thread's own state, index)` for every index below `count` on `states.len()` threads.
fn share<S: Send>(
    states: &mut [S],
    count: usize,
    work: impl Fn(&mut S, usize) -> Result<(), TrainError> + Sync,
) -> Result<(), TrainError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let run = |state: &mut S| {
        let checked = skep_kernels::check_float_environment().map_err(TrainError::from);
        let result = checked.and_then(|()| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                work(state, index)?;
            }
        });
        if let Err(error) = result {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    };
    match states {
        [only] => run(only),
        many => std::thread::scope(|scope| {
            for state in many {
                scope.spawn(|| run(state));
            }
        }),
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// The mean gradient of `batch`, left in `gradients[0]`, and the mean cross-entropy in nats per token.
///
/// All sequences have one length. Each gradient is computed alone and they are added in the order of the batch, so `threads` decides
/// only the speed. Both buffers are filled as needed and may be kept for the next call.
///
/// # Errors
/// [`TrainError::Sequence`] when a sequence does not fit the model.
pub fn batch_gradient(
    model: &Model,
    params: &[f32],
    batch: &[Vec<u32>],
    threads: usize,
    (workspaces, gradients): (&mut Vec<Workspace>, &mut Vec<Vec<f32>>),
) -> Result<f64, TrainError> {
    let rows = batch.first().map_or(0, Vec::len).saturating_sub(1);
    if rows == 0 {
        return Err(TrainError::Sequence("a batch holds sequences of at least two tokens".into()));
    }
    let threads = threads.clamp(1, batch.len());
    workspaces.retain(|work| work.rows() == rows);
    workspaces.truncate(threads);
    workspaces.resize_with(threads, || Workspace::new(model.shape(), rows));
    gradients.truncate(batch.len());
    gradients.resize_with(batch.len(), || vec![0.0; params.len()]);
    let tokens = batch.len() * rows;
    let weight = 1.0 / tokens as f32;
    let slots: Vec<_> = gradients.iter_mut().map(|g| Mutex::new((g, 0f64))).collect();
    share(workspaces, batch.len(), |work, i| {
        let mut slot = slots[i].lock().unwrap_or_else(PoisonError::into_inner);
        slot.1 = model.sequence_gradient(params, &batch[i], weight, work, slot.0)?;
        Ok(())
    })?;
    let mut loss = 0.0;
    for slot in slots {
        loss += slot.into_inner().unwrap_or_else(PoisonError::into_inner).1;
    }
    if let Some((first, rest)) = gradients.split_first_mut() {
        for gradient in rest {
            skep_kernels::add(first, gradient);
        }
    }
    Ok(loss / tokens as f64)
}

/// Summed cross-entropy of all sequences in nats, and the number of predicted tokens.
///
/// # Errors
/// [`TrainError::Sequence`] when a sequence does not fit the model.
pub fn evaluate(
    model: &Model,
    params: &[f32],
    sequences: &[Vec<u32>],
    threads: usize,
) -> Result<(f64, usize), TrainError> {
    let losses: Vec<_> = sequences.iter().map(|_| Mutex::new(0f64)).collect();
    share(&mut vec![(); threads.clamp(1, sequences.len().max(1))], sequences.len(), |(), i| {
        *losses[i].lock().unwrap_or_else(PoisonError::into_inner) = model.sequence_loss(params, &sequences[i])?;
        Ok(())
    })?;
    let mut sum = 0.0;
    for loss in losses {
        sum += loss.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
    Ok((sum, sequences.iter().map(|s| s.len() - 1).sum()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Kind, Shape};

    /// A run that takes milliseconds.
    pub(crate) fn tiny() -> Config {
        let shape = Shape {
            n_blocks: 2,
            d_model: 32,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 8,
            d_ff: 48,
            vocab: 40,
            context: 80,
            rms_eps: 1e-5,
            rope_theta: 10_000.0,
        };
        Config {
            shape,
            seed: 5,
            steps: 20,
            batch: 3,
            sequence: 35,
            long_steps: 5,
            learning_rate: 0.01,
            final_rate: 0.1,
            warmup: 4,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
        }
    }

    /// A language with structure: each token is three more than the one before it, but for a little noise.
    struct Steps;

    impl Dataset for Steps {
        fn sequence(&self, stream: &mut Stream, len: usize) -> Result<Vec<u32>, TrainError> {
            let mut token = stream.below(40);
            let mut next = || {
                token = if stream.below(10) == 0 { stream.below(40) } else { (token + 3) % 40 };
                token as u32
            };
            Ok((0..len).map(|_| next()).collect())
        }
    }

    fn run(threads: usize, steps: u64) -> (Vec<f32>, Vec<f64>) {
        let mut trainer = Trainer::new(tiny(), threads).unwrap();
        let losses = (0..steps).map(|_| trainer.step(&Steps).unwrap().loss).collect();
        (trainer.params, losses)
    }

    fn hash(params: &[f32]) -> String {
        let mut hasher = blake3::Hasher::new();
        for p in params {
            hasher.update(&p.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    #[test]
    fn a_short_run_learns_and_has_the_same_bits_everywhere() {
        let (params, losses) = run(1, 20);
        assert!(losses[19] < losses[0] - 0.2, "{losses:?}");
        assert_eq!(hash(&params), "583d198b59d63227281b54af4df1ccf502fdfc4bbc3a2dd0950da7d76ab4cf06");
    }

    #[test]
    fn threads_change_no_bit() {
        let (one, losses) = run(1, 5);
        for threads in [2, 3, 8] {
            assert_eq!(run(threads, 5), (one.clone(), losses.clone()));
        }
    }

    #[test]
    fn a_gradient_is_a_pure_function_of_parameters_and_sequence() {
        let config = tiny();
        let model = Model::new(&config.shape).unwrap();
        let params = model.layout().initial(1);
        let tokens = Steps.sequence(&mut Stream::new(1, "x", 0), 31).unwrap();
        let other = Steps.sequence(&mut Stream::new(1, "x", 1), 31).unwrap();
        let mut work = Workspace::new(&config.shape, 30);
        let mut gradient = |tokens: &[u32]| {
            let mut grads = vec![9.0; params.len()];
            let loss = model.sequence_gradient(&params, tokens, 1.0, &mut work, &mut grads).unwrap();
            (loss, grads)
        };
        let first = gradient(&tokens);
        assert_ne!(gradient(&other), first);
        assert_eq!(gradient(&tokens), first);
        assert_eq!(model.sequence_loss(&params, &tokens).unwrap(), first.0);
    }

    #[test]
    fn gradients_agree_with_finite_differences_for_every_tensor() {
        let config = tiny();
        let model = Model::new(&config.shape).unwrap();
        let mut params = model.layout().initial(3);
        // Gains away from one, so that a forgotten gain shows.
        for tensor in model.layout().tensors().iter().filter(|t| t.kind == Kind::Gain) {
            let mut stream = Stream::new(3, "gains", tensor.offset as u64);
            params[tensor.range()].iter_mut().for_each(|g| *g += 0.3 * stream.symmetric());
        }
        let tokens = Steps.sequence(&mut Stream::new(2, "x", 0), 71).unwrap();
        let mut grads = vec![0.0; params.len()];
        let mut work = Workspace::new(&config.shape, 70);
        model.sequence_gradient(&params, &tokens, 1.0, &mut work, &mut grads).unwrap();
        for tensor in model.layout().tensors() {
            // Along a random direction all values of a tensor are checked at once, and rounding matters least.
            for trial in 0..3 {
                let mut stream = Stream::new(trial, "direction", tensor.offset as u64);
                let direction: Vec<f32> = tensor.range().map(|_| stream.symmetric()).collect();
                let slope: f64 = grads[tensor.range()].iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                let size: f64 = grads[tensor.range()].iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
                let step = 1.0 / 256.0 / (direction.len() as f32).sqrt();
                let at = |t: f32| {
                    let mut moved = params.clone();
                    moved[tensor.range()].iter_mut().zip(&direction).for_each(|(p, d)| *p += t * d);
                    model.sequence_loss(&moved, &tokens).unwrap()
                };
                let measured = (at(step) - at(-step)) / f64::from(2.0 * step);
                let error = (measured - slope).abs();
                assert!(error < 0.02 * size.max(0.1), "{}: {slope} against {measured}, norm {size}", tensor.name);
                assert!(size > 1e-3, "{} has no gradient", tensor.name);
            }
        }
    }

    #[test]
    fn sequences_that_do_not_fit_are_refused() {
        let config = tiny();
        let model = Model::new(&config.shape).unwrap();
        let params = model.layout().initial(1);
        for tokens in [vec![], vec![1; 81], vec![40, 1]] {
            assert!(matches!(model.logits(&params, &tokens), Err(TrainError::Sequence(_))));
        }
        assert!(matches!(model.logits(&params[1..], &[1]), Err(TrainError::Sequence(_))));
        assert!(matches!(model.sequence_loss(&params, &[1]), Err(TrainError::Sequence(_))));
    }
}
