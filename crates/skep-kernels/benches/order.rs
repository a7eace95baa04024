//! What the order rules of RK-1 cost: `cargo bench -p skep-kernels --features unordered --bench order`.
//!
//! The same kernels run with the rules and without them: products fused with sums, several sums an output that are brought
//! together at the end of a row. Both take turns on the same weights in one run; a line has the medians of a turn and of the
//! ratios of neighbouring turns. Above 1.00, the rules cost time. Decoding walks over more memory than caches hold, with one
//! thread and with all; the rest computes, and one thread tells.

use skep_kernels::{Cpu, Format, Isa, Matrix};
use std::time::Instant;

const FORMATS: [Format; 5] = [Format::Q8_0, Format::Q4_0, Format::Q4_K, Format::Q5_K, Format::Q6_K];
/// Rows × length of the largest matrices of a model of 1.1 billion weights.
const SHAPE: (usize, usize) = (5632, 2048);
const TURNS: usize = 31;
const BEYOND_CACHES: usize = 128 << 20;

fn main() {
    if !Isa::available().contains(&Isa::Avx512) {
        println!("skipped: only processors with AVX-512 have kernels without the rules");
        return;
    }
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{:<10}{:>8}  {:<6}{:>12}{:>12}{:>8}", "work", "threads", "format", "RK-1, ms", "free, ms", "ratio");
    for (work, n, threads) in [("decode", 1, 1), ("decode", 1, all), ("batch 8", 8, 1), ("prefill", 512, 1)] {
        let cpu = Cpu::new(threads).expect("threads").with_isa(Isa::Avx512);
        for format in FORMATS {
            measure(&cpu, work, format, n);
        }
    }
}

fn measure(cpu: &Cpu, work: &str, format: Format, n: usize) {
    let (rows, k) = SHAPE;
    let size = format.row_bytes(k).expect("whole blocks") * rows;
    let bytes = if n < 512 { BEYOND_CACHES.next_multiple_of(size) } else { size };
    let bytes: Vec<u8> = (0..bytes).map(|i| (i * 7919 % 1013 % 59) as u8).collect();
    let weights: Vec<Matrix<'_>> =
        bytes.chunks_exact(size).map(|w| Matrix::new(format, rows, k, w).expect("a matrix")).collect();
    let x: Vec<f32> = (0..n * k).map(|i| ((i * 7919 % 1013) as f32) / 506.0 - 1.0).collect();
    let mut out = vec![0.0; n * rows];
    let mut turn = |product: fn(&Cpu, Matrix<'_>, &[f32], &mut [f32])| {
        let start = Instant::now();
        for w in &weights {
            product(cpu, *w, &x, &mut out);
        }
        start.elapsed().as_secs_f64() * 1e3 / weights.len() as f64
    };
    turn(skep_kernels::matmul);
    turn(skep_kernels::matmul_unordered);
    let (mut ordered, mut free, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..TURNS {
        // Who goes first changes, in case the second finds the machine warmer.
        let (a, b) = if i % 2 == 0 {
            let a = turn(skep_kernels::matmul);
            (a, turn(skep_kernels::matmul_unordered))
        } else {
            let b = turn(skep_kernels::matmul_unordered);
            (turn(skep_kernels::matmul), b)
        };
        ordered.push(a);
        free.push(b);
        ratios.push(a / b);
    }
    let [ordered, free, ratio] = [ordered, free, ratios].map(median);
    let (threads, format) = (cpu.workers().threads(), format.to_string());
    println!("{work:<10}{threads:>8}  {format:<6}{ordered:>12.3}{free:>12.3}{ratio:>8.3}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
