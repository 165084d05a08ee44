//! The AWS Lambda entry: requests arrive as events, not on connections.
//!
//! ```text
//! Runtime API ─▶ next ─▶ event ─▶ request ─▶ service ─▶ response ─▶ Runtime API
//!   (`runtime_api`)     (`event`)                      (`response`) streamed to function URLs,
//!                                                                   buffered for HTTP APIs
//! ```
//! Two kinds of events are accepted, both in payload format 2.0: those of function URLs and those
//! of API Gateway HTTP APIs. Other events are logged and refused.
//!
//! If a response takes longer than the function's timeout, the platform stops the function, and the
//! client receives nothing. So the service receives the remaining time of each event ([`TimeLeft`])
//! and ends the turn before that.
//!
//! Between two events the platform freezes the process. Timers and connections age during that
//! time. So no work is left for after a response. If an upstream connection was closed meanwhile,
//! the call on it fails and is retried.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

mod event;
mod response;
mod runtime_api;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::{
    sync::watch,
    task::{self, JoinSet},
    time,
};

use self::{
    event::{Event, EventSource},
    runtime_api::{Invocation, RuntimeApi},
};
use super::{
    clock,
    log::StderrLog,
    native::NativeService,
    prepared::{CLOSING_TIMEOUT, PreparedService, StartError, drain},
};
use crate::{
    config::{Config, LambdaResponse, Sources},
    proto::{
        error::{Error, Excess},
        limits::Limits,
    },
    service::{self, Body, Log, TimeLeft},
};

/// The Lambda platform, as its environment variables describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaEnvironment {
    /// The address of the Runtime API.
    runtime_api: String,
    /// How many events the platform sends concurrently.
    max_concurrency: usize,
}

impl LambdaEnvironment {
    /// The platform, if it has started this process.
    #[must_use]
    pub fn detect(sources: &impl Sources) -> Option<Self> {
        let runtime_api = sources.variable("AWS_LAMBDA_RUNTIME_API")?.to_string();
        // Only Lambda Managed Instances set this variable. Otherwise there is one event at a time.
        let max_concurrency = sources.variable("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|count| count.parse().ok());
        Some(Self { runtime_api, max_concurrency: max_concurrency.unwrap_or(1).clamp(1, CONCURRENCY_MAX) })
    }

    /// Returns true if the platform sends several events concurrently. It does if the process can
    /// use several cores.
    #[must_use]
    pub fn is_concurrent(&self) -> bool {
        self.max_concurrency > 1
    }

    /// Reports that this process cannot start, and why. Gives up after one second.
    pub async fn report_start_failure(&self, reason: &str) {
        if let Ok(api) = RuntimeApi::new(&self.runtime_api) {
            let _ = time::timeout(CLOSING_TIMEOUT, api.report_start_failure(reason)).await;
        }
    }
}

/// The service as a function of AWS Lambda.
pub struct Function {
    worker: Worker,
    max_concurrency: usize,
    drain_timeout: Duration,
    prepared: PreparedService,
}

impl Function {
    /// Builds the service of a configuration. It accepts events when [`Self::run`] is awaited.
    ///
    /// # Errors
    /// Those of [`start`](crate::shell::start), except the error of the listener.
    pub async fn start(config: Config, platform: &LambdaEnvironment, log: Box<dyn Log>) -> Result<Self, StartError> {
        let (mode, drain_timeout) = (config.lambda_response, config.server.drain_timeout);
        let api = Arc::new(RuntimeApi::new(&platform.runtime_api).map_err(StartError::Upstreams)?);
        let warning = size_warning(mode, &config.deployment.limits);
        let mut prepared = PreparedService::new(config, log).await?;
        prepared.warnings.extend(warning);
        let worker = Worker { api, service: Arc::clone(&prepared.service), mode };
        Ok(Self { worker, max_concurrency: platform.max_concurrency, drain_timeout, prepared })
    }

    /// The service, for reloading.
    #[must_use]
    pub fn service(&self) -> Arc<NativeService> {
        Arc::clone(&self.prepared.service)
    }

    /// Warnings for the operator from the start.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.prepared.warnings
    }

    /// Handles events until `stop` ends. Then the events in flight may end, within the configured
    /// drain timeout.
    ///
    /// # Errors
    /// [`FunctionError`] if the platform sends no more events. The process should end then.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), FunctionError> {
        let Self { worker, max_concurrency, drain_timeout, prepared } = self;
        // The tasks end with this future.
        let _background = prepared.spawn_background_tasks();
        let (stop_workers, stopping) = watch::channel(());
        let mut workers = JoinSet::new();
        for _ in 0..max_concurrency {
            workers.spawn(worker.clone().run(stopping.clone()));
        }
        let outcome = tokio::select! {
            () = stop => Ok(()),
            Some(ended) = workers.join_next() => {
                ended.unwrap_or_else(|_| Err(FunctionError("a worker task has panicked".to_owned())))
            }
        };
        worker.service.drain();
        let _ = stop_workers.send(());
        drain(&worker.service, workers, drain_timeout).await;
        outcome
    }
}

