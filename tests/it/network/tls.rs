//! Private authorities: of model services and of the issuer of a key set.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{assert_replied, assert_unavailable, model, settings, turn};
use crate::support::{
    config_with,
    model::{Model, Step},
    server::Running,
    tls::{Authority, Certificate, Terminator},
};

const HOST: &str = "127.0.0.1";

/// The URL of a model service with this certificate. The service stops with the results.
async fn service(certificate: Certificate) -> (String, Model, Terminator) {
    let model = model().await;
    let terminator = Terminator::start(certificate, model.address()).await;
    (format!("https://{}/base", terminator.address), model, terminator)
}

#[tokio::test]
async fn a_private_authority_is_accepted_if_ca_file_names_it() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (url, _model, _terminator) = service(ours.certificate(HOST)).await;
    let both = format!("{}\n{}", other.pem(), ours.pem());
    for pem in [&ours.pem(), &both] {
        assert_replied(&turn(&settings(&url, "ca_file = \"ca.pem\""), &[("ca.pem", pem)]).await);
    }
    let unknown = "the server's certificate is not signed by a known authority; if the authority is private, set `ca_file` or SSL_CERT_FILE";
    assert_unavailable(&turn(&settings(&url, ""), &[]).await, unknown);
    let wrong = turn(&settings(&url, "ca_file = \"ca.pem\""), &[("ca.pem", &other.pem())]).await;
    assert_unavailable(&wrong, unknown);
}

#[tokio::test]
async fn a_private_authority_is_accepted_if_ssl_cert_file_names_it() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (url, _model, _terminator) = service(ours.certificate(HOST)).await;
    assert_replied(&turn(&settings(&url, ""), &[("SSL_CERT_FILE", "system"), ("system", &ours.pem())]).await);
    let added = [("SSL_CERT_FILE", "system"), ("system", &other.pem()), ("ca.pem", &ours.pem())];
    assert_replied(&turn(&settings(&url, "ca_file = \"ca.pem\""), &added).await);
    let without = turn(&settings(&url, ""), &[("SSL_CERT_FILE", "system"), ("system", &other.pem())]).await;
    assert_unavailable(&without, "not signed by a known authority");
}

#[tokio::test]
async fn a_certificate_is_checked_completely() {
    let ours = Authority::new("ours");
    for (certificate, reason) in [
        (
            ours.certificate("other.test"),
            "the server's certificate is for another name (certificate not valid for name \"127.0.0.1\"",
        ),
        (ours.expired_certificate(HOST), "the server's certificate expired at 2002-01-01T00:00:00Z"),
        (ours.own_certificate(), "the server's certificate is that of an authority (CA:TRUE)"),
    ] {
        let (url, model, _terminator) = service(certificate).await;
        let failed = turn(&settings(&url, "ca_file = \"ca.pem\""), &[("ca.pem", &ours.pem())]).await;
        assert_unavailable(&failed, reason);
        assert!(model.requests().is_empty());
    }
}

#[tokio::test]
async fn a_service_without_tls_at_an_https_url_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let failed = turn(&settings(&url, ""), &[]).await;
    assert_unavailable(&failed, "the server does not use TLS; check the URL");
}

#[tokio::test]
async fn each_upstream_has_its_own_authorities() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (one, _one_model, _one) = service(ours.certificate(HOST)).await;
    let (two, _two_model, _two) = service(other.certificate(HOST)).await;
    let both = |first: &str, second: &str| {
        let tables = settings(&one, &format!("ca_file = \"{first}\""))
            .replace("upstreams = [\"m\"]", "upstreams = [\"m\", \"n\"]");
        format!("{tables}[[upstream]]\nname = \"n\"\nkind = \"openai\"\nbase_url = \"{two}\"\nca_file = \"{second}\"\n")
    };
    let files = [("ours", &*ours.pem()), ("other", &other.pem())];
    assert_replied(&turn(&both("other", "other"), &files).await);
    assert_replied(&turn(&both("ours", "ours"), &files).await);
    assert_unavailable(&turn(&both("other", "ours"), &files).await, "not signed by a known authority");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_stops_the_start() {
    let ours = Authority::new("ours").pem();
    let lines: Vec<_> = ours.lines().collect();
    let broken = format!("{}\n{}\nMAE=\n{}\n", ours, lines[0], lines[lines.len() - 1]);
    let config = config_with(&settings("https://model.test", "ca_file = \"ca.pem\""), &[("ca.pem", &broken)]);
    let error = holdall::shell::Forward::new(config.upstreams).unwrap_err();
    let fault = "`upstream.ca_file` names `ca.pem`, whose certificate 2 is not valid; export it again";
    assert_eq!(error.to_string(), fault);
}

#[tokio::test]
async fn a_key_set_behind_a_private_authority_is_fetched_with_ca_file() {
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/jwt/cases.json")).unwrap();
    let document = vectors["keys"]["public"]["jwks"].to_string();
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{document}", document.len());
    let issuer = Model::start(move |_| vec![Step::send(response.clone())]).await;
    let ours = Authority::new("ours");
    let terminator = Terminator::start(ours.certificate(HOST), issuer.address()).await;
    let jwt = format!(
        "identity.mode = \"jwt\"\n[identity.jwt]\nissuer = \"https://issuer.example\"\naudience = [\"holdall\"]\n\
         jwks_url = \"https://{}/keys\"\n",
        terminator.address
    );
    for (line, notice, detail) in [
        ("ca_file = \"ca.pem\"", "issuer_keys_fetched", "keys in use"),
        ("", "issuer_keys_failed", "the server's certificate is not signed by a known authority"),
    ] {
        let server = Running::start(config_with(&format!("{jwt}{line}"), &[("ca.pem", &ours.pem())])).await;
        let found = loop {
            if let Some(found) = server.log.take_notices().pop() {
                break found;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(found.notice, notice, "{}", found.detail);
        assert!(found.detail.contains(detail), "{}", found.detail);
    }
}
