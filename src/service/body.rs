//! Request bodies, read within limits, and the body type of responses.

use std::{convert::Infallible, pin::Pin};

use bytes::{Bytes, BytesMut};
use http::{header, request};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

use crate::proto::error::Error;

/// The body of a response. Dropping it ends the turn that produces it.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The body of a request.
pub(super) trait RequestBody: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static {}

impl<B> RequestBody for B where B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static {}

/// A body of known length.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Rejects a body that is not uncompressed JSON. An HTML form cannot send this content type, so a
/// form on another site cannot send a turn.
pub(super) fn check_json(head: &request::Parts) -> Result<(), Error> {
    let encodings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.into_iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::UnsupportedMediaType {
            detail: "The body is compressed. Send it without `Content-Encoding`.".to_owned(),
        });
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Error::UnsupportedMediaType {
            detail: "The body must be JSON. Send it with `Content-Type: application/json`.".to_owned(),
        })
    }
}

/// Reads a body of at most `limit_bytes`. A body that announces more is rejected unread.
pub(super) async fn read_body<B: RequestBody>(
    head: &request::Parts,
    mut body: Pin<&mut B>,
    limit_bytes: usize,
) -> Result<Bytes, Error> {
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit_bytes as u64) {
        return Err(Error::BodyTooLarge { limit_bytes });
    }
    // A buffer that grows can take twice the memory of its content.
    let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(announced.min(limit_bytes));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::invalid(format!("The request body ended early: {error}.")))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit_bytes.saturating_sub(bytes.len()) {
            return Err(Error::BodyTooLarge { limit_bytes });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Reads the rest of a rejected body and drops it, at most 8 MiB.
pub(super) async fn discard<B: RequestBody>(mut body: Pin<Box<B>>) {
    let mut bytes = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARD_BYTES {
            break;
        }
    }
}

/// Twice the default limit of a body.
const DISCARD_BYTES: usize = 8 << 20;

/// The text of a JSON body, which is UTF-8 (RFC 8259 §8.1). A byte order mark stays for the parser,
/// which refuses it.
pub(super) fn utf8(body: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(body).map_err(|error| {
        if matches!(body, [0xfe, 0xff, ..] | [0xff, 0xfe, ..]) {
            return Error::invalid("The request body is UTF-16. Send JSON in UTF-8, without a byte order mark.");
        }
        Error::invalid(format!("The request body is not UTF-8 at byte {}. Send JSON in UTF-8.", error.valid_up_to()))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt as _, stream};
    use http::Request;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn an_announced_body_takes_no_more_memory_than_its_length() {
        let pieces = || stream::iter((0..300).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a")))));
        for (announced, room) in [("300", 300..=300), ("290", 300..=600), ("none", 300..=600)] {
            let (head, ()) = Request::builder().header("content-length", announced).body(()).unwrap().into_parts();
            let body = pin!(StreamBody::new(pieces()));
            let bytes = read_body(&head, body, 1_000).now_or_never().unwrap().unwrap();
            assert_eq!(bytes.len(), 300);
            assert!(room.contains(&bytes.try_into_mut().unwrap().capacity()), "{announced}");
        }
    }
}
