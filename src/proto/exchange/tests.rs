//! Complete turns without a runtime: token holders, models, limits, replies and failures.

mod client_history;
mod failover;
mod fit;
mod input;
mod open;
mod refusals;
mod summary;

use std::{sync::Arc, time::Duration};

use http::{Response, response};
use serde_json::{Value, json};

use super::*;
use crate::proto::{
    chat::{ImageHost, ImageRules, Item, Output, Part, Role},
    deployment::{Deployment, Model, Models, Target},
    error::Error,
    limits::Limits,
    principal::{IDP_NONE, Principal},
    provider,
    time::UnixSeconds,
    token::{
        Codec, TokenPolicy,
        testing::{NOW, codec, ring},
    },
    turn::{Answer, Conversation, Delta, FinishReason, Truncation, TurnRequest, Usage},
    usage::Spent,
};

/// A deployment, with the codec, the time and the randomness that an exchange needs.
struct Fixture {
    deployment: Arc<Deployment>,
    codec: Codec,
    now: UnixSeconds,
    turns: u8,
}

impl Fixture {
    /// A deployment with these limits. It has one model, at a provider of kind `openai`.
    fn new(limits: Limits) -> Self {
        Self::with(limits, TokenPolicy::default(), vec![model("default")])
    }

    fn with(limits: Limits, policy: TokenPolicy, models: Vec<Model>) -> Self {
        let deployment = Deployment { policy, limits, ..Deployment::new(ring(), Models::new(models).unwrap()) };
        Self { deployment: Arc::new(deployment), codec: codec(), now: NOW, turns: 0 }
    }

    /// A deployment with default limits and one changed setting.
    fn changed(change: impl FnOnce(&mut Deployment)) -> Self {
        let mut fixture = Self::new(Limits::default());
        change(Arc::get_mut(&mut fixture.deployment).unwrap());
        fixture
    }

    fn entropy(&mut self) -> Entropy {
        self.turns = self.turns.wrapping_add(1);
        let random = [self.turns; 16];
        Entropy { token_id: random, conversation: random, user: random, nonce: [self.turns; 24] }
    }

    fn open(&mut self, request: TurnRequest, caller: &Caller) -> Result<Exchange<Opened>, Error> {
        let entropy = self.entropy();
        Exchange::open(Arc::clone(&self.deployment), request, caller, self.now, &entropy, &mut self.codec)
    }

    fn plan(&mut self, request: TurnRequest) -> Result<Planned, Error> {
        self.open(request, &anonymous())?.plan(&mut self.codec)
    }

    fn ready(&mut self, request: TurnRequest) -> Result<Exchange<Ready>, Error> {
        self.ready_as(request, &anonymous())
    }

    fn ready_as(&mut self, request: TurnRequest, caller: &Caller) -> Result<Exchange<Ready>, Error> {
        match self.open(request, caller)?.plan(&mut self.codec)? {
            Planned::Ready(exchange) => Ok(exchange),
            Planned::Summarizing(_) => panic!("the request did not allow a summary"),
        }
    }

    /// Streams a reply in pieces. Returns the deltas for the client and the outcome.
    fn finish<'a>(
        &mut self,
        exchange: Exchange<Ready>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Delta>, Result<Answer, Failure>) {
        let mut exchange = replying(exchange, "text/event-stream");
        let mut deltas = Vec::new();
        for piece in pieces {
            if let Err(error) = exchange.push(piece, &mut deltas) {
                let spent = spent(&exchange);
                return (deltas, Err(exchange.fail(error, spent, &mut self.codec)));
            }
            if exchange.is_complete() {
                break;
            }
        }
        let outcome = self.close(exchange, &mut deltas);
        (deltas, outcome)
    }

    /// Ends a reply of which all bytes were read.
    fn close(&mut self, mut exchange: Exchange<Replying>, deltas: &mut Vec<Delta>) -> Result<Answer, Failure> {
        let closed = exchange.close(deltas);
        let spent = spent(&exchange);
        match closed {
            Ok(()) => exchange.finish(spent, &mut self.codec).map_err(|failure| *failure),
            Err(error) => Err(exchange.fail(error, spent, &mut self.codec)),
        }
    }

    /// Takes a turn with this reply.
    fn turn(&mut self, request: TurnRequest, reply: &str) -> Answer {
        let exchange = self.ready(request).unwrap();
        self.finish(exchange, [text_reply(reply).as_bytes()]).1.unwrap()
    }

    fn history(&mut self, token: &str) -> Result<(Vec<Item>, Conversation), Error> {
        self.history_as(token, &anonymous())
    }

    fn history_as(&mut self, token: &str, caller: &Caller) -> Result<(Vec<Item>, Conversation), Error> {
        let Self { deployment, codec, now, .. } = self;
        PresentedHistory::open(deployment, token, caller, *now, codec)?.read(&deployment.limits, codec)
    }
}

