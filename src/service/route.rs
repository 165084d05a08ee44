//! Where a request goes: probes, lists, doors; and what each is checked for before its body is read.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Response, StatusCode, header, request};
use serde::Serialize;

use super::{
    Clock as _, Host, Incoming, Sender, Service, TimeLeft,
    body::{Body, check_json, read_body, utf8},
    caller, json_bytes, json_response, openapi,
    pages::{self, Page},
    record::Record,
};
use crate::proto::exchange;
use crate::{
    guard::{GuardPurpose, Permit as _, TurnEnd},
    principal::is_loopback_host,
    proto::{
        api::{APIS, Api, Operation, native},
        error::Error,
    },
};

impl<H: Host> Service<H> {
    /// Answers a request, or says why not.
    pub(super) async fn route<B>(
        self: &Arc<Self>,
        head: &request::Parts,
        body: Pin<&mut B>,
        request_id: &str,
        record: Record,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let path = head.uri.path();
        let page = Page::at(path);
        // Probes come by address, whatever the name.
        if let Some((page @ (Page::Health | Page::Ready), _)) = page {
            page.check_method(head)?;
            return Ok(if page == Page::Health { status("ok") } else { self.ready() });
        }
        self.check_host(head)?;
        if head.method == Method::OPTIONS
            && let Some(preflight) = self.settings.cors_origins.preflight(head)
        {
            return Ok(preflight);
        }
        if let Some((page, name)) = page {
            page.check_method(head)?;
            return match page {
                Page::Health => Ok(status("ok")),
                Page::History => self.history(head, body, record).await,
                Page::Model => self.model(head, name).await,
                Page::Models => self.models(head).await,
                Page::OpenApi => Ok(openapi::answer(head)),
                Page::Ready => Ok(self.ready()),
                Page::Revocations => self.revoke(head, body, record).await,
                Page::Usage => self.usage(head).await,
            };
        }
        match api_of(path) {
            Some(api) if api.path() == path => self.pass(api, head, body, request_id, record).await,
            // What formats keep at their paths is read and deleted by id; anything else there is unknown to us.
            api => Err(match (api.and_then(|api| api.subpath_hint()), &head.method) {
                (Some(hint), &Method::DELETE | &Method::GET) => Error::Unsupported { detail: hint.to_owned() },
                (hint, _) => Error::NotFound { hint: hint.unwrap_or(HINT) },
            }),
        }
    }

    /// Answers a request at a door. Its place is kept until the answer is taken.
    async fn pass<B>(
        self: &Arc<Self>,
        api: &'static dyn Api,
        head: &request::Parts,
        body: Pin<&mut B>,
        request_id: &str,
        record: Record,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let ends = head.extensions.get().map(|TimeLeft(left)| self.host.clock().elapsed().saturating_add(*left));
        let sender = self.post(head).await?;
        let slot = self.slots.take(sender.network())?;
        let body = self.read(head, body).await?;
        let incoming = Incoming { sender, body, ends, request_id: request_id.to_owned(), record: record.clone() };
        let response = match api.operation() {
            Operation::CountTokens => self.count(api, incoming).await?,
            Operation::Turn => Arc::clone(self).turn(api, incoming).await?,
        };
        record.keep(slot);
        Ok(response)
    }

    /// What every `POST` is checked for before its body is read.
    pub(super) async fn post(&self, head: &request::Parts) -> Result<Sender, Error> {
        pages::check_method(head, pages::POST)?;
        let sender = self.authenticate(head).await?;
        check_json(head)?;
        Ok(sender)
    }

    /// Reads a body within its bounds of size and time.
    pub(super) async fn read<B>(&self, head: &request::Parts, body: Pin<&mut B>) -> Result<Bytes, Error>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let limit = self.settings.timeouts.body;
        let limit_bytes = self.deployment().limits.body_bytes;
        let reading = Box::pin(read_body(head, body, limit_bytes));
        futures_util::select_biased! {
            body = reading.fuse() => body,
            () = self.host.clock().sleep(limit).fuse() => Err(Error::RequestTimeout { limit }),
        }
    }

    fn check_host(&self, head: &request::Parts) -> Result<(), Error> {
        // What stands in front may have gone by the other one (RFC 9112 §3.2).
        if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Error::invalid("The request has more than one `Host` header. Send one."));
        }
        if !self.settings.loopback_host_only {
            return Ok(());
        }
        // HTTP/2 carries the host in the URI's authority.
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        match authority.or(host) {
            Some(host) if names_loopback(host) => Ok(()),
            _ => Err(Error::invalid(
                "Without an identity rule, this server answers only requests for a loopback name. Use `localhost` as the \
                host.",
            )),
        }
    }

    fn ready(&self) -> Response<Body> {
        let (status, text) = if self.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !self.access().authenticator.is_ready() {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the identity issuer's keys")
        } else {
            (StatusCode::OK, "ready")
        };
        let mut response = self::status(text);
        *response.status_mut() = status;
        response
    }

    async fn history<B>(
        &self,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let sender = self.post(head).await?;
        let slot = self.slots.take(sender.network())?;
        let body = self.read(head, body).await?;
        let (token, user_id) = native::history_request(utf8(&body)?)?;
        let peer = sender.peer;
        let caller = caller(sender.identity, user_id, None);
        let deployment = self.deployment();
        let (items, conversation, presented) = self
            .with_codec(|codec| exchange::read_history(&deployment, &token, &caller, self.host.clock().now(), codec))?;
        let permit = self.admit(GuardPurpose::Read, peer, &conversation.claims, Some(presented)).await?;
        permit.settle(TurnEnd::Failed).await;
        record.keep(slot);
        Ok(json_bytes(native::history_answer(&items, &conversation)))
    }

    async fn revoke<B>(&self, head: &request::Parts, body: Pin<&mut B>, record: Record) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
    {
        let revoker = self.revoker(head).await?;
        check_json(head)?;
        let slot = self.slots.take(revoker.network())?;
        let response = self.revocations(revoker, &self.read(head, body).await?, &record).await?;
        record.keep(slot);
        Ok(response)
    }
}

/// The door at a path, or the one that the path lies below.
pub(super) fn api_of(path: &str) -> Option<&'static dyn Api> {
    let below = |api: &&dyn Api| path.strip_prefix(api.path()).is_some_and(|rest| rest.starts_with('/'));
    APIS.iter().copied().find(|api| api.path() == path).or_else(|| APIS.iter().copied().find(below))
}

/// Where to go from a path that is none.
pub(super) const HINT: &str = "Send turns with POST to /v1/turns, /v1/responses, /v1/chat/completions or /v1/messages. \
    The base URL of an OpenAI SDK ends in /v1; that of an Anthropic SDK does not.";

/// How a probe is answered.
#[derive(Serialize)]
pub(super) struct StatusBody {
    /// `ok`, `ready`, or why no requests should be sent here.
    pub(super) status: &'static str,
}

fn status(status: &'static str) -> Response<Body> {
    json_response(&StatusBody { status })
}

/// True if an authority names this machine, at any port.
fn names_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    is_loopback_host(host) || host.to_ascii_lowercase().ends_with(".localhost")
}
