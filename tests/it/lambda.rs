//! The AWS Lambda entry with a fake Runtime API: events, responses and errors.

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

/// A request of the function to the Runtime API.
struct Report {
    path: String,
    headers: HeaderMap,
    /// The chunks of the body.
    chunks: Vec<Bytes>,
}

impl Report {
    fn document(&self) -> Value {
        serde_json::from_slice(&self.chunks.concat()).unwrap()
    }

    /// The response to an API Gateway event: its status, and its body as JSON.
    fn response(&self) -> (u64, Value) {
        let document = self.document();
        assert_eq!(document["isBase64Encoded"], false);
        let body = document["body"].as_str().unwrap();
        (document["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }
}

/// A fake Runtime API. Dropping it stops it.
struct Platform {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Option<String>>,
    reports: mpsc::UnboundedReceiver<Report>,
    task: JoinHandle<()>,
}

impl Platform {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, queued) = mpsc::unbounded_channel();
        let (sender, reports) = mpsc::unbounded_channel();
        let queued = Arc::new(Mutex::new(queued));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (queued, sender) = (Arc::clone(&queued), sender.clone());
                let answer = service_fn(move |request| answer(request, Arc::clone(&queued), sender.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, events, reports, task }
    }

    /// Sends the function an event, and waits for its report.
    async fn send(&mut self, event: impl ToString) -> Report {
        self.events.send(Some(event.to_string())).unwrap();
        self.reports.recv().await.unwrap()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Responds to a request of the function.
async fn answer(
    request: Request<Incoming>,
    queued: Arc<Mutex<mpsc::UnboundedReceiver<Option<String>>>>,
    sender: mpsc::UnboundedSender<Report>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let mut response = Response::new(Full::default());
    if request.method() == Method::GET {
        assert_eq!(path, "/2018-06-01/runtime/invocation/next");
        match queued.lock().await.recv().await {
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
    let _ = sender.send(Report { path, headers: head.headers, chunks });
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A running function. Dropping it kills it.
struct Running {
    log: Records,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), FunctionError>>,
}

impl Running {
    async fn start(platform: &Platform, settings: &str) -> Self {
        let log = Records::default();
        let environment = LambdaEnvironment::detect(&Variables(platform.address.to_string())).unwrap();
        let function = Function::start(config(settings), &environment, Box::new(log.clone())).await.unwrap();
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
async fn a_function_url_gets_each_delta_when_it_arrives() {
    let mut platform = Platform::start().await;
    let _function = Running::start(&platform, "dangerous_open = true\nbuiltin_pace_ms = 1").await;
    let report = platform.send(event(URL, "/v1/turns", &json!({ "input": "my name is Ada", "stream": true }))).await;
    assert_eq!(report.path, "/2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response");
    for (name, value) in [
        ("lambda-runtime-function-response-mode", "streaming"),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/vnd.awslambda.http-integration-response"),
        ("lambda-runtime-invocation-id", "attempt-1"),
    ] {
        assert_eq!(report.headers[name], value);
    }
    let [head, zeros, rest @ ..] = report.chunks.as_slice() else { panic!("{:?}", report.chunks) };
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
async fn an_http_api_gets_buffered_responses_and_any_instance_continues() {
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
        let report = platform.send(event).await;
        assert_eq!(report.headers["content-type"], "application/json");
        assert!(!report.headers.contains_key("lambda-runtime-function-response-mode"));
        let (status, answer) = report.response();
        assert_eq!((status, &answer["reply"], &answer["conversation"]["turn"]), (200, &json!(reply), &json!(turn)));
        token = answer["token"].clone();
        let record = function.log.take().pop().unwrap();
        assert_eq!((record.path.as_str(), record.status), ("/v1/turns", 200));
    }
}

#[tokio::test]
async fn the_response_mode_is_a_setting() {
    let turn = json!({ "input": "hi", "stream": true });
    for (mode, domain, streamed) in
        [("buffer", URL, false), ("stream", API, true), ("auto", URL, true), ("auto", API, false)]
    {
        let mut platform = Platform::start().await;
        let settings = format!("dangerous_open = true\nlambda_response = \"{mode}\"");
        let _function = Running::start(&platform, &settings).await;
        let report = platform.send(event(domain, "/v1/turns", &turn)).await;
        assert_eq!(report.headers.contains_key("lambda-runtime-function-response-mode"), streamed, "{mode} {domain}");
        if !streamed {
            let document = report.document();
            assert_eq!(document["headers"]["content-type"], "text/event-stream");
            assert!(document["body"].as_str().unwrap().contains("event: done\n"));
        }
    }
}

#[tokio::test]
async fn unsupported_events_are_reported_to_the_platform() {
    let mut platform = Platform::start().await;
    let function = Running::start(&platform, "dangerous_open = true").await;
    for (event, fault) in [
        (json!({ "version": "1.0", "httpMethod": "GET", "path": "/health" }), "the event has payload format 1.0"),
        (json!({ "Records": [] }), "the event is of another kind"),
    ] {
        let report = platform.send(event).await;
        assert!(report.path.ends_with("/8476a536-e9f4-11e8-9739-2dfe598c3fcd/error"), "{}", report.path);
        assert_eq!(report.headers["lambda-runtime-function-error-type"], "Holdall.UnknownEvent");
        let document = report.document();
        assert_eq!(document["errorType"], "Holdall.UnknownEvent");
        assert!(document["errorMessage"].as_str().unwrap().starts_with(fault), "{document}");
    }
    let report = platform.send("x".repeat((16 << 20) + 1)).await;
    assert_eq!(report.document()["errorMessage"], "the event is over the limit of 16777216 bytes");
    // The function still handles events.
    let too_much = json!({ "input": "x".repeat(5 << 20) });
    let (status, problem) = platform.send(event(API, "/v1/turns", &too_much)).await.response();
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    assert_eq!(statuses(&function), [413], "the event that reached the service");
    assert_eq!(notices(&function), ["lambda_event_unknown"; 3]);
}

#[tokio::test]
async fn invalid_requests_get_an_error_response() {
    let mut platform = Platform::start().await;
    let settings = "dangerous_open = true\ncors_origins = [\"https://chat.test\"]";
    let function = Running::start(&platform, settings).await;
    for (path, code) in [("/v1/turns", "/code"), ("/v1/chat/completions", "/error/code")] {
        let mut broken = event(API, path, &Value::Null);
        broken["headers"]["authorization"] = "Bearer a\r\nx-user: eve".into();
        broken["headers"]["origin"] = "https://chat.test".into();
        let report = platform.send(broken).await;
        let (status, problem) = report.response();
        assert_eq!((status, problem.pointer(code)), (400, Some(&json!("request_invalid"))), "{problem}");
        assert!(problem.to_string().contains("The value of the header `authorization` is invalid."), "{problem}");
        let headers = &report.document()["headers"];
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
    // The service's own errors have the format of the API.
    let (status, refused) = platform.send(event(API, "/v1/messages", &json!({ "model": 1 }))).await.response();
    assert_eq!((status, &refused["error"]["type"]), (400, &json!("invalid_request_error")));
    assert_eq!(statuses(&function), [400], "the event that reached the service");
    assert_eq!(notices(&function), ["lambda_event_malformed"; 2]);
}

/// The statuses of the responses since the last call.
fn statuses(function: &Running) -> Vec<u16> {
    function.log.take().iter().map(|record| record.status).collect()
}

/// The names of the notices since the last call.
fn notices(function: &Running) -> Vec<&'static str> {
    function.log.take_notices().iter().map(|notice| notice.notice).collect()
}

#[tokio::test]
async fn a_function_ends_when_it_is_stopped_or_gets_no_events() {
    let platform = Platform::start().await;
    let Running { stop, task, .. } = Running::start(&platform, "dangerous_open = true").await;
    stop.send(()).unwrap();
    assert_eq!(task.await.unwrap(), Ok(()));
    let Running { stop, task, .. } = Running::start(&platform, "dangerous_open = true").await;
    platform.events.send(None).unwrap();
    let ended = task.await.unwrap().unwrap_err();
    assert_eq!(ended.to_string(), "cannot get events: status 403");
    drop(stop);
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn a_failed_start_is_reported_to_the_platform() {
    let mut platform = Platform::start().await;
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_holdall"));
    program.env_clear().env("AWS_LAMBDA_RUNTIME_API", platform.address.to_string());
    let program = tokio::task::spawn_blocking(move || program.output().unwrap());
    let report = platform.reports.recv().await.unwrap();
    assert_eq!(report.path, "/2018-06-01/runtime/init/error");
    assert_eq!(report.headers["lambda-runtime-function-error-type"], "Holdall.Configuration");
    let document = report.document();
    assert_eq!(document["errorType"], "Holdall.Configuration");
    let ended = program.await.unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(stderr.trim_start_matches("error: ").replace("\nhint: ", "; ").trim_end(), document["errorMessage"]);
    assert!(stderr.starts_with("error: no token keys are configured\nhint: "), "{stderr}");
    assert_eq!(ended.status.code(), Some(1));
}
