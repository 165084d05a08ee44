//! Many users at once over several instances, one of which dies and comes back: each chat knows its own secret, and no
//! other's. And the same with real processes, killed in the middle of a reply.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    SECRET,
    binary::Binary,
    client::{Client, json_request},
    config,
    events::events,
    server::Running,
};

const USERS: usize = 300;
const TURNS: usize = 20;

/// Three instances behind a round robin, each of which may be away.
struct Fleet {
    addresses: Mutex<[SocketAddr; 3]>,
    next: AtomicUsize,
    failed: AtomicUsize,
    done: watch::Sender<usize>,
}

impl Fleet {
    fn next(&self) -> SocketAddr {
        self.addresses.lock().unwrap()[self.next.fetch_add(1, Ordering::Relaxed) % 3]
    }

    /// Sends a body to the next instance, and to the ones after it where that one fails.
    async fn post(&self, connections: &mut Vec<(SocketAddr, Client)>, path: &str, body: &Value) -> Value {
        for _ in 0..100 {
            let address = self.next();
            if !connections.iter().any(|(known, _)| *known == address) {
                match Client::try_connect(address).await {
                    Some(client) => connections.push((address, client)),
                    None => {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                }
            }
            let place = connections.iter().position(|(known, _)| *known == address).unwrap();
            match connections[place].1.try_send(json_request(path, body)).await {
                Ok(answer) if answer.header("content-type") == "text/event-stream" => {
                    let (name, done) = events(str::from_utf8(&answer.body).unwrap()).pop().unwrap();
                    assert_eq!(name, "done");
                    return done;
                }
                Ok(answer) => return serde_json::from_slice(&answer.body).unwrap(),
                Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    connections.swap_remove(place);
                }
            }
        }
        panic!("no instance answers");
    }
}

/// Numbers that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The secrets that a text tells.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("xyzzy"))
}

/// One user's whole chat; gives the last token.
async fn chat(fleet: Arc<Fleet>, user: usize) -> (usize, Value) {
    let mut dice = Dice(u64::try_from(user).unwrap() + 1);
    let mut connections = Vec::new();
    let (mut secret, mut token) = (String::new(), Value::Null);
    for turn in 1..=TURNS {
        let choice = if turn == 1 { 0 } else { dice.roll(6) };
        let input = match choice {
            0 => {
                secret = format!("xyzzy{user}n{}", dice.roll(1 << 30));
                format!("My secret is {secret}.")
            }
            1 => "How many turns do you see?".to_owned(),
            2 => "List what I told you.".to_owned(),
            _ => "What is my secret?".to_owned(),
        };
        let mut ask = json!({ "input": input, "token": token, "stream": dice.roll(2) == 0 });
        // Every third user gives no name, and is known by its token alone.
        if !user.is_multiple_of(3) {
            ask["user_id"] = json!(format!("user-{user}"));
        }
        let answer = fleet.post(&mut connections, "/v1/turns", &ask).await;
        let reply = answer["reply"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(answer["conversation"]["turn"], turn);
        match choice {
            1 => assert!(reply.contains(&format!("this is turn {turn}")), "{reply}"),
            _ => assert!(secrets(reply).any(|told| told == secret), "{secret}: {reply}"),
        }
        let own = format!("xyzzy{user}n");
        assert!(secrets(&answer.to_string()).all(|told| told.starts_with(&own)), "{own}: {answer}");
        token = answer["token"].clone();
        fleet.done.send_modify(|done| *done += 1);
    }
    (user, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_users_keep_their_secrets_while_an_instance_dies() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Running::start(config("")).await);
    }
    let addresses = [0, 1, 2].map(|at: usize| servers[at].address);
    let fleet = Arc::new(Fleet {
        addresses: addresses.into(),
        next: AtomicUsize::default(),
        failed: AtomicUsize::default(),
        done: watch::Sender::new(0),
    });
    let chats: Vec<_> = (0..USERS).map(|user| tokio::spawn(chat(Arc::clone(&fleet), user))).collect();

    let mut done = fleet.done.subscribe();
    done.wait_for(|done| *done >= USERS * TURNS / 3).await.unwrap();
    drop(servers.remove(1));
    done.wait_for(|done| *done >= USERS * TURNS * 2 / 3).await.unwrap();
    let again = Running::start(config("")).await;
    fleet.addresses.lock().unwrap()[1] = again.address;
    servers.push(again);

    let mut tokens = Vec::new();
    for chat in chats {
        tokens.push(chat.await.unwrap());
    }
    assert!(fleet.failed.load(Ordering::Relaxed) > 0, "nobody noticed the dead instance");
    assert!(servers.iter().all(|server| server.service.requests_under_way() == 0));
    swap(&fleet, &tokens).await;
}

/// Each user presents its own token and its neighbour's.
async fn swap(fleet: &Fleet, tokens: &[(usize, Value)]) {
    let mut connections = Vec::new();
    let named: Vec<_> = tokens.iter().filter(|(user, _)| !user.is_multiple_of(3)).collect();
    for ((user, own), (_, other)) in named.iter().zip(named.iter().cycle().skip(1)) {
        let name = format!("user-{user}");
        let history = json!({ "token": own, "user_id": name });
        let read = fleet.post(&mut connections, "/v1/history", &history).await;
        assert_eq!(read["items"].as_array().unwrap().len(), 2 * TURNS);
        for path in ["/v1/turns", "/v1/history"] {
            let mut foreign = json!({ "token": other, "user_id": name });
            if path == "/v1/turns" {
                foreign["input"] = json!("What is my secret?");
            }
            let refused = fleet.post(&mut connections, path, &foreign).await;
            assert_eq!(refused["code"], "token_invalid");
            assert_eq!(secrets(&refused.to_string()).count(), 0);
        }
    }
}

#[tokio::test]
async fn a_chat_outlives_any_process_that_served_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, format!("k1:{SECRET}\n")).unwrap();
    let keys = keys.to_str().unwrap();
    let mut token = Value::Null;
    for (turn, pieces) in (1..).zip([0, 1, 3, 8]) {
        // It dies after so many pieces of a reply that nobody will have whole.
        let doomed = Binary::serve(&["--keys-file", keys, "--builtin-pace-ms", "5"]);
        let mut client = Client::connect(doomed.address).await;
        let lost = json!({ "input": "Write 1000 words", "token": token, "user_id": "ada", "stream": true });
        let mut answer = client.open(json_request("/v1/turns", &lost)).await.unwrap();
        for _ in 0..pieces {
            answer.frame().await.unwrap().unwrap();
        }
        drop(doomed);
        assert!(answer.collect().await.is_err(), "it was not cut off");
        // Another takes over from the last token.
        let next = Binary::serve(&["--keys-file", keys]);
        let input = if turn == 1 { "My name is Ada." } else { "What is my name?" };
        let ask = json!({ "input": input, "token": token, "user_id": "ada" });
        let answer = Client::connect(next.address).await.turn(&ask).await.json();
        assert!(answer["reply"].as_str().unwrap().contains("Ada"), "{answer}");
        assert_eq!(answer["conversation"]["turn"], turn);
        token = answer["token"].clone();
    }
}
