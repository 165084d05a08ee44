//! An issuer that publishes its keys: fetches, waiting requests, and callers while the issuer is
//! down.
//!
//! The credentials are those of `tests/vectors/jwt`, made by PyJWT.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
    time::{Duration, timeout},
};

use super::{Hand, with};
use crate::support::{
    binary::Binary,
    client::{Client, json_request},
    config,
    hand::PendingCall,
    model::{Model, Step},
    server::Running,
    upstream,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors/jwt/cases.json")).unwrap()
}

/// The key set of these kids.
fn key_set(kids: &[&str]) -> String {
    let mut set = vectors()["keys"]["public"]["jwks"].take();
    set["keys"].as_array_mut().unwrap().retain(|key| kids.contains(&key["kid"].as_str().unwrap()));
    set.to_string()
}

/// A credential of alice, by its name among the vectors.
fn credential(name: &str) -> String {
    let cases = vectors()["cases"].take();
    let case = cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    format!("Bearer {}", case["token"].as_str().unwrap())
}

const RSA: &str = "RS256 with a kid";
const P256: &str = "ES256 with a kid";

fn settings(url: &str) -> String {
    format!(
        "identity = {{ mode = \"jwt\", jwt = {{ issuer = \"https://issuer.example\", audience = [\"holdall\"], \
         jwks_url = \"{url}\" }} }}\n"
    )
}

type Fetched = Result<String, String>;

/// A service with a manual clock, and its fetches of keys.
struct Deployment {
    hand: Hand,
    keeper: Pin<Box<dyn Future<Output = ()>>>,
    fetches: Arc<Mutex<VecDeque<oneshot::Sender<Fetched>>>>,
}

impl Deployment {
    /// A service at the time of the vectors, with its first fetch in flight.
    fn new() -> Self {
        let settings =
            format!("{}{}", settings("https://issuer.example/jwks"), upstream("openai", "http://model.test"));
        let hand = Hand::of(config(&settings));
        hand.clock.advance_seconds(vectors()["now"].as_u64().unwrap() - 1_795_000_000);
        let fetches = Arc::<Mutex<VecDeque<_>>>::default();
        let (service, made) = (Arc::clone(&hand.service), Arc::clone(&fetches));
        let keeper = Box::pin(async move {
            service
                .keep_keys(|url| {
                    assert_eq!(url, "https://issuer.example/jwks");
                    let (sender, fetched) = oneshot::channel();
                    made.lock().unwrap().push_back(sender);
                    async { fetched.await.unwrap() }
                })
                .await;
        });
        let mut deployment = Self { hand, keeper, fetches };
        deployment.step();
        deployment
    }

    /// A service that has fetched the keys with these kids.
    fn with_keys(kids: &[&str]) -> Self {
        let mut deployment = Self::new();
        deployment.answer(Ok(key_set(kids)));
        deployment
    }

    /// Polls the task that keeps the keys.
    fn step(&mut self) {
        assert!(self.keeper.as_mut().now_or_never().is_none(), "the task has ended");
    }

    fn advance(&mut self, seconds: u64) {
        self.hand.clock.advance_seconds(seconds);
        self.step();
    }

    /// The number of fetches in flight.
    fn fetches(&mut self) -> usize {
        self.step();
        self.fetches.lock().unwrap().iter().filter(|fetch| !fetch.is_closed()).count()
    }

    /// Ends the fetch in flight.
    fn answer(&mut self, fetched: Fetched) {
        assert_eq!(self.fetches(), 1);
        self.fetches.lock().unwrap().pop_back().unwrap().send(fetched).unwrap();
        self.step();
    }

    fn ask(&self, credential: &str) -> PendingCall {
        let request = with(json_request("/v1/history", &json!({ "token": "t" })), &[("authorization", credential)]);
        self.hand.ask(request)
    }

    fn readiness(&self) -> StatusCode {
        self.hand.ask(Request::get("/ready").body(String::new()).unwrap()).answer().status
    }
}

/// Checks that the credential is accepted: the error is about the token `t`.
#[track_caller]
fn assert_accepted(pending: PendingCall) {
    pending.answer().problem("token_invalid");
}

/// A credential with this kid in its header and an invalid signature.
fn stranger(kid: &str) -> String {
    let credential = super::jws(&json!({ "alg": "ES256", "kid": kid }), &super::claims("alice"), b"");
    format!("Bearer {credential}")
}

