"""Codex, which uses the Responses API: with a model that reasons, its kinds of tools, and models of other providers."""

from __future__ import annotations

import json
import unittest

from agent import AgentTest
from chat import Chat
from messages import Messages
from responses import Responses
from service import Call, Reply


class Codex(AgentTest):
    SECTION = "Codex"
    PACKAGE = "@openai/codex"

    def test_a_session_with_tools_and_reasoning_is_resumed(self) -> None:
        self.play(Responses(self.script()), "openai-responses")

    def test_a_session_is_resumed_with_a_model_behind_messages(self) -> None:
        self.play(Messages(self.script(thinks=False)), "anthropic")

    def test_a_session_is_resumed_with_a_model_behind_chat_completions(self) -> None:
        self.play(Chat(self.script(thinks=False)), "openai")

    def test_a_custom_tool_gets_its_text(self) -> None:
        # Codex offers models of this name a tool for patches, which takes a text.
        read, again = (Call("exec_command", {"cmd": f"cat {name}"}) for name in ("note.txt", "word.txt"))
        script = self.turns(read, Call("apply_patch", self.patch()), again)
        self.play(Responses(script), "openai-responses", alias="gpt-5.5")
        # Holdall offers neither of these tools, and every answer says so.
        ignored = {passed.headers.get("x-holdall-ignored") for passed in self.balancer.passed}
        self.assertEqual(ignored, {"tool_search, web_search"})

    def test_a_custom_tool_of_a_namespace_gets_its_text(self) -> None:
        # Codex gives models of this name its tools in the input, and all of them in one that takes a program.
        read, again = (
            Call("exec", f'text((await tools.exec_command({{ cmd: "cat {name}" }})).output);')
            for name in ("note.txt", "word.txt")
        )
        write = Call("exec", f"await tools.apply_patch({json.dumps(self.patch())});")
        self.play(Responses(self.turns(read, write, again)), "openai-responses", alias="gpt-6-sol")

    def test_a_tool_of_a_namespace_is_called(self) -> None:
        script = [Reply(call=Call("close_agent", {"target": "none"})), Reply(text="It is closed.")]
        self.start(Responses(script), "openai-responses")
        self.assertIn("It is closed.", self.run_session("Close it."))
        result = self.service.requests[1]["input"][-1]
        self.assertEqual(result["type"], "function_call_output")
        # The tool itself answers, and not Codex for a tool that it does not know.
        self.assertIn("none", json.dumps(result["output"]))
        self.assertNotIn("unsupported", json.dumps(result["output"]))

    def script(self, thinks: bool = True) -> list[Reply]:
        read, again = (Call("exec_command", {"cmd": f"cat {name}"}) for name in ("note.txt", "word.txt"))
        write = Call("exec_command", {"cmd": f"echo {self.word} > word.txt"})
        return self.turns(read, write, again, thinks)

    def patch(self) -> str:
        return f"*** Begin Patch\n*** Add File: word.txt\n+{self.word}\n*** End Patch\n"

    def run_session(self, text: str, resumes: bool = False) -> str:
        folder = self.home / ".codex"
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(self.settings("toml"), encoding="utf-8")
        session = ["resume", "--last"] if resumes else []
        # The commands are those of this file, and not every machine lets a program have a sandbox.
        free = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        return self.run_agent("exec", *session, *free, text, HOLDALL_API_KEY="none")


if __name__ == "__main__":
    unittest.main(warnings="ignore")
