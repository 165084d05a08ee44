//! HTTP proxies on the way to a model service.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{assert_replied, assert_unavailable, model, settings, turn};
use crate::support::{
    proxy::{Policy, Proxy},
    tls::{Authority, Terminator},
};

const HOST: &str = "127.0.0.1";
const SECRET: &str = "hunter2@";
/// `ada` with [`SECRET`].
const CREDENTIAL: &str = "Basic YWRhOmh1bnRlcjJA";

#[tokio::test]
async fn a_service_with_tls_is_called_through_a_tunnel() {
    assert_eq!(CREDENTIAL, format!("Basic {}", BASE64_STANDARD.encode(format!("ada:{SECRET}"))));
    let (model, ours) = (model().await, Authority::new("ours"));
    let service = Terminator::start(ours.certificate(HOST), model.address()).await;
    let url = format!("https://{}/base", service.address);
    let call = async |proxy: String| {
        let lines = format!("ca_file = \"ca.pem\"\nproxy = \"{proxy}\"");
        turn(&settings(&url, &lines), &[("ca.pem", &ours.pem())]).await
    };
    let open = Proxy::start(Policy::Open).await;
    assert_replied(&call(format!("http://{}", open.address)).await);
    let heads = open.heads();
    assert!(
        heads.len() == 1 && heads[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", service.address)),
        "{heads:?}"
    );
    // The proxy learns neither the operator's key nor the path.
    assert!(!heads[0].to_ascii_lowercase().contains("authorization") && !heads[0].contains("base"), "{heads:?}");

    let protected = Proxy::start(Policy::Protected(CREDENTIAL)).await;
    assert_replied(&call(format!("http://ada:hunter2%40@{}", protected.address)).await);
    for user in ["", "ada:wrong@"] {
        let failed = call(format!("http://{user}{}", protected.address)).await;
        assert_unavailable(&failed, "the proxy requires a user and a password, or refused them");
        assert!(!failed.1.contains("wrong"), "{}", failed.1);
    }

    let closed = Proxy::start(Policy::Closed).await;
    let failed = call(format!("http://ada:hunter2%40@{}", closed.address)).await;
    assert_unavailable(&failed, "the proxy refused to connect to the service");
    // A reserved port that no service uses (RFC 6335 §6).
    let failed = call(format!("http://ada:hunter2%40@{HOST}:0")).await;
    assert_unavailable(&failed, "the proxy cannot be reached: ");
    assert!(!failed.1.contains("hunter2"), "{}", failed.1);
}

#[tokio::test]
async fn a_proxy_can_have_a_private_authority_too() {
    let (model, ours) = (model().await, Authority::new("ours"));
    let service = Terminator::start(ours.certificate(HOST), model.address()).await;
    let proxy = Proxy::start(Policy::Open).await;
    let front = Terminator::start(ours.certificate(HOST), proxy.address).await;
    let (url, pem) = (format!("https://{}/base", service.address), ours.pem());
    let proxied = format!("proxy = \"https://{}\"\n", front.address);
    let trusted = turn(&settings(&url, &format!("{proxied}ca_file = \"ca.pem\"")), &[("ca.pem", &pem)]).await;
    assert_replied(&trusted);
    assert_eq!(proxy.heads().len(), 1);
    let failed = turn(&settings(&url, &proxied), &[]).await;
    assert_unavailable(&failed, "the proxy cannot be reached: the server's certificate is not signed by a known");
}

#[tokio::test]
async fn a_service_without_tls_is_called_by_the_proxy() {
    let model = model().await;
    let call = async |proxy: String| turn(&settings(&model.url(), &format!("proxy = \"{proxy}\"")), &[]).await;
    let protected = Proxy::start(Policy::Protected(CREDENTIAL)).await;
    assert_replied(&call(format!("http://ada:hunter2%40@{}", protected.address)).await);
    let heads = protected.heads();
    assert!(heads[0].starts_with(&format!("POST {}/chat/completions HTTP/1.1\r\n", model.url())), "{heads:?}");
    let failed = call(format!("http://{}", protected.address)).await;
    assert_unavailable(&failed, "the proxy requires a user and a password, or refused them");
    assert_unavailable(&call(format!("http://{HOST}:0")).await, "the proxy cannot be reached: ");
}

#[tokio::test]
async fn the_environment_decides_only_where_it_is_asked() {
    let (model, ours) = (model().await, Authority::new("ours"));
    let service = Terminator::start(ours.certificate(HOST), model.address()).await;
    let (url, pem) = (format!("https://{}/base", service.address), ours.pem());
    let proxy = Proxy::start(Policy::Open).await;
    let address = format!("http://{}", proxy.address);
    let call = async |lines: &str, variables: &[(&'static str, &str)]| {
        let named = [&[("ca.pem", pem.as_str())], variables].concat();
        assert_replied(&turn(&settings(&url, &format!("ca_file = \"ca.pem\"\n{lines}")), &named).await);
        proxy.heads().len()
    };
    let (on, https) = ("proxy = \"environment\"", ("HTTPS_PROXY", address.as_str()));
    assert_eq!(call("", &[https]).await, 0);
    assert_eq!(call(on, &[]).await, 0);
    assert_eq!(call(on, &[https]).await, 1);
    assert_eq!(call(on, &[("all_proxy", &address)]).await, 1);
    assert_eq!(call(on, &[("http_proxy", &address)]).await, 0);
    for (direct, calls) in [("127.0.0.0/8", 0), ("localhost, 127.0.0.1", 0), ("*", 0), ("10.0.0.0/8, .test", 1)] {
        assert_eq!(call(on, &[https, ("NO_PROXY", direct)]).await, calls, "{direct}");
        assert_eq!(call(on, &[https, ("no_proxy", direct)]).await, calls, "{direct}");
    }
    assert_eq!(call("proxy_env = \"PROXY\"", &[("PROXY", &address)]).await, 1);
}
