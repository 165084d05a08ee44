//! The routing of a request to an API or a page, and the checks that come before it.

use std::{pin::Pin, sync::Arc};

use http::{Method, Response, header, request};

use super::{
    api_request::ApiRequest,
    body::{Body, RequestBody},
    host::{Clock as _, Host, TimeLeft},
    openapi,
    pages::{HINT, Page, api_of},
    probes::health,
    record::Record,
    state::Service,
};
use crate::{
    principal::is_loopback_authority,
    proto::{
        api::{Api, Operation},
        error::Error,
    },
};

impl<H: Host> Service<H> {
    /// Responds to a request.
    pub(super) async fn route<B: RequestBody>(
        self: &Arc<Self>,
        head: &request::Parts,
        body: Pin<&mut B>,
        request_id: &str,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        check_transfer_coding(head)?;
        let path = head.uri.path();
        let page = Page::at(path);
        // Probes use the instance's address, so their Host header is not checked.
        if let Some((page @ (Page::Health | Page::Ready), _)) = page {
            page.check_method(head)?;
            return Ok(if page == Page::Health { health() } else { self.ready() });
        }
        self.check_host(head)?;
        if head.method == Method::OPTIONS
            && let Some(preflight) = self.settings.cors_origins.preflight(head)
        {
            return Ok(preflight);
        }
        if let Some((page, name)) = page {
            return self.page(page, name, head, body, record).await;
        }
        match api_of(path) {
            Some(api) if api.path() == path && asks_for_websocket(head) => Err(Error::WebsocketUnsupported),
            Some(api) if api.path() == path => self.api(api, head, body, request_id, record).await,
            api => Err(not_found(api, &head.method)),
        }
    }

    /// Responds to a request at a page. `name` is the name in its path.
    async fn page<B: RequestBody>(
        self: &Arc<Self>,
        page: Page,
        name: &str,
        head: &request::Parts,
        body: Pin<&mut B>,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        page.check_method(head)?;
        match page {
            Page::Health => Ok(health()),
            Page::History => self.history(head, body, record).await,
            Page::Model => self.model(head, name).await,
            Page::Models => self.models(head).await,
            Page::OpenApi => Ok(openapi::answer(head)),
            Page::Ready => Ok(self.ready()),
            Page::Revocations => self.revocations(head, body, record).await,
            Page::Usage => self.usage(head).await,
        }
    }

    /// Responds to a request at an API. The request keeps its slot until the client has read the
    /// response.
    async fn api<B: RequestBody>(
        self: &Arc<Self>,
        api: &'static dyn Api,
        head: &request::Parts,
        body: Pin<&mut B>,
        request_id: &str,
        record: Record,
    ) -> Result<Response<Body>, Error> {
        let now = self.host.clock().elapsed();
        let deadline = head.extensions.get().map(|TimeLeft(left)| now.saturating_add(*left));
        let sender = self.check_post(head).await?;
        let slot = self.slots.take(sender.network())?;
        let body = self.read_body(head, body).await?;
        let request = ApiRequest { sender, body, deadline, request_id: request_id.to_owned(), record: record.clone() };
        let response = match api.operation() {
            Operation::CountTokens => Arc::clone(self).count(api, request).await?,
            Operation::Turn => Arc::clone(self).turn(api, request).await?,
        };
        record.keep(slot);
        Ok(response)
    }

    /// Checks the host that the request names. Without an identity rule it must be a name of this
    /// machine: a web page under another name that leads here (DNS rebinding) could otherwise use
    /// the server.
    fn check_host(&self, head: &request::Parts) -> Result<(), Error> {
        // A proxy in front may have used the other one (RFC 9112 §3.2).
        if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Error::invalid("The request has more than one `Host` header. Send one."));
        }
        if !self.settings.loopback_host_only {
            return Ok(());
        }
        // HTTP/2 carries the host in the URI's authority. A request may have both.
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = head.headers.get(header::HOST).map(http::HeaderValue::as_bytes);
        let mut hosts = authority.into_iter().chain(host).peekable();
        if hosts.peek().is_some() && hosts.all(is_loopback_authority) {
            return Ok(());
        }
        Err(Error::invalid(
            "Without an identity rule, this server answers only requests for a loopback name. Use `localhost` as the \
             host.",
        ))
    }
}

/// Refuses a body with a transfer coding other than `chunked` (RFC 9112 §6.1): it would be read as
/// if it had none. A request whose last coding is not `chunked` has a body of unknown length, and
/// gets status 400 before it comes here.
fn check_transfer_coding(head: &request::Parts) -> Result<(), Error> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Error::NotImplemented),
    }
}

/// The error at a path without a resource. `api` is the API above it, below which clients read and
/// delete stored objects by id; other paths below it are unknown.
fn not_found(api: Option<&dyn Api>, method: &Method) -> Error {
    match (api.and_then(|api| api.subpath_hint()), method) {
        (Some(hint), &Method::DELETE | &Method::GET) => Error::Unsupported { detail: hint.to_owned() },
        (hint, _) => Error::NotFound { hint: hint.unwrap_or(HINT) },
    }
}

/// True for the opening handshake of a WebSocket (RFC 6455 §4.1).
fn asks_for_websocket(head: &request::Parts) -> bool {
    let protocols = head.headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    head.method == Method::GET
        && protocols.flat_map(|list| list.split(',')).any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}
