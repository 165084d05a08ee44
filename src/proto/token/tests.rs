//! Tests of the life of a token: issue, authenticate, verify, continue.

use super::{testing::*, *};

const LINES: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n";

#[test]
fn an_issued_token_verifies_and_continues() {
    for seal in [false, true] {
        let deployment = TestDeployment::new(seal);
        let claims = claims(&deployment.policy);
        let first = issue(&claims, None, LINES, deployment.token_context(), &[5; 24], &mut codec()).unwrap();
        let token = deployment.verify(&first.token).unwrap();
        assert_eq!((token.claims(), token.history_lines(), token.items()), (&claims, LINES, 1));
        let next = claims.next("default".to_owned(), Id::new(NOW, [3; 16]), NOW, &deployment.policy);
        let second =
            issue(&next, Some(&token), &LINES.repeat(3), deployment.token_context(), &[6; 24], &mut codec()).unwrap();
        let token = deployment.verify(&second.token).unwrap();
        assert_eq!((token.claims(), token.history_lines()), (&next, &*LINES.repeat(4)));
        assert_eq!(token.history().unwrap().items().len(), 4);
    }
}

#[test]
fn frames_shrink_geometrically_over_a_long_conversation() {
    let deployment = TestDeployment::new(false);
    let claims = claims(&deployment.policy);
    let mut token = issue(&claims, None, LINES, deployment.token_context(), &[0; 24], &mut codec()).unwrap().token;
    for turn in 2..=500 {
        let base = deployment.verify(&token).unwrap();
        assert!(base.history_frames() <= 8, "{} frames at turn {turn}", base.history_frames());
        token = issue(&claims, Some(&base), LINES, deployment.token_context(), &[0; 24], &mut codec()).unwrap().token;
    }
    assert_eq!(deployment.verify(&token).unwrap().history_lines(), LINES.repeat(500));
}

#[test]
fn a_header_names_its_key_without_verification() {
    for seal in [false, true] {
        let deployment = TestDeployment::new(seal);
        let claims = claims(&deployment.policy);
        let token = issue(&claims, None, LINES, deployment.token_context(), &[5; 24], &mut codec()).unwrap().token;
        let named = RawToken::new(&token, &deployment.limits).unwrap().named_key();
        assert_eq!(named, Some((KeyId::new("k1").unwrap(), deployment.policy.kind())));
    }
    let foreign = base64url::encode(br#"{"alg":"none","kid":"k1","typ":"holdall1"}"#);
    for text in ["", "a.b.c", &foreign] {
        assert_eq!(RawToken::new(text, &Limits::default()).unwrap().named_key(), None);
    }
}
