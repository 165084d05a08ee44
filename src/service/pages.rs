//! What is served beside the doors: probes, lists, what tells of tokens, and the API's own description.

use http::{Method, request};

use crate::proto::error::Error;

/// What there is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Whether the process lives.
    Health,
    /// What a token holds, for its owner.
    History,
    /// One model.
    Model,
    /// All models.
    Models,
    /// The API's description.
    OpenApi,
    /// Whether requests should be sent here.
    Ready,
    /// The end of tokens before their time.
    Revocations,
    /// The caller's limits.
    Usage,
}

/// All pages by their paths; what stands in braces is a name of any length.
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
    /// The page at a path, and the name in it.
    pub(super) fn at(path: &str) -> Option<(Self, &str)> {
        PAGES.iter().find_map(|(template, page)| match template.split_once('{') {
            Some((before, _)) => path.strip_prefix(before).map(|name| (*page, name)),
            None => (path == *template).then_some((*page, "")),
        })
    }

    /// The methods that it answers to, as `Allow` lists them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::Model | Self::Models | Self::OpenApi | Self::Ready | Self::Usage => GET,
            Self::History | Self::Revocations => POST,
        }
    }

    /// Refuses all other methods.
    pub(super) fn check_method(self, head: &request::Parts) -> Result<(), Error> {
        check_method(head, self.allow())
    }
}

/// The methods of what is read.
pub(super) const GET: &str = "GET, HEAD";
/// The method of what is done.
pub(super) const POST: &str = "POST";

/// Refuses all methods but those in `allow`.
pub(super) fn check_method(head: &request::Parts, allow: &'static str) -> Result<(), Error> {
    let allowed = |method: &Method| allow.split(", ").any(|name| name == method.as_str());
    if allowed(&head.method) { Ok(()) } else { Err(Error::MethodNotAllowed { allow }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_a_slash_is_a_name() {
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