/// The reason why a function gets no more events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError(String);

impl std::error::Error for FunctionError {}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot get events: {}", self.0)
    }
}

/// Handles one event after the other.
#[derive(Clone)]
struct Worker {
    api: Arc<RuntimeApi>,
    service: Arc<NativeService>,
    mode: LambdaResponse,
}

impl Worker {
    async fn run(self, mut stopping: watch::Receiver<()>) -> Result<(), FunctionError> {
        loop {
            let next = tokio::select! {
                biased;
                _ = stopping.changed() => return Ok(()),
                next = self.api.next() => next.map_err(FunctionError)?,
            };
            match next {
                Some(invocation) => Box::pin(self.handle(&invocation)).await,
                None => time::sleep(EMPTY_PAUSE).await,
            }
            // The platform may freeze the process from the next call on.
            self.service.guard().flush(CLOSING_TIMEOUT).await;
            let _ = task::spawn_blocking(|| StderrLog.flush(CLOSING_TIMEOUT)).await;
        }
    }

    /// Responds to one event.
    async fn handle(&self, invocation: &Invocation) {
        let event = match invocation.event.as_deref().map_err(Clone::clone).and_then(event::read) {
            Ok(event) => event,
            Err(fault) => {
                self.service.notice("lambda_event_unknown", fault.clone());
                return self.log_lost(self.api.report_failure(invocation, &fault).await);
            }
        };
        let streams = self.streams(event.source);
        let path = event.request.uri().path().to_owned();
        let response = self.respond(event, invocation.deadline_millis, streams).await;
        self.log_lost(if streams {
            self.api.stream(invocation, response).await
        } else {
            let too_large = |detail| self.service.notice("lambda_answer_too_large", detail);
            self.api.respond(invocation, buffered(response, &path, too_large).await).await
        });
    }

    /// The service's response to an event.
    async fn respond(&self, event: Event, deadline_millis: Option<u64>, streams: bool) -> Response<Body> {
        let Event { source, mut request, fault } = event;
        let service = Arc::clone(&self.service);
        if let Some(fault) = fault {
            service.notice("lambda_event_malformed", fault.clone());
            return service.refuse(&request.into_parts().0, Error::invalid(fault));
        }
        let timeout = (source == EventSource::HttpApi && !streams).then_some(INTEGRATION_TIMEOUT);
        if let Some(left) = time_left(deadline_millis, clock::unix_millis(), timeout) {
            request.extensions_mut().insert(left);
        }
        service.handle(request).await
    }

    /// Returns true if the response to an event is streamed.
    fn streams(&self, source: EventSource) -> bool {
        match self.mode {
            LambdaResponse::Auto => source == EventSource::FunctionUrl,
            LambdaResponse::Buffer => false,
            LambdaResponse::Stream => true,
        }
    }

    /// Logs a response that did not reach the platform.
    fn log_lost(&self, outcome: Result<(), String>) {
        if let Err(cause) = outcome {
            self.service.notice("lambda_answer_lost", cause);
        }
    }
}

/// The warning about limits with which a buffered response can be too large for the platform. In
/// mode `auto` there is no warning, because all events may be from function URLs.
fn size_warning(mode: LambdaResponse, limits: &Limits) -> Option<String> {
    // Responses of some APIs contain the token twice.
    let largest = limits.token_bytes.saturating_mul(2).saturating_add(limits.reply_bytes);
    let is_refused = mode == LambdaResponse::Buffer && largest > BUFFERED_BYTES;
    is_refused.then(|| {
        format!(
            "a buffered response can exceed the platform's limit of {BUFFERED_BYTES} bytes, and its turn is lost then; \
             lower limits.token_bytes"
        )
    })
}

/// A response as one document. If the document is too large for the platform, calls `too_large` and
/// returns an error response instead.
async fn buffered(response: Response<Body>, path: &str, too_large: impl FnOnce(String)) -> Vec<u8> {
    let headers = response.headers();
    let kept: HeaderMap = headers.iter().filter(|(name, _)| has_every_response(name)).map(owned).collect();
    let document = response::document(response).await;
    let Some(excess) = Excess::bytes(document.len(), BUFFERED_BYTES) else { return document };
    let id = kept.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    too_large(format!("{id}: {excess}; lower limits.token_bytes and limits.reply_bytes"));
    let mut refusal = service::error_response(Error::HistoryTooLarge(excess), path, &HeaderMap::new(), id);
    refusal.headers_mut().extend(kept);
    response::document(refusal).await
}

/// Returns true if a header is on every response, errors included.
fn has_every_response(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-request-id" | "request-id" | "cache-control" | "vary")
        || name.as_str().starts_with("access-control-")
}

