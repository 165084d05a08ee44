//! Texts of configurations: a configuration is checked without a panic, and neither it nor an error
//! shows a key.
//!
//! The keys are in variables, in files, and before each input, whose first lines can add to the
//! table of an upstream.

use std::path::Path;

use holdall::config::{ConfigBuilder, Sources};
use zeroize::Zeroizing;

/// Takes any text.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let text = format!(
        "keys = \"k1:{SECRET}\"\n[[upstream]]\nname = \"main\"\nkind = \"openai\"\napi_key_env = \"KEY\"\n{text}"
    );
    let sources = Files { text };
    let config = ConfigBuilder::open(Some(Path::new("holdall.toml")), &sources).and_then(|builder| {
        assert_hidden(&format!("{builder:?}"));
        builder.build(&sources)
    });
    match config {
        Ok(config) => assert_hidden(&format!("{config:?}")),
        Err(error) => assert_hidden(&format!("{error} {error:?}")),
    }
}

fn assert_hidden(shown: &str) {
    assert!(!shown.contains(SECRET), "a key in {shown}");
}

/// One file, and keys for all other names.
struct Files {
    text: String,
}

impl Sources for Files {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        match path {
            "holdall.toml" => Ok(Zeroizing::new(self.text.clone())),
            "missing" => Err("not found".to_owned()),
            _ => Ok(Zeroizing::new(SECRET.to_owned())),
        }
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        (name == "KEY").then(|| Zeroizing::new(SECRET.to_owned()))
    }
}

/// A key: base64url of 32 bytes.
const SECRET: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MDE";
