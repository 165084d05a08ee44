//! What clients may choose from: `GET /v1/models`, and one of them by name below it.
//!
//! OpenAI's and Anthropic's SDKs both ask here, so an entry has the members of both. An alias has no date of birth of its
//! own; it has the one that Anthropic's API gives to models whose date is not known, the epoch.

use http::{Response, request};
use serde_json::{Value, json};

use super::{
    Clock, Service,
    body::Body,
    json_response,
    route::{HINT, only_get},
};
use crate::{
    guard::Guard,
    proto::{
        dialect::door::{Door, chat_completions::ChatCompletions},
        error::Error,
        time::UnixSeconds,
    },
    upstream::Upstream,
};

/// Where the models are listed.
const PATH: &str = "/v1/models";

/// What follows [`PATH`] in a path: nothing, or a slash and a name.
pub(super) fn below(path: &str) -> Option<&str> {
    path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The door in whose shape errors about one model are told: programs look for OpenAI's `model_not_found`.
pub(super) fn door(path: &str) -> Option<&'static dyn Door> {
    below(path).filter(|rest| !rest.is_empty()).map(|_| &ChatCompletions as &dyn Door)
}

impl<U: Upstream, G: Guard, C: Clock> Service<U, G, C> {
    /// All models, or the one whose name `rest` holds after a slash.
    ///
    /// # Errors
    /// [`Error::ModelUnknown`]; [`Error::NotFound`] for what can be no name; [`Error::MethodNotAllowed`].
    pub(super) async fn models(&self, head: &request::Parts, rest: &str) -> Result<Response<Body>, Error> {
        only_get(head)?;
        self.authenticate(head).await?;
        let core = self.core();
        let entry = |alias: &str| entry(alias, &core.policy.issuer);
        if let Some(name) = rest.strip_prefix('/') {
            let name = percent_decoded(name).filter(|name| !name.is_empty()).ok_or(Error::NotFound { hint: HINT })?;
            let (_, alias) = core.models.find(Some(&name))?;
            return Ok(json_response(&entry(alias)));
        }
        let aliases: Vec<_> = core.models.as_slice().iter().map(|model| model.alias.as_str()).collect();
        Ok(json_response(&json!({
            "object": "list",
            "data": aliases.iter().map(|alias| entry(alias)).collect::<Vec<_>>(),
            "has_more": false,
            "first_id": aliases.first(),
            "last_id": aliases.last(),
        })))
    }
}

fn entry(alias: &str, owner: &str) -> Value {
    let born = UnixSeconds(0);
    json!({
        "id": alias,
        "object": "model",
        "created": born.0,
        "owned_by": owner,
        "type": "model",
        "display_name": alias,
        "created_at": born.to_string(),
        "lifecycle": "active",
    })
}

/// A piece of a path or a query with its escapes read (RFC 3986 §2.1): SDKs write the slashes of a name as `%2F`.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let (first, rest) = text.split_once('%').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let mut bytes = first.as_bytes().to_vec();
    for escape in rest.into_iter().flat_map(|rest| rest.split('%')) {
        let (digits, plain) = escape.split_at_checked(2)?;
        let digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_once() {
        for (text, name) in [
            ("default", Some("default")),
            ("openai%2Fgpt-5%3a1", Some("openai/gpt-5:1")),
            ("openai/gpt-5", Some("openai/gpt-5")),
            ("%C3%A9%25", Some("é%")),
            ("%2525", Some("%25")),
            ("", Some("")),
            ("%", None),
            ("a%2", None),
            ("%+1", None),
            ("%zz", None),
            ("%é", None),
            ("%C3", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn only_what_is_below_a_slash_is_a_name() {
        for (path, rest) in [
            ("/v1/models", Some("")),
            ("/v1/models/", Some("/")),
            ("/v1/models/a/b", Some("/a/b")),
            ("/v1/modelsx", None),
            ("/v1/model", None),
        ] {
            assert_eq!(below(path), rest);
        }
    }
}
