"""opencode, which uses the Chat Completions API."""

from __future__ import annotations

import unittest

from agent import AgentTest
from chat import Chat
from service import Call, Reply

# No updates, and no lists or tools from the network.
QUIET = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_SHARE": "1",
}


class Opencode(AgentTest):
    SECTION = "opencode"
    PACKAGE = "opencode-ai"

    def test_a_session_with_tools_is_resumed(self) -> None:
        self.play(Chat(self.script()), "openai")

    def script(self) -> list[Reply]:
        read = Call("read", {"filePath": str(self.note)})
        write = Call("write", {"filePath": str(self.copy), "content": self.word})
        return self.turns(read, write, Call("read", {"filePath": str(self.copy)}), thinks=False)

    def run_session(self, text: str, resumes: bool = False) -> str:
        (self.work / "opencode.json").write_text(self.settings("json"), encoding="utf-8")
        session = ["--continue"] if resumes else []
        return self.run_agent("run", *session, text, HOLDALL_API_KEY="none", **QUIET)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
