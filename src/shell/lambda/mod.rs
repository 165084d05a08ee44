//! The AWS Lambda entry: events in the place of connections.
//!
//! ```text
//! Runtime API ─▶ next ─▶ event ─▶ request ─▶ service ─▶ answer ─▶ response ─▶ Runtime API
//!   (`api`)             (`event`)                      (`answer`)  streamed to function URLs,
//!                                                                  whole to HTTP APIs
//! ```
//! Two kinds of events are taken, both of payload format 2.0: function URLs' and API Gateway HTTP APIs'. Others are logged
//! and refused. The platform ends what takes longer than the function's timeout and gives the client nothing then, so the
//! service is told how long each event has ([`TimeLeft`]) and ends its turn in time.
//!
//! Between two events the process is frozen: timers and connections are as old as the clock says when it goes on. So
//! nothing is left to be done after an answer, and upstream connections that died meanwhile are found out by the call that
//! is sent into them, which is made again.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

mod answer;
mod api;
mod event;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::{sync::watch, task::JoinSet, time};

use self::{
    api::{Api, Invocation},
    event::{Event, Origin},
};
use super::{LAST_WORDS, NativeService, Prepared, StartError, clock, wind_down};
use crate::{
    config::{Config, LambdaResponse, Sources},
    proto::{
        error::{Error, Excess},
        limits::Limits,
    },
    service::{self, Body, Log, TimeLeft},
};

/// Where the platform is, as its variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaEnvironment {
    /// The address of the Runtime API.
    api: String,
    /// How many events it gives at once.
    at_once: usize,
}

impl LambdaEnvironment {
    /// The platform that started this process, if it is one.
    #[must_use]
    pub fn find(sources: &impl Sources) -> Option<Self> {
        let api = sources.variable("AWS_LAMBDA_RUNTIME_API")?.to_string();
        // Set for Lambda Managed Instances alone; else there is one event at a time.
        let at_once = sources.variable("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|count| count.parse().ok());
        Some(Self { api, at_once: at_once.unwrap_or(1).clamp(1, AT_ONCE_MOST) })
    }

    /// Whether it gives several events at once, as it does where the process has a machine's cores.
    #[must_use]
    pub fn gives_several(&self) -> bool {
        self.at_once > 1
    }

    /// Tells it that this process will take no events, and why. If it does not listen, the process ends all the same.
    pub async fn fail_start(&self, why: &str) {
        if let Ok(api) = Api::new(&self.api) {
            let _ = time::timeout(LAST_WORDS, api.fail_start(why)).await;
        }
    }
}

/// The service as a function of AWS Lambda.
pub struct Function {
    worker: Worker,
    at_once: usize,
    drain_timeout: Duration,
    prepared: Prepared,
}

impl Function {
    /// Builds the service of a configuration; it takes events once [`Self::run`] is awaited.
    ///
    /// # Errors
    /// Those of [`start`](super::start), but for the listener's.
    pub async fn start(config: Config, place: &LambdaEnvironment, log: Box<dyn Log>) -> Result<Self, StartError> {
        let (response, drain_timeout) = (config.lambda_response, config.server.drain_timeout);
        let api = Arc::new(Api::new(&place.api).map_err(StartError::Upstreams)?);
        let note = size_note(response, &config.deployment.limits);
        let mut prepared = Prepared::new(config, log).await?;
        prepared.notes.extend(note);
        let worker = Worker { api, service: Arc::clone(&prepared.service), response };
        Ok(Self { worker, at_once: place.at_once, drain_timeout, prepared })
    }

    /// The service, for reloading.
    #[must_use]
    pub fn service(&self) -> Arc<NativeService> {
        Arc::clone(&self.prepared.service)
    }

    /// What an operator should know of, as it was seen at the start.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.prepared.notes
    }

    /// Takes events until `stop` ends; then lets those under way end, for as long as the configuration allows.
    ///
    /// # Errors
    /// [`FunctionError`] if the platform gives no more events: the process is of no use then.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), FunctionError> {
        let Self { worker, at_once, drain_timeout, prepared } = self;
        // Ends with this future.
        let _beside = prepared.work_beside();
        let (leave, leaving) = watch::channel(());
        let mut workers = JoinSet::new();
        for _ in 0..at_once {
            workers.spawn(worker.clone().work(leaving.clone()));
        }
        let outcome = tokio::select! {
            () = stop => Ok(()),
            Some(ended) = workers.join_next() => {
                ended.unwrap_or_else(|_| Err(FunctionError("who takes them has panicked".to_owned())))
            }
        };
        worker.service.drain();
        let _ = leave.send(());
        wind_down(&worker.service, workers, drain_timeout).await;
        outcome
    }
}

