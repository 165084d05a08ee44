//! Peak memory for the worst tokens: the resident size of a child process that reads one token,
//! including libzstd.
//!
//! The test starts this binary again to run only [`child`], and sends it the token on standard
//! input.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use holdall::proto::token::{Codec, TokenContext};

use crate::{testkit::Case, worst};

/// The growth limit of the process while it verifies a token, in units of [`worst::budget_bytes`].
/// The decoded payload, the inflated history and libzstd's contexts count. Measured: 0.9.
const READING: f64 = 1.25;

/// The growth limit including parsed items. Each of the shortest parts takes twice its text, and
/// lists grow by doubling. Measured: 2.1.
const PARSING: f64 = 3.0;

#[test]
fn the_worst_tokens_take_a_small_multiple_of_the_limits() {
    for (name, verdict, token) in worst::tokens() {
        let (found, [read, parsed]) = measure(&token);
        println!("{name}: {found}, {read:.2} read, {parsed:.2} parsed");
        assert_eq!(found, verdict, "{name}");
        assert!(read <= READING, "{name} takes {read:.2} times the limits to read");
        assert!(parsed <= PARSING, "{name} takes {parsed:.2} times the limits to parse");
    }
}

/// Reads a token. Prints the peak growth of the process in bytes: up to the check of the times, and
/// including the items.
#[test]
#[ignore = "the child of the test above: reads a token from its standard input"]
fn child() {
    let mut case = Case::named("accepted-first-turn-clear");
    case.token.clear();
    std::io::stdin().read_to_string(&mut case.token).unwrap();
    let (keys, policy, limits) = (case.keys(), case.policy(), case.limits());
    let before = status_bytes("VmRSS");
    let context = TokenContext { keys: &keys, policy: &policy, limits: &limits };
    let token = case.verify(context, &mut Codec::new().unwrap());
    let read = status_bytes("VmHWM") - before;
    let outcome = token.and_then(|token| token.history());
    let parsed = status_bytes("VmHWM") - before;
    println!("\nchild {} {read} {parsed}", outcome.map_or_else(|error| error.code(), |_| "accepted"));
}

/// Returns the verdict on a token and the growth of a separate process, in multiples of the limits.
fn measure(token: &str) -> (String, [f64; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["memory::child", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let line = output.lines().find_map(|line| line.strip_prefix("child ")).unwrap();
    let [verdict, read, parsed] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    (verdict.to_owned(), [read, parsed].map(|bytes| bytes.parse::<f64>().unwrap() / worst::budget_bytes()))
}

/// The value of a line of /proc/self/status in bytes. The file has it in KiB.
fn status_bytes(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
