//! The step after each fault, with and without another target, and the end of the attempts.

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A turn of ten minutes with two retries. One call was made.
fn attempts() -> Attempts {
    let mut attempts = Attempts::new(2, seconds(600));
    attempts.call(0, Duration::ZERO);
    attempts
}

fn refused(status: u16, retry_after: Option<Duration>) -> Error {
    Error::UpstreamRefused { names: String::new(), status, message: None, retry_after, overflow: false }
}

fn unavailable(retry_after: Option<Duration>) -> Error {
    Error::UpstreamUnavailable { cause: "status 503".to_owned(), retry_after }
}

fn account() -> Error {
    Error::UpstreamAccount { cause: "status 401".to_owned() }
}

fn timeout() -> Error {
    Error::UpstreamTimeout { phase: "the first byte", limit: seconds(60) }
}

/// The step after a first fault, as a word.
fn first(fault: &CallFault, fallbacks: usize) -> &'static str {
    match attempts().next_step(fault, false, fallbacks, Duration::ZERO, 0) {
        NextStep::Retry { .. } => "retry",
        NextStep::NextTarget => "next",
        NextStep::GiveUp(_) => "give up",
    }
}

#[test]
fn each_fault_has_its_remedy() {
    let overflow =
        Error::UpstreamRefused { names: String::new(), status: 404, message: None, retry_after: None, overflow: true };
    for (error, alone, with_fallback, verdict) in [
        (Error::UpstreamCut, "retry", "retry", Some(Verdict::Failed)),
        (Error::UpstreamOutput { cause: String::new() }, "retry", "retry", Some(Verdict::Refused)),
        (unavailable(None), "retry", "retry", Some(Verdict::Failed)),
        (unavailable(Some(seconds(1))), "retry", "retry", Some(Verdict::Failed)),
        (unavailable(Some(seconds(5))), "retry", "next", Some(Verdict::Failed)),
        (unavailable(Some(seconds(6))), "give up", "next", Some(Verdict::Failed)),
        (refused(429, Some(seconds(0))), "retry", "retry", Some(Verdict::Refused)),
        (refused(429, Some(seconds(5))), "retry", "next", Some(Verdict::Refused)),
        (refused(429, Some(seconds(6))), "give up", "next", Some(Verdict::Refused)),
        (refused(429, None), "give up", "next", Some(Verdict::Refused)),
        (refused(400, Some(seconds(1))), "retry", "retry", Some(Verdict::Refused)),
        (account(), "give up", "next", Some(Verdict::Refused)),
        (refused(404, None), "give up", "next", Some(Verdict::Refused)),
        (refused(400, None), "give up", "give up", Some(Verdict::Refused)),
        (refused(413, None), "give up", "give up", Some(Verdict::Refused)),
        (refused(422, None), "give up", "give up", Some(Verdict::Refused)),
        (overflow, "give up", "give up", Some(Verdict::Refused)),
        (timeout(), "give up", "next", Some(Verdict::Failed)),
        (Error::malformed("html"), "give up", "next", Some(Verdict::Failed)),
        (Error::malformed("json").about_paid_reply(), "give up", "give up", Some(Verdict::Failed)),
        (Error::Overloaded, "give up", "next", None),
        (Error::internal("stopping"), "give up", "give up", None),
    ] {
        let fault = CallFault::from(error);
        assert_eq!(first(&fault, 0), alone, "{fault:?}");
        assert_eq!(first(&fault, 1), with_fallback, "{fault:?}");
        assert_eq!(fault.verdict(), verdict, "{fault:?}");
    }
}

#[test]
fn an_ejected_upstream_is_called_if_it_is_the_last_target() {
    let fault = CallFault::from(UpstreamError::Ejected);
    assert_eq!(fault.verdict(), None);
    assert_eq!(first(&fault, 1), "next");
    let mut attempts = attempts();
    assert!(!attempts.is_last(1) && attempts.is_last(0));
    assert_eq!(attempts.next_step(&fault, false, 0, Duration::ZERO, 0), NextStep::Retry { wait: Duration::ZERO });
    assert!(attempts.is_last(1));
    assert!(matches!(attempts.next_step(&fault, false, 0, Duration::ZERO, 0), NextStep::GiveUp(_)), "once");
    attempts.begin_target();
    assert!(!attempts.is_last(1));
}

