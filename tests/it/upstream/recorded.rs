//! Recorded replies of providers.

/// A recorded reply.
pub(super) struct Recorded {
    /// The kind of its upstream, as in configuration.
    pub(super) kind: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: &'static str,
}

impl Recorded {
    /// The complete response, with each event or line as a chunk.
    pub(super) fn chunked(&self) -> String {
        let chunks = self.body.split_inclusive("\n\n").map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        format!("{}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", self.head(), chunks.collect::<String>())
    }

    /// The complete response, with a `Content-Length`.
    pub(super) fn sized(&self) -> String {
        format!("{}content-length: {}\r\n\r\n{}", self.head(), self.body.len(), self.body)
    }

    /// The complete response, ended by the end of the connection.
    pub(super) fn open_ended(&self) -> String {
        format!("{}connection: close\r\n\r\n{}", self.head(), self.body)
    }

    pub(super) fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }

    fn head(&self) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\n", self.content_type)
    }
}

/// The text of all recorded replies.
pub(super) const TEXT: &str = "Grüß dich, 世界! 👋\nLet me add.";
pub(super) const ARGS: &str = r#"{"a": 1, "b": [2]}"#;

pub(super) const ALL: [Recorded; 6] = [
    Recorded {
        kind: "openai",
        content_type: "text/event-stream; charset=utf-8",
        body: r#"data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"Grüß dich, "},"finish_reason":null}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"世界! \ud83d\udc4b\n"},"finish_reason":null}]}

: keep-alive

data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"Let me add."},"finish_reason":null}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}]}}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\": 1, "}}]}}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"b\": [2]}"}}]}}]}

data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":22,"prompt_tokens_details":{"cached_tokens":5}}}

data: [DONE]

"#,
    },
    Recorded {
        kind: "openai",
        content_type: "application/json",
        body: r#"{"id":"c-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Grüß dich, 世界! \ud83d\udc4b\nLet me add.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\": 1, \"b\": [2]}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":11,"completion_tokens":22,"prompt_tokens_details":{"cached_tokens":5}}}
"#,
    },
    Recorded {
        kind: "anthropic",
        content_type: "text/event-stream",
        body: r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"usage":{"input_tokens":6,"cache_read_input_tokens":5,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüß dich, 世界"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"! \ud83d\udc4b\nLet me add."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1","name":"add","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\": 1, "}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"b\": [2]}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":22}}

event: message_stop
data: {"type":"message_stop"}

"#,
    },
    Recorded {
        kind: "anthropic",
        content_type: "application/json",
        body: r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Grüß dich, 世界! \ud83d\udc4b\nLet me add."},{"type":"tool_use","id":"call_1","name":"add","input":{"a": 1, "b": [2]}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":6,"cache_read_input_tokens":5,"output_tokens":22}}"#,
    },
    Recorded {
        kind: "openai-responses",
        content_type: "text/event-stream; charset=utf-8",
        body: r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[],"error":null,"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Grüß dich, 世界","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"! \ud83d\udc4b\nLet me add.","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Grüß dich, 世界! \ud83d\udc4b\nLet me add.","logprobs":[]}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":6,"output_index":0,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"text":"Grüß dich, 世界! \ud83d\udc4b\nLet me add."}],"role":"assistant"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":7,"output_index":1,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"add"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":8,"item_id":"fc_1","output_index":1,"delta":"{\"a\": 1, "}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":9,"item_id":"fc_1","output_index":1,"delta":"\"b\": [2]}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":10,"output_index":1,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"a\": 1, \"b\": [2]}","call_id":"call_1","name":"add"}}

event: response.completed
data: {"type":"response.completed","sequence_number":11,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"output":[],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":5},"output_tokens":22,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":33}}}

"#,
    },
    Recorded {
        kind: "openai-responses",
        content_type: "application/json",
        body: r#"{"id":"resp_1","object":"response","status":"completed","model":"m","error":null,"incomplete_details":null,"output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":"Grüß dich, 世界! \ud83d\udc4b\nLet me add."}]},{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"a\": 1, \"b\": [2]}","call_id":"call_1","name":"add"}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":5},"output_tokens":22,"total_tokens":33}}"#,
    },
];
