//! What clients may choose from: `GET /v1/models`, and one of them by name below it.
//!
//! OpenAI's and Anthropic's SDKs both ask here, so an entry has the members of both. An alias has no date of birth of its
//! own; it has the one that Anthropic's API gives to models whose date is not known, the epoch.

use http::{HeaderMap, Response, request};
use serde::Serialize;

use super::{Host, Service, body::Body, json_response, pages::Page, route::HINT, uri::percent_decoded};
use crate::proto::{
    api::{Api, chat_completions::ChatCompletions, messages::Messages},
    error::Error,
    time::UnixSeconds,
};

/// The door in whose shape errors about models are told: that of the SDK which asks. Programs look for OpenAI's
/// `model_not_found`, and Anthropic's SDKs name a version of theirs in each request.
pub(super) fn api(path: &str, headers: &HeaderMap) -> Option<&'static dyn Api> {
    let (Page::Model | Page::Models, _) = Page::at(path)? else { return None };
    Some(if headers.contains_key("anthropic-version") { &Messages } else { &ChatCompletions })
}

impl<H: Host> Service<H> {
    /// All models.
    ///
    /// # Errors
    /// Those of [`Self::authenticate`].
    pub(super) async fn models(&self, head: &request::Parts) -> Result<Response<Body>, Error> {
        self.authenticate(head).await?;
        let deployment = self.deployment();
        let data: Vec<_> = deployment
            .models
            .as_slice()
            .iter()
            .map(|model| ModelBody::new(&model.alias, &deployment.policy.issuer))
            .collect();
        let (first_id, last_id) = (data.first().map(|model| model.id), data.last().map(|model| model.id));
        Ok(json_response(&ModelsBody { object: "list", first_id, last_id, has_more: false, data }))
    }

    /// The model of this name, which may have escapes.
    ///
    /// # Errors
    /// [`Error::ModelUnknown`]; [`Error::NotFound`] for what can be no name.
    pub(super) async fn model(&self, head: &request::Parts, name: &str) -> Result<Response<Body>, Error> {
        self.authenticate(head).await?;
        let name = percent_decoded(name).filter(|name| !name.is_empty()).ok_or(Error::NotFound { hint: HINT })?;
        let deployment = self.deployment();
        let (_, alias) = deployment.models.find(Some(&name))?;
        Ok(json_response(&ModelBody::new(alias, &deployment.policy.issuer)))
    }
}

/// A model that clients may choose, in the words of OpenAI's and of Anthropic's API.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Model"))]
pub(super) struct ModelBody<'a> {
    /// Its name here, for `model`.
    id: &'a str,
    #[cfg_attr(test, schemars(extend("const" = "model")))]
    object: &'static str,
    /// Unix seconds; always 0.
    created: u64,
    /// The deployment's name.
    owned_by: &'a str,
    #[cfg_attr(test, schemars(extend("const" = "model")))]
    r#type: &'static str,
    /// Its name once more.
    display_name: &'a str,
    /// Always the epoch.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    created_at: String,
    #[cfg_attr(test, schemars(extend("const" = "active")))]
    lifecycle: &'static str,
}

impl<'a> ModelBody<'a> {
    fn new(alias: &'a str, owner: &'a str) -> Self {
        let born = UnixSeconds(0);
        Self {
            id: alias,
            object: "model",
            created: born.0,
            owned_by: owner,
            r#type: "model",
            display_name: alias,
            created_at: born.to_string(),
            lifecycle: "active",
        }
    }
}

/// The models that clients may choose from; the first is the default.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ModelList"))]
pub(super) struct ModelsBody<'a> {
    #[cfg_attr(test, schemars(extend("const" = "list")))]
    object: &'static str,
    /// All of them.
    data: Vec<ModelBody<'a>>,
    /// Always false.
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}
