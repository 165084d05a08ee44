//! SIGHUP replaces the rules of access. An invalid configuration changes nothing.

use std::fs;

use holdall::principal::KeyDigest;
use http::StatusCode;
use serde_json::{Value, json};

use super::{claims, jws, with};
use crate::support::{
    SECRET,
    binary::Binary,
    client::{Client, json_request},
};

/// A folder with a configuration, its token keys, and the files that it names.
struct Deployment(tempfile::TempDir);

impl Deployment {
    fn new(identity: &str) -> Self {
        let deployment = Self(tempfile::tempdir().unwrap());
        deployment.write("keys", &format!("k1:{SECRET}\n"));
        deployment.configure(identity);
        deployment
    }

    /// Writes the configuration. Each `@` in it is replaced by the folder.
    fn configure(&self, identity: &str) {
        self.write("holdall.toml", &format!("keys_file = \"@/keys\"\n{identity}").replace('@', &self.path("")));
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn serve(&self) -> Binary {
        Binary::serve(&["--config", &self.path("holdall.toml")])
    }
}

/// The status of a turn with these headers.
async fn status(binary: &Binary, headers: &[(&'static str, &str)]) -> StatusCode {
    let request = with(json_request("/v1/turns", &json!({ "input": "Hello" })), headers);
    Client::connect(binary.address).await.send(request).await.status
}

const API_KEYS: &str = "[identity]\nmode = \"api_key\"\napi_key = { keys_file = \"@/api-keys\" }\n";

/// A line of the keys file.
fn line(key: &str, user: &str) -> String {
    format!("{} {user}\n", KeyDigest::of(key).to_hex())
}

const IN: StatusCode = StatusCode::OK;
const OUT: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test]
async fn api_keys_are_rotated_without_a_restart() {
    let deployment = Deployment::new(API_KEYS);
    deployment.write("api-keys", &line("old", "ada"));
    let mut binary = deployment.serve();
    assert_eq!(status(&binary, &[("x-api-key", "old")]).await, IN);
    assert_eq!(status(&binary, &[("x-api-key", "new")]).await, OUT);
    for (file, old, new) in [
        (line("old", "ada") + &line("new", "ada"), IN, IN),
        (line("new", "ada"), OUT, IN),
        (line("old", "ada") + &line("new", "bob"), IN, IN),
    ] {
        deployment.write("api-keys", &file);
        binary.signal("HUP");
        binary.until("reloaded; keys k1");
        assert_eq!(status(&binary, &[("x-api-key", "old")]).await, old);
        assert_eq!(status(&binary, &[("authorization", "Bearer new")]).await, new);
    }
    for broken in ["", "nonsense\n", &(line("new", "ada") + &line("new", "bob"))] {
        deployment.write("api-keys", broken);
        binary.signal("HUP");
        binary.until("not reloaded");
        assert_eq!(status(&binary, &[("x-api-key", "old")]).await, IN);
    }
}

#[tokio::test]
async fn a_key_of_a_user_can_become_an_operator_key() {
    let deployment = Deployment::new(API_KEYS);
    deployment.write("api-keys", &line("old", "ada"));
    let mut binary = deployment.serve();
    assert_eq!(status(&binary, &[("x-api-key", "old")]).await, IN);
    deployment.write("api-keys", &line("new", "ada"));
    let operator = KeyDigest::of("old").to_hex();
    deployment.configure(&format!("operator_keys = [\"{operator}\"]\n{API_KEYS}"));
    binary.signal("HUP");
    binary.until("reloaded; keys k1");
    assert_eq!(status(&binary, &[("x-api-key", "old")]).await, OUT);
    // Another mode needs a restart.
    deployment.configure("[identity]\nmode = \"none\"\n");
    binary.signal("HUP");
    let log = binary.until("hint:");
    assert!(log.contains("error: not reloaded, the old settings stay in use; changed: identity.mode\n"), "{log}");
    assert_eq!(status(&binary, &[]).await, OUT);
}

#[tokio::test]
async fn the_secret_of_the_proxy_is_rotated_without_a_restart() {
    let rule = "{ name = \"x-user\", peers = [\"127.0.0.1\"], secret_file = \"@/secret\" }";
    let deployment = Deployment::new(&format!("[identity]\nmode = \"header\"\nheader = {rule}\n"));
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    deployment.write("secret", &old);
    let mut binary = deployment.serve();
    let with_secret = |secret: &str| [("x-user", "ada"), ("x-holdall-secret", secret)].map(|(a, b)| (a, b.to_owned()));
    for (secret, old_is, new_is) in [(&old, IN, OUT), (&new, OUT, IN)] {
        deployment.write("secret", &format!("{secret}\n"));
        binary.signal("HUP");
        binary.until("reloaded; keys k1");
        for (secret, expected) in [(&old, old_is), (&new, new_is)] {
            let headers = with_secret(secret);
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            assert_eq!(status(&binary, &headers).await, expected);
        }
    }
    deployment.write("secret", SECRET);
    binary.signal("HUP");
    let log = binary.until("not reloaded");
    assert!(log.contains("also a token key") && !log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn the_key_file_of_an_issuer_is_read_again() {
    let rule = "{ issuer = \"https://issuer.test\", audience = [\"holdall\"], key_file = \"@/key\" }";
    let deployment = Deployment::new(&format!("[identity]\nmode = \"jwt\"\njwt = {rule}\n"));
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    deployment.write("key", &old);
    let mut binary = deployment.serve();
    let credential = |secret: &str| {
        let mut claims: Value = claims("ada");
        claims["exp"] = json!(4_102_444_800_u64);
        format!("Bearer {}", jws(&json!({ "alg": "HS256" }), &claims, secret.as_bytes()))
    };
    assert_eq!(status(&binary, &[("authorization", &credential(&old))]).await, IN);
    deployment.write("key", &new);
    binary.signal("HUP");
    binary.until("reloaded; keys k1");
    assert_eq!(status(&binary, &[("authorization", &credential(&old))]).await, OUT);
    assert_eq!(status(&binary, &[("authorization", &credential(&new))]).await, IN);
}
