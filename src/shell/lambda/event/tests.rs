use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::*;

/// An event of a function URL, with the members of AWS's own example
/// (<https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>).
fn function_url() -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v1/turns",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1", "cookie2"],
        "headers": { "content-type": "application/json", "header1": "value1", "header2": "value1,value2" },
        "queryStringParameters": { "parameter1": "value1,value2", "parameter2": "value" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefg",
            "authentication": null,
            "authorizer": { "iam": { "accessKey": "AKIA…", "cognitoIdentity": null, "principalOrgId": null } },
            "domainName": "abcdefg.lambda-url.us-west-2.on.aws",
            "domainPrefix": "abcdefg",
            "http": {
                "method": "POST",
                "path": "/v1/turns",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "agent"
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_i64
        },
        "body": "{\"input\":\"é\"}",
        "pathParameters": null,
        "isBase64Encoded": false,
        "stageVariables": null
    })
}

/// The same from an HTTP API with a stage
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
fn http_api(stage: &str, path: &str) -> Value {
    let mut event = function_url();
    event["rawPath"] = path.into();
    event["routeKey"] = "ANY /{proxy+}".into();
    event["requestContext"]["domainName"] = "id.execute-api.us-east-1.amazonaws.com".into();
    event["requestContext"]["stage"] = stage.into();
    event["requestContext"]["authorizer"] =
        json!({ "jwt": { "claims": { "sub": "ada" }, "scopes": ["scope1", "scope2"] } });
    event["pathParameters"] = json!({ "proxy": "v1/turns" });
    event
}

fn parse(event: &Value) -> Event {
    read(event.to_string().as_bytes()).unwrap()
}

fn request(event: &Value) -> Request<Full<Bytes>> {
    let Event { request, fault, .. } = parse(event);
    assert_eq!(fault, None);
    request
}

fn fault(event: &Value) -> String {
    parse(event).fault.unwrap()
}

async fn body(event: &Value) -> Vec<u8> {
    request(event).into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn an_event_becomes_a_request() {
    let event = function_url();
    let request = request(&event);
    assert_eq!(parse(&event).source, EventSource::FunctionUrl);
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "/v1/turns?parameter1=value1&parameter1=value2&parameter2=value");
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(
        headers,
        [
            ("content-type", &b"application/json"[..]),
            ("header1", b"value1"),
            ("header2", b"value1,value2"),
            ("cookie", b"cookie1; cookie2"),
        ]
    );
    assert_eq!(request.extensions().get(), Some(&Peer([192, 0, 2, 7].into())));
    assert_eq!(body(&event).await, "{\"input\":\"é\"}".as_bytes());
}

#[test]
fn the_domain_tells_function_urls_from_http_apis() {
    for (domain, source) in [
        (json!("abcdefg.lambda-url.eu-central-1.on.aws"), EventSource::FunctionUrl),
        (json!("id.execute-api.us-east-1.amazonaws.com"), EventSource::HttpApi),
        (json!("chat.example.com"), EventSource::HttpApi),
        (json!("lambda-url.example.com"), EventSource::HttpApi),
        (json!("localhost"), EventSource::HttpApi),
        (Value::Null, EventSource::HttpApi),
    ] {
        let mut event = function_url();
        event["requestContext"]["domainName"] = domain.clone();
        assert_eq!(parse(&event).source, source, "{domain}");
    }
}

#[test]
fn the_stage_is_not_a_part_of_the_path() {
    for (stage, path, expected) in [
        ("$default", "/v1/turns", "/v1/turns"),
        ("prod", "/prod/v1/turns", "/v1/turns"),
        ("prod", "/prod", "/"),
        ("prod", "/production/v1/turns", "/production/v1/turns"),
        ("prod", "/prod/prod/x", "/prod/x"),
        ("prod", "/v1/turns", "/v1/turns"),
        ("v1", "/v1/v1/turns", "/v1/turns"),
    ] {
        let event = http_api(stage, path);
        assert_eq!(parse(&event).source, EventSource::HttpApi);
        assert_eq!(request(&event).uri().path(), expected, "{stage} {path}");
    }
}