#[test]
fn before_the_first_keys_callers_wait_and_probes_report_it() {
    let mut deployment = Deployment::new();
    assert_eq!(deployment.readiness(), StatusCode::SERVICE_UNAVAILABLE);
    let (mut alice, mut eve) = (deployment.ask(&credential(RSA)), deployment.ask(&stranger("x")));
    alice.wait();
    eve.wait();
    // A credential that is not a JSON Web Token is refused without a key.
    deployment.ask("Bearer sk-made-up").answer().problem("unauthenticated");
    deployment.answer(Ok(key_set(&["rsa-1"])));
    assert_accepted(alice);
    eve.answer().problem("unauthenticated");
    assert_eq!(deployment.readiness(), StatusCode::OK);
    deployment.hand.service.drain();
    assert_eq!(deployment.readiness(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn fetches_are_repeated_if_the_issuer_is_down_at_the_start() {
    let mut deployment = Deployment::new();
    deployment.answer(Err("connection refused".to_owned()));
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let answer = deployment.ask(&credential(RSA)).answer();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let problem = answer.problem("guard_unavailable");
        assert!(!problem["detail"].as_str().unwrap().contains("refused"));
        let cause = deployment.hand.log.take().pop().unwrap().cause.unwrap();
        assert!(cause.ends_with("the last fetch failed: connection refused"), "{cause}");
        deployment.advance(pause - 1);
        assert_eq!(deployment.fetches(), 0, "{pause}");
        deployment.advance(1);
        if pause < 60 {
            deployment.answer(Err("connection refused".to_owned()));
        } else if deployment.fetches() == 1 {
            break;
        }
    }
    assert_eq!(deployment.readiness(), StatusCode::SERVICE_UNAVAILABLE);
    deployment.answer(Ok(key_set(&["rsa-1"])));
    assert_accepted(deployment.ask(&credential(RSA)));
    assert_eq!(deployment.readiness(), StatusCode::OK);
}

#[test]
fn a_fetch_that_hangs_is_dropped() {
    let mut deployment = Deployment::new();
    let mut alice = deployment.ask(&credential(RSA));
    alice.wait();
    deployment.advance(4);
    alice.wait();
    assert_eq!(deployment.fetches(), 1);
    deployment.advance(1);
    assert_eq!(deployment.fetches(), 0);
    alice.answer().problem("guard_unavailable");
    deployment.ask(&credential(RSA)).answer().problem("guard_unavailable");
    let causes = format!("{:?}", deployment.hand.log.take());
    assert!(causes.contains("no complete response within 5000 ms"), "{causes}");
}

#[test]
fn a_client_that_leaves_during_its_fetch_does_not_block_others() {
    let issuer = format!("{}{}", settings("https://issuer.example/jwks"), upstream("openai", "http://model.test"));
    let fetches = Arc::<Mutex<Vec<oneshot::Sender<Fetched>>>>::default();
    let made = Arc::clone(&fetches);
    let Hand { service, clock, .. } = Hand::of(config(&issuer));
    clock.advance_seconds(vectors()["now"].as_u64().unwrap() - 1_795_000_000);
    let service = Arc::into_inner(service).unwrap().fetching_keys(Box::new(move |_| {
        let (sender, fetched) = oneshot::channel();
        made.lock().unwrap().push(sender);
        Box::pin(async { fetched.await.unwrap() })
    }));
    let service = Arc::new(service);
    let ask = || {
        let request = json_request("/v1/history", &json!({ "token": "t" }));
        PendingCall::new(Arc::clone(&service).handle(with(request, &[("authorization", &credential(RSA))])))
    };
    let mut leaver = ask();
    leaver.wait();
    assert_eq!(fetches.lock().unwrap().len(), 1);
    drop(leaver);
    let mut stayer = ask();
    stayer.wait();
    let fetch = fetches.lock().unwrap().pop().unwrap();
    assert!(!fetch.is_closed(), "no fetch is in flight");
    fetch.send(Ok(key_set(&["rsa-1"]))).unwrap();
    assert_accepted(stayer);
}

#[test]
fn known_keys_stay_in_use_while_the_issuer_is_down() {
    let mut deployment = Deployment::with_keys(&["rsa-1"]);
    deployment.advance(599);
    assert_eq!(deployment.fetches(), 0);
    deployment.advance(1);
    assert_eq!(deployment.fetches(), 1);
    assert_accepted(deployment.ask(&credential(RSA)));
    for failed in [Err("status 500".to_owned()), Ok("<html>".to_owned()), Ok("{\"keys\":[]}".to_owned())] {
        deployment.answer(failed);
        assert_accepted(deployment.ask(&credential(RSA)));
        assert_eq!(deployment.readiness(), StatusCode::OK);
        deployment.advance(4);
    }
    // An unknown key may be a new key of the issuer.
    let mut bob = deployment.ask(&credential(P256));
    bob.wait();
    deployment.answer(Err("status 500".to_owned()));
    bob.answer().problem("guard_unavailable");
}

#[test]
fn a_new_key_of_the_issuer_is_fetched_immediately() {
    let mut deployment = Deployment::with_keys(&["rsa-1"]);
    let mut alice = deployment.ask(&credential(P256));
    alice.wait();
    assert_accepted(deployment.ask(&credential(RSA)));
    deployment.answer(Ok(key_set(&["p256-1"])));
    assert_accepted(alice);
    assert_accepted(deployment.ask(&credential(P256)));
    // A key that the issuer has withdrawn is no longer valid.
    deployment.ask(&credential(RSA)).answer().problem("unauthenticated");
    assert_eq!(deployment.fetches(), 0);
}

#[test]
fn a_thousand_unknown_keys_cause_one_fetch_a_minute() {
    let mut deployment = Deployment::with_keys(&["rsa-1"]);
    for _ in 0..2 {
        let mut pending: Vec<_> = (0..1_000).map(|number| deployment.ask(&stranger(&number.to_string()))).collect();
        pending.iter_mut().for_each(PendingCall::wait);
        assert_eq!(deployment.fetches(), 1);
        assert_accepted(deployment.ask(&credential(RSA)));
        deployment.answer(Ok(key_set(&["rsa-1"])));
        for pending in pending {
            pending.answer().problem("unauthenticated");
        }
        for seconds in [0, 10, 49] {
            deployment.advance(seconds);
            deployment.ask(&stranger("another")).answer().problem("unauthenticated");
            assert_eq!(deployment.fetches(), 0);
        }
        deployment.advance(1);
    }
}

#[test]
fn a_wrong_signature_under_a_known_kid_causes_no_fetch() {
    let mut deployment = Deployment::with_keys(&["rsa-1", "p256-1"]);
    for kid in ["p256-1", "rsa-1"] {
        deployment.ask(&stranger(kid)).answer().problem("unauthenticated");
    }
    assert_eq!(deployment.fetches(), 0);
}

#[test]
fn a_reload_keeps_the_fetched_keys() {
    let mut deployment = Deployment::with_keys(&["rsa-1"]);
    let reloaded =
        |url: &str, audience: &str| config(&settings(url).replace("\"holdall\"", &format!("\"{audience}\"")));
    let same = reloaded("https://issuer.example/jwks", "holdall");
    deployment.hand.service.reload(same.deployment, same.access);
    assert_accepted(deployment.ask(&credential(RSA)));
    assert_eq!(deployment.fetches(), 0);
    let mut bob = deployment.ask(&credential(P256));
    bob.wait();
    deployment.answer(Ok(key_set(&["p256-1"])));
    assert_accepted(bob);
    let other = reloaded("https://issuer.example/jwks", "another");
    deployment.hand.service.reload(other.deployment, other.access);
    deployment.ask(&credential(P256)).answer().problem("unauthenticated");
}

/// Sends a request to a server whose issuer is at `url`. Returns the code of the error and its
/// cause. The vectors have expired, so a credential with a known key gets the cause `exp`.
async fn refusal(url: &str) -> (String, String) {
    let server = Running::start(config(&format!("timeouts.issuer = \"400ms\"\n{}", settings(url)))).await;
    let request = with(json_request("/v1/turns", &json!({ "input": "hi" })), &[("authorization", &credential(RSA))]);
    let answer = Client::connect(server.address).await.send(request).await;
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let cause = loop {
        // The record is written after the response.
        if let Some(entry) = server.log.take().pop() {
            break entry.cause.unwrap_or_default();
        }
        tokio::task::yield_now().await;
    };
    (problem["code"].as_str().unwrap().to_owned(), cause)
}

fn document(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::send(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"))]
}

#[tokio::test]
async fn keys_are_fetched_over_the_network() {
    let issuer = Model::start(|_| document("200 OK", "", &key_set(&["rsa-1"]))).await;
    let (code, cause) = refusal(&issuer.url()).await;
    assert_eq!(code, "unauthenticated");
    assert!(cause.starts_with("exp: expired"), "{cause}");
    let requests = issuer.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].head.starts_with("GET /base HTTP/1.1\r\n"), "{}", requests[0].head);
}

#[tokio::test]
async fn a_failing_issuer_makes_callers_retry() {
    let elsewhere = Model::start(|_| document("200 OK", "", &key_set(&["rsa-1"]))).await;
    let redirect = format!("location: {}\r\n", elsewhere.url());
    let large = key_set(&["rsa-1"]) + &" ".repeat(256 << 10);
    let endless = vec![
        Step::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        Step::Repeat(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).into(), 1_000),
    ];
    for (steps, fault) in [
        (document("500 Oh", "", &key_set(&["rsa-1"])), "status 500"),
        (document("404 No", "", ""), "status 404"),
        (document("204 No Content", "", ""), "status 204"),
        (document("302 Found", &redirect, ""), "status 302"),
        (document("307 Temporary", &redirect, ""), "status 307"),
        (document("200 OK", "content-type: text/html\r\n", "<html>sign in</html>"), "the JWT key set cannot be read"),
        (document("200 OK", "", ""), "the JWT key set cannot be read"),
        (document("200 OK", "", &large), "over 262144 bytes"),
        (vec![Step::send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 10 << 20))], "over 262144 bytes"),
        (endless, "over 262144 bytes"),
        (vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\u{80}")], "cannot be read"),
        (vec![Step::send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff".to_vec())], "not UTF-8"),
        (vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"keys\"")], "fetch failed: "),
        (vec![Step::Wait], "has not ended in time|no complete response within 400 ms"),
        (
            vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), Step::Wait],
            "has not ended in time|no complete response",
        ),
        (vec![Step::Reset], "fetch failed: "),
    ] {
        let issuer = Model::start(move |_| steps.clone()).await;
        let (code, cause) = refusal(&issuer.url()).await;
        assert_eq!(code, "guard_unavailable", "{fault}");
        assert!(fault.split('|').any(|fault| cause.contains(fault)), "{fault}: {cause}");
        assert!(issuer.sent_bytes() < 40 << 20, "{}", issuer.sent_bytes());
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (code, cause) = refusal(&format!("http://{nobody}/jwks")).await;
    assert_eq!(code, "guard_unavailable");
    assert!(cause.contains("fetch failed: "), "{cause}");
}

