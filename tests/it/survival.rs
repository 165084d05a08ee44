//! A conversation survives the server, with real processes: each one is killed in the middle of a
//! reply, and another continues the chat.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{
    SECRET,
    binary::Binary,
    client::{Client, json_request},
};

#[tokio::test]
async fn a_chat_survives_every_process_that_served_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, format!("k1:{SECRET}\n")).unwrap();
    let keys = keys.to_str().unwrap();
    let mut token = Value::Null;
    for (turn, pieces) in (1..).zip([0, 1, 3, 8]) {
        // The process is killed after this many pieces of a reply.
        let doomed = Binary::serve(&["--keys-file", keys, "--builtin-pace-ms", "5"]);
        let mut client = Client::connect(doomed.address).await;
        let lost = json!({ "input": "Write 1000 words", "token": token, "user_id": "ada", "stream": true });
        let mut answer = client.open(json_request("/v1/turns", &lost)).await.unwrap();
        for _ in 0..pieces {
            answer.frame().await.unwrap().unwrap();
        }
        drop(doomed);
        assert!(answer.collect().await.is_err(), "it was not cut off");
        // The next process continues from the last token.
        let next = Binary::serve(&["--keys-file", keys]);
        let input = if turn == 1 { "My name is Ada." } else { "What is my name?" };
        let ask = json!({ "input": input, "token": token, "user_id": "ada" });
        let answer = Client::connect(next.address).await.turn(&ask).await.json();
        assert!(answer["reply"].as_str().unwrap().contains("Ada"), "{answer}");
        assert_eq!(answer["conversation"]["turn"], turn);
        token = answer["token"].clone();
    }
}