fn owned((name, value): (&HeaderName, &HeaderValue)) -> (HeaderName, HeaderValue) {
    (name.clone(), value.clone())
}

/// How long a turn may take, so that it ends before the platform stops the function and before
/// `timeout`, after which the API gateway gives up.
///
/// A deadline in the past does not count: emulators send a fixed number.
fn time_left(deadline_millis: Option<u64>, now_millis: Option<u64>, timeout: Option<Duration>) -> Option<TimeLeft> {
    let left = deadline_millis.zip(now_millis).and_then(|(deadline, now)| deadline.checked_sub(now));
    let left = left.filter(|left| *left > 0).map(Duration::from_millis);
    let left = left.into_iter().chain(timeout).min()?;
    Some(TimeLeft(left.saturating_sub((left / 4).min(MARGIN))))
}

/// The time to end an interrupted turn and to send its last bytes.
const MARGIN: Duration = Duration::from_secs(1);
/// The longest time that an HTTP API waits for a function:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest buffered response that the platform accepts (6 MB):
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const BUFFERED_BYTES: usize = 6 << 20;
/// The pause after a response without an event. Emulators send it while they start.
const EMPTY_PAUSE: Duration = Duration::from_millis(20);
/// The most concurrent events of one process.
const CONCURRENCY_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::*;

    #[tokio::test]
    async fn a_response_that_is_too_large_becomes_an_error() {
        let document = |bytes: usize| {
            let mut response = Response::new(Full::from("x".repeat(bytes)).boxed_unsync());
            response.headers_mut().insert("x-request-id", HeaderValue::from_static("req_1"));
            response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("https://chat.test"));
            buffered(response, "/v1/chat/completions", |_| {})
        };
        let overhead = document(0).await.len();
        assert_eq!(document(BUFFERED_BYTES - overhead).await.len(), BUFFERED_BYTES);
        let refused: Value = serde_json::from_slice(&document(BUFFERED_BYTES - overhead + 1).await).unwrap();
        assert_eq!(refused["statusCode"], 413);
        for (name, value) in [
            ("x-should-retry", "false"),
            ("x-request-id", "req_1"),
            ("access-control-allow-origin", "https://chat.test"),
        ] {
            assert_eq!(refused["headers"][name], value);
        }
        let problem: Value = serde_json::from_str(refused["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["error"]["code"], "history_too_large", "in the format of the API: {problem}");
    }

    #[test]
    fn too_large_limits_cause_a_warning_if_all_responses_are_buffered() {
        let limits = |token_bytes| Limits { token_bytes, reply_bytes: 1 << 20, ..Limits::default() };
        let warns = |mode, token_bytes| size_warning(mode, &limits(token_bytes)).is_some();
        assert!(warns(LambdaResponse::Buffer, 3 << 20));
        assert!(!warns(LambdaResponse::Buffer, 1 << 20));
        assert!(!warns(LambdaResponse::Auto, 3 << 20) && !warns(LambdaResponse::Stream, 3 << 20));
    }

    #[test]
    fn concurrent_events_are_detected() {
        for (count, concurrent) in [(None, false), (Some("1"), false), (Some("2"), true), (Some("many"), false)] {
            assert_eq!(LambdaEnvironment::detect(&Variables(count)).unwrap().is_concurrent(), concurrent, "{count:?}");
        }
    }

    /// The variables of the platform; the value is `AWS_LAMBDA_MAX_CONCURRENCY`.
    struct Variables(Option<&'static str>);

    impl Sources for Variables {
        fn file(&self, _: &str) -> Result<Zeroizing<String>, String> {
            Err("no files".to_owned())
        }

        fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
            let value = match name {
                "AWS_LAMBDA_RUNTIME_API" => Some("127.0.0.1:9001"),
                "AWS_LAMBDA_MAX_CONCURRENCY" => self.0,
                _ => None,
            };
            value.map(|value| Zeroizing::new(value.to_owned()))
        }
    }

    #[test]
    fn a_turn_ends_before_the_platform_ends_it() {
        let left = |deadline, now, timeout| time_left(deadline, now, timeout).map(|TimeLeft(left)| left.as_millis());
        let url = |deadline| left(Some(deadline), Some(1_000_000), None);
        assert_eq!(url(1_900_000), Some(899_000));
        assert_eq!(url(1_003_000), Some(2_250), "the default timeout of a function");
        assert_eq!(url(1_000_001), Some(0));
        assert_eq!((url(1_000_000), url(600_000)), (None, None), "a deadline in the past does not count");
        assert_eq!(left(None, Some(1), None), None);
        assert_eq!(left(Some(1), None, None), None);
        let api = |deadline| left(Some(deadline), Some(1_000_000), Some(INTEGRATION_TIMEOUT));
        assert_eq!(api(1_900_000), Some(29_000), "the gateway gives up after 30 s");
        assert_eq!((api(1_010_000), api(1)), (Some(9_000), Some(29_000)));
    }
}
