//! The models that clients may choose: `GET /v1/models`, and `GET /v1/models/{model}`.
//!
//! OpenAI's and Anthropic's SDKs both read these, so an entry has the members of both formats. An
//! alias has no creation date. It gets the date that Anthropic's API gives to models with an
//! unknown date: 1970-01-01.

use http::{Response, request};
use serde::Serialize;

use super::{body::Body, host::Host, pages::HINT, response::json_response, state::Service, uri::percent_decoded};
use crate::proto::{error::Error, time::UnixSeconds};

impl<H: Host> Service<H> {
    /// Responds with all models.
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

    /// Responds with one model. `name` may be percent-encoded.
    ///
    /// # Errors
    /// [`Error::ModelUnknown`]; [`Error::NotFound`] for a name that is empty or cannot be decoded.
    pub(super) async fn model(&self, head: &request::Parts, name: &str) -> Result<Response<Body>, Error> {
        self.authenticate(head).await?;
        let name = percent_decoded(name).filter(|name| !name.is_empty()).ok_or(Error::NotFound { hint: HINT })?;
        let deployment = self.deployment();
        let (_, alias) = deployment.models.find(Some(&name))?;
        Ok(json_response(&ModelBody::new(alias, &deployment.policy.issuer)))
    }
}

/// A model that clients may choose, with the members of OpenAI's and of Anthropic's format.
#[derive(Serialize)]
pub(super) struct ModelBody<'a> {
    /// The alias, for the member `model` of requests.
    id: &'a str,
    object: &'static str,
    /// Unix seconds; always 0.
    created: u64,
    /// The name of the deployment.
    owned_by: &'a str,
    r#type: &'static str,
    /// The alias again.
    display_name: &'a str,
    /// Always 1970-01-01T00:00:00Z.
    created_at: String,
    lifecycle: &'static str,
}

impl<'a> ModelBody<'a> {
    pub(super) fn new(alias: &'a str, owner: &'a str) -> Self {
        let created = UnixSeconds(0);
        Self {
            id: alias,
            object: "model",
            created: created.0,
            owned_by: owner,
            r#type: "model",
            display_name: alias,
            created_at: created.to_string(),
            lifecycle: "active",
        }
    }
}

/// The models that clients may choose. The first is the default.
#[derive(Serialize)]
pub(super) struct ModelsBody<'a> {
    pub(super) object: &'static str,
    /// All models.
    pub(super) data: Vec<ModelBody<'a>>,
    /// Always false.
    pub(super) has_more: bool,
    pub(super) first_id: Option<&'a str>,
    pub(super) last_id: Option<&'a str>,
}
