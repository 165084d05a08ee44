//! The paths: APIs, and pages such as probes and lists.

use http::{HeaderMap, Method, request};

use crate::proto::{
    api::{APIS, Api, chat_completions::ChatCompletions, messages::Messages},
    error::Error,
};

/// A resource that is not an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Reports that the process runs.
    Health,
    /// The content of a token, for its owner.
    History,
    /// One model.
    Model,
    /// All models.
    Models,
    /// The description of the APIs.
    OpenApi,
    /// Reports if requests should be sent here.
    Ready,
    /// Revokes tokens before they expire.
    Revocations,
    /// The caller's limits.
    Usage,
}

/// All pages by path. A name in braces matches the rest of the path.
pub(super) const PAGES: &[(&str, Page)] = &[
    ("/health", Page::Health),
    ("/healthz", Page::Health),
    ("/openapi.json", Page::OpenApi),
    ("/ready", Page::Ready),
    ("/readyz", Page::Ready),
    ("/v1/history", Page::History),
    ("/v1/models", Page::Models),
    ("/v1/models/{model}", Page::Model),
    ("/v1/revocations", Page::Revocations),
    ("/v1/usage", Page::Usage),
];

impl Page {
    /// The page at a path, and the name in the path.
    pub(super) fn at(path: &str) -> Option<(Self, &str)> {
        PAGES.iter().find_map(|(template, page)| match template.split_once('{') {
            Some((before, _)) => path.strip_prefix(before).map(|name| (*page, name)),
            None => (path == *template).then_some((*page, "")),
        })
    }

    /// The methods of the page, in the format of `Allow`.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::Model | Self::Models | Self::OpenApi | Self::Ready | Self::Usage => GET,
            Self::History | Self::Revocations => POST,
        }
    }

    /// Rejects all other methods.
    pub(super) fn check_method(self, head: &request::Parts) -> Result<(), Error> {
        check_method(head, self.allow())
    }
}

/// The methods of a page that is read.
pub(super) const GET: &str = "GET, HEAD";
/// The method of an API, and of a page with a request body.
pub(super) const POST: &str = "POST";

/// Rejects all methods that are not in `allow`.
pub(super) fn check_method(head: &request::Parts, allow: &'static str) -> Result<(), Error> {
    let allowed = |method: &Method| allow.split(", ").any(|name| name == method.as_str());
    if allowed(&head.method) { Ok(()) } else { Err(Error::MethodNotAllowed { allow }) }
}

/// The API at a path, or the one above it.
pub(super) fn api_of(path: &str) -> Option<&'static dyn Api> {
    let below = |api: &&dyn Api| path.strip_prefix(api.path()).is_some_and(|rest| rest.starts_with('/'));
    APIS.iter().copied().find(|api| api.path() == path).or_else(|| APIS.iter().copied().find(below))
}

/// The API whose format errors have at a path. Lists of models have none of their own: a request
/// with Anthropic's version header gets Anthropic's format. All others get OpenAI's, in whose
/// errors programs look for `model_not_found`.
pub(super) fn api_for_errors(path: &str, headers: &HeaderMap) -> Option<&'static dyn Api> {
    api_of(path).or_else(|| {
        let (Page::Model | Page::Models, _) = Page::at(path)? else { return None };
        Some(if headers.contains_key("anthropic-version") { &Messages } else { &ChatCompletions })
    })
}

/// The hint for an unknown path.
pub(super) const HINT: &str = "Send turns with POST to /v1/turns, /v1/responses, /v1/chat/completions or /v1/messages. \
    The base URL of an OpenAI SDK ends in /v1; that of an Anthropic SDK does not.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::api::Operation;

    #[test]
    fn the_hint_for_an_unknown_path_names_every_api() {
        for api in APIS.iter().filter(|api| api.operation() == Operation::Turn) {
            assert!(HINT.contains(api.path()), "the hint does not name {}", api.path());
        }
    }

    #[test]
    fn only_the_part_after_the_slash_is_a_name() {
        for (path, page) in [
            ("/v1/models", Some((Page::Models, ""))),
            ("/v1/models/", Some((Page::Model, ""))),
            ("/v1/models/a/b", Some((Page::Model, "a/b"))),
            ("/v1/modelsx", None),
            ("/v1/model", None),
            ("/v1/usage/", None),
            ("/healthz", Some((Page::Health, ""))),
        ] {
            assert_eq!(Page::at(path), page);
        }
    }
}
