//! Tests of the merge rule, against a second implementation of it, and of the reserved sizes.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use super::*;
use crate::proto::token::testing::{codec, noise, wasteful_frame};

const CLAIMS: &str = "{\"claims\":1}\n";
const ROOM: FrameRoom = FrameRoom { reserved: 0, frames_bytes: usize::MAX, trailing: 0 };

/// One line of this many bytes, at least 2, that does not compress well.
fn line(bytes: usize) -> String {
    noise(bytes - 1, bytes) + "\n"
}

fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(compress_bound(text.len()));
    codec().deflate(text.as_bytes(), &mut out).unwrap();
    out
}

/// Frames of these sizes, with one line each.
fn frames(sizes: &[usize]) -> Frames {
    read(sizes.iter().fold(frame(CLAIMS), |payload, size| [payload, frame(&line(*size))].concat()))
}

fn read(payload: Vec<u8>) -> Frames {
    let limits = Limits::default();
    PackedFrames::read(payload, 0, &limits, &mut codec()).unwrap().0.inflate(&limits, &mut codec()).unwrap()
}

fn sizes(frames: &Frames) -> Vec<usize> {
    frames.packed.ends.windows(2).map(|pair| pair[1].text - pair[0].text).collect()
}

/// The rule of docs/token.md.
fn expected(old: &[usize], new: usize) -> Vec<usize> {
    let mut sizes = [old, &[new]].concat();
    for at in 0..sizes.len() {
        let younger: usize = sizes[at + 1..].iter().sum();
        if sizes[at] < 2 * younger {
            sizes[at] += younger;
            sizes.truncate(at + 1);
            break;
        }
    }
    sizes
}

fn append_to(base: &Frames, lines: &str, room: FrameRoom) -> Frames {
    read(append(CLAIMS, Some(base), lines, room, &mut codec()).unwrap())
}

#[test]
fn a_frame_of_twice_the_younger_ones_is_kept() {
    for (old, new, merged) in [
        (&[200][..], 100, &[200, 100][..]),
        (&[199], 100, &[299]),
        (&[600, 200], 100, &[600, 200, 100]),
        (&[599, 200], 100, &[899]),
        (&[600, 199], 100, &[600, 299]),
        // The oldest frame that is too small is merged with all younger frames, also with those
        // that are large enough.
        (&[1_000, 900, 200], 60, &[2_160]),
        (&[9_000, 100, 40], 10, &[9_000, 100, 40, 10]),
        (&[9_000, 100, 40], 11, &[9_000, 151]),
        (&[50], 5_000, &[5_050]),
    ] {
        assert_eq!(sizes(&append_to(&frames(old), &line(new), ROOM)), merged, "{old:?} + {new}");
        assert_eq!(expected(old, new), merged, "{old:?} + {new}");
    }
}

#[test]
fn frames_outside_a_merge_are_copied_byte_for_byte() {
    let base = frames(&[5_000, 900, 200, 60]);
    let next = append_to(&base, &line(200), ROOM);
    assert_eq!(sizes(&next), [5_000, 1_360]);
    assert_eq!(next.packed.compressed(1..2), base.packed.compressed(1..2));
    assert!(next.history().starts_with(base.history()));
}

#[test]
fn long_conversations_follow_the_rule() {
    for seed in 0..40 {
        // Turns of 2 to about 2,000 bytes, small ones more often.
        let turns = noise(60, seed).into_bytes().into_iter().map(|letter| 2 + usize::from(letter).pow(2) % 45 * 45);
        let mut base = frames(&[2]);
        for new in turns {
            let next = append_to(&base, &line(new), ROOM);
            assert_eq!(sizes(&next), expected(&sizes(&base), new));
            let same = sizes(&next).iter().zip(sizes(&base)).take_while(|(next, base)| **next == *base).count();
            assert_eq!(next.packed.compressed(1..same + 1), base.packed.compressed(1..same + 1));
            assert_eq!(next.history(), base.history().to_owned() + &line(new));
            base = next;
        }
    }
}

#[test]
fn a_merge_that_would_exceed_the_room_does_not_happen() {
    // The room is one byte less than a merge needs.
    let base = frames(&[400]);
    let whole = append(CLAIMS, Some(&base), &line(500), ROOM, &mut codec()).unwrap().len();
    let tight = FrameRoom { frames_bytes: whole - 1, ..ROOM };
    assert_eq!(sizes(&append_to(&base, &line(500), FrameRoom { frames_bytes: whole, ..ROOM })), [900]);
    assert_eq!(sizes(&append_to(&base, &line(500), tight)), [400, 500]);
}

#[test]
fn at_the_limit_of_frames_a_merge_happens_for_any_room() {
    let base = frames(&[10; FRAMES_MAX - 1]);
    let next = append_to(&base, &line(10), FrameRoom { frames_bytes: 0, ..ROOM });
    assert_eq!(sizes(&next), [640]);
    let one_less = frames(&[10; FRAMES_MAX - 2]);
    let next = append_to(&one_less, &line(10), FrameRoom { frames_bytes: 0, ..ROOM });
    assert_eq!(sizes(&next), [10; FRAMES_MAX - 1]);
}

#[test]
fn the_worst_case_covers_the_most_and_largest_frames() {
    // Only the first frame is large enough to be kept. It is four times as long as its text.
    let base = read(
        [frame(CLAIMS), wasteful_frame(&"x\n".repeat(5_000)), wasteful_frame("x\n").repeat(FRAMES_MAX - 2)].concat(),
    );
    assert_eq!(base.history_frames(), FRAMES_MAX - 1);
    let next = append(CLAIMS, Some(&base), "y\n", ROOM, &mut codec()).unwrap();
    assert!(next.len() <= Frames::worst_case_bytes(Some(&base), 2));
}
