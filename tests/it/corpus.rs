//! Every fuzzing seed and past finding, through the checks that the fuzzers run. fuzz/README.md
//! says how to add one.

#[expect(unreachable_pub, reason = "these files are a crate of their own, the fuzzers'")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::{fs, path::Path};

#[test]
fn every_seed_and_past_finding_passes() {
    for (target, check) in fuzz::TARGETS {
        let mut replayed = 0;
        for folder in ["corpus", "findings"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
            // A target without findings has no folder for them.
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                check(&fs::read(&path).unwrap());
                replayed += 1;
            }
        }
        assert!(replayed > 0, "target {target} has no seeds");
    }
}

#[test]
fn every_seed_is_committed() {
    for (target, name, _) in fuzz::seeds::all() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).join(name);
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn seeds_are_taken_or_refused_as_they_are_meant_to_be() {
    fuzz::seeds::check();
}
