//! The AWS Lambda entry before a Runtime API of the test's: what it makes of events, and what it says of the rest.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use holdall::{
    config::Sources,
    shell::{Function, FunctionError, LambdaEnvironment},
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use crate::support::{
    config,
    events::{events, text_of},
    hand::Records,
};

const URL: &str = "abcdefg.lambda-url.eu-central-1.on.aws";
const API: &str = "id.execute-api.eu-central-1.amazonaws.com";

/// What a function said of an event.
struct Said {
    path: String,
    headers: HeaderMap,
    /// The body's chunks, one by one.
    chunks: Vec<Bytes>,
}

impl Said {
    fn document(&self) -> Value {
        serde_json::from_slice(&self.chunks.concat()).unwrap()
    }

    /// The answer of an API Gateway event: its status, and its body as JSON.
    fn answer(&self) -> (u64, Value) {
        let document = self.document();
        assert_eq!(document["isBase64Encoded"], false);
        let body = document["body"].as_str().unwrap();
        (document["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }
}

/// A Runtime API; dropping it ends it.
struct Platform {
    address: SocketAddr,
    give: mpsc::UnboundedSender<Option<String>>,
    said: mpsc::UnboundedReceiver<Said>,
    task: JoinHandle<()>,
}

impl Platform {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (give, given) = mpsc::unbounded_channel();
        let (say, said) = mpsc::unbounded_channel();
        let given = Arc::new(Mutex::new(given));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (given, say) = (Arc::clone(&given), say.clone());
                let answer = service_fn(move |request| answer(request, Arc::clone(&given), say.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, give, said, task }
    }

    /// Gives the function an event, and waits for what it says.
    async fn ask(&mut self, event: impl ToString) -> Said {
        self.give.send(Some(event.to_string())).unwrap();
        self.said.recv().await.unwrap()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers a call of the Runtime API.
async fn answer(
    request: Request<Incoming>,
    given: Arc<Mutex<mpsc::UnboundedReceiver<Option<String>>>>,
    say: mpsc::UnboundedSender<Said>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let mut response = Response::new(Full::default());
    if request.method() == Method::GET {
        assert_eq!(path, "/2018-06-01/runtime/invocation/next");
        match given.lock().await.recv().await {
            Some(Some(event)) => {
                let headers = response.headers_mut();
                headers
                    .insert("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".parse().unwrap());
                headers.insert("lambda-runtime-deadline-ms", "1".parse().unwrap());
                headers.insert("lambda-runtime-invocation-id", "attempt-1".parse().unwrap());
                *response.body_mut() = Full::from(event);
            }
            _ => *response.status_mut() = StatusCode::FORBIDDEN,
        }
        return Ok(response);
    }
    let (head, mut body) = request.into_parts();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.extend(frame?.into_data());
    }
    let _ = say.send(Said { path, headers: head.headers, chunks });
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A function under way; dropping it kills it.
struct Running {
    log: Records,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), FunctionError>>,
}

impl Running {
    async fn start(platform: &Platform, settings: &str) -> Self {
        let log = Records::default();
        let place = LambdaEnvironment::find(&Variables(platform.address.to_string())).unwrap();
        let function = Function::start(config(settings), &place, Box::new(log.clone())).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(function.run(async move {
            let _ = stopped.await;
        }));
        Self { log, stop, task }
    }
}

/// The variable that the platform sets.
struct Variables(String);

impl Sources for Variables {
    fn file(&self, _: &str) -> Result<Zeroizing<String>, String> {
        Err("no files".to_owned())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        (name == "AWS_LAMBDA_RUNTIME_API").then(|| Zeroizing::new(self.0.clone()))
    }
}

fn event(domain: &str, path: &str, body: &Value) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "host": domain, "content-type": "application/json" },
        "requestContext": {
            "domainName": domain,
            "stage": "$default",
            "http": { "method": "POST", "path": path, "sourceIp": "192.0.2.7" }
        },
        "body": body.to_string(),
        "isBase64Encoded": false
    })
}

