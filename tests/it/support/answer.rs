//! The checks of every response and every error.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The value of a header, empty if the header is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The body of a successful response.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/json");
        self.check_headers();
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem document (RFC 9457), after a check of the status and the headers that belong to
    /// it.
    #[track_caller]
    pub(crate) fn problem(&self, code: &str) -> Map<String, Value> {
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let id = self.check_headers();
        assert_eq!(problem["request_id"], id);
        check_problem(&problem);
        assert_eq!(problem["status"], self.status.as_u16());
        let retry = problem["retry"].as_str().unwrap();
        let after = problem["retry_after_seconds"].as_u64();
        let in_vain = retry == "never" || after.is_some_and(|seconds| seconds > 60);
        assert_eq!(self.header("x-should-retry"), if in_vain { "false" } else { "true" });
        assert_eq!(self.header("retry-after"), after.map(|seconds| seconds.to_string()).unwrap_or_default());
        let Value::Object(problem) = problem else { unreachable!() };
        problem
    }

    /// Checks the headers of every response. Returns the request id.
    #[track_caller]
    fn check_headers(&self) -> &str {
        let id = self.header("x-request-id");
        assert!(id.starts_with("req_") && id.len() == 40, "{id:?}");
        assert_eq!(self.header("request-id"), id);
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        id
    }
}

/// Checks the members of a problem document, which may be part of a stream.
#[track_caller]
pub(crate) fn check_problem(problem: &Value) {
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:holdall:problem:{code}"));
    let title = problem["title"].as_str().unwrap();
    assert!(title.starts_with(char::is_uppercase) && !title.ends_with('.'));
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.is_empty() && detail.len() < 600, "{detail}");
    // Complete sentences, except for the message of a model service at the end.
    let (sentences, _) = detail.split_once(" Its message: ").unwrap_or((detail, ""));
    assert!(sentences.starts_with(|first: char| first.is_uppercase() || first == '`'), "{detail}");
    assert!(sentences.ends_with('.'), "{detail}");
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
    let after = problem.get("retry_after_seconds").is_some();
    match problem["retry"].as_str().unwrap() {
        "after" => assert!(after),
        "safe" | "never" => assert!(!after),
        other => panic!("retry: {other}"),
    }
}
