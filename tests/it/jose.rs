//! Hands out tokens that this code issues, for tests/jose to verify with libraries that are not ours.

use crate::{testkit::Case, worst};

/// Prints one line a token: `token`, the secret of key `k1` in base64url, the token.
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
