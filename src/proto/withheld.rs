//! What `Debug` shows in place of tokens and text: their size alone (design §2, promise 8).

use std::fmt;

/// Stands for this many bytes that nobody who reads a log may see.
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

/// Stands for text that may be absent.
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
    fn no_text_and_no_token_shows_in_debug() {
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
