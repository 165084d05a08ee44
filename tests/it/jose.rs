//! Prints tokens that this build issues. `tests/jose` verifies them with independent libraries.

use crate::{testkit::Case, worst};

/// Prints one line for each token: `token`, the secret of key `k1` in base64url, the token.
#[test]
#[ignore = "prints tokens for tests/jose/run"]
fn fresh_tokens() {
    let case = Case::named("accepted-first-turn-clear");
    let (_, secret) = case.text("keys").split(',').next().unwrap().split_once(':').unwrap();
    for seal in [false, true] {
        for lines in [worst::many_items(), worst::many_parts()] {
            println!("\ntoken {secret} {}", worst::issued(seal, &lines));
        }
    }
}
