//! What the API's description says of this door.

use serde_json::json;

use crate::proto::dialect::door::described::{Described, Schemas};

pub(super) fn chat(_: &mut Schemas) -> Described {
    let open = json!({ "type": "object" });
    Described {
        id: "createChatCompletion",
        summary: "Chat Completions",
        description: String::new(),
        request: open.clone(),
        answer: open.clone(),
        event: None,
        error: Some(open),
    }
}