#[tokio::test]
async fn a_function_url_gets_each_delta_when_it_comes() {
    let mut platform = Platform::start().await;
    let _function = Running::start(&platform, "dangerous_open = true\nbuiltin_pace_ms = 1").await;
    let said = platform.ask(event(URL, "/v1/turns", &json!({ "input": "my name is Ada", "stream": true }))).await;
    assert_eq!(said.path, "/2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response");
    for (name, value) in [
        ("lambda-runtime-function-response-mode", "streaming"),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/vnd.awslambda.http-integration-response"),
        ("lambda-runtime-invocation-id", "attempt-1"),
    ] {
        assert_eq!(said.headers[name], value);
    }
    let [head, zeros, rest @ ..] = said.chunks.as_slice() else { panic!("{:?}", said.chunks) };
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!((&head["statusCode"], &head["cookies"]), (&json!(200), &json!([])));
    assert_eq!(head["headers"]["content-type"], "text/event-stream");
    assert!(head["headers"]["x-request-id"].is_string());
    assert_eq!(zeros, &[0; 8][..]);
    let rest: Vec<_> = rest.iter().map(|chunk| events(std::str::from_utf8(chunk).unwrap())).collect();
    assert!(rest.len() > 4, "word by word: {rest:?}");
    assert_eq!(text_of(&rest.concat()), "Noted: your name is Ada.");
    let (name, done) = rest.last().unwrap().last().unwrap();
    assert!(name == "done" && done["token"].is_string());
}

#[tokio::test]
async fn an_http_api_gets_its_answers_whole_and_any_instance_goes_on() {
    let mut token = Value::Null;
    for (turn, input, reply) in
        [(1, "my name is Ada", "Noted: your name is Ada."), (2, "what is my name?", "Your name is Ada.")]
    {
        let mut platform = Platform::start().await;
        let function = Running::start(&platform, "dangerous_open = true").await;
        let mut event = event(API, "/prod/v1/turns", &Value::Null);
        event["requestContext"]["stage"] = "prod".into();
        let body = json!({ "input": input, "user_id": "ada", "token": token }).to_string();
        event["body"] = BASE64_STANDARD.encode(body).into();
        event["isBase64Encoded"] = true.into();
        let said = platform.ask(event).await;
        assert_eq!(said.headers["content-type"], "application/json");
        assert!(!said.headers.contains_key("lambda-runtime-function-response-mode"));
        let (status, answer) = said.answer();
        assert_eq!((status, &answer["reply"], &answer["conversation"]["turn"]), (200, &json!(reply), &json!(turn)));
        token = answer["token"].clone();
        let record = function.log.take().pop().unwrap();
        assert_eq!((record.path.as_str(), record.status), ("/v1/turns", 200));
    }
}

