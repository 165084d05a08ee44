//! The limit on concurrent calls: users take turns for the slots. Through the whole service, in
//! simulated time, which advances when all tasks wait.

use std::{sync::Arc, time::Duration};

use holdall::{
    guard::{KeyedHash, LocalGuard},
    service::Service,
    shell::{Forward, NativeGuard, NativeHost, NativeService},
};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    config,
    hand::{Records, post},
};

/// A service with the built-in model and these settings. A reply takes 100 ms.
fn service(settings: &str, upstream: &str) -> Arc<NativeService> {
    paced(100, settings, upstream)
}

/// The same, with a reply that takes longer.
fn paced(pace: u32, settings: &str, upstream: &str) -> Arc<NativeService> {
    let config = config(&format!(
        "builtin_pace_ms = {pace}\nlimits = {{ turns_per_user = 1000 }}\n{settings}\n\
         [[upstream]]\nname = \"builtin\"\nkind = \"builtin\"\n{upstream}\n\
         [[model]]\nalias = \"default\"\nupstreams = [\"builtin\"]\nmodel = \"builtin\"\n"
    ));
    let (forward, guard) = (
        Forward::new(config.upstreams).unwrap(),
        NativeGuard::Local(LocalGuard::new(config.guard, KeyedHash::new([7; 32]))),
    );
    let log = Box::new(Records::default());
    Arc::new(Service::new(config.deployment, config.access, config.service, NativeHost::new(forward, guard), log))
}

/// A turn of a new conversation. Returns the code of the error, if there is one, and the duration.
async fn turn(service: &Arc<NativeService>, user: &str) -> (Option<String>, Duration) {
    let began = Instant::now();
    let body = json!({ "input": "hi", "user_id": user }).to_string();
    let request = post("/v1/turns").body(Full::<bytes::Bytes>::from(body)).unwrap();
    let answer = Arc::clone(service).handle(request).await.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    (answer["code"].as_str().map(str::to_owned), began.elapsed())
}

/// The 99th percentile of the turn duration of a quiet user, next to a user `flood` with 64
/// concurrent calls for 8 slots.
async fn p99_next_to_a_flood(quiet: &str, flood: &'static str) -> Duration {
    let service = service("timeouts = { queue = \"1h\" }", "max_concurrency = 8\nqueue = 1000");
    let floods: Vec<_> = (0..64)
        .map(|number| {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                // Staggered, so that the slots become free one after the other.
                sleep(Duration::from_micros(12_500) * (number % 8)).await;
                loop {
                    turn(&service, flood).await;
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(3)).await;
    let mut took = Vec::new();
    for number in 0..300_u64 {
        // A pause that is not in step with the other calls.
        sleep(Duration::from_micros(7_000 + number * 7_919 % 100_000)).await;
        let (code, time) = turn(&service, quiet).await;
        assert_eq!(code, None);
        took.push(time);
    }
    floods.iter().for_each(tokio::task::JoinHandle::abort);
    took.sort_unstable();
    took[297 - 1]
}

#[tokio::test(start_paused = true)]
async fn a_flooding_user_does_not_slow_a_quiet_one() {
    let alone = turn(&service("", "max_concurrency = 8"), "quiet").await.1;
    let fair = p99_next_to_a_flood("quiet", "flood").await;
    // For comparison: a single queue, in which the quiet user's calls wait behind the flood.
    let plain = p99_next_to_a_flood("flood", "flood").await;
    println!(
        "p99 of a quiet user's turn: {alone:?} without the flood, {fair:?} with turns, {plain:?} with a single queue"
    );
    assert!(fair - alone <= alone, "waits for {:?}", fair - alone);
    assert!(plain - alone >= alone * 6, "waits for {:?}", plain - alone);
}

#[tokio::test(start_paused = true)]
async fn a_user_with_long_calls_does_not_block_another() {
    // Eight such calls in eight slots would block another user for longer than its wait of 10 s.
    let service = paced(15_000, "", "max_concurrency = 8");
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let service = Arc::clone(&service);
            tokio::spawn(async move { turn(&service, "busy").await })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    let alone = turn(&service, "alone").await;
    assert_eq!(alone.0, None);
    let both = futures_util::future::join_all(["quiet", "other"].map(|user| turn(&service, user))).await;
    assert!(both.iter().all(|(code, took)| code.is_none() && *took == alone.1), "at once");
    for turn in busy {
        // The calls above the share wait.
        assert!(turn.await.unwrap().1 <= alone.1 * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_queue_are_refused_and_leave_no_trace() {
    let service = service("timeouts = { queue = \"150ms\" }\nretries = 0", "max_concurrency = 2\nqueue = 3");
    let users: Vec<_> = (0..9).map(|number| format!("user {number}")).collect();
    let all = futures_util::future::join_all(users.iter().map(|user| turn(&service, user))).await;
    let mut times: Vec<_> = all.iter().map(|(code, took)| (took.as_millis(), code.as_deref())).collect();
    times.sort_unstable();
    let refused = Some("overloaded");
    // Two calls start, two follow them, one waits too long for the third round, and four do not fit
    // into the queue.
    assert_eq!(
        times,
        [
            (0, refused),
            (0, refused),
            (0, refused),
            (0, refused),
            (100, None),
            (100, None),
            (150, refused),
            (200, None),
            (200, None),
        ]
    );
    assert_eq!(service.requests_in_flight(), 0);
    let both = futures_util::future::join_all(["ada", "bob"].map(|user| turn(&service, user))).await;
    assert!(both.iter().all(|(code, _)| code.is_none()), "all slots are free");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_its_position_in_the_queue() {
    let service = service("", "max_concurrency = 1\nqueue = 1");
    let (first, second, third) = tokio::join!(
        turn(&service, "ada"),
        async {
            // The client leaves while its call waits.
            tokio::time::timeout(Duration::from_millis(50), turn(&service, "bob")).await.is_err()
        },
        async {
            sleep(Duration::from_millis(60)).await;
            turn(&service, "cleo").await
        },
    );
    assert_eq!((first.0, second, third.0), (None, true, None));
}
