//! The memory that Rust code allocates for the worst tokens, counted by dhat. The test is a binary
//! of its own, because the counter is the global allocator. tests/it/memory.rs measures the memory
//! of libzstd.

#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

#[path = "it/testkit.rs"]
mod testkit;
#[path = "it/worst.rs"]
mod worst;

use holdall::proto::token::{Codec, TokenContext};

use self::testkit::Case;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most memory while a token is read up to its times, as a multiple of [`worst::budget_bytes`].
/// Measured: 0.9.
const MAX_READING: f64 = 1.0;

/// The same while the items are parsed. Measured: 2.9, when a list grows by doubling.
const MAX_PARSING: f64 = 3.5;

/// The most allocations while a token is read up to its times, for any length. Measured: 28.
const MAX_READING_BLOCKS: u64 = 32;

#[test]
fn the_worst_tokens_allocate_a_small_multiple_of_the_limits() {
    let mut codec = Codec::new().unwrap();
    let mut case = Case::named("accepted-first-turn-clear");
    let (keys, policy, limits) = (case.keys(), case.policy(), case.limits());
    let context = TokenContext { keys: &keys, policy: &policy, limits: &limits };
    for (name, verdict, token) in worst::tokens() {
        case.token = token;
        let profiler = dhat::Profiler::builder().testing().build();
        let token = case.verify(context, &mut codec);
        let read = dhat::HeapStats::get();
        let outcome = token.and_then(|token| token.history());
        let parsed = dhat::HeapStats::get();
        drop(profiler);
        let share =
            |stats: &dhat::HeapStats| f64::from(u32::try_from(stats.max_bytes).unwrap()) / worst::budget_bytes();
        println!("{name}: {} blocks, {:.2} read, {:.2} parsed", read.total_blocks, share(&read), share(&parsed));
        assert_eq!(outcome.map_or_else(|error| error.code(), |_| "accepted"), verdict, "{name}");
        assert!(share(&read) <= MAX_READING, "{name}");
        assert!(share(&parsed) <= MAX_PARSING, "{name}");
        assert!(read.total_blocks <= MAX_READING_BLOCKS, "{name}");
    }
}