#[tokio::test]
async fn how_answers_go_out_is_a_setting() {
    let turn = json!({ "input": "hi", "stream": true });
    for (way, domain, streamed) in
        [("buffer", URL, false), ("stream", API, true), ("auto", URL, true), ("auto", API, false)]
    {
        let mut platform = Platform::start().await;
        let settings = format!("dangerous_open = true\nlambda_response = \"{way}\"");
        let _function = Running::start(&platform, &settings).await;
        let said = platform.ask(event(domain, "/v1/turns", &turn)).await;
        assert_eq!(said.headers.contains_key("lambda-runtime-function-response-mode"), streamed, "{way} {domain}");
        if !streamed {
            let document = said.document();
            assert_eq!(document["headers"]["content-type"], "text/event-stream");
            assert!(document["body"].as_str().unwrap().contains("event: done\n"));
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_told_and_the_next_event_is_taken() {
    let mut platform = Platform::start().await;
    let settings = "dangerous_open = true\ncors_origins = [\"https://chat.test\"]";
    let function = Running::start(&platform, settings).await;
    // None of ours: the platform is told.
    for (event, fault) in [
        (json!({ "version": "1.0", "httpMethod": "GET", "path": "/health" }), "an event of payload format 1.0"),
        (json!({ "Records": [] }), "an event of another kind"),
    ] {
        let said = platform.ask(event).await;
        assert!(said.path.ends_with("/8476a536-e9f4-11e8-9739-2dfe598c3fcd/error"), "{}", said.path);
        assert_eq!(said.headers["lambda-runtime-function-error-type"], "Holdall.UnknownEvent");
        let told = said.document();
        assert_eq!(told["errorType"], "Holdall.UnknownEvent");
        assert!(told["errorMessage"].as_str().unwrap().starts_with(fault), "{told}");
    }
    let said = platform.ask("x".repeat((16 << 20) + 1)).await;
    assert_eq!(said.document()["errorMessage"], "an event of over 16777216 bytes");
    // No request: the client is told as of any other refusal.
    for (path, code) in [("/v1/turns", "/code"), ("/v1/chat/completions", "/error/code")] {
        let mut broken = event(API, path, &Value::Null);
        broken["headers"]["authorization"] = "Bearer a\r\nx-user: eve".into();
        broken["headers"]["origin"] = "https://chat.test".into();
        let said = platform.ask(broken).await;
        let (status, problem) = said.answer();
        assert_eq!((status, problem.pointer(code)), (400, Some(&json!("request_invalid"))), "{problem}");
        assert!(problem.to_string().contains("authorization: a value that no header has"), "{problem}");
        let headers = &said.document()["headers"];
        let record = function.log.take().pop().unwrap();
        assert_eq!((record.path.as_str(), record.status, record.code), (path, 400, Some("request_invalid")));
        for (name, value) in [
            ("x-request-id", record.request_id.as_str()),
            ("request-id", &record.request_id),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "https://chat.test"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }
    // A request that is refused, in its door's shape.
    let (status, refused) = platform.ask(event(API, "/v1/messages", &json!({ "model": 1 }))).await.answer();
    assert_eq!((status, &refused["error"]["type"]), (400, &json!("invalid_request_error")));
    let too_much = json!({ "input": "x".repeat(5 << 20) });
    let (status, problem) = platform.ask(event(API, "/v1/turns", &too_much)).await.answer();
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    let statuses: Vec<_> = function.log.take().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [400, 413], "what reached the service");
    let notices: Vec<_> = function.log.take_notices().iter().map(|notice| notice.notice).collect();
    let (unknown, malformed) = ("lambda_event_unknown", "lambda_event_malformed");
    assert_eq!(notices, [unknown, unknown, unknown, malformed, malformed]);
}

#[tokio::test]
async fn a_function_ends_when_it_is_told_to_or_gets_no_events() {
    let platform = Platform::start().await;
    let Running { stop, task, .. } = Running::start(&platform, "dangerous_open = true").await;
    stop.send(()).unwrap();
    assert_eq!(task.await.unwrap(), Ok(()));
    let Running { stop, task, .. } = Running::start(&platform, "dangerous_open = true").await;
    platform.give.send(None).unwrap();
    let ended = task.await.unwrap().unwrap_err();
    assert_eq!(ended.to_string(), "no more events are taken: status 403");
    drop(stop);
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_platform_is_told_why_a_function_does_not_start() {
    let mut platform = Platform::start().await;
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_holdall"));
    program.env_clear().env("AWS_LAMBDA_RUNTIME_API", platform.address.to_string());
    let program = tokio::task::spawn_blocking(move || program.output().unwrap());
    let said = platform.said.recv().await.unwrap();
    assert_eq!(said.path, "/2018-06-01/runtime/init/error");
    assert_eq!(said.headers["lambda-runtime-function-error-type"], "Holdall.Configuration");
    let told = said.document();
    assert_eq!(told["errorType"], "Holdall.Configuration");
    let ended = program.await.unwrap();
    let shown = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(shown.trim_start_matches("error: ").replace("\nhint: ", "; ").trim_end(), told["errorMessage"]);
    assert!(shown.starts_with("error: no token keys are configured\nhint: "), "{shown}");
    assert_eq!(ended.status.code(), Some(1));
}