/// What a turn of one call has cost.
fn spent(exchange: &Exchange<Replying>) -> Spent {
    Spent { usage: exchange.call_usage(), elapsed: MILLIS }
}

const MILLIS: Duration = Duration::from_millis(1_500);

fn model(alias: &str) -> Model {
    Model::new(alias, target("openai", "m"))
}

/// Lets all models of the deployment accept history of clients.
fn accept_client_history(deployment: &mut Deployment) {
    let accept = |model: &Model| Model { accepts_client_history: true, ..model.clone() };
    deployment.models = Models::new(deployment.models.as_slice().iter().map(accept).collect()).unwrap();
}

fn target(kind: &str, upstream: &str) -> Target {
    Target { prompt_cache: false, ..Target::new(upstream, provider::by_name(kind).unwrap(), "m-1") }
}

fn replying(exchange: Exchange<Ready>, content_type: &str) -> Exchange<Replying> {
    let head = Response::builder().header("content-type", content_type).body(()).unwrap().into_parts().0;
    match exchange.respond(&head).ok().unwrap() {
        ResponseState::Replying(exchange) => exchange,
        ResponseState::Refused(_) => panic!("refused"),
    }
}

/// An event of a stream.
fn event(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

/// A streamed reply with this text.
fn text_reply(text: &str) -> String {
    event(&json!({ "content": text }), Some("stop")) + DONE
}

/// A streamed reply with this text, and with calls that have these ids and arguments.
fn call_reply(text: &str, calls: &[(&str, &str)]) -> String {
    let call = |(at, (id, args)): (usize, &(&str, &str))| json!({ "index": at, "id": id, "function": { "name": "add", "arguments": args } });
    let calls: Vec<_> = calls.iter().enumerate().map(call).collect();
    event(&json!({ "content": text, "tool_calls": calls }), Some("tool_calls")) + DONE
}

const DONE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\
    \"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\ndata: [DONE]\n\n";

fn first_turn(text: &str) -> TurnRequest {
    TurnRequest { input: vec![Item::text(Role::User, text)], stream: true, ..TurnRequest::default() }
}

fn next_turn(token: &str, text: &str) -> TurnRequest {
    TurnRequest { token: Some(token.to_owned()), ..first_turn(text) }
}

fn results(token: &str, ids: &[&str]) -> TurnRequest {
    let result = |id: &&str| Item::Result { id: (*id).to_owned(), out: Output::Text("3".to_owned()), error: false };
    TurnRequest { input: ids.iter().map(result).collect(), ..next_turn(token, "") }
}

fn error_code<S>(outcome: Result<Exchange<S>, Error>) -> &'static str {
    outcome.err().expect("an error").code()
}

