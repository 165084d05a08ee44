//! Service state in the opaque texts of APIs without unknown members: the signature of a thinking
//! block, or the encrypted content of reasoning.
//!
//! ```text
//! holdall:<mark of the service>:<blob, base64url>
//! ```
//! Only a client that may bring the reply back as its own history is shown such a text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::proto::{
    base64url,
    chat::{Item, Members, Owner, ServiceState, claimed_provider, is_of_provider, owner_mark, state_blob},
};

/// State that an API shows.
pub(super) struct CarriedState<'a> {
    provider_id: &'a str,
    blob: &'a str,
    state: ServiceState<'a>,
}

impl<'a> CarriedState<'a> {
    /// The state in a reasoning item. `None` for an item of another form.
    pub(super) fn of_item(provider_id: &'a str, blob: &'a str) -> Option<Self> {
        let state = is_of_provider(provider_id, PROVIDER).then(|| ServiceState::from_blob(blob))??;
        Some(Self { provider_id, blob, state })
    }

    /// The opaque text.
    pub(super) fn text(&self) -> String {
        opaque_text(self.provider_id, self.blob)
    }

    /// The text of the reasoning, and the opaque text without it. `None` if the state has anything
    /// else.
    pub(super) fn reasoning(&self) -> Option<(Cow<'a, str>, String)> {
        let [(name, value)] = self.state.members.0.as_slice() else { return None };
        let is_text = self.state.owner == Owner::Message && value.get().starts_with('"');
        let Text(text) = is_text.then(|| serde_json::from_str(value.get()).ok())??;
        let blob = state_blob(Owner::Message, &Members(vec![(name.clone(), "")]));
        Some((text, opaque_text(self.provider_id, &blob)))
    }
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn opaque_text(provider_id: &str, blob: &str) -> String {
    format!("{PREFIX}{}:{}", owner_mark(provider_id), base64url::encode(blob.as_bytes()))
}

/// The item for an opaque text, which is raw JSON. `reasoning` is the text that was shown apart.
/// `None` for any other text.
pub(super) fn state_item(text: &RawValue, reasoning: Option<&RawValue>) -> Option<Item> {
    let Text(text) = serde_json::from_str(text.get()).ok()?;
    let (mark, blob) = text.strip_prefix(PREFIX)?.split_once(':')?;
    let blob = String::from_utf8(base64url::decode(blob.as_bytes()).ok()?).ok()?;
    let mut state = ServiceState::from_blob(&blob)?;
    if let ([(_, value)], Some(reasoning)) = (state.members.0.as_mut_slice(), reasoning)
        && value.get() == "\"\""
    {
        *value = reasoning;
    }
    let provider_id = claimed_provider(PROVIDER, Some(mark));
    Some(Item::Think { provider_id, blob: state_blob(state.owner, &state.members) })
}

/// The provider format whose state has members.
const PROVIDER: &str = "openai";

/// The start of an opaque text of Holdall. No service is known to write it.
const PREFIX: &str = "holdall:";

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    fn quoted(text: &str) -> Box<RawValue> {
        raw(&serde_json::to_string(text).unwrap())
    }

    #[test]
    fn opaque_texts_are_read_back() {
        let provider_id = claimed_provider(PROVIDER, Some(&owner_mark("openai@a.test")));
        for blob in [
            r#"{"for":"call","id":"c","members":{"extra_content":{ "a": 1.50 }}}"#,
            r#"{"for":"call","id":"functions.look:0","members":{}}"#,
            r#"{"for":"message","members":{"reasoning_content":"I \"see\""}}"#,
        ] {
            let state = CarriedState::of_item("openai@a.test", blob).unwrap();
            let item = Item::Think { provider_id: provider_id.clone(), blob: blob.to_owned() };
            assert_eq!(state_item(&quoted(&state.text()), None).unwrap(), item);
        }
    }

    #[test]
    fn the_text_of_reasoning_can_be_shown_apart() {
        let blob = r#"{"for":"message","members":{"reasoning_content":"I see"}}"#;
        let (text, opaque) = CarriedState::of_item("openai", blob).unwrap().reasoning().unwrap();
        assert_eq!(text, "I see");
        let Some(Item::Think { blob: read, .. }) = state_item(&quoted(&opaque), Some(&raw("\"I see\""))) else {
            panic!()
        };
        assert_eq!(read, blob);
        for other in [
            r#"{"for":"message","members":{"reasoning_content":"I see","n":1}}"#,
            r#"{"for":"message","members":{"reasoning_details":[]}}"#,
            r#"{"for":"call","id":"c","members":{"thought_signature":"AbC"}}"#,
        ] {
            assert!(CarriedState::of_item("openai", other).unwrap().reasoning().is_none(), "{other}");
        }
    }

    #[test]
    fn other_texts_are_not_state() {
        for text in ["", "EqQB", "holdall:", "holdall:0123456789abcdef:", "holdall:0123456789abcdef:e30", "holdall::?"]
        {
            assert!(state_item(&quoted(text), None).is_none(), "{text}");
        }
        assert!(state_item(&raw("7"), None).is_none());
        assert!(CarriedState::of_item("anthropic", r#"{"for":"message","members":{}}"#).is_none());
    }
}
