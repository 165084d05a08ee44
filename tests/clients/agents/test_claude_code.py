"""Claude Code, which uses the Messages API: with a model that thinks, and with models of other providers."""

from __future__ import annotations

import json
import unittest

from agent import FIRST, AgentTest
from chat import Chat
from messages import Messages
from responses import Responses
from service import Call, Reply

# No reports and no updates.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}


class ClaudeCode(AgentTest):
    SECTION = "Claude Code"
    PACKAGE = "@anthropic-ai/claude-code"

    def test_a_session_with_tools_and_thinking_is_resumed(self) -> None:
        self.play(Messages(self.script()), "anthropic")

    def test_a_session_is_resumed_with_a_model_behind_chat_completions(self) -> None:
        self.play(Chat(self.script(thinks=False)), "openai")

    def test_a_session_is_resumed_with_a_model_behind_responses(self) -> None:
        self.play(Responses(self.script(thinks=False)), "openai-responses")

    def test_a_tool_that_a_search_found_is_offered(self) -> None:
        search = Call("ToolSearch", {"query": "select:WebFetch"})
        script = [Reply(thought="Is there one?", call=search), Reply(text="Yes.")]
        self.start(Messages(script), "anthropic")
        self.assertIn("Yes.", self.run_session("Look for a tool."))
        self.check_requests()
        before, after = (self.service.tools(request) for request in self.service.requests)
        self.assertTrue("WebFetch" not in before and "WebFetch" in after)

    def test_a_session_in_a_terminal_works(self) -> None:
        # Claude Code asks for another display of thinking here. It has seen its welcome, and trusts the folder.
        seen = {"hasCompletedOnboarding": True, "projects": {str(self.work): {"hasTrustDialogAccepted": True}}}
        (self.home / ".claude.json").write_text(json.dumps(seen), encoding="utf-8")
        self.start(Messages(self.script()[:3]), "anthropic")
        self.run_in_terminal(b"message_stop", "--allowedTools", "Read,Write", "--", FIRST, **self.variables())
        self.check_requests()
        self.assertEqual(self.copy.read_text(encoding="utf-8").strip(), self.word)

    def script(self, thinks: bool = True) -> list[Reply]:
        read = Call("Read", {"file_path": str(self.note)})
        write = Call("Write", {"file_path": str(self.copy), "content": self.word})
        return self.turns(read, write, Call("Read", {"file_path": str(self.copy)}), thinks)

    def run_session(self, text: str, resumes: bool = False) -> str:
        session = ["--continue"] if resumes else []
        return self.run_agent("--print", text, *session, "--allowedTools", "Read,Write", **self.variables())

    def variables(self) -> dict[str, str]:
        """The variables of the page, as a shell sets them."""
        lines = self.settings("sh").replace("export ", "").splitlines()
        return dict(line.split("=", 1) for line in lines) | QUIET


if __name__ == "__main__":
    unittest.main(warnings="ignore")