#[test]
fn a_turn_continues_the_conversation() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello");
    fixture.now = NOW.plus(60);
    let second = fixture.turn(next_turn(&first.token, "bye"), "so long");
    let (before, claims) = (&first.conversation.claims, &second.conversation.claims);
    assert_eq!((before.turn, before.parent), (1, None));
    assert_eq!((claims.turn, claims.parent), (2, Some(before.token_id)));
    assert_eq!((claims.conversation, &claims.principal), (before.conversation, &before.principal));
    assert_eq!((claims.born_at, claims.issued_at), (NOW, NOW.plus(60)));
    assert_eq!(claims.expires_at, NOW.plus(60 + 7 * 86_400));
    let counts = Usage { input_tokens: 14, output_tokens: 10, cached_tokens: 4, ..Usage::default() };
    assert_eq!((claims.usage, claims.upstream_millis), (counts, 3_000));
    assert_eq!(second.usage, Usage { input_tokens: 7, output_tokens: 5, cached_tokens: 2, ..Usage::default() });
    let (items, conversation) = fixture.history(&second.token).unwrap();
    let words = [(Role::User, "hi"), (Role::Assistant, "hello"), (Role::User, "bye"), (Role::Assistant, "so long")];
    assert_eq!(items, words.map(|(role, text)| Item::text(role, text)));
    assert_eq!(conversation.token_bytes, second.token.len());
    assert_eq!(conversation.history_bytes, second.conversation.history_bytes);
}

#[test]
fn a_reply_is_the_same_for_every_split_of_its_bytes() {
    let reply = call_reply("Grüß\n\"dich\" \u{1F44B}", &[("c1", "{\"a\": 1}"), ("c2", "{}")]);
    for reply_bytes in [70, 80, 130, 150, 220, 300, 100_000] {
        let mut outcomes = Vec::new();
        for size in [1, 7, reply.len()] {
            let mut fixture = Fixture::new(Limits { reply_bytes, ..Limits::default() });
            let exchange = fixture.ready(first_turn("hi")).unwrap();
            let (deltas, outcome) = fixture.finish(exchange, reply.as_bytes().chunks(size));
            let answer = outcome.unwrap();
            outcomes.push((deltas, answer.output, answer.finish));
        }
        assert_eq!(outcomes[0], outcomes[1]);
        assert_eq!(outcomes[0], outcomes[2]);
    }
}

#[test]
fn an_empty_reply_is_an_empty_message() {
    let mut fixture = Fixture::new(Limits::default());
    let answer = fixture.turn(first_turn("hi"), "");
    assert_eq!(answer.output, [Item::text(Role::Assistant, "")]);
    assert_eq!((answer.reply.as_str(), answer.finish), ("", FinishReason::Stop));
    fixture.turn(next_turn(&answer.token, "well?"), "yes");
}

#[test]
fn calls_wait_for_their_results_only() {
    let mut fixture = Fixture::new(Limits::default());
    let exchange = fixture.ready(first_turn("add")).unwrap();
    let answer = fixture.finish(exchange, [call_reply("Adding.", &[("c1", "{}"), ("c2", "{}")]).as_bytes()]).1.unwrap();
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    assert_eq!(answer.output.len(), 3);
    let token = answer.token.as_str();
    for ids in [&[][..], &["c1"], &["c1", "c3"], &["c1", "c1"], &["c1", "c2", "c2"], &["c2", "c1", "c3"]] {
        assert_eq!(error_code(fixture.ready(results(token, ids))), "request_invalid", "{ids:?}");
    }
    assert_eq!(error_code(fixture.ready(next_turn(token, "never mind"))), "request_invalid");
    // Results may come in any order, and with messages around them.
    for ids in [["c1", "c2"], ["c2", "c1"]] {
        let mut both = results(token, &ids);
        both.input.push(Item::text(Role::User, "continue"));
        let answered = fixture.turn(both, "done");
        assert_eq!(error_code(fixture.ready(results(&answered.token, &["c1"]))), "request_invalid");
        // A later call may have the id of an earlier one.
        let exchange = fixture.ready(next_turn(&answered.token, "again")).unwrap();
        let again = fixture.finish(exchange, [call_reply("", &[("c1", "{}")]).as_bytes()]).1.unwrap();
        fixture.turn(results(&again.token, &["c1"]), "done");
    }
}

