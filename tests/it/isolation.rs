//! Three hundred users at once over three instances, one of which is killed and one started on the way: every reply
//! knows its own user's secret and nobody else's, and no turn is lost.
//!
//! The instances share a key and nothing else. Each runs on a runtime of its own, so that ending that runtime is what a
//! kill is to its connections and turns.

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

const USERS: usize = 300;
const TURNS: usize = 20;

#[test]
fn every_reply_knows_its_own_users_secret_and_no_other() {
    let fleet = Arc::new(Fleet::default());
    let mut instances: Vec<Instance> = (0..3).map(|_| Instance::start(&fleet)).collect();
    let clients = Runtime::new().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let users: Vec<_> = (0..USERS)
        .map(|number| {
            let user = User::new(number, Arc::clone(&fleet), Arc::clone(&turns));
            clients.spawn(user.talk())
        })
        .collect();
    // Each change comes when a share of the turns is done: by then the others are under way.
    reach(&turns, USERS * TURNS / 4, &users);
    instances.remove(0).kill(&fleet);
    reach(&turns, USERS * TURNS / 2, &users);
    instances.push(Instance::start(&fleet));
    let retried: usize = clients.block_on(async {
        let mut retried = 0;
        for user in users {
            retried += user.await.unwrap();
        }
        retried
    });
    assert_eq!(turns.load(Ordering::Relaxed), USERS * TURNS);
    println!("{USERS} users, {TURNS} turns each, {retried} turns sent again after the kill");
}

#[test]
fn users_cannot_swap_tokens() {
    let fleet = Arc::new(Fleet::default());
    let _instance = Instance::start(&fleet);
    let clients = Runtime::new().unwrap();
    clients.block_on(async {
        let http = client();
        let turn = async |user: &str, token: Option<&str>, input: &str| {
            let body = json!({ "user_id": user, "token": token, "input": input });
            send(&http, &fleet.url(0), &body).await.unwrap()
        };
        let (_, alice) = turn("alice", None, "My secret is plum-1.").await;
        let (_, bob) = turn("bob", None, "My secret is fig-2.").await;
        for (user, other) in [("alice", &bob), ("bob", &alice), ("Alice", &alice), ("alice ", &alice)] {
            let (status, problem) = turn(user, other["token"].as_str(), "What is my secret?").await;
            assert_eq!((status, &problem["code"]), (400, &json!("token_invalid")));
        }
        let (status, own) = turn("alice", alice["token"].as_str(), "What is my secret?").await;
        assert_eq!((status, &own["reply"]), (200, &json!("Your secret is plum-1.")));
    });
}

/// A user with a secret, and the one token that holds what was said.
struct User {
    number: usize,
    fleet: Arc<Fleet>,
    turns: Arc<AtomicUsize>,
    chance: u64,
    token: Value,
    retried: usize,
}

impl User {
    fn new(number: usize, fleet: Arc<Fleet>, turns: Arc<AtomicUsize>) -> Self {
        let chance = 0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Self { number, fleet, turns, chance, token: Value::Null, retried: 0 }
    }

    /// Takes all turns; says how many had to be sent again.
    async fn talk(mut self) -> usize {
        let http = client();
        let secret = self.secret();
        self.turn(&http, &format!("My secret is {secret}.")).await;
        for turn in 1..TURNS {
            let asks = turn == TURNS - 1 || self.draw(2) == 0;
            let said = format!("My favourite number in turn {turn} is {}.", self.draw(1_000));
            let reply = self.turn(&http, if asks { "What is my secret?" } else { &said }).await;
            // The built-in model's note of what it was told repeats that alone.
            let secrets: Vec<_> = reply.matches("secret-").collect();
            assert_eq!(secrets.len(), usize::from(asks), "{reply}");
            assert!(!asks || reply == format!("Your secret is {secret}."), "{reply}");
        }
        let body = json!({ "user_id": self.name(), "token": self.token });
        let history = self.post(&http, "/v1/history", &body).await;
        let items = history["items"].as_array().unwrap();
        assert_eq!(items.len(), 2 * TURNS);
        assert_eq!(items[0]["parts"][0]["text"], format!("My secret is {secret}."));
        assert_eq!(history["conversation"]["turn"], TURNS);
        self.retried
    }

    async fn turn(&mut self, http: &reqwest::Client, input: &str) -> String {
        let body = json!({ "user_id": self.name(), "token": self.token, "input": input });
        let answer = self.post(http, "/v1/turns", &body).await;
        self.token = answer["token"].clone();
        self.turns.fetch_add(1, Ordering::Relaxed);
        answer["reply"].as_str().unwrap().to_owned()
    }

    /// Sends to any instance; after a failure the same again, with the same token, to another.
    async fn post(&mut self, http: &reqwest::Client, path: &str, body: &Value) -> Value {
        for _ in 0..20 {
            let instance = self.draw(64);
            let url = self.fleet.url(instance).replace("/v1/turns", path);
            if let Ok((200, answer)) = send(http, &url, body).await {
                return answer;
            }
            self.retried += 1;
        }
        panic!("user {} found no instance", self.number);
    }

    fn name(&self) -> String {
        format!("user-{}", self.number)
    }

    fn secret(&self) -> String {
        format!("secret-{:016x}", (self.number as u64 + 7).wrapping_mul(0x5851_F42D_4C95_7F2D))
    }

    /// A number below `bound`, by xorshift from the user's own seed.
    fn draw(&mut self, bound: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % bound as u64).unwrap()
    }
}

/// The addresses that a load balancer would know.
#[derive(Default)]
struct Fleet(RwLock<Vec<SocketAddr>>);

impl Fleet {
    fn url(&self, number: usize) -> String {
        let addresses = self.0.read().unwrap();
        format!("http://{}/v1/turns", addresses[number % addresses.len()])
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

    /// Ends it at once, whatever it is doing; the fleet finds out only after a while, as load balancers do.
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
    // The crate brings reqwest without a TLS provider of its own, and the client asks for one though it speaks none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

async fn send(http: &reqwest::Client, url: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
    let request = http.post(url).header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap()))
}

/// Waits until as many turns are done, or no user goes on.
fn reach(turns: &AtomicUsize, count: usize, users: &[JoinHandle<usize>]) {
    while turns.load(Ordering::Relaxed) < count && !users.iter().all(JoinHandle::is_finished) {
        std::thread::yield_now();
    }
}
