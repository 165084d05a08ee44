//! `Debug` output for tokens and texts: shows only their size.

use std::fmt;

/// The number of bytes in a text that logs must not show.
pub(crate) struct Withheld(usize);

impl Withheld {
    pub(crate) fn text(text: &str) -> Self {
        Self(text.len())
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

/// The same for text that can be absent.
pub(crate) fn optional(text: Option<&str>) -> Option<Withheld> {
    text.map(Withheld::text)
}

#[cfg(test)]
mod tests {
    use crate::proto::{
        chat::{History, Item, Output, Part, Role},
        exchange::Failure,
        sse,
        turn::{Delta, Partial, TurnRequest},
    };

    #[test]
    fn debug_output_has_no_text_and_no_token() {
        let said = || "diary".to_owned();
        let items = vec![
            Item::Message { role: Role::User, parts: vec![Part::Text(said()), Part::Image(said())], cut: false },
            Item::Call { id: "c".to_owned(), name: "n".to_owned(), args: said() },
            Item::Result { id: "c".to_owned(), out: Output::Text(said()), error: false },
            Item::Result { id: "c".to_owned(), out: Output::Parts(vec![Part::Text(said())]), error: false },
            Item::Think { provider_id: "p".to_owned(), blob: said() },
        ];
        let history: History = items.iter().cloned().collect();
        let partial = Partial { reply: said(), token: said() };
        let failure = Failure { partial: Some(partial), ..crate::Error::UpstreamCut.into() };
        let event = sse::Event { name: String::new(), data: said() };
        let call = Delta::Call { id: "c".to_owned(), name: "n".to_owned(), args: said() };
        let request = TurnRequest { token: Some(said()), input: items, ..TurnRequest::default() };
        for shown in [
            format!("{history:?}"),
            format!("{failure:?}"),
            format!("{event:?}"),
            format!("{call:?} {:?}", Delta::Text(said())),
            format!("{request:#?}"),
        ] {
            assert!(!shown.contains("diary") && shown.contains("<5 bytes>"), "{shown}");
        }
    }
}