/// Why a function takes no more events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError(String);

impl std::error::Error for FunctionError {}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no more events are taken: {}", self.0)
    }
}

/// Takes one event after the other.
#[derive(Clone)]
struct Worker {
    api: Arc<Api>,
    service: Arc<NativeService>,
    response: LambdaResponse,
}

impl Worker {
    async fn work(self, mut leaving: watch::Receiver<()>) -> Result<(), FunctionError> {
        loop {
            let next = tokio::select! {
                biased;
                _ = leaving.changed() => return Ok(()),
                next = self.api.next() => next.map_err(FunctionError)?,
            };
            match next {
                Some(invocation) => Box::pin(self.take(&invocation)).await,
                None => time::sleep(PAUSE).await,
            }
            // The process may be frozen from the next call on.
            self.service.guard().flush(LAST_WORDS).await;
        }
    }

    /// Answers one event.
    async fn take(&self, invocation: &Invocation) {
        let event = match invocation.event.as_deref().map_err(Clone::clone).and_then(event::read) {
            Ok(event) => event,
            Err(fault) => {
                self.service.notice("lambda_event_unknown", fault.clone());
                return self.sent(self.api.fail(invocation, &fault).await);
            }
        };
        let Event { origin, mut request, fault } = event;
        let streams = self.streams(origin);
        let path = request.uri().path().to_owned();
        let service = Arc::clone(&self.service);
        let answer = match fault {
            None => {
                let patience = (origin == Origin::HttpApi && !streams).then_some(INTEGRATION_TIMEOUT);
                if let Some(left) = time_left(invocation.deadline_millis, clock::unix_millis(), patience) {
                    request.extensions_mut().insert(left);
                }
                service.handle(request).await
            }
            Some(fault) => {
                service.notice("lambda_event_malformed", fault.clone());
                service.refuse(&request.into_parts().0, Error::invalid(fault))
            }
        };
        self.sent(if streams {
            self.api.stream(invocation, answer).await
        } else {
            let too_large = |detail| self.service.notice("lambda_answer_too_large", detail);
            self.api.respond(invocation, whole(answer, &path, too_large).await).await
        });
    }

    /// Whether an event's answer is streamed.
    fn streams(&self, origin: Origin) -> bool {
        match self.response {
            LambdaResponse::Auto => origin == Origin::FunctionUrl,
            LambdaResponse::Buffer => false,
            LambdaResponse::Stream => true,
        }
    }

    fn sent(&self, outcome: Result<(), String>) {
        if let Err(cause) = outcome {
            self.service.notice("lambda_answer_lost", cause);
        }
    }
}

/// What is to be known of limits under which a whole answer can be more than the platform takes. Where the event decides
/// how answers go out, that may never happen.
fn size_note(response: LambdaResponse, limits: &Limits) -> Option<String> {
    // Some doors show the token twice.
    let most = limits.token_bytes.saturating_mul(2).saturating_add(limits.reply_bytes);
    let refused = response == LambdaResponse::Buffer && most > BUFFERED_BYTES;
    refused.then(|| {
        format!(
            "a whole answer can be over the platform's {BUFFERED_BYTES} bytes, and its turn be lost; lower limits.token_bytes"
        )
    })
}

/// An answer as one document; in its place a refusal where the platform would not take it, which `too_large` is told.
async fn whole(answer: Response<Body>, path: &str, too_large: impl FnOnce(String)) -> Vec<u8> {
    let kept: HeaderMap = answer.headers().iter().filter(|(name, _)| has_any_answer(name)).map(owned).collect();
    let document = answer::buffered(answer).await;
    let Some(excess) = Excess::bytes(document.len(), BUFFERED_BYTES) else { return document };
    let id = kept.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    too_large(format!("{id}: {excess}; lower limits.token_bytes and limits.reply_bytes"));
    let mut refusal = service::error_response(Error::HistoryTooLarge(excess), path, &HeaderMap::new(), id);
    refusal.headers_mut().extend(kept);
    answer::buffered(refusal).await
}

