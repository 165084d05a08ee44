//! The memory that a turn allocates in Rust: blocks and bytes, by size of the history and kind of
//! token.
//!
//! The memory of libzstd belongs to the contexts, which are created once. It is not counted.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "each measurement uses its part")]
mod support;

use dhat::{HeapStats, Profiler};
use holdall::proto::token::Codec;

use self::support::{KINDS, TestDeployment, corpus, kind_name};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    let _profiler = Profiler::builder().testing().build();
    let lines = corpus::new_lines();
    let mut codec = Codec::new().unwrap();
    println!("| token | history bytes | token bytes | blocks a turn | bytes a turn |");
    println!("|---|---|---|---|---|");
    for kind in KINDS {
        let deployment = TestDeployment::new(kind);
        for size in [1_000, 10_000, 100_000, 1_000_000] {
            let token = deployment.grow(&corpus::turns_of(size), &mut codec).pop().unwrap();
            let before = HeapStats::get();
            let next = deployment.turn(&token, &lines, &mut codec);
            let after = HeapStats::get();
            let (blocks, bytes) = (after.total_blocks - before.total_blocks, after.total_bytes - before.total_bytes);
            println!("| {} | {size} | {} | {blocks} | {bytes} |", kind_name(kind), next.len());
        }
    }
}
