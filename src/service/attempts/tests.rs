//! What is done about each fault, with and without another target, and when it is enough.

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A turn of ten minutes that may make each call twice again; one was made.
fn attempts() -> Attempts {
    let mut attempts = Attempts::new(2, seconds(600));
    attempts.call(0, Duration::ZERO);
    attempts
}

fn refused(status: u16, retry_after: Option<Duration>) -> Error {
    Error::UpstreamRefused { status, message: None, retry_after, overflow: false }
}

fn unavailable(retry_after: Option<Duration>) -> Error {
    Error::UpstreamUnavailable { cause: "status 503".to_owned(), retry_after }
}

fn timeout() -> Error {
    Error::UpstreamTimeout { phase: "the first byte", limit: seconds(60) }
}

/// What is done about a first fault, in a word.
fn first(fault: &CallFault, others: usize) -> &'static str {
    match attempts().after(fault, false, others, Duration::ZERO, 0) {
        Move::Again { .. } => "again",
        Move::Elsewhere => "elsewhere",
        Move::GiveUp(_) => "give up",
    }
}

#[test]
fn each_fault_has_its_cure() {
    let overflow = Error::UpstreamRefused { status: 404, message: None, retry_after: None, overflow: true };
    for (error, alone, with_others, verdict) in [
        (Error::UpstreamCut, "again", "again", Some(Verdict::Failed)),
        (unavailable(None), "again", "again", Some(Verdict::Failed)),
        (unavailable(Some(seconds(1))), "again", "again", Some(Verdict::Failed)),
        (unavailable(Some(seconds(5))), "again", "elsewhere", Some(Verdict::Failed)),
        (unavailable(Some(seconds(6))), "give up", "elsewhere", Some(Verdict::Failed)),
        (refused(429, Some(seconds(0))), "again", "again", Some(Verdict::Refused)),
        (refused(429, Some(seconds(5))), "again", "elsewhere", Some(Verdict::Refused)),
        (refused(429, Some(seconds(6))), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(429, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(401, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(402, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(403, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(404, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(408, None), "give up", "elsewhere", Some(Verdict::Refused)),
        (refused(400, None), "give up", "give up", Some(Verdict::Refused)),
        (refused(413, None), "give up", "give up", Some(Verdict::Refused)),
        (refused(422, None), "give up", "give up", Some(Verdict::Refused)),
        (overflow, "give up", "give up", Some(Verdict::Refused)),
        (timeout(), "give up", "elsewhere", Some(Verdict::Failed)),
        (Error::malformed("html"), "give up", "elsewhere", Some(Verdict::Failed)),
        (Error::Overloaded, "give up", "elsewhere", None),
        (Error::internal("stopping"), "give up", "give up", None),
    ] {
        let fault = CallFault::from(error);
        assert_eq!(first(&fault, 0), alone, "{fault:?}");
        assert_eq!(first(&fault, 1), with_others, "{fault:?}");
        assert_eq!(fault.verdict(), verdict, "{fault:?}");
    }
}

#[test]
fn one_that_was_ejected_is_asked_in_earnest_where_nobody_else_is() {
    let fault = CallFault::from(UpstreamError::Ejected);
    assert_eq!(fault.verdict(), None);
    assert_eq!(first(&fault, 1), "elsewhere");
    let mut attempts = attempts();
    assert!(!attempts.is_last(1) && attempts.is_last(0));
    assert_eq!(attempts.after(&fault, false, 0, Duration::ZERO, 0), Move::Again { wait: Duration::ZERO });
    assert!(attempts.is_last(1));
    assert!(matches!(attempts.after(&fault, false, 0, Duration::ZERO, 0), Move::GiveUp(_)), "once");
    attempts.moved();
    assert!(!attempts.is_last(1));
}

#[test]
fn retries_are_counted_at_each_target_and_pauses_grow() {
    let fault = CallFault::from(unavailable(None));
    for (chance, pauses) in [(0, [100, 200]), (u32::MAX, [200, 400])] {
        let mut attempts = attempts();
        for target in [1, 0] {
            for millis in pauses {
                let next = attempts.after(&fault, false, target, Duration::ZERO, chance);
                assert_eq!(next, Move::Again { wait: Duration::from_millis(millis) });
                attempts.call(target, Duration::ZERO);
            }
            match attempts.after(&fault, false, target, Duration::ZERO, chance) {
                Move::Elsewhere if target == 1 => {
                    attempts.moved();
                    attempts.call(0, Duration::ZERO);
                }
                Move::GiveUp(error) if target == 0 => assert_eq!(error, unavailable(None)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(back_off(None, 99, u32::MAX), seconds(2));
    assert_eq!(back_off(Some(seconds(3)), 1, 0), seconds(3), "not before it was asked for");
}

#[test]
fn no_wait_outlasts_the_turn() {
    let fault = CallFault::from(unavailable(Some(seconds(3))));
    let mut attempts = attempts();
    assert!(matches!(attempts.after(&fault, false, 0, seconds(597), 0), Move::GiveUp(_)));
    assert!(matches!(attempts.after(&fault, false, 0, seconds(596), 0), Move::Again { .. }));
    assert!(matches!(attempts.after(&fault, false, 1, seconds(600), 0), Move::GiveUp(_)));
}

#[test]
fn a_reply_that_had_begun_is_asked_for_anew_once_and_elsewhere_if_it_can_be() {
    let cut = CallFault::from(Error::UpstreamCut);
    let mut alone = attempts();
    assert!(matches!(alone.after(&cut, true, 0, Duration::ZERO, 0), Move::Again { .. }));
    alone.call(0, Duration::ZERO);
    assert!(matches!(alone.after(&cut, false, 0, Duration::ZERO, 0), Move::Again { .. }), "nothing was paid for");
    alone.call(0, Duration::ZERO);
    assert_eq!(alone.after(&cut, true, 0, Duration::ZERO, 0), Move::GiveUp(Error::UpstreamCut));
    let mut others = attempts();
    assert_eq!(others.after(&cut, true, 2, Duration::ZERO, 0), Move::Elsewhere);
    others.moved();
    others.call(1, Duration::ZERO);
    assert_eq!(others.after(&cut, true, 1, Duration::ZERO, 0), Move::GiveUp(Error::UpstreamCut));
}

#[test]
fn the_error_that_is_told_is_the_last_that_helps_most() {
    for (errors, told) in [
        (vec![unavailable(None), timeout()], timeout()),
        (vec![unavailable(None), refused(401, None)], unavailable(None)),
        (vec![refused(404, None), refused(401, None)], refused(401, None)),
        (vec![refused(429, Some(seconds(30))), unavailable(None), timeout()], refused(429, Some(seconds(30)))),
        (vec![refused(429, Some(seconds(30))), Error::Overloaded], Error::Overloaded),
        // A fault of the request is told as soon as it is found.
        (vec![refused(429, Some(seconds(30))), refused(400, None)], refused(400, None)),
    ] {
        let mut attempts = Attempts::new(0, seconds(600));
        let mut others = errors.len();
        let mut end = None;
        for error in errors {
            others -= 1;
            attempts.call(others, Duration::ZERO);
            match attempts.after(&CallFault::from(error), false, others, Duration::ZERO, 0) {
                Move::GiveUp(error) => end = Some(error),
                Move::Elsewhere => attempts.moved(),
                Move::Again { .. } => panic!("no retries are left"),
            }
        }
        assert_eq!(end, Some(told));
    }
}

#[test]
fn those_that_come_after_are_left_their_share_of_the_time() {
    let mut attempts = Attempts::new(2, seconds(600));
    assert_eq!(attempts.call(2, Duration::ZERO), seconds(200));
    assert_eq!(attempts.call(1, seconds(200)), seconds(200));
    assert_eq!(attempts.call(0, seconds(400)), seconds(200));
    assert_eq!(attempts.call(0, seconds(601)), Duration::ZERO);
}

#[test]
fn the_addresses_of_one_target_are_not_those_of_the_next() {
    let mut attempts = attempts();
    attempts.note_address(3);
    assert!(attempts.tried().contains(3) && !attempts.tried().contains(2));
    attempts.moved();
    assert!(!attempts.tried().contains(3));
    attempts.note_address(64);
    assert!(!attempts.tried().contains(64) && !attempts.tried().contains(0), "the set holds 64 addresses");
}
