//! 300 concurrent users of three instances. One instance is killed and one is started meanwhile.
//! Every reply knows the secret of its own user and no other, and no turn is lost. The same for
//! each API, and for conversations that change the API.
//!
//! The instances share only a key. Each has its own runtime: ending it affects connections and
//! turns like a kill.

use std::{
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use holdall::{
    config::{RawConfig, Sources},
    service::{Entry, Log},
    shell,
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::support::wire::Wire;

#[test]
fn every_reply_knows_only_the_secret_of_its_own_user() {
    converse(300, 20, &[Wire::Native]);
}

#[test]
fn the_responses_api_isolates_users() {
    converse(100, 12, &[Wire::Responses]);
}

#[test]
fn the_chat_completions_api_isolates_users() {
    converse(100, 12, &[Wire::Chat]);
}

#[test]
fn the_messages_api_isolates_users() {
    converse(100, 12, &[Wire::Messages]);
}

#[test]
fn a_conversation_can_change_the_api() {
    converse(100, 20, &Wire::ALL);
}

/// Runs conversations through these APIs, with and without streaming, while instances start and
/// end.
fn converse(users: usize, turns_each: usize, wires: &'static [Wire]) {
    let fleet = Arc::new(Fleet::default());
    let mut instances: Vec<Instance> = (0..3).map(|_| Instance::start(&fleet)).collect();
    let clients = Runtime::new().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let users: Vec<_> = (0..users)
        .map(|number| {
            let user = User::new(number, Arc::clone(&fleet), Arc::clone(&turns), wires);
            clients.spawn(user.talk(turns_each))
        })
        .collect();
    // Each change comes after a part of the turns. The other turns are in progress then.
    let all = users.len() * turns_each;
    reach(&turns, all / 4, &users);
    instances.remove(0).kill(&fleet);
    reach(&turns, all / 2, &users);
    instances.push(Instance::start(&fleet));
    clients.block_on(async {
        for user in users {
            user.await.unwrap();
        }
    });
    assert_eq!(turns.load(Ordering::Relaxed), all);
}

#[test]
fn users_cannot_swap_tokens_at_any_api() {
    let fleet = Arc::new(Fleet::default());
    let _instance = Instance::start(&fleet);
    let clients = Runtime::new().unwrap();
    clients.block_on(async {
        let http = client();
        for wire in Wire::ALL {
            let turn = async |user: &str, token: Option<&str>, input: &str| {
                let url = format!("{}{}", fleet.url(0), wire.path());
                send(&http, &url, &wire.turn(Some(user), token, input, false)).await.unwrap()
            };
            let token = async |user: &str, input: &str| {
                let (status, answer) = turn(user, None, input).await;
                assert_eq!(status, 200, "{answer}");
                wire.read(&answer, false).unwrap().1
            };
            let (alice, bob) =
                (token("alice", "My secret is plum-1.").await, token("bob", "My secret is fig-2.").await);
            let (forged, cut) = (alice.replace('a', "b"), &alice[..alice.len() - 1]);
            let mut refusals = Vec::new();
            for (user, token) in [
                ("alice", bob.as_str()),
                ("bob", &alice),
                ("Alice", &alice),
                ("alice ", &alice),
                ("alice", &forged),
                ("alice", cut),
                ("alice", "no.such.token"),
            ] {
                let (status, refusal) = turn(user, Some(token), "What is my secret?").await;
                let mut refusal: Value = serde_json::from_str(&refusal).unwrap();
                refusal.as_object_mut().unwrap().remove("request_id");
                let code = refusal.get("error").unwrap_or(&refusal)["code"].clone();
                let known = if wire == Wire::Responses { "previous_response_not_found" } else { "token_invalid" };
                assert_eq!((status, code), (400, json!(known)), "{wire:?} {user}");
                refusals.push(refusal);
            }
            // The response does not say which check failed.
            assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:?}");
            let (status, own) = turn("alice", Some(&alice), "What is my secret?").await;
            assert_eq!(
                (status, wire.read(&own, false).unwrap().0.as_str()),
                (200, "Your secret is plum-1."),
                "{wire:?}"
            );
        }
    });
}

/// A user with a secret, and the token of its conversation.
struct User {
    number: usize,
    fleet: Arc<Fleet>,
    turns: Arc<AtomicUsize>,
    chance: u64,
    wires: &'static [Wire],
    token: Option<String>,
}

impl User {
    fn new(number: usize, fleet: Arc<Fleet>, turns: Arc<AtomicUsize>, wires: &'static [Wire]) -> Self {
        let chance = 0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Self { number, fleet, turns, chance, wires, token: None }
    }

    /// Takes all turns.
    async fn talk(mut self, turns: usize) {
        let http = client();
        let secret = self.secret();
        self.turn(&http, &format!("My secret is {secret}.")).await;
        for turn in 1..turns {
            let asks = turn == turns - 1 || self.draw(2) == 0;
            let said = format!("My favourite number in turn {turn} is {}.", self.draw(1_000));
            let reply = self.turn(&http, if asks { "What is my secret?" } else { &said }).await;
            // The built-in model's note repeats only the remembered text.
            let secrets: Vec<_> = reply.matches("secret-").collect();
            assert_eq!(secrets.len(), usize::from(asks), "{reply}");
            assert!(!asks || reply == format!("Your secret is {secret}."), "{reply}");
        }
        let body = json!({ "user_id": self.name(), "token": self.token });
        let history = self.post(&http, "/v1/history", &body).await;
        let history: Value = serde_json::from_str(&history).unwrap();
        let items = history["items"].as_array().unwrap();
        assert_eq!(items.len(), 2 * turns);
        assert_eq!(items[0]["parts"][0]["text"], format!("My secret is {secret}."));
        assert_eq!(history["conversation"]["turn"], turns);
    }

    async fn turn(&mut self, http: &reqwest::Client, input: &str) -> String {
        let (wire, stream) = (self.wires[self.draw(self.wires.len())], self.draw(2) == 0);
        let body = wire.turn(Some(&self.name()), self.token.as_deref(), input, stream);
        // An interrupted stream has no token, so the turn is sent again.
        for _ in 0..20 {
            if let Some((reply, token)) = wire.read(&self.post(http, wire.path(), &body).await, stream) {
                self.token = Some(token);
                self.turns.fetch_add(1, Ordering::Relaxed);
                return reply;
            }
        }
        panic!("user {} got no whole reply", self.number);
    }

    /// Sends a request to some instance. After a failure, sends it again to another one.
    async fn post(&mut self, http: &reqwest::Client, path: &str, body: &Value) -> String {
        for _ in 0..20 {
            let instance = self.draw(64);
            let url = format!("{}{path}", self.fleet.url(instance));
            if let Ok((200, answer)) = send(http, &url, body).await {
                return answer;
            }
        }
        panic!("user {} found no instance", self.number);
    }

    fn name(&self) -> String {
        format!("user-{}", self.number)
    }

    fn secret(&self) -> String {
        format!("secret-{:016x}", (self.number as u64 + 7).wrapping_mul(0x5851_F42D_4C95_7F2D))
    }

    /// A pseudo-random number below `bound`: xorshift, with the user's own seed.
    fn draw(&mut self, bound: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % bound as u64).unwrap()
    }
}

