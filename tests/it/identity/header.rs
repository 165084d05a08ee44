//! Users that a proxy names, over real sockets: forged headers, and requests from strangers.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Raw, json_request},
    config_with,
    server::Running,
};

const PROXY_SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

/// A server that accepts users from proxies at these addresses.
async fn server(peers: &str) -> Running {
    let identity = format!(
        "identity = {{ mode = \"header\", header = {{ name = \"x-holdall-user\", peers = [{peers}], secret_file = \"s\" }} }}"
    );
    Running::start(config_with(&identity, &[("s", PROXY_SECRET)])).await
}

/// Sends a turn with these header lines. Returns the status, the headers without ids and dates, and
/// the body without its id.
async fn raw(server: &Running, lines: &[u8]) -> (u16, Vec<String>, Value) {
    let body = json!({ "input": "Hello" }).to_string();
    let length = body.len();
    let mut connection = Raw::connect(server.address).await;
    let head =
        "POST /v1/turns HTTP/1.1\r\nhost: chat.example\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let ask = [head.as_bytes(), lines, format!("content-length: {length}\r\n\r\n{body}").as_bytes()].concat();
    connection.send(ask).await;
    let answer = connection.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    body.as_object_mut().map(|body| body.remove("request_id"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.lines().skip(1).filter(|line| !line.contains("request-id") && !line.starts_with("date"));
    (status, headers.map(str::to_owned).collect(), body)
}

fn lines(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>().into_bytes()
}

const SECRET: (&str, &str) = ("x-holdall-secret", PROXY_SECRET);
const USER: (&str, &str) = ("x-holdall-user", "ada");

#[tokio::test]
async fn a_proxy_with_the_secret_names_the_user() {
    let server = server("\"127.0.0.0/8\"").await;
    let (status, _, body) = raw(&server, &lines(&[USER, SECRET])).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("ada")));
    let (status, _, body) =
        raw(&server, &lines(&[("X-Holdall-User", "Zoë"), ("X-HOLDALL-SECRET", PROXY_SECRET)])).await;
    assert_eq!((status, &body["user_id"]), (200, &json!("Zoë")));
    // Other credentials are ignored.
    let bearer = ("authorization", "Bearer x");
    assert_eq!(raw(&server, &lines(&[USER, SECRET, bearer, ("x-api-key", "y")])).await.0, 200);
}

#[tokio::test]
async fn other_headers_never_name_a_user() {
    let server = server("\"127.0.0.0/8\"").await;
    let bearer = ("authorization", "Bearer x");
    for headers in [
        &[][..],
        &[USER],
        &[SECRET],
        &[USER, ("x-holdall-secret", "wrong")],
        &[USER, ("x-holdall-secret", "")],
        &[USER, SECRET, SECRET],
        &[USER, SECRET, ("X-Holdall-Secret", "x")],
        &[USER, SECRET, ("x_holdall_secret", PROXY_SECRET)],
        &[USER, ("x_holdall_secret", PROXY_SECRET)],
        &[SECRET, ("x-holdall-user", "")],
        &[SECRET, ("x-holdall-user", "   ")],
        &[SECRET, ("x-holdall-user", "a\tb")],
        &[SECRET, ("x-holdall-user", &"a".repeat(257))],
        &[SECRET, ("x-holdall-user", "a\u{85}")],
        &[bearer, ("x-api-key", "ada")],
    ] {
        let (status, _, body) = raw(&server, &lines(headers)).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{headers:?}");
        assert_eq!(body["detail"], "Requests must come through the configured proxy.");
    }
    let causes = format!("{:?}", server.log.take());
    assert!(!causes.contains(PROXY_SECRET) && causes.contains("identity header: the secret is wrong"));
}

