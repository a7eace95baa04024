//! Element-wise operations over slices, written so that the compiler can vectorise them.

use skep_kernels::{EXP_HIGHEST, EXP_LOWEST, exp_f32};

/// Replaces each `x` by `exp(x)`, with the bits of [`exp_f32`].
///
/// The rounding to an integer is done by adding and taking away 1.5·2²³, which rounds ties to even as well and which every
/// processor has; slices outside the normal range, which are rare, take the plain way.
pub(crate) fn exp_slice(values: &mut [f32]) {
    const BLOCK: usize = 16;
    let mut blocks = values.chunks_exact_mut(BLOCK);
    for block in &mut blocks {
        if block.iter().all(|x| (EXP_LOWEST..=EXP_HIGHEST).contains(x)) {
            block.iter_mut().for_each(|x| *x = exp_normal(*x));
        } else {
            block.iter_mut().for_each(|x| *x = exp_f32(*x));
        }
    }
    blocks.into_remainder().iter_mut().for_each(|x| *x = exp_f32(*x));
}

/// [`exp_f32`] within its normal range.
#[inline(always)]
fn exp_normal(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    let shifted = x * f32::from_bits(0x3fb8_aa3b) + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * 0.693_359_4) - n * f32::from_bits(0xb95e_8083);
    let c = [0x3e2a_aa6e, 0x3d2a_aa8c, 0x3c09_05f1, 0x3ab6_88be].map(f32::from_bits);
    let q = (((c[3] * r + c[2]) * r + c[1]) * r + c[0]) * r + 0.5;
    let y = ((r * r) * q + r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    y * f32::from_bits(exponent << 23)
}

/// The largest value, or minus infinity.
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let blocks = values.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |max, x| max.max(*x))
}

/// Replaces each score by `exp(score - max)` and gives their sum, in the order of RK-1 attention.
pub(crate) fn exp_and_sum(scores: &mut [f32]) -> f32 {
    let largest = max(scores);
    scores.iter_mut().for_each(|s| *s -= largest);
    exp_slice(scores);
    let mut total = 0.0;
    for part in scores.chunks(skep_kernels::PARTIAL) {
        let mut lanes = [0f32; 16];
        for block in part.chunks(16) {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += x;
            }
        }
        total += skep_kernels::scalar::halving_sum(lanes);
    }
    total
}

/// RMSNorm of every row of `x`, and the factor `1/√(mean square + eps)` of each row, which the backward pass needs.
pub(crate) fn rms_forward(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32], factors: &mut [f32]) {
    let isa = skep_kernels::Isa::detect();
    let rows = x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len()));
    for ((x, out), factor) in rows.zip(factors) {
        skep_kernels::rms_norm(isa, x, gain, eps, out);
        *factor = 1.0 / (skep_kernels::dot(isa, x, x) / x.len() as f32 + eps).sqrt();
    }
}

/// The backward pass of RMSNorm: adds to `dx` and `dgain`.
///
/// With `y = x·r·g`: `dx += r·g·dy - x·r³/n·Σ(dy·g·x)` and `dg += dy·x·r`.
pub(crate) fn rms_backward(x: &[f32], gain: &[f32], factors: &[f32], dy: &[f32], dx: &mut [f32], dgain: &mut [f32]) {
    let width = gain.len();
    let isa = skep_kernels::Isa::detect();
    let mut scaled = vec![0f32; width];
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (((x, dy), dx), r) in rows.zip(factors) {
        for i in 0..width {
            scaled[i] = dy[i] * gain[i];
            dgain[i] += dy[i] * (x[i] * r);
        }
        let pull = skep_kernels::dot(isa, &scaled, x) * (r * r * r) / width as f32;
        for i in 0..width {
            dx[i] += scaled[i] * r - x[i] * pull;
        }
    }
}

/// `act = silu(gate)·up`, with the bits of the RK-1 kernel.
pub(crate) fn swiglu_forward(gate: &[f32], up: &[f32], act: &mut [f32]) {
    for (act, gate) in act.iter_mut().zip(gate) {
        *act = -gate;
    }
    exp_slice(act);
    for ((act, gate), up) in act.iter_mut().zip(gate).zip(up) {
        *act = (gate / (1.0 + *act)) * up;
    }
}

/// The backward pass of SwiGLU: replaces `gate` and `up` by their gradients.
pub(crate) fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dact: &[f32], scratch: &mut [f32]) {
    for (e, gate) in scratch.iter_mut().zip(&*gate) {
        *e = -gate;
    }
    exp_slice(scratch);
    for (((gate, up), dact), e) in gate.iter_mut().zip(up).zip(dact).zip(&*scratch) {
        let sigmoid = 1.0 / (1.0 + e);
        let silu = *gate * sigmoid;
        let slope = sigmoid * (1.0 + *gate * (1.0 - sigmoid));
        *gate = dact * *up * slope;
        *up = dact * silu;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fast_exponential_has_the_bits_of_the_kernel(values in prop::collection::vec(-90.0f32..90.0, 0..70), narrow in any::<bool>()) {
            let values: Vec<f32> = values.iter().map(|x| if narrow { x * 0.9 } else { *x }).collect();
            let mut fast = values.clone();
            exp_slice(&mut fast);
            for (fast, x) in fast.iter().zip(&values) {
                prop_assert_eq!(fast.to_bits(), exp_f32(*x).to_bits(), "{}", x);
            }
        }

        #[test]
        fn softmax_weights_and_swiglu_have_the_bits_of_the_kernels(values in prop::collection::vec(-9.0f32..9.0, 1..600)) {
            let (mut fast, mut plain) = (values.clone(), values.clone());
            let sum = exp_and_sum(&mut fast);
            skep_kernels::scalar::exp_scores(&mut plain);
            prop_assert_eq!(&fast, &plain);
            prop_assert_eq!(sum.to_bits(), skep_kernels::scalar::sum_weights(&plain).to_bits());
            let (mut act, mut gate) = (vec![0.0; values.len()], values.clone());
            swiglu_forward(&values, &fast, &mut act);
            skep_kernels::scalar::swiglu(&mut gate, &fast);
            prop_assert_eq!(act, gate);
        }
    }

    #[test]
    fn zeros_of_both_signs_give_one() {
        let mut values = [0.0f32, -0.0].repeat(8);
        exp_slice(&mut values);
        assert!(values.iter().all(|x| x.to_bits() == 1f32.to_bits()));
    }
}
