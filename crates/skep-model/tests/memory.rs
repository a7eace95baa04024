//! What a span says it needs is what it takes. One test: it reads the peak of its whole process.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::{BatchItem, Gguf, PASS_ROWS, Span, top_candidates};
use skep_testkit::process_memory;
use skep_types::BlockRange;
use std::path::Path;

const POSITIONS: usize = 512;
/// So many that they cannot be made in what the pass before left.
const LOGITS_ROWS: usize = 8 * PASS_ROWS;
/// What the system counts late, and small lists.
const SLACK: u64 = 512 << 10;

/// How far `work` raises the memory of this process at its peak; `None` where the system does not tell.
fn peak(work: impl FnOnce()) -> Option<u64> {
    // From now on the peak counts anew.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = process_memory("self", "VmRSS")?;
    work();
    Some(process_memory("self", "VmHWM")?.saturating_sub(before))
}

#[test]
fn a_pass_and_its_logits_take_what_was_counted() {
    // A mapped file, so that nothing was freed before that could be taken again unseen.
    let gguf = Gguf::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf")).unwrap();
    let n_blocks = skep_model::ModelConfig::from_gguf(&gguf).unwrap().n_blocks;
    let span = Span::load(&gguf, BlockRange::new(0, n_blocks).unwrap()).unwrap();
    let ids: Vec<u32> = (0..PASS_ROWS as u32).collect();
    let mut rows = span.embed(&ids).unwrap();
    // One row reads every page of the weights, which are not what is measured.
    let mut one = span.embed(&[1]).unwrap();
    span.forward(&mut span.new_cache(span.blocks(), 1).unwrap(), &mut one).unwrap();
    span.logits(&one).unwrap();
    let mut cache = span.new_cache(span.blocks(), POSITIONS).unwrap();
    let pass = peak(|| {
        let mut items = [BatchItem { cache: &mut cache, rows: &mut rows }];
        assert!(span.forward_batch(&mut items).remove(0).is_ok());
    });
    let rows = rows.repeat(LOGITS_ROWS / PASS_ROWS);
    let logits = peak(|| {
        for logits in span.logits_batch(&rows).unwrap() {
            top_candidates(&logits.unwrap(), 5).unwrap();
        }
    });
    let (Some(pass), Some(logits)) = (pass, logits) else {
        eprintln!("SKIPPED: this system does not tell a process's peak; this test checked nothing");
        return;
    };
    let counted = span.pass_bytes(POSITIONS) + cache.resident_bytes();
    for (what, taken, counted) in [("pass", pass, counted), ("logits", logits, span.logits_bytes(LOGITS_ROWS))] {
        println!("{what}: {taken} bytes taken, {counted} counted");
        assert!(taken <= counted + SLACK, "{what}: {taken} bytes taken, {counted} counted");
        // What was freed before and is used again does not show.
        assert!(taken >= counted / 2, "{what}: {taken} bytes taken, {counted} counted");
    }
}
