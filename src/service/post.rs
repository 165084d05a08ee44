//! The checks of a POST request, and its body.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request;

use super::{
    body::{RequestBody, check_json, read_body},
    host::{Clock as _, Host},
    identity::Sender,
    pages,
    state::Service,
};
use crate::proto::error::Error;

impl<H: Host> Service<H> {
    /// Checks a POST request before its body is read.
    pub(super) async fn check_post(&self, head: &request::Parts) -> Result<Sender, Error> {
        pages::check_method(head, pages::POST)?;
        let sender = self.authenticate(head).await?;
        check_json(head)?;
        Ok(sender)
    }

    /// Reads a body within its size and time limits.
    pub(super) async fn read_body<B: RequestBody>(
        &self,
        head: &request::Parts,
        body: Pin<&mut B>,
    ) -> Result<Bytes, Error> {
        let limit = self.settings.timeouts.body;
        let limit_bytes = self.deployment().limits.body_bytes;
        let reading = Box::pin(read_body(head, body, limit_bytes));
        futures_util::select_biased! {
            body = reading.fuse() => body,
            () = self.host.clock().sleep(limit).fuse() => Err(Error::RequestTimeout { limit }),
        }
    }
}