#[test]
fn a_client_cannot_bring_items_of_the_model() {
    let mut fixture = Fixture::new(Limits::default());
    let call = Item::Call { id: "c".to_owned(), name: "n".to_owned(), args: "{}".to_owned() };
    let think = Item::Think { provider_id: "openai".to_owned(), blob: "{}".to_owned() };
    let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text("x".to_owned())], cut: true };
    for item in [Item::text(Role::Assistant, "I will."), call, think, cut] {
        let input = vec![Item::text(Role::User, "hi"), item];
        assert_eq!(error_code(fixture.ready(TurnRequest { input, ..TurnRequest::default() })), "role_forbidden");
    }
    for input in [vec![], vec![Item::text(Role::User, "")]] {
        assert_eq!(error_code(fixture.ready(TurnRequest { input, ..TurnRequest::default() })), "request_invalid");
    }
}

fn anonymous() -> Caller {
    Caller::Unauthenticated { user_id: None }
}

fn named(user_id: &str) -> Caller {
    Caller::Unauthenticated { user_id: Some(user_id.to_owned()) }
}

fn authenticated(subject: &str, idp: &str, user_id: Option<&str>) -> Caller {
    let principal = Principal::new(subject, idp).unwrap();
    Caller::Authenticated { principal, user_id: user_id.map(str::to_owned) }
}

#[test]
fn only_its_owner_continues_a_token() {
    let mut fixture = Fixture::new(Limits::default());
    let mut token_of = |caller: &Caller| {
        let exchange = fixture.ready_as(first_turn("hi"), caller).unwrap();
        let answer = fixture.finish(exchange, [text_reply("hello").as_bytes()]).1.unwrap();
        (answer.token, answer.conversation.claims.principal)
    };
    let (anonymous_token, principal) = token_of(&anonymous());
    assert!(principal.is_anonymous() && principal.idp() == IDP_NONE);
    let (alice, _) = token_of(&named("alice"));
    let (authenticated_alice, _) = token_of(&authenticated("alice", "jwt:one", None));
    let anonymous_name = named(principal.subject());
    let cases: [(&str, &Caller, Option<&str>); 13] = [
        (&anonymous_token, &anonymous(), None),
        (&anonymous_token, &anonymous_name, None),
        (&anonymous_token, &named("alice"), Some("token_invalid")),
        (&anonymous_token, &named("anon-00000000000000000000000000000000"), Some("token_invalid")),
        (&anonymous_token, &authenticated(principal.subject(), "jwt:one", None), Some("token_invalid")),
        (&alice, &named("alice"), None),
        (&alice, &named("Alice"), Some("token_invalid")),
        // A user who was named must be named again.
        (&alice, &anonymous(), Some("token_invalid")),
        (&alice, &authenticated("alice", "jwt:one", None), Some("token_invalid")),
        (&authenticated_alice, &authenticated("alice", "jwt:one", Some("alice")), None),
        (&authenticated_alice, &authenticated("alice", "jwt:two", None), Some("token_invalid")),
        (&authenticated_alice, &authenticated("alice", "jwt:one", Some("bob")), Some("request_invalid")),
        (&authenticated_alice, &named("alice"), Some("token_invalid")),
    ];
    for (number, (token, caller, refused)) in cases.into_iter().enumerate() {
        let outcome = fixture.ready_as(next_turn(token, "and?"), caller);
        assert_eq!(outcome.err().map(|error| error.code()), refused, "case {number}");
        let read = fixture.history_as(token, caller);
        assert_eq!(read.err().map(|error| error.code()), refused, "case {number}");
    }
    // The name of an anonymous user is accepted only with the token of that user.
    for name in [principal.subject(), "anon-", "anon-me"] {
        assert_eq!(error_code(fixture.ready_as(first_turn("hi"), &named(name))), "request_invalid");
    }
    for name in ["", "a\nb", &"a".repeat(257)] {
        assert_eq!(error_code(fixture.ready_as(first_turn("hi"), &named(name))), "request_invalid");
    }
}

