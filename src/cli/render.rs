//! Texts for people: a user, one item of a conversation, or a conversation as Markdown.

use std::fmt::Write as _;

use super::{console::Console, error::CliError};
use crate::proto::{
    chat::{Item, Output, Part, Role},
    principal::{IDP_NONE, Principal},
    token::Claims,
};

/// Prints one item as `SPEAKER: TEXT`. Lines after the first are indented.
///
/// # Errors
/// Those of [`Console::print`].
pub(super) fn print_item(item: &Item, console: Console) -> Result<(), CliError> {
    let (label, text) = labelled(item);
    console.print_labelled(&label, &text)
}

/// The speaker of an item with a colon, and its text.
fn labelled(item: &Item) -> (String, String) {
    let (speaker, text) = match item {
        Item::Call { id, name, args } => (format!("call {}", one_line(id)), format!("{name}({args})")),
        Item::Message { role, parts, cut } => {
            (role_name(*role).to_owned(), format!("{}{}", parts_text(parts), if *cut { " [interrupted]" } else { "" }))
        }
        Item::Result { id, out, error } => (
            format!("result {}", one_line(id)),
            format!("{}{}", if *error { "[failed] " } else { "" }, output_text(out)),
        ),
        Item::Think { provider_id, .. } => ("reasoning".to_owned(), format!("[only {provider_id} can read it]")),
    };
    (format!("{speaker}:"), text.trim_end().replace('\n', "\n  "))
}

/// The conversation as a Markdown document with one heading per item.
pub(super) fn markdown(claims: &Claims, items: &[Item]) -> String {
    let mut document = format!("# Conversation {}\n\n", claims.conversation);
    for (name, value) in [
        ("User", claims.principal.subject().to_owned()),
        ("Model", claims.model.clone()),
        ("Turns", claims.turn.to_string()),
        ("Started", claims.born_at.to_string()),
        ("Last turn", claims.issued_at.to_string()),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(document, "- {name}: {value}");
    }
    for item in items {
        let (heading, body) = markdown_section(item);
        let _ = write!(document, "\n## {heading}\n\n{}\n", body.trim_end());
    }
    document
}

/// A user and the source of the name, such as "`ada` (authenticated by jwt:https://login.example)".
pub(super) fn user(principal: &Principal) -> String {
    let source = match principal.idp() {
        _ if principal.is_anonymous() => "anonymous: anyone with the token".to_owned(),
        IDP_NONE => "not authenticated".to_owned(),
        idp => format!("authenticated by {idp}"),
    };
    format!("`{}` ({source})", principal.subject())
}

/// A number and its noun, in the plural where it needs one: `1 turn`, `2 turns`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The heading and the body of one item.
fn markdown_section(item: &Item) -> (String, String) {
    match item {
        Item::Call { id, name, args } => (format!("Tool call: {name} ({})", one_line(id)), fenced("json", args)),
        Item::Message { role, parts, cut } => {
            let speaker = if *role == Role::User { "User" } else { "Assistant" };
            (format!("{speaker}{}", if *cut { " (interrupted)" } else { "" }), parts_markdown(parts))
        }
        Item::Result { id, out, error } => {
            let failed = if *error { ", failed" } else { "" };
            (format!("Tool result ({}{failed})", one_line(id)), fenced("", &output_text(out)))
        }
        Item::Think { provider_id, .. } => {
            (format!("Reasoning ({provider_id})"), "_Only this provider can read it._".to_owned())
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Assistant => "assistant",
        Role::User => "user",
    }
}

fn parts_text(parts: &[Part]) -> String {
    let show = |part: &Part| match part {
        Part::Image(url) if url.starts_with("data:") => format!("[inline image, URL of {} bytes]", url.len()),
        Part::Image(url) => format!("[image {url}]"),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(show).collect::<Vec<_>>().join("\n")
}

fn parts_markdown(parts: &[Part]) -> String {
    let show = |part: &Part| match part {
        Part::Image(url) => format!("![image]({url})"),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(show).collect::<Vec<_>>().join("\n\n")
}

fn output_text(out: &Output) -> String {
    match out {
        Output::Parts(parts) => parts_text(parts),
        Output::Text(text) => text.clone(),
    }
}

/// A code block with a fence that is longer than any in the code (CommonMark §4.5).
fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.saturating_add(1).max(3));
    format!("{fence}{language}\n{}\n{fence}", code.trim_end_matches('\n'))
}

/// The text with spaces for its control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        vec![
            Item::text(Role::User, "add\n1 and 2"),
            Item::Call { id: "c1".to_owned(), name: "add".to_owned(), args: "{\"a\":1}".to_owned() },
            Item::Result { id: "c1".to_owned(), out: Output::Text("a ``` b\n".to_owned()), error: true },
            Item::Message { role: Role::Assistant, parts: vec![Part::Text("it is".to_owned())], cut: true },
        ]
    }

    #[test]
    fn each_item_begins_with_its_speaker() {
        let line = |item| {
            let (label, text) = labelled(item);
            format!("{label} {text}\n")
        };
        let shown: String = items().iter().map(line).collect();
        let expected = "user: add\n  1 and 2\ncall c1: add({\"a\":1})\nresult c1: [failed] a ``` b\n\
                        assistant: it is [interrupted]\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn markdown_uses_fences_that_fit_the_code() {
        let claims = crate::proto::token::testing::claims(&crate::proto::token::TokenPolicy::default());
        let document = markdown(&claims, &items());
        let body = document.split_once("\n\n## ").unwrap().1;
        assert_eq!(
            body,
            "User\n\nadd\n1 and 2\n\n## Tool call: add (c1)\n\n```json\n{\"a\":1}\n```\n\n\
             ## Tool result (c1, failed)\n\n````\na ``` b\n````\n\n## Assistant (interrupted)\n\nit is\n"
        );
    }

    #[test]
    fn a_user_is_shown_with_the_source_of_the_name() {
        let shown = |subject: &str, idp: &str| user(&Principal::new(subject, idp).unwrap());
        assert_eq!(shown("ada", "none"), "`ada` (not authenticated)");
        assert_eq!(shown("ada", "key"), "`ada` (authenticated by key)");
        assert_eq!(shown("anon-1", "none"), "`anon-1` (anonymous: anyone with the token)");
    }
}
