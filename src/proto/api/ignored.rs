//! The parts of a request that the server leaves out, because the answer means the same without
//! them: tools that a model service runs itself, and similar entries. The response names them.

/// The names of what is left out: for the header `x-holdall-ignored`, and as [kinds](known_kind)
/// for the request's record.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    names: Vec<String>,
    /// The names by which a request can choose the tools that are left out.
    tools: Vec<String>,
}

impl Ignored {
    /// Adds a name: a type of the format, or the name of a member. Each name is kept once, in
    /// characters that a header can have.
    pub(super) fn add(&mut self, name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
        let name: String = name.chars().take(NAME_CHARS).map(|c| if is_plain(c) { c } else { '_' }).collect();
        if !name.is_empty() && self.names.len() < NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Adds a tool of this type. `name` is the name by which `tool_choice` can require it.
    pub(super) fn add_tool(&mut self, kind: &str, name: Option<&str>) {
        self.add(kind);
        let name = name.unwrap_or(kind);
        if self.tools.len() < NAMES && !self.has_tool(name) {
            self.tools.push(name.chars().take(NAME_CHARS).collect());
        }
    }

    /// True if a tool of this name was left out.
    pub(super) fn has_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool == name)
    }

    /// True if no tool was left out.
    pub(super) fn has_no_tools(&self) -> bool {
        self.tools.is_empty()
    }

    /// The names, in the order of the request.
    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }
}

/// The kind that a name means, for the log. Clients choose names, so only known kinds are logged,
/// without the date of their version. Others are `other`.
#[must_use]
pub fn known_kind(name: &str) -> &'static str {
    let is_date = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '_');
    let means = |kind: &&str| {
        name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('_') && is_date(rest))
    };
    KINDS.iter().copied().find(means).unwrap_or("other")
}

/// Types of tools, edits, blocks and items, and members, that the server leaves out.
const KINDS: &[&str] = &[
    "advisor",
    "apply_patch",
    "apply_patch_call",
    "apply_patch_call_output",
    "bash",
    "bash_code_execution_tool_result",
    "citations",
    "clear_thinking",
    "clear_tool_uses",
    "codeExecution",
    "code_execution",
    "code_execution_tool_result",
    "code_interpreter",
    "code_interpreter_call",
    "compact",
    "compaction",
    "compaction_summary",
    "computer",
    "computer_call",
    "computer_call_output",
    "computer_use_preview",
    "container",
    "context_compaction",
    "context_management",
    "document",
    "file_search",
    "file_search_call",
    "googleSearch",
    "google_maps",
    "google_search",
    "image_generation",
    "image_generation_call",
    "input_file",
    "local_shell",
    "local_shell_call",
    "local_shell_call_output",
    "max_output_tokens",
    "mcp",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "mcp_servers",
    "mcp_tool_result",
    "mcp_tool_use",
    "mcp_toolset",
    "memory",
    "message.output_text.logprobs",
    "prediction",
    "reasoning_effort",
    "search_result",
    "server_tool_use",
    "shell",
    "shell_call",
    "shell_call_output",
    "str_replace_based_edit_tool",
    "text_editor",
    "text_editor_code_execution_tool_result",
    "tool_search",
    "tool_search_call",
    "tool_search_tool_bm25",
    "tool_search_tool_regex",
    "tool_search_tool_result",
    "top_k",
    "urlContext",
    "url_context",
    "web_fetch",
    "web_fetch_tool_result",
    "web_search",
    "web_search_call",
    "web_search_preview",
    "web_search_tool_result",
];

/// The most names of one request. With their separators they take at most 1,056 bytes of a header.
const NAMES: usize = 16;
const NAME_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(added: &[&str]) -> Vec<String> {
        let mut ignored = Ignored::default();
        added.iter().for_each(|name| ignored.add(name));
        ignored.into_names()
    }

    #[test]
    fn a_name_is_kept_once_and_fits_a_header() {
        assert_eq!(names(&["web_search", "mcp", "web_search", ""]), ["web_search", "mcp"]);
        assert_eq!(names(&["a b\r\nx-y: é"]), ["a_b__x-y:__"]);
        let long = "x".repeat(65);
        for (length, kept) in [(63, 63), (64, 64), (65, 64)] {
            assert_eq!(names(&[&long[..length]])[0].len(), kept);
        }
    }

    #[test]
    fn names_are_bounded() {
        let many: Vec<_> = (0..17).map(|n| format!("tool{n}")).collect();
        for (count, kept) in [(15, 15), (16, 16), (17, 16)] {
            let added: Vec<_> = many[..count].iter().map(String::as_str).collect();
            assert_eq!(names(&added).len(), kept);
        }
    }

    #[test]
    fn only_known_kinds_are_logged() {
        for (name, kind) in [
            ("web_search", "web_search"),
            ("web_search_20250305", "web_search"),
            ("web_search_preview_2025_03_11", "web_search_preview"),
            ("tool_search_tool_bm25_20251119", "tool_search_tool_bm25"),
            ("tool_search_tool_bm25", "tool_search_tool_bm25"),
            ("message.output_text.logprobs", "message.output_text.logprobs"),
            ("my_password_is_hunter2", "other"),
            ("web_search_for_ada", "other"),
            ("20250305", "other"),
            ("", "other"),
        ] {
            assert_eq!(known_kind(name), kind, "{name}");
        }
    }

    #[test]
    fn a_tool_is_known_by_its_name_or_its_type() {
        let mut ignored = Ignored::default();
        assert!(ignored.has_no_tools());
        ignored.add_tool("web_search_20250305", Some("web_search"));
        ignored.add_tool("mcp", None);
        assert!(ignored.has_tool("web_search") && ignored.has_tool("mcp") && !ignored.has_tool("web_search_20250305"));
        assert_eq!(ignored.into_names(), ["web_search_20250305", "mcp"]);
    }
}