#[test]
fn an_expired_token_is_read_but_not_continued() {
    let policy = TokenPolicy { ttl_seconds: 1_000, max_age_seconds: 5_000, ..TokenPolicy::default() };
    let mut fixture = Fixture::with(Limits::default(), policy, vec![model("default")]);
    let first = fixture.turn(first_turn("hi"), "hello").token;
    for (after, turn, read) in [
        (1_059, None, None),
        (1_060, Some("token_expired"), None),
        (5_059, Some("token_expired"), None),
        (5_060, Some("token_expired"), Some("token_expired")),
    ] {
        fixture.now = NOW.plus(after);
        assert_eq!(fixture.ready(next_turn(&first, "and?")).err().map(|error| error.code()), turn, "{after}");
        assert_eq!(fixture.history(&first).err().map(|error| error.code()), read, "{after}");
        // Other users do not learn that the token expired.
        assert_eq!(error_code(fixture.ready_as(next_turn(&first, "and?"), &named("mallory"))), "token_invalid");
    }
}

#[test]
fn a_turn_whose_token_would_expire_immediately_is_refused() {
    let policy = TokenPolicy { ttl_seconds: 1_000, max_age_seconds: 1_500, ..TokenPolicy::default() };
    let mut fixture = Fixture::with(Limits::default(), policy, vec![model("default")]);
    let mut token = fixture.turn(first_turn("hi"), "hello").token;
    fixture.now = NOW.plus(1_000);
    let answer = fixture.turn(next_turn(&token, "and?"), "yes");
    assert_eq!(answer.conversation.claims.expires_at, NOW.plus(1_500));
    token = answer.token;
    fixture.now = NOW.plus(1_499);
    assert!(fixture.ready(next_turn(&token, "and?")).is_ok());
    // Within the leeway the token is still valid, but a next token would already be expired.
    fixture.now = NOW.plus(1_500);
    assert_eq!(error_code(fixture.ready(next_turn(&token, "and?"))), "token_expired");
    assert!(fixture.history(&token).is_ok());
}

#[test]
fn a_slow_clock_dates_no_token_before_the_conversation() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello").token;
    fixture.now = UnixSeconds(NOW.0 - 60);
    let claims = fixture.turn(next_turn(&first, "and?"), "yes").conversation.claims;
    assert_eq!((claims.born_at, claims.issued_at), (NOW, NOW));
    fixture.now = UnixSeconds(NOW.0 - 61);
    assert_eq!(error_code(fixture.ready(next_turn(&first, "and?"))), "token_invalid");
}

#[test]
fn a_conversation_keeps_its_alias_until_another_is_requested() {
    let mut fixture = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model("a"), model("b")]);
    let with = |token: Option<&str>, alias: Option<&str>| TurnRequest {
        token: token.map(str::to_owned),
        model: alias.map(str::to_owned),
        ..first_turn("hi")
    };
    let first = fixture.turn(with(None, None), "hello");
    assert_eq!(first.conversation.claims.model, "a");
    let second = fixture.turn(with(Some(&first.token), Some("b")), "hello");
    let third = fixture.turn(with(Some(&second.token), None), "hello");
    assert_eq!(third.conversation.claims.model, "b");
    // The alias was removed: the turn fails, the token stays valid, and another alias can continue
    // it.
    let mut later = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model("a")]);
    assert_eq!(error_code(later.ready(with(Some(&third.token), None))), "model_unknown");
    assert_eq!(later.turn(with(Some(&third.token), Some("a")), "hello").conversation.claims.turn, 4);
    // The alias `*` is used for any other alias, under the requested name.
    let mut any = Fixture::with(Limits::default(), TokenPolicy::default(), vec![model("a"), model("*")]);
    assert_eq!(any.turn(with(Some(&third.token), Some("gpt-9")), "hello").conversation.claims.model, "gpt-9");
    let long = "x".repeat(257);
    for alias in ["", &long] {
        assert_eq!(error_code(fixture.ready(with(None, Some(alias)))), "model_unknown");
    }
    assert_eq!(error_code(any.ready(with(None, Some(&long)))), "model_unknown");
}

