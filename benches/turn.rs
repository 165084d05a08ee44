//! The time of a turn in the token code: verify, append, issue. The floor of the same turn is
//! measured in the same run.
//!
//! docs/performance.md explains how to run and read the benchmark, and has the results.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run should stop")]

mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdall::proto::token::Codec;

use self::support::{KINDS, TestDeployment, corpus, floor::Floor, kind_name};

/// Histories of 1 KB to 1 MB, built turn by turn from the data, and one more turn of two items of
/// 300 bytes. `items` parses the old items: a turn needs that for the model's request, not for the
/// token.
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
            group.bench_function(BenchmarkId::new("floor", bytes), |bencher| bencher.iter(|| floor.run()));
            group.bench_function(BenchmarkId::new("turn", bytes), |bencher| {
                bencher.iter(|| deployment.turn(black_box(&token), &lines, &mut codec));
            });
            let token = deployment.verify(&token, &mut codec);
            group.bench_function(BenchmarkId::new("items", bytes), |bencher| bencher.iter(|| token.history().unwrap()));
        }
        group.finish();
    }
}

/// The same history, built in 10, 100 or 1,000 turns: the time of the next turn, and of all turns.
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
            group.bench_function(BenchmarkId::new("last/floor", turns.len()), |bencher| bencher.iter(|| floor.run()));
            group.bench_function(BenchmarkId::new("last/turn", turns.len()), |bencher| {
                bencher.iter(|| deployment.turn(black_box(token), &lines, &mut codec));
            });
            group.throughput(Throughput::Elements(turns.len().try_into().unwrap()));
            group.sample_size(20);
            group.bench_function(BenchmarkId::new("all/turn", turns.len()), |bencher| {
                bencher.iter_batched(|| (), |()| deployment.grow(&turns, &mut codec), BatchSize::LargeInput);
            });
            let mut floors: Vec<_> = (1..tokens.len())
                .map(|turn| Floor::new(kind, &tokens[turn - 1], &turns[turn], &tokens[turn]))
                .collect();
            group.bench_function(BenchmarkId::new("all/floor", turns.len()), |bencher| {
                bencher.iter(|| floors.iter_mut().for_each(Floor::run));
            });
            group.sample_size(100);
        }
        group.finish();
    }
}

criterion_group!(benches, by_size, by_turns);
criterion_main!(benches);
