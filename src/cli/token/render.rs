//! A conversation for people: item by item for a screen, or whole as Markdown.

use std::fmt::Write as _;

use crate::{
    cli::console::Console,
    proto::{
        chat::{Item, Output, Part, Role},
        token::Claims,
    },
};

/// One item: who, and what; lines after the first are indented.
pub(in crate::cli) fn item(item: &Item, console: Console) -> String {
    let (who, what) = match item {
        Item::Call { id, name, args } => (format!("call {}", one_line(id)), format!("{name}({args})")),
        Item::Message { role, parts, cut } => {
            (speaker(*role).to_owned(), format!("{}{}", text(parts), if *cut { " [cut]" } else { "" }))
        }
        Item::Result { id, out, error } => {
            (format!("result {}", one_line(id)), format!("{}{}", if *error { "[failed] " } else { "" }, output(out)))
        }
        Item::Think { provider_id, .. } => ("thinking".to_owned(), format!("[for {provider_id} alone]")),
    };
    let what = what.trim_end().replace('\n', "\n  ");
    format!("{} {}\n", console.bold(&console.show(&format!("{who}:"))), console.show(&what))
}

/// A document with a heading for each item.
pub(super) fn markdown(claims: &Claims, items: &[Item]) -> String {
    let mut out = format!("# Conversation {}\n\n", claims.conversation);
    for (name, value) in [
        ("User", claims.principal.subject().to_owned()),
        ("Model", claims.model.clone()),
        ("Turns", claims.turn.to_string()),
        ("Began", claims.born_at.to_string()),
        ("Last turn", claims.issued_at.to_string()),
    ] {
        // A String takes all that is written.
        let _ = writeln!(out, "- {name}: {value}");
    }
    for item in items {
        let (heading, body) = match item {
            Item::Call { id, name, args } => (format!("Tool call: {name} ({})", one_line(id)), fenced("json", args)),
            Item::Message { role, parts, cut } => {
                let note = if *cut { " (cut)" } else { "" };
                (format!("{}{note}", if *role == Role::User { "User" } else { "Assistant" }), pictured(parts))
            }
            Item::Result { id, out, error } => {
                let note = if *error { ", failed" } else { "" };
                (format!("Tool result ({}{note})", one_line(id)), fenced("", &output(out)))
            }
            Item::Think { provider_id, .. } => {
                (format!("Thinking ({provider_id})"), "_Only for that provider._".to_owned())
            }
        };
        let _ = write!(out, "\n## {heading}\n\n{}\n", body.trim_end());
    }
    out
}

fn speaker(role: Role) -> &'static str {
    match role {
        Role::Assistant => "assistant",
        Role::User => "user",
    }
}

fn text(parts: &[Part]) -> String {
    let show = |part: &Part| match part {
        Part::Image(url) if url.starts_with("data:") => format!("[image, {} bytes of text]", url.len()),
        Part::Image(url) => format!("[image {url}]"),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(show).collect::<Vec<_>>().join("\n")
}

fn pictured(parts: &[Part]) -> String {
    let show = |part: &Part| match part {
        Part::Image(url) => format!("![image]({url})"),
        Part::Text(text) => text.clone(),
    };
    parts.iter().map(show).collect::<Vec<_>>().join("\n\n")
}

fn output(out: &Output) -> String {
    match out {
        Output::Parts(parts) => text(parts),
        Output::Text(text) => text.clone(),
    }
}

/// A code block whose fence is longer than any inside (CommonMark §4.5).
fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.saturating_add(1).max(3));
    format!("{fence}{language}\n{}\n{fence}", code.trim_end_matches('\n'))
}

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
    fn a_screen_shows_who_said_what() {
        let shown: String = items().iter().map(|one| item(one, Console::plain())).collect();
        let whole =
            "user: add\n  1 and 2\ncall c1: add({\"a\":1})\nresult c1: [failed] a ``` b\nassistant: it is [cut]\n";
        assert_eq!(shown, whole);
    }

    #[test]
    fn markdown_keeps_fences_apart() {
        let claims = crate::proto::token::testing::claims(&crate::proto::token::TokenPolicy::default());
        let document = markdown(&claims, &items());
        let body = document.split_once("\n\n## ").unwrap().1;
        assert_eq!(
            body,
            "User\n\nadd\n1 and 2\n\n## Tool call: add (c1)\n\n```json\n{\"a\":1}\n```\n\n\
             ## Tool result (c1, failed)\n\n````\na ``` b\n````\n\n## Assistant (cut)\n\nit is\n"
        );
    }
}