#[tokio::test]
async fn bodies_may_be_base64_or_missing() {
    let mut event = function_url();
    event["body"] = "eyJpbnB1dCI6IsOpIn0=".into();
    event["isBase64Encoded"] = true.into();
    assert_eq!(body(&event).await, "{\"input\":\"é\"}".as_bytes());
    event["body"] = "/wA=".into();
    assert_eq!(body(&event).await, b"\xff\0");
    for wrong in ["/wA", "_wA=", " /wA=", "/wB="] {
        event["body"] = wrong.into();
        assert_eq!(fault(&event), "The body of the event is not base64.", "{wrong}");
    }
    event["body"] = Value::Null;
    assert!(body(&event).await.is_empty());
}

#[tokio::test]
async fn optional_members_may_be_missing() {
    let mut event = function_url();
    for member in ["cookies", "headers", "rawQueryString", "body", "isBase64Encoded"] {
        event.as_object_mut().unwrap().remove(member);
    }
    event["requestContext"] = json!({ "http": { "method": "GET" } });
    let request = request(&event);
    assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::GET, "/v1/turns"));
    assert!(request.headers().is_empty() && request.extensions().get::<Peer>().is_none());
    assert!(body(&event).await.is_empty());
    event["requestContext"]["http"]["sourceIp"] = "nowhere".into();
    assert!(self::request(&event).extensions().get::<Peer>().is_none());
}

#[test]
fn decoded_paths_are_encoded_again() {
    let mut event = function_url();
    for (path, query, uri) in [
        ("/a b", None, "/a%20b"),
        ("/é", Some(""), "/%c3%a9"),
        ("/a?b#c", Some("x=1"), "/a%3fb%23c?x=1"),
        ("/a%2Fb", Some("q=a%20b&c[]=\"#"), "/a%2Fb?q=a%20b&c[]=%22%23"),
        ("no/slash", None, "/no/slash"),
        ("", None, "/"),
        ("//other.example/v1", None, "//other.example/v1"),
        ("/a\r\nb\0", Some("a b\n"), "/a%0d%0ab%00?a%20b%0a"),
    ] {
        event["rawPath"] = path.into();
        event["rawQueryString"] = query.into();
        assert_eq!(request(&event).uri().to_string(), uri, "{path:?} {query:?}");
    }
}

#[test]
fn invalid_parts_of_a_request_are_refused_and_never_dropped() {
    for (pointer, value, expected) in [
        ("/requestContext/http/method", json!("PO ST"), "The method is invalid."),
        ("/requestContext/http/method", json!(""), "The method is invalid."),
        ("/headers", json!({ "a b": "c" }), "The name of a header is invalid."),
        ("/headers", json!({ "": "c" }), "The name of a header is invalid."),
        (
            "/headers",
            json!({ "authorization": "Bearer a\r\nx-user: eve" }),
            "The value of the header `authorization` is invalid.",
        ),
        ("/cookies", json!(["a\nb"]), "A cookie is invalid."),
    ] {
        let mut event = function_url();
        *event.pointer_mut(pointer).unwrap() = value;
        assert_eq!(fault(&event), expected);
    }
    let mut event = function_url();
    event["headers"] = json!({ "x": 1 });
    assert!(
        fault(&event).starts_with("The event lacks a member or has one of the wrong type, before byte "),
        "{}",
        fault(&event)
    );
    event["headers"] = Value::Null;
    event.as_object_mut().unwrap().remove("rawPath");
    assert!(fault(&event).starts_with("The event lacks a member"), "{}", fault(&event));
}

#[test]
fn unsupported_events_are_refused_without_a_quote() {
    let read = |event: &str| read(event.as_bytes()).unwrap_err();
    let rest = json!({ "version": "1.0", "resource": "/", "httpMethod": "GET", "requestContext": { "stage": "prod" } });
    assert_eq!(read(&rest.to_string()), format!("the event has payload format 1.0; {EXPECTED}"));
    let socket = json!({ "requestContext": { "routeKey": "$connect", "domainName": "x" }, "secret": "sk-1" });
    for event in
        [&socket.to_string(), "{}", "{\"version\":\"2.0\"}", "{\"version\":\"9\",\"requestContext\":null}", "[]"]
    {
        assert_eq!(read(event), format!("the event is of another kind; {EXPECTED}"));
    }
    for event in ["", "null", "\"x\"", "{\"version\":2}", "{", &"[".repeat(100_000)] {
        assert_eq!(read(event), format!("the event is not a JSON object; {EXPECTED}"));
    }
    assert_eq!(super::read(b"{\"a\":\"\xff\"}").unwrap_err(), "the event is not UTF-8");
}