/// Whether a header is of an answer whatever it says.
fn has_any_answer(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-request-id" | "request-id" | "cache-control" | "vary")
        || name.as_str().starts_with("access-control-")
}

fn owned((name, value): (&HeaderName, &HeaderValue)) -> (HeaderName, HeaderValue) {
    (name.clone(), value.clone())
}

/// How long a turn may take that is to be ended before the platform ends it, or before who called has lost patience.
///
/// A deadline that has passed is none: emulators give a fixed number.
fn time_left(deadline_millis: Option<u64>, now_millis: Option<u64>, patience: Option<Duration>) -> Option<TimeLeft> {
    let left = deadline_millis.zip(now_millis).and_then(|(deadline, now)| deadline.checked_sub(now));
    let left = left.filter(|left| *left > 0).map(Duration::from_millis);
    let left = left.into_iter().chain(patience).min()?;
    Some(TimeLeft(left.saturating_sub((left / 4).min(MARGIN))))
}

/// Time for the last words of a turn that is cut short, and for their way.
const MARGIN: Duration = Duration::from_secs(1);
/// As long as an HTTP API waits for a function at most:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest document that the platform takes from a function (6 MB):
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const BUFFERED_BYTES: usize = 6 << 20;
/// The pause where the runtime has no event and does not wait for one, as emulators do at their start.
const PAUSE: Duration = Duration::from_millis(20);
/// As many events at once as are taken of one process.
const AT_ONCE_MOST: usize = 1_024;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_the_platform_would_not_take_is_a_refusal() {
        let answer = |bytes: usize| {
            let mut answer = Response::new(Full::from("x".repeat(bytes)).boxed_unsync());
            answer.headers_mut().insert("x-request-id", HeaderValue::from_static("req_1"));
            answer.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("https://chat.test"));
            whole(answer, "/v1/chat/completions", |_| {})
        };
        let beside = answer(0).await.len();
        assert_eq!(answer(BUFFERED_BYTES - beside).await.len(), BUFFERED_BYTES);
        let refused: Value = serde_json::from_slice(&answer(BUFFERED_BYTES - beside + 1).await).unwrap();
        assert_eq!(refused["statusCode"], 413);
        for (name, value) in [
            ("x-should-retry", "false"),
            ("x-request-id", "req_1"),
            ("access-control-allow-origin", "https://chat.test"),
        ] {
            assert_eq!(refused["headers"][name], value);
        }
        let problem: Value = serde_json::from_str(refused["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["error"]["code"], "history_too_large", "in the door's own shape: {problem}");
    }

    #[test]
    fn too_large_limits_are_told_where_all_answers_are_whole() {
        let limits = |token_bytes| Limits { token_bytes, reply_bytes: 1 << 20, ..Limits::default() };
        let told = |response, token_bytes| size_note(response, &limits(token_bytes)).is_some();
        assert!(told(LambdaResponse::Buffer, 3 << 20));
        assert!(!told(LambdaResponse::Buffer, 1 << 20));
        assert!(!told(LambdaResponse::Auto, 3 << 20) && !told(LambdaResponse::Stream, 3 << 20));
    }

    #[test]
    fn several_events_at_once_are_taken_on_all_cores() {
        for (count, several) in [(None, false), (Some("1"), false), (Some("2"), true), (Some("many"), false)] {
            assert_eq!(LambdaEnvironment::find(&Variables(count)).unwrap().gives_several(), several, "{count:?}");
        }
    }

    /// What the platform sets, and how many events it says it gives at once.
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
        let left = |deadline, now, patience| time_left(deadline, now, patience).map(|TimeLeft(left)| left.as_millis());
        let url = |deadline| left(Some(deadline), Some(1_000_000), None);
        assert_eq!(url(1_900_000), Some(899_000));
        assert_eq!(url(1_003_000), Some(2_250), "Lambda's own timeout by default");
        assert_eq!(url(1_000_001), Some(0));
        assert_eq!((url(1_000_000), url(600_000)), (None, None), "no time to keep to");
        assert_eq!(left(None, Some(1), None), None);
        assert_eq!(left(Some(1), None, None), None);
        let api = |deadline| left(Some(deadline), Some(1_000_000), Some(INTEGRATION_TIMEOUT));
        assert_eq!(api(1_900_000), Some(29_000), "a gateway does not wait for longer");
        assert_eq!((api(1_010_000), api(1)), (Some(9_000), Some(29_000)));
    }
}
