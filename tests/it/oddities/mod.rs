//! Recorded oddities: what model services and clients really send, and what must come of it.
//!
//! The cases are the files of `tests/servers/oddities/`. docs/oddities.md explains their format and
//! how to add one. Each case runs as a client of each API, with complete and with streamed replies,
//! and the core takes each answer of a service apart at every byte.

mod client;
mod conditions;
mod expect;
mod file;
mod outcome;
mod pieces;
mod play;
mod service;

use std::{
    any::Any,
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use self::file::{Case, File, folder};
use crate::support::wire::Wire;

/// The result of one case: the failures of its runs.
struct Report<'a> {
    file: &'a File,
    case: &'a Case,
    failures: Vec<String>,
}

impl Report<'_> {
    /// The fault of the case: it fails, or it passes although it is marked as pending.
    fn fault(&self) -> Option<String> {
        let name = format!("{}: {}", self.file.name, self.case.name);
        match (self.case.pending, self.failures.is_empty()) {
            (false, false) => Some(format!("{name}\n  {}", self.failures.join("\n  "))),
            (true, true) => Some(format!("{name}\n  passes; {RENEW} removes its mark `pending`")),
            _ => None,
        }
    }
}

const RENEW: &str = "`cargo test --test it oddities::remove_outdated_marks -- --ignored`";

/// Runs one case in all its APIs and modes, and its answers in the core. Returns each failure once,
/// with the names of its runs.
fn run(case: &Case) -> Vec<String> {
    let mut failures: Vec<(Vec<String>, String)> = Vec::new();
    let mut add = |run: String, fault: String| match failures.iter_mut().find(|(_, other)| *other == fault) {
        Some((runs, _)) => runs.push(run),
        None => failures.push((vec![run], fault)),
    };
    for api in case.apis() {
        for mode in case.modes() {
            if let Some(fault) = fault_of(|| play::play(case, api, mode)) {
                add(format!("{api:?} {mode:?}"), fault);
            }
        }
    }
    if let Some(fault) = fault_of(|| pieces::take_apart(case)) {
        add("core".to_owned(), fault);
    }
    failures.into_iter().map(|(runs, fault)| format!("{}: {fault}", runs.join(", "))).collect()
}

/// The error or the panic of `work`.
fn fault_of(work: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let message = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.err(),
        Err(panic) => Some(format!("panic: {}", message(panic))),
    }
}

/// Runs all cases, in parallel.
fn reports(files: &[File]) -> Vec<Report<'_>> {
    let cases: Vec<_> = files.iter().flat_map(|file| file.cases.iter().map(move |case| (file, case))).collect();
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((file, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let failures = run(case);
                    reports.lock().unwrap().push(Report { file, case, failures });
                }
            });
        }
    });
    reports.into_inner().unwrap()
}

/// The page that explains the files.
fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/oddities.md")).unwrap()
}

#[test]
fn every_oddity_has_its_outcome() {
    let files = file::all();
    let faults: Vec<_> = reports(&files).iter().filter_map(Report::fault).collect();
    assert!(faults.is_empty(), "{} cases:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

#[test]
fn the_example_of_the_docs_passes() {
    let page = page();
    let (_, example) = page.split_once("```json\n").unwrap();
    let file = File::read("example.json", example.split_once("```").unwrap().0).unwrap();
    let faults: Vec<_> = reports(std::slice::from_ref(&file)).iter().filter_map(Report::fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_kind_has_three_cases_and_a_line_in_the_docs() {
    let files = file::all();
    let page = page();
    for file in &files {
        let names: BTreeSet<_> = file.cases.iter().map(|case| &case.name).collect();
        assert!(names.len() == file.cases.len() && names.len() >= 3, "{} has {} cases", file.name, names.len());
        assert!(page.contains(&format!("`{}`", file.name)), "docs/oddities.md does not name {}", file.name);
        let unplayed = file.cases.iter().find(|case| case.modes().is_empty());
        assert!(unplayed.is_none(), "{}: {} has no mode", file.name, unplayed.unwrap().name);
    }
    let count: usize = files.iter().map(|file| file.cases.len()).sum();
    assert!(count >= 150, "{count} cases");
}

#[test]
#[ignore = "shows why pending cases fail, with `--nocapture`"]
fn show_pending() {
    let files = file::all();
    for Report { file, case, failures } in reports(&files).iter().filter(|report| report.case.pending) {
        eprintln!("{}: {}\n  {}\n", file.name, case.name, failures.join("\n  "));
    }
}

#[test]
#[ignore = "writes files of the repository"]
fn remove_outdated_marks() {
    let files = file::all();
    for report in reports(&files).iter().filter(|report| report.case.pending && report.failures.is_empty()) {
        let path = folder().join(&report.file.name);
        let text = fs::read_to_string(&path).unwrap();
        let name = format!("\"name\": {},", serde_json::to_string(&report.case.name).unwrap());
        let (before, after) = text.split_once(&name).unwrap();
        let after = after.trim_start().strip_prefix("\"pending\": true,").expect("`pending` follows `name`");
        fs::write(path, format!("{before}{name}{after}")).unwrap();
    }
}

/// A file with one case, with these members in the case and in its only answer.
fn sample(of_case: &str, of_expect: &str) -> String {
    format!(
        r#"{{ "kind": "A sample.", "cases": [{{ "name": "a colour", {of_case} "turns": [{{
            "client": {{ "input": "Which colour?" }},
            "calls": [{{ "answer": {{ "says": "Red." }} }}],
            "expect": {{ {of_expect} }} }}] }}] }}"#
    )
}

#[test]
fn a_difference_is_reported_with_file_case_api_and_mode() {
    let file = File::read("colours.json", &sample("", r#""reply": "Blue.""#)).unwrap();
    let fault = reports(std::slice::from_ref(&file))[0].fault().unwrap();
    let runs = Wire::ALL.map(|api| format!("{api:?} Whole, {api:?} Streamed")).join(", ");
    let difference = "reply:\n      - \"Blue.\"\n      + \"Red.\"";
    assert_eq!(fault, format!("colours.json: a colour\n  {runs}: turn 1\n    {difference}"));
}

#[test]
fn a_pending_case_must_fail() {
    for (reply, has_fault) in [("Blue.", false), ("Red.", true)] {
        let text = sample(r#""pending": true,"#, &format!(r#""reply": "{reply}""#));
        let file = File::read("colours.json", &text).unwrap();
        assert_eq!(reports(std::slice::from_ref(&file))[0].fault().is_some(), has_fault, "{reply}");
    }
}

#[test]
fn an_unknown_member_is_refused_with_the_name_of_the_file() {
    for (of_case, of_expect) in [
        (r#""paused": true,"#, ""),
        ("", r#""answers": "Red.""#),
        ("", r#""at": { "messages": { "rely": "Red." } }"#),
        ("", r#""at": { "realtime": {} }"#),
    ] {
        let fault = File::read("colours.json", &sample(of_case, of_expect)).err().unwrap();
        assert!(fault.starts_with("colours.json: "), "{fault}");
    }
}
