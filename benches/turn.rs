//! What a turn costs the token code: verify, append, issue; beside the floor of the same turn, in the same run.
//!
//! docs/performance.md says how to run and read it, and keeps the figures.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdall::proto::token::Codec;

use self::support::{KINDS, TestDeployment, corpus, floor::Floor, kind_name};

/// Histories of 1 KB to 1 MB, grown turn by turn from the data, and one turn more of two items of 300 bytes. `items`
/// reads the old items, which is not the token's work but that of the dialect that shows them to a model.
fn by_size(criterion: &mut Criterion) {
    let lines = corpus::new_lines();
    let mut codec = Codec::new().unwrap();
    for kind in KINDS {
        let deployment = TestDeployment::new(kind);
        let mut group = criterion.benchmark_group(format!("size/{}", kind_name(kind)));
        for bytes in [1_000, 10_000, 100_000, 1_000_000] {
            let token = deployment.grow(&corpus::turns_of(bytes), &mut codec).pop().unwrap();
            let mut floor = Floor::new(kind, &token, &lines, &deployment.turn(&token, &lines, &mut codec));
            eprintln!("{bytes}: token of {} bytes, {} frames", token.len(), floor.frames());
            group.throughput(Throughput::Bytes(bytes.try_into().unwrap()));
            group.bench_function(BenchmarkId::new("floor", bytes), |it| it.iter(|| floor.run()));
            group.bench_function(BenchmarkId::new("turn", bytes), |it| {
                it.iter(|| deployment.turn(black_box(&token), &lines, &mut codec));
            });
            let token = deployment.verify(&token, &mut codec);
            group.bench_function(BenchmarkId::new("items", bytes), |it| it.iter(|| token.history().unwrap()));
        }
        group.finish();
    }
}

/// The same history, come to be in 10, 100 or 1,000 turns: the next turn, and all turns from the first on.
fn by_turns(criterion: &mut Criterion) {
    let (lines, history) = (corpus::new_lines(), corpus::short_lines(1_000));
    let mut codec = Codec::new().unwrap();
    for kind in KINDS {
        let deployment = TestDeployment::new(kind);
        let mut group = criterion.benchmark_group(format!("turns/{}", kind_name(kind)));
        for turns in [10, 100, 1_000] {
            let turns: Vec<String> = history.chunks(history.len() / turns).map(<[_]>::concat).collect();
            let tokens = deployment.grow(&turns, &mut codec);
            let token = tokens.last().unwrap();
            group.throughput(Throughput::Elements(1));
            let mut floor = Floor::new(kind, token, &lines, &deployment.turn(token, &lines, &mut codec));
            eprintln!("{} turns: token of {} bytes, {} frames", turns.len(), token.len(), floor.frames());
            group.bench_function(BenchmarkId::new("last/floor", turns.len()), |it| it.iter(|| floor.run()));
            group.bench_function(BenchmarkId::new("last/turn", turns.len()), |it| {
                it.iter(|| deployment.turn(black_box(token), &lines, &mut codec));
            });
            group.throughput(Throughput::Elements(turns.len().try_into().unwrap()));
            group.sample_size(20);
            group.bench_function(BenchmarkId::new("all/turn", turns.len()), |it| {
                it.iter_batched(|| (), |()| deployment.grow(&turns, &mut codec), BatchSize::LargeInput);
            });
            let mut floors: Vec<_> = (1..tokens.len())
                .map(|turn| Floor::new(kind, &tokens[turn - 1], &turns[turn], &tokens[turn]))
                .collect();
            group.bench_function(BenchmarkId::new("all/floor", turns.len()), |it| {
                it.iter(|| floors.iter_mut().for_each(Floor::run));
            });
            group.sample_size(100);
        }
        group.finish();
    }
}

criterion_group!(benches, by_size, by_turns);
criterion_main!(benches);
