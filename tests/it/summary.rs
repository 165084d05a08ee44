//! Conversations that outgrow their limits, at every door: trimmed or summarized as the alias says,
//! and reported.

use holdall::config::Config;
use serde_json::Value;

use crate::support::{client::Client, config, server::Running, wire::Wire};

fn server(truncation: &str) -> Config {
    config(&format!(
        "limits.history_bytes = 40000\nlimits.reply_reserve_bytes = 2000\n\
         [[upstream]]\nname = \"builtin\"\nkind = \"builtin\"\n\
         [[model]]\nalias = \"default\"\nupstreams = [\"builtin\"]\nmodel = \"builtin\"\n\
         truncation = \"{truncation}\"\n"
    ))
}

/// Talks on until a turn reports that items went; that turn's last words, and what it reported.
async fn outgrow(wire: Wire, config: Config, stream: bool) -> (String, Value) {
    let running = Running::start(config).await;
    let mut client = Client::connect(running.address).await;
    let (mut token, mut reported) = (None::<String>, Value::Null);
    for turn in 0..60 {
        let said = if turn == 0 { "My name is Ada.".to_owned() } else { format!("{turn}{}", " filler".repeat(150)) };
        let body = wire.turn(None, token.as_deref(), &said, stream);
        let answer = client.post(wire.path(), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        token = Some(wire.read(&text, stream).unwrap().1);
        reported = report(wire, &text, stream);
        if reported["trimmed_items"] != 0 {
            break;
        }
    }
    let body = wire.turn(None, token.as_deref(), "What is my name?", false);
    (wire.read(&client.post(wire.path(), &body).await.text(), false).unwrap().0, reported)
}

/// What the answer tells of its conversation.
fn report(wire: Wire, body: &str, stream: bool) -> Value {
    let member = if wire == Wire::Native { "conversation" } else { "holdall" };
    let find = |event: &Value| [event.get(member), event["response"].get(member)].into_iter().flatten().next().cloned();
    if !stream {
        return find(&serde_json::from_str(body).unwrap()).unwrap();
    }
    let events = body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    events.rev().find_map(|event| find(&event)).unwrap()
}

#[tokio::test]
async fn a_summarized_conversation_still_knows_its_beginning_at_every_api() {
    for wire in Wire::ALL {
        for stream in [false, true] {
            let (reply, reported) = outgrow(wire, server("summarize"), stream).await;
            assert_eq!(reply, "Your name is Ada.", "{wire:?}");
            assert!(reported["summarized_items"].as_u64().unwrap() > 10, "{wire:?} {reported}");
            assert_eq!(reported["summarized_items"], reported["trimmed_items"]);
        }
    }
}

#[tokio::test]
async fn a_trimmed_conversation_says_so_at_every_api() {
    for wire in Wire::ALL {
        for stream in [false, true] {
            let (reply, reported) = outgrow(wire, server("oldest"), stream).await;
            assert_eq!(reply, "You have not told me your name in this conversation.", "{wire:?}");
            assert!(reported["trimmed_items"].as_u64().unwrap() >= 2, "{wire:?} {reported}");
            assert!(reported.get("summarized_items").is_none());
        }
    }
}