#[tokio::test]
async fn repeated_and_malformed_users_are_refused() {
    let server = server("\"127.0.0.0/8\"").await;
    for headers in [
        [USER, USER, SECRET],
        [("x-holdall-user", "eve"), USER, SECRET],
        [USER, SECRET, ("X-HOLDALL-USER", "eve")],
        [USER, SECRET, ("x_holdall_user", "eve")],
        [("X_Holdall-User", "eve"), USER, SECRET],
    ] {
        let (status, _, body) = raw(&server, &lines(&headers)).await;
        assert_eq!((status, &body["code"]), (400, &json!("request_invalid")), "{headers:?}");
    }
    // Folded lines, lines with a bare CR, and lines that are not text are refused.
    for value in [b"ada\r\n eve".as_slice(), b"ada\rx-a: b", b"ada\0", b"ad\xff", b"ada\x1b[2J"] {
        let user = [b"x-holdall-user: ".as_slice(), value, b"\r\n", &lines(&[SECRET])].concat();
        let (status, ..) = raw(&server, &user).await;
        assert!(matches!(status, 400 | 401), "{value:?}: {status}");
    }
    assert!(!format!("{:?}", server.log.take()).contains(PROXY_SECRET));
}

#[tokio::test]
async fn a_peer_that_is_not_listed_always_gets_the_same_answer() {
    let server = server("\"192.0.2.1\", \"2001:db8::/32\"").await;
    let forwarded = ("x-forwarded-for", "192.0.2.1");
    let first = raw(&server, &[]).await;
    assert_eq!(first.0, 401);
    for headers in
        [&[USER, SECRET][..], &[USER], &[SECRET, USER, USER], &[USER, SECRET, forwarded], &[("x_holdall_user", "a")]]
    {
        assert_eq!(raw(&server, &lines(headers)).await, first, "{headers:?}");
    }
}

#[tokio::test]
async fn the_rules_apply_to_http_2() {
    let server = server("\"::ffff:127.0.0.1\"").await;
    let mut client = Client::connect_http2(server.address).await;
    let ask = |headers: &[(&'static str, &str)]| {
        super::with(json_request("/v1/turns", &json!({ "input": "Hello" })), headers)
    };
    assert_eq!(client.send(ask(&[USER, SECRET])).await.json()["user_id"], "ada");
    client.send(ask(&[USER, SECRET, ("x-holdall-user", "eve")])).await.problem("request_invalid");
    client.send(ask(&[USER, SECRET, ("x_holdall_user", "eve")])).await.problem("request_invalid");
    client.send(ask(&[USER, SECRET, SECRET])).await.problem("unauthenticated");
    client.send(ask(&[SECRET, ("x-holdall-user", " ada")])).await.problem("unauthenticated");
}

#[tokio::test]
async fn tokens_and_the_headers_of_the_proxy_are_not_interchangeable() {
    let server = server("\"127.0.0.1\"").await;
    let mut client = Client::connect(server.address).await;
    let ask =
        |user: &str, body: &Value| super::with(json_request("/v1/turns", body), &[("x-holdall-user", user), SECRET]);
    let first = client.send(ask("ada", &json!({ "input": "hi" }))).await.json();
    let token = first["token"].as_str().unwrap();
    let next = json!({ "input": "and?", "token": token });
    assert_eq!(client.send(ask("ada", &next)).await.json()["conversation"]["turn"], 2);
    client.send(ask("eve", &next)).await.problem("token_invalid");
    client.send(ask(token, &next)).await.problem("unauthenticated");
    for credential in [PROXY_SECRET, "ada", &base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(PROXY_SECRET)] {
        let body = json!({ "input": "and?", "token": credential });
        client.send(ask("ada", &body)).await.problem("token_invalid");
    }
    let as_secret = super::with(json_request("/v1/turns", &next), &[USER, ("x-holdall-secret", token)]);
    client.send(as_secret).await.problem("unauthenticated");
    // The token of an anonymous user is refused here.
    let open = Running::start(config_with("", &[])).await;
    let anonymous = Client::connect(open.address).await.turn(&json!({ "input": "hi" })).await.json();
    let body = json!({ "input": "and?", "token": anonymous["token"] });
    client.send(ask(anonymous["user_id"].as_str().unwrap(), &body)).await.problem("token_invalid");
}