#[test]
fn retries_are_counted_at_each_target_and_pauses_grow() {
    let fault = CallFault::from(unavailable(None));
    for (jitter, pauses) in [(0, [100, 200]), (u32::MAX, [200, 400])] {
        let mut attempts = attempts();
        for target in [1, 0] {
            for millis in pauses {
                let next = attempts.next_step(&fault, false, target, Duration::ZERO, jitter);
                assert_eq!(next, NextStep::Retry { wait: Duration::from_millis(millis) });
                attempts.call(target, Duration::ZERO);
            }
            match attempts.next_step(&fault, false, target, Duration::ZERO, jitter) {
                NextStep::NextTarget if target == 1 => {
                    attempts.begin_target();
                    attempts.call(0, Duration::ZERO);
                }
                NextStep::GiveUp(error) if target == 0 => assert_eq!(error, unavailable(None)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(backoff(None, 99, u32::MAX), seconds(2));
    assert_eq!(backoff(Some(seconds(3)), 1, 0), seconds(3), "not before the wait that was asked for");
}

#[test]
fn no_wait_is_longer_than_the_rest_of_the_turn() {
    let fault = CallFault::from(unavailable(Some(seconds(3))));
    let mut attempts = attempts();
    assert!(matches!(attempts.next_step(&fault, false, 0, seconds(597), 0), NextStep::GiveUp(_)));
    assert!(matches!(attempts.next_step(&fault, false, 0, seconds(596), 0), NextStep::Retry { .. }));
    assert!(matches!(attempts.next_step(&fault, false, 1, seconds(600), 0), NextStep::GiveUp(_)));
}

#[test]
fn a_call_with_output_is_repeated_once_at_the_next_target_if_there_is_one() {
    let cut = CallFault::from(Error::UpstreamCut);
    let mut alone = attempts();
    assert!(matches!(alone.next_step(&cut, true, 0, Duration::ZERO, 0), NextStep::Retry { .. }));
    alone.call(0, Duration::ZERO);
    assert!(
        matches!(alone.next_step(&cut, false, 0, Duration::ZERO, 0), NextStep::Retry { .. }),
        "no output, so no cost"
    );
    alone.call(0, Duration::ZERO);
    assert_eq!(alone.next_step(&cut, true, 0, Duration::ZERO, 0), NextStep::GiveUp(Error::UpstreamCut));
    let mut with_fallback = attempts();
    assert_eq!(with_fallback.next_step(&cut, true, 2, Duration::ZERO, 0), NextStep::NextTarget);
    with_fallback.begin_target();
    with_fallback.call(1, Duration::ZERO);
    assert_eq!(with_fallback.next_step(&cut, true, 1, Duration::ZERO, 0), NextStep::GiveUp(Error::UpstreamCut));
}

#[test]
fn the_reported_error_is_the_last_of_the_most_helpful_ones() {
    for (errors, reported) in [
        (vec![unavailable(None), timeout()], timeout()),
        (vec![unavailable(None), account()], unavailable(None)),
        (vec![refused(404, None), account()], account()),
        (vec![refused(429, Some(seconds(30))), unavailable(None), timeout()], refused(429, Some(seconds(30)))),
        (vec![refused(429, Some(seconds(30))), Error::Overloaded], Error::Overloaded),
        // A fault of the request itself ends the turn immediately.
        (vec![refused(429, Some(seconds(30))), refused(400, None)], refused(400, None)),
    ] {
        let mut attempts = Attempts::new(0, seconds(600));
        let mut fallbacks = errors.len();
        let mut end = None;
        for error in errors {
            fallbacks -= 1;
            attempts.call(fallbacks, Duration::ZERO);
            match attempts.next_step(&CallFault::from(error), false, fallbacks, Duration::ZERO, 0) {
                NextStep::GiveUp(error) => end = Some(error),
                NextStep::NextTarget => attempts.begin_target(),
                NextStep::Retry { .. } => panic!("there are no retries"),
            }
        }
        assert_eq!(end, Some(reported));
    }
}

#[test]
fn each_fallback_keeps_its_share_of_the_time() {
    let mut attempts = Attempts::new(2, seconds(600));
    assert_eq!(attempts.call(2, Duration::ZERO), seconds(200));
    assert_eq!(attempts.call(1, seconds(200)), seconds(200));
    assert_eq!(attempts.call(0, seconds(400)), seconds(200));
    assert_eq!(attempts.call(0, seconds(601)), Duration::ZERO);
}

#[test]
fn tried_addresses_are_forgotten_at_the_next_target() {
    let mut attempts = attempts();
    attempts.note_address(3);
    assert!(attempts.tried().contains(3) && !attempts.tried().contains(2));
    attempts.begin_target();
    assert!(!attempts.tried().contains(3));
    attempts.note_address(64);
    assert!(!attempts.tried().contains(64) && !attempts.tried().contains(0), "the set holds 64 addresses");
}