/// The addresses that a load balancer knows.
#[derive(Default)]
struct Fleet(RwLock<Vec<SocketAddr>>);

impl Fleet {
    fn url(&self, number: usize) -> String {
        let addresses = self.0.read().unwrap();
        format!("http://{}", addresses[number % addresses.len()])
    }
}

struct Instance {
    runtime: Runtime,
    address: SocketAddr,
}

impl Instance {
    fn start(fleet: &Fleet) -> Self {
        let config = RawConfig::parse(CONFIG, toml::Table::new()).unwrap().check(&Nowhere).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(shell::start(config, Box::new(Silent))).unwrap();
        let address = server.address().unwrap();
        runtime.spawn(server.run(std::future::pending()));
        fleet.0.write().unwrap().push(address);
        Self { runtime, address }
    }

    /// Ends the instance immediately. The fleet learns of it later, like a load balancer.
    fn kill(self, fleet: &Fleet) {
        self.runtime.shutdown_background();
        std::thread::yield_now();
        fleet.0.write().unwrap().retain(|address| *address != self.address);
    }
}

const CONFIG: &str = r#"
    listen = "127.0.0.1:0"
    keys = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    upstream = [{ name = "builtin", kind = "builtin" }]
    model = [{ alias = "default", upstreams = ["builtin"], model = "builtin" }]
"#;

struct Nowhere;

impl Sources for Nowhere {
    fn file(&self, _: &str) -> Result<zeroize::Zeroizing<String>, String> {
        Err("there are no files".to_owned())
    }

    fn variable(&self, _: &str) -> Option<zeroize::Zeroizing<String>> {
        None
    }
}

struct Silent;

impl Log for Silent {
    fn record(&self, _: &Entry) {}
}

fn client() -> reqwest::Client {
    // reqwest is built without a TLS provider, and requires one even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

async fn send(http: &reqwest::Client, url: &str, body: &Value) -> reqwest::Result<(u16, String)> {
    let request = http.post(url).header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await?))
}

/// Waits until this many turns are done, or all users have finished.
fn reach(turns: &AtomicUsize, count: usize, users: &[JoinHandle<()>]) {
    while turns.load(Ordering::Relaxed) < count && !users.iter().all(JoinHandle::is_finished) {
        std::thread::yield_now();
    }
}