// Reading the output of a process blocks a thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_one_notice_for_a_failure_and_one_for_its_end() {
    let issuer = Model::start(|number| match number {
        0 => document("503 No", "", ""),
        _ => document("200 OK", "", &key_set(&["rsa-1", "p256-1"])),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdall.toml");
    std::fs::write(&path, settings(&issuer.url())).unwrap();
    let mut binary = Binary::serve(&["--dev", "--config", path.to_str().unwrap()]);
    let line = binary.until("issuer_keys_failed");
    assert!(line.ends_with("{\"notice\":\"issuer_keys_failed\",\"detail\":\"status 503\"}\n"), "{line}");
    let line = binary.until("issuer_keys_fetched");
    let notice = "{\"notice\":\"issuer_keys_fetched\",\"detail\":\"2 of the issuer's keys in use\"}\n";
    assert_eq!(line, notice);
    assert_eq!(issuer.requests().len(), 2);
}

#[tokio::test]
async fn an_issuer_that_sends_slowly_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let sending = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // Send until the client leaves.
        while timeout(Duration::from_millis(5), stream.readable()).await.is_err() {
            if stream.write_all(b" ").await.is_err() {
                break;
            }
        }
    });
    let (code, cause) = refusal(&url).await;
    assert_eq!(code, "guard_unavailable");
    assert!(cause.contains("has not ended in time") || cause.contains("no complete response within 400 ms"), "{cause}");
    timeout(Duration::from_secs(20), sending).await.unwrap().unwrap();
}