#[test]
fn streamed_text_of_a_failed_turn_comes_with_a_token() {
    let mut fixture = Fixture::new(Limits::default());
    let first = fixture.turn(first_turn("hi"), "hello");
    let half = event(&json!({ "content": "So f" }), None);
    let exchange = fixture.ready(next_turn(&first.token, "and?")).unwrap();
    let (deltas, outcome) = fixture.finish(exchange, [half.as_bytes()]);
    assert_eq!(deltas, [Delta::Text("So f".to_owned())]);
    let Failure { error, partial, .. } = outcome.unwrap_err();
    let partial = partial.unwrap();
    assert_eq!((error, partial.reply.as_str()), (Error::UpstreamCut, "So f"));
    let (items, conversation) = fixture.history(&partial.token).unwrap();
    let cut = Item::Message { role: Role::Assistant, parts: vec![Part::Text("So f".to_owned())], cut: true };
    assert_eq!((items.last(), conversation.claims.turn), (Some(&cut), 2));
    fixture.turn(next_turn(&partial.token, "continue"), "ar");
    fixture.turn(next_turn(&first.token, "continue"), "again");

    // Without a stream the client has seen nothing, and a call without text gives no partial reply.
    let unseen = TurnRequest { stream: false, ..next_turn(&first.token, "and?") };
    let exchange = fixture.ready(unseen).unwrap();
    assert!(fixture.finish(exchange, [half.as_bytes()]).1.unwrap_err().partial.is_none());
    let exchange = fixture.ready(next_turn(&first.token, "and?")).unwrap();
    let call = event(&json!({ "tool_calls": [{ "id": "c", "function": { "name": "n", "arguments": "{}" } }] }), None);
    assert!(fixture.finish(exchange, [call.as_bytes()]).1.unwrap_err().partial.is_none());
}

#[test]
fn error_answers_are_classified_by_status() {
    let mut fixture = Fixture::new(Limits::default());
    let mut error_of = |status: u16, retry_after: &str, body: &str| {
        let exchange = fixture.ready(first_turn("hi")).unwrap();
        let head = Response::builder().status(status).header("retry-after", retry_after).body(()).unwrap();
        match exchange.respond(&head.into_parts().0) {
            Ok(ResponseState::Refused(mut exchange)) => {
                exchange.push(body.as_bytes());
                exchange.into_failed_attempt().error
            }
            Ok(ResponseState::Replying(_)) => panic!("a reply"),
            Err(failed) => failed.error,
        }
    };
    let body = "{\"error\":{\"message\":\"no\"}}";
    let refused = |status, message: Option<&str>, seconds: Option<u64>| Error::UpstreamRefused {
        names: String::new(),
        status,
        message: message.map(str::to_owned),
        retry_after: seconds.map(Duration::from_secs),
        overflow: false,
    };
    let account = |status| Error::UpstreamAccount { cause: format!("status {status}") };
    for (status, header, wanted) in [
        (400, "9", refused(400, Some("no"), None)),
        (401, "9", account(401)),
        (403, "", account(403)),
        (407, "", account(407)),
        (429, "9", refused(429, None, Some(9))),
        (429, "0", refused(429, None, Some(0))),
        (429, "", refused(429, None, Some(5))),
        (429, "4000", refused(429, None, Some(3_600))),
    ] {
        assert_eq!(error_of(status, header, body), wanted);
    }
    for status in [408, 409, 425, 500, 503, 529, 599] {
        assert_eq!(error_of(status, "9", body).retry(), crate::proto::error::Retry::After(Duration::from_secs(9)));
    }
    for status in [302, 304, 204] {
        assert_eq!(error_of(status, "", "").code(), "upstream_malformed");
    }
    let endless = "x".repeat(70_000);
    assert_eq!(error_of(400, "", &endless), refused(400, Some(&"x".repeat(300)), None));
}

#[test]
fn an_error_body_is_read_up_to_its_limit() {
    let mut fixture = Fixture::new(Limits::default());
    let exchange = fixture.ready(first_turn("hi")).unwrap();
    let head = Response::builder().status(400).body(()).unwrap().into_parts().0;
    let Ok(ResponseState::Refused(mut exchange)) = exchange.respond(&head) else { panic!("not an error") };
    assert!(exchange.push(&[b' '; (64 << 10) - 1]));
    assert!(!exchange.push(b"  "));
    assert!(!exchange.push(b" "));
}
