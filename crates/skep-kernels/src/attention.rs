//! Attention over pages of keys and values; its definition is section 5 of the normative text.

#![allow(unsafe_code, reason = "heads of one row are written by different threads")]

use crate::kv::{KvLayout, PAGE, Side};
use crate::threads::Parts;
use crate::{Cpu, PARTIAL, simd};
use std::cell::RefCell;
use std::ops::Range;

/// What all blocks of one kind have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads; a multiple of the layout's key-value heads.
    pub heads: usize,
    /// Format, key-value heads and length of a head.
    pub kv: KvLayout,
    /// Factor of every score; usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// How many positions a row sees, itself counted.
    pub window: Option<usize>,
    /// Whether a row sees only positions up to its own; otherwise it sees all positions of its chunk.
    pub causal: bool,
}

/// Rows of one session at consecutive positions, whose keys and values are in the pages already.
#[derive(Debug)]
pub struct AttentionChunk<'a> {
    /// Position of the first row.
    pub first: usize,
    /// Rows × heads × `head_dim`.
    pub queries: &'a [f32],
    /// The pages of positions 0 to the last row's, in order.
    pub pages: &'a [&'a [u8]],
    /// Rows × heads × `head_dim`.
    pub out: &'a mut [f32],
}

/// Query rows that share the conversion of a page.
const ROWS: usize = 8;

/// One task: some rows of a chunk and one key-value head.
struct Task<'a> {
    chunk: usize,
    first: usize,
    queries: &'a [f32],
    pages: &'a [&'a [u8]],
    total: usize,
    row: usize,
    rows: usize,
    head: usize,
}

#[derive(Default)]
struct Scratch {
    /// One page of keys or values as f32.
    page: Vec<f32>,
    /// (rows × group) × head_dim.
    queries: Vec<f32>,
    /// (rows × group) × positions.
    weights: Vec<f32>,
    /// Scores of one page: (rows × group) × PAGE.
    scores: Vec<f32>,
    /// (rows × group) × head_dim: the sums of the part under way, and of all parts before it.
    partial: Vec<f32>,
    total: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Attention of all rows of all chunks.
///
/// # Panics
/// When lengths do not fit together: the caller has checked shapes at load.
pub fn attention(cpu: &Cpu, shape: &AttentionShape, chunks: &mut [AttentionChunk<'_>]) {
    let width = shape.heads * shape.kv.head_dim();
    assert!(shape.heads.is_multiple_of(shape.kv.heads()), "key-value heads divide the query heads");
    let mut tasks = Vec::new();
    let mut outs = Vec::with_capacity(chunks.len());
    for (i, chunk) in chunks.iter_mut().enumerate() {
        assert!(chunk.queries.len().is_multiple_of(width) && chunk.queries.len() == chunk.out.len(), "whole rows");
        let rows = chunk.queries.len() / width;
        let total = chunk.first + rows;
        assert!(chunk.pages.len() * PAGE >= total, "a page for every position");
        assert!(chunk.pages.iter().all(|page| page.len() == shape.kv.page_bytes()), "pages of this layout");
        outs.push(Parts::new(chunk.out));
        for row in (0..rows).step_by(ROWS) {
            for head in 0..shape.kv.heads() {
                let (first, queries, pages) = (chunk.first, chunk.queries, chunk.pages);
                tasks.push(Task { chunk: i, first, queries, pages, total, row, rows: ROWS.min(rows - row), head });
            }
        }
    }
    // The last rows see the most and so cost the most: they come first.
    cpu.workers().run(tasks.len(), |i| {
        let task = &tasks[tasks.len() - 1 - i];
        SCRATCH.with_borrow_mut(|scratch| {
            run(cpu, shape, task, scratch);
            let (dim, group) = (shape.kv.head_dim(), shape.heads / shape.kv.heads());
            for (r, result) in scratch.total.chunks_exact(group * dim).enumerate() {
                // SAFETY: each row and head belongs to one task, and the chunks' outputs are borrowed for this call.
                let out =
                    unsafe { outs[task.chunk].part((task.row + r) * width + task.head * group * dim, group * dim) };
                out.copy_from_slice(result);
            }
        });
    });
}

/// The positions that row `i` of a task sees.
fn visible(shape: &AttentionShape, task: &Task<'_>, i: usize) -> Range<usize> {
    let end = if shape.causal { task.first + task.row + i + 1 } else { task.total };
    end.saturating_sub(shape.window.unwrap_or(end))..end
}

fn run(cpu: &Cpu, shape: &AttentionShape, task: &Task<'_>, scratch: &mut Scratch) {
    let (isa, dim, group) = (cpu.isa(), shape.kv.head_dim(), shape.heads / shape.kv.heads());
    let width = shape.heads * dim;
    let lines = task.rows * group;
    let Scratch { page, queries, weights, scores, partial, total } = scratch;
    queries.clear();
    for row in task.row..task.row + task.rows {
        queries.extend_from_slice(&task.queries[row * width + task.head * group * dim..][..group * dim]);
    }
    // All positions that any row of the task sees, from the start of a part, so that parts stay where they are.
    let start = (0..task.rows).map(|i| visible(shape, task, i).start).min().unwrap_or(0) / PARTIAL * PARTIAL;
    let end = (0..task.rows).map(|i| visible(shape, task, i).end).max().unwrap_or(0);
    let span = end - start;
    weights.clear();
    weights.resize(lines * span, 0.0);
    page.resize(PAGE * dim, 0.0);
    scores.resize(lines * PAGE, 0.0);
    for at in (start..end).step_by(PAGE) {
        let n = PAGE.min(end - at);
        simd::load_page(isa, &shape.kv, task.pages[at / PAGE], task.head, Side::Keys, &mut page[..n * dim]);
        simd::dots(isa, &page[..n * dim], dim, queries, &mut scores[..lines * n]);
        for (line, scores) in scores[..lines * n].chunks_exact(n).enumerate() {
            weights[line * span + at - start..][..n].copy_from_slice(scores);
        }
    }
    for (line, weights) in weights.chunks_exact_mut(span).enumerate() {
        let seen = visible(shape, task, line / group);
        let (before, rest) = weights.split_at_mut(seen.start - start);
        let (seen, after) = rest.split_at_mut(seen.end - seen.start);
        simd::exp_scores(isa, seen, shape.scale, shape.softcap.unwrap_or(0.0));
        // Beyond what a row sees its weights are zeros, whose terms change no sum.
        before.fill(0.0);
        after.fill(0.0);
    }
    total.clear();
    total.resize(lines * dim, 0.0);
    partial.resize(lines * dim, 0.0);
    for part in (start..end).step_by(PARTIAL) {
        partial.fill(0.0);
        for at in (part..end.min(part + PARTIAL)).step_by(PAGE) {
            let n = PAGE.min(end - at);
            simd::load_page(isa, &shape.kv, task.pages[at / PAGE], task.head, Side::Values, &mut page[..n * dim]);
            for (line, partial) in partial.chunks_exact_mut(dim).enumerate() {
                let weights = &weights[line * span + at - start..][..n];
                simd::add_weighted(isa, weights, &page[..n * dim], partial);
            }
        }
        for (total, partial) in total.iter_mut().zip(&*partial) {
            *total += partial;
        }
    }
    for (weights, total) in weights.chunks_exact(span).zip(total.chunks_exact_mut(dim)) {
        simd::divide_by_sum(isa, weights, total);
    }
}
