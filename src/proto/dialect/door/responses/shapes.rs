//! What the API's description says of this door.

use serde_json::json;

use crate::proto::dialect::door::described::{Described, Schemas};

pub(super) fn responses(_: &mut Schemas) -> Described {
    let open = json!({ "type": "object" });
    Described {
        id: "createResponse",
        summary: "Responses",
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
        id: "countResponseTokens",
        summary: "Count",
        description: String::new(),
        request: open.clone(),
        answer: open.clone(),
        event: None,
        error: Some(open),
    }
}
