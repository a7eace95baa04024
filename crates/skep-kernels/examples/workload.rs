//! Fixed pieces of work for `cargo xtask instructions`, which counts their instructions: `workload NAME ISA TIMES`.

use skep_kernels::{
    AttentionChunk, AttentionShape, Cpu, Format, Isa, KvFormat, KvLayout, Matrix, PAGE, attention, matmul, rms_norm,
};
use std::hint::black_box;

const ROWS: usize = 256;
const K: usize = 1024;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32) / 506.0 - 1.0).collect()
}

/// A matrix of any integers, whose scales are small.
fn matrix(format: Format) -> Vec<u8> {
    let n = ROWS * K / format.block() * format.block_bytes();
    let mut bytes: Vec<u8> = (0..n).map(|i| (i * 31 % 251) as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        match format {
            Format::F32 => block[3] = 0x3c,
            Format::F16 | Format::BF16 => block[1] = 0x2c,
            Format::Q6_K => block[208..].copy_from_slice(&[0, 0x10]),
            Format::Q4_K | Format::Q5_K => block[..4].copy_from_slice(&[0, 0x10, 0, 0x10]),
            Format::Q4_0 | Format::Q8_0 => block[..2].copy_from_slice(&[0, 0x20]),
        }
    }
    bytes
}

fn product(cpu: &Cpu, format: Format, rows: usize, times: usize) {
    let bytes = matrix(format);
    let Some(matrix) = Matrix::new(format, ROWS, K, &bytes) else { return };
    let (x, mut out) = (values(rows * K), vec![0.0; rows * ROWS]);
    for _ in 0..times {
        matmul(cpu, matrix, black_box(&x), &mut out);
    }
    black_box(&out);
}

fn attend(cpu: &Cpu, times: usize) {
    let Some(kv) = KvLayout::new(KvFormat::F16, 2, 64) else { return };
    let shape = AttentionShape { heads: 8, kv, scale: 0.125, softcap: None, window: None, causal: true };
    let mut pages = vec![vec![0u8; kv.page_bytes()]; 10];
    let row = values(2 * 64);
    for position in 0..10 * PAGE {
        let _ = kv.store(&mut pages[position / PAGE], position % PAGE, &row, &row);
    }
    let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let (queries, mut out) = (values(4 * 512), vec![0.0; 4 * 512]);
    for _ in 0..times {
        let chunk = AttentionChunk { first: 10 * PAGE - 4, queries: &queries, pages: &pages, out: &mut out };
        attention(cpu, &shape, &mut [chunk]);
    }
    black_box(&out);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, isa, times] = arguments.as_slice() else { return };
    let isa = Isa::available().iter().find(|known| known.to_string() == *isa);
    let (Some(isa), Ok(cpu), Ok(times)) = (isa, Cpu::new(1), times.parse()) else { return };
    let cpu = cpu.with_isa(*isa);
    let format = |name: &str| Format::ALL.into_iter().find(|format| format.to_string() == name);
    match name.split_once(' ') {
        Some(("decode", name)) => format(name).into_iter().for_each(|format| product(&cpu, format, 1, times)),
        Some(("prefill", name)) => format(name).into_iter().for_each(|format| product(&cpu, format, 32, times)),
        None if name == "attention" => attend(&cpu, times),
        None if name == "norm" => {
            let (x, mut out) = (values(K), vec![0.0; K]);
            (0..times).for_each(|_| rms_norm(*isa, black_box(&x), &x, 1e-5, &mut out));
        }
        _ => {}
    }
}
