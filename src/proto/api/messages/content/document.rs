//! Documents and search results. They become text where they have text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MessagePosition, RawBlock, RawContent, RawDocument, blocks, image};
use crate::proto::{
    api::{body, ignored::Ignored},
    chat::Part,
    error::Error,
    json::Object,
};

/// The content of a document with its title and context. `None` for a document that is not text,
/// such as a PDF file.
///
/// # Errors
/// [`Error::RequestInvalid`] and [`Error::Unsupported`], with the position.
pub(super) fn document(
    position: MessagePosition,
    raw: &RawDocument<'_>,
    ignored: &mut Ignored,
) -> Result<Option<Vec<Part>>, Error> {
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }

    let path = format!("{position}.source");
    let source = raw.source.ok_or_else(|| missing(&path))?;
    let Object(Source { r#type, data, content }) = body::parse_member(&path, source)?;
    let path = |name: &str| format!("{path}.{name}");
    let content = match &*r#type {
        "text" => {
            let path = path("data");
            vec![Part::Text(body::parse_member(&path, data.ok_or_else(|| missing(&path))?)?)]
        }
        "content" => {
            let path = path("content");
            texts_and_images(position, &path, content.ok_or_else(|| missing(&path))?)?
        }
        _ => return Ok(None),
    };
    let heading = heading(position, [("title", raw.title), ("context", raw.context)])?;
    leave_out_citations(raw, ignored);
    let mut parts: Vec<_> = heading.into_iter().chain(content).collect();
    // A message has at least one part, even if its text is empty.
    if parts.is_empty() {
        parts.push(Part::Text(String::new()));
    }
    Ok(Some(parts))
}

/// The error for a document of a user that is not text.
pub(super) fn not_text(position: MessagePosition) -> Error {
    body::unsupported(format!(
        "`{position}` is a document that is not text, such as a PDF file, which is not supported. Send its text, or images \
        of its pages."
    ))
}

/// The text of a search result, with its title and source.
///
/// # Errors
/// As [`document`].
pub(super) fn search_result(
    position: MessagePosition,
    raw: &RawDocument<'_>,
    ignored: &mut Ignored,
) -> Result<Part, Error> {
    let path = format!("{position}.content");
    let content = texts_and_images(position, &path, raw.content.ok_or_else(|| missing(&path))?)?;
    let heading = heading(position, [("title", raw.title), ("source", raw.source)])?;
    let texts: Vec<_> = heading
        .into_iter()
        .chain(content)
        .map(|part| match part {
            Part::Image(_) => {
                Err(Error::invalid(format!("`{path}` has an image, but a search result can only have text.")))
            }
            Part::Text(text) => Ok(text),
        })
        .collect::<Result<_, _>>()?;
    leave_out_citations(raw, ignored);
    Ok(Part::Text(texts.concat()))
}

fn texts_and_images(position: MessagePosition, path: &str, content: &RawValue) -> Result<Vec<Part>, Error> {
    let part = |raw| match raw {
        RawBlock::Image { source } => image(position, source),
        RawBlock::Text(text) => Ok(Part::Text(text)),
        other => Err(other.not_allowed(position, "a document")),
    };
    blocks(body::parse_member::<RawContent<'_>>(path, content)?).map(part).collect()
}

/// The members of this API that describe a document, one a line.
fn heading(position: MessagePosition, members: [(&str, Option<&RawValue>); 2]) -> Result<Option<Part>, Error> {
    let mut heading = String::new();
    for (name, member) in members {
        let Some(member) = member else { continue };
        let text: Cow<'_, str> = body::parse_member(format_args!("{position}.{name}"), member)?;
        if !text.is_empty() {
            heading.push_str(&text);
            heading.push('\n');
        }
    }
    Ok((!heading.is_empty()).then_some(Part::Text(heading)))
}

/// Names citations, which only a model service can make.
fn leave_out_citations(raw: &RawDocument<'_>, ignored: &mut Ignored) {
    if raw.citations.is_some_and(|citations| !body::has_no_effect(citations)) {
        ignored.add("citations");
    }
}

fn missing(path: &str) -> Error {
    Error::invalid(format!("`{path}` is missing. Add it."))
}
