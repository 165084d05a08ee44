//! What the API's description says of this door.

use serde_json::json;

use crate::proto::dialect::door::described::{Described, Schemas};

pub(super) fn messages(_: &mut Schemas) -> Described {
    let open = json!({ "type": "object" });
    Described {
        id: "createMessage",
        summary: "Messages",
        description: String::new(),
        request: open.clone(),
        answer: open.clone(),
        event: None,
        error: Some(open),
    }
}

pub(super) fn count(_: &mut Schemas) -> Described {
    let open = json!({ "type": "object" });
    Described {
        id: "countMessageTokens",
        summary: "Count",
        description: String::new(),
        request: open.clone(),
        answer: open.clone(),
        event: None,
        error: Some(open),
    }
}
