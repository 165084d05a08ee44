//! Signals to the real process: SIGHUP reloads the settings, SIGTERM stops the process gracefully.

use std::{fs, path::Path};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{
    SECRET,
    binary::Binary,
    client::{Client, json_request},
    model::{Model, Step},
    upstream,
};

/// 32 bytes of 2.
const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

fn kid(token: &Value) -> String {
    let header = token.as_str().unwrap().split('.').next().unwrap();
    let header = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn turn(binary: &Binary, body: Value) -> crate::support::answer::Answer {
    Client::connect(binary.address).await.turn(&body).await
}

#[tokio::test]
async fn a_hangup_changes_the_keys_and_keeps_the_conversations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let write = |path: &Path, text: String| fs::write(path, text).unwrap();
    write(&path, format!("k1:{SECRET}\n"));
    let mut binary = Binary::serve(&["--keys-file", path.to_str().unwrap()]);
    let first = turn(&binary, json!({ "input": "My name is Ada." })).await.json();
    assert_eq!(kid(&first["token"]), "k1");

    write(&path, format!("# new in front\nk2:{OTHER}\nk1:{SECRET}\n"));
    binary.signal("HUP");
    assert!(binary.until("reloaded").contains("reloaded; keys k2, k1"));
    let ask = json!({ "input": "What is my name?", "token": first["token"] });
    let second = turn(&binary, ask.clone()).await.json();
    assert_eq!((kid(&second["token"]).as_str(), &second["conversation"]["turn"]), ("k2", &json!(2)));
    assert!(second["reply"].as_str().unwrap().contains("Ada"));

    // A file with an error changes nothing.
    for broken in ["k2:short\n", "", "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI\nk2:AQ\n"] {
        write(&path, broken.to_owned());
        binary.signal("HUP");
        let said = binary.until("not reloaded");
        assert!(!said.contains(&OTHER[..8]), "{said}");
        turn(&binary, ask.clone()).await.json();
    }

    write(&path, format!("k2:{OTHER}\n"));
    binary.signal("HUP");
    binary.until("reloaded; keys k2");
    turn(&binary, ask).await.problem("token_invalid");
    turn(&binary, json!({ "input": "What is my name?", "token": second["token"] })).await.json();

    binary.signal("TERM");
    let (status, said) = binary.ended();
    assert!(status.success() && said.contains("stopping"), "{status} {said}");
    for secret in [SECRET, OTHER, "Ada", first["token"].as_str().unwrap()] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_hangup_changes_the_limits_on_users() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdall.toml");
    let write = |rules: &str| fs::write(&path, format!("keys = \"k1:{SECRET}\"\n{rules}")).unwrap();
    write("guard.rate = \"1/1h\"\n[[guard.quota]]\nperiod = \"366d\"\nturns = 5\n");
    let mut binary = Binary::serve(&["--config", path.to_str().unwrap()]);
    let ask = || json!({ "input": "hi", "user_id": "ada" });
    turn(&binary, ask()).await.json();
    turn(&binary, ask()).await.problem("rate_limited");

    write("guard.rate = \"100/1h\"\n[[guard.quota]]\nperiod = \"366d\"\nturns = 2\n");
    binary.signal("HUP");
    binary.until("reloaded; keys k1");
    turn(&binary, ask()).await.json();
    turn(&binary, ask()).await.problem("quota_exceeded");

    // A change of the limits store needs a restart.
    write("guard.redis_url = \"redis://:hunter2@store.test\"\n");
    binary.signal("HUP");
    let said = binary.until("not reloaded");
    assert!(said.contains("changed: guard.redis_url\n") && !said.contains("hunter2"), "{said}");
    turn(&binary, ask()).await.problem("quota_exceeded");
}

#[tokio::test]
async fn a_hangup_names_settings_that_need_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdall.toml");
    let write = |rules: &str| fs::write(&path, format!("keys = \"k1:{SECRET}\"\n{rules}")).unwrap();
    write("");
    let mut binary = Binary::serve(&["--config", path.to_str().unwrap()]);
    write("cors_origins = [\"https://app.test\"]\nlimits = { connections_per_peer = 9, turns_per_user = 9 }\n");
    for _ in 0..2 {
        binary.signal("HUP");
        let said = binary.until("reloaded; keys k1");
        let warning = "warning: these changes need a restart: cors_origins, limits.connections_per_peer\n";
        assert!(said.contains(warning), "{said}");
    }
    write("");
    binary.signal("HUP");
    let said = binary.until("reloaded; keys k1");
    assert!(!said.contains("restart"), "{said}");
}

#[tokio::test]
async fn a_hangup_changes_the_caching_of_prompts() {
    let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let model = Model::start(move |_| vec![Step::send(answer)]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdall.toml");
    let write = |prompt_cache: bool| {
        let upstream = upstream("anthropic", &model.url())
            .replace("api_key_env = \"MODEL_KEY\"", &format!("prompt_cache = {prompt_cache}"));
        fs::write(&path, format!("keys = \"k1:{SECRET}\"\nsystem_prompt = \"Be brief.\"\n{upstream}")).unwrap();
    };
    write(true);
    let mut binary = Binary::serve(&["--config", path.to_str().unwrap()]);
    for prompt_cache in [true, false, true] {
        write(prompt_cache);
        binary.signal("HUP");
        let log = binary.until("reloaded; keys k1");
        assert!(!log.contains("restart"), "{log}");
        turn(&binary, json!({ "input": "hi" })).await.problem("upstream_refused");
        let body = &model.requests()[0].body;
        assert_eq!(body.contains("cache_control"), prompt_cache, "{body}");
    }
}

#[tokio::test]
async fn a_termination_lets_a_stream_end() {
    let mut binary = Binary::serve(&["--dev", "--builtin-pace-ms", "20"]);
    let mut client = Client::connect(binary.address).await;
    let ask = json_request("/v1/turns", &json!({ "input": "Count to 20", "stream": true }));
    let mut answer = client.open(ask).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    binary.signal("TERM");
    binary.until("stopping");
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("event: done"));
    let (status, said) = binary.ended();
    let entry: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!((&entry["path"], &entry["status"], &entry["turn"]), (&json!("/v1/turns"), &json!(200), &json!(1)));
}

#[tokio::test]
async fn flags_limit_the_duration_of_a_stop() {
    let stop = ["--lame-duck", "50ms", "--drain", "50ms"];
    let binary = Binary::serve(&[&["--dev", "--builtin-pace-ms", "20"][..], &stop[..]].concat());
    let mut client = Client::connect(binary.address).await;
    let ask = json_request("/v1/turns", &json!({ "input": "Write 100000 words", "stream": true }));
    let mut answer = client.open(ask).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    binary.signal("TERM");
    let rest = answer.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("event: error\n") && rest.contains("\"partial\":{\"reply\":"), "{rest}");
    let (status, _) = binary.ended();
    assert!(status.success(), "{status}");
}
