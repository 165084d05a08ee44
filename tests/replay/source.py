"""A source conversation, as turns that can be played, and what must come of them.

A source is a list of OpenAI `messages`. A turn of Holdall is the caller's input and the model's reply, so the messages
are read into turns: user and tool messages gather as input until an assistant message answers them. What does not fit
is mapped as follows, never left away unsaid; `Conversation.shapes` tells what a source has of it.

| in the source                            | in the replay                                                          |
| ---------------------------------------- | ---------------------------------------------------------------------- |
| a system message at the start            | the system prompt of the conversation's own alias                       |
| a system message later on                | left out: a system prompt belongs to an alias, not to a turn            |
| user messages that follow each other     | one message of several parts, as the native door has it                 |
| an empty user message                    | left out: Holdall refuses one                                           |
| an assistant message without input       | the input GO_ON, which then stands in the history too                   |
| a call without a result                  | the failed result NO_RESULT, which then stands in the history too       |
| input at the end that nobody answers     | the reply THE_END, which then stands in the history too                 |
| empty text beside calls                  | no text                                                                 |
| `name` on a tool message                 | left out: a result names its call                                       |
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

# The kinds of upstream that a conversation can be played to.
KINDS = ("openai", "openai-responses", "anthropic")

GO_ON = "(go on)"
NO_RESULT = "(no result)"
THE_END = "(the source ends here)"
# What the Anthropic dialect writes for a message without text, since that API refuses blank text.
NO_TEXT = "(no text)"


@dataclass
class Call:
    id: str
    name: str
    args: str

    def item(self) -> dict:
        return {"t": "call", "id": self.id, "name": self.name, "args": self.args}


@dataclass
class Result:
    id: str
    out: str
    error: bool = False

    def item(self) -> dict:
        item = {"t": "result", "id": self.id, "out": self.out}
        return item | {"error": True} if self.error else item


@dataclass
class Turn:
    """One turn: results first, then texts, and the reply to both."""

    results: list[Result] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    reply: str = ""
    calls: list[Call] = field(default_factory=list)

    def input(self) -> str | list[dict]:
        """The `input` of `POST /v1/turns`."""
        if not self.results and len(self.texts) == 1:
            return self.texts[0]
        return [result.item() for result in self.results] + [{"text": text} for text in self.texts]

    def input_items(self) -> list[dict]:
        items = [result.item() for result in self.results]
        if self.texts:
            items.append({"t": "msg", "role": "user", "parts": [{"text": text} for text in self.texts]})
        return items

    def output_items(self) -> list[dict]:
        items = [call.item() for call in self.calls]
        if self.reply or not items:
            items.insert(0, {"t": "msg", "role": "assistant", "parts": [{"text": self.reply}]})
        return items

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.calls else "stop"


class Conversation:
    """A source conversation and its turns."""

    def __init__(self, record: dict) -> None:
        self.id: str = record["id"]
        self.system: str | None = None
        self.turns: list[Turn] = []
        self.shapes: set[str] = set()
        self._read(record["messages"])

    def items(self, turns: int | None = None) -> list[dict]:
        """The history after so many turns, or after all."""
        return [item for turn in self.turns[:turns] for item in turn.input_items() + turn.output_items()]

    def prompt(self, kind: str, turn: int) -> list[dict]:
        """What an upstream of this kind is sent for the turn."""
        prompts = {
            "openai": self.openai_messages,
            "openai-responses": self.responses_input,
            "anthropic": self.anthropic_messages,
        }
        return prompts[kind](turn)

    def openai_messages(self, turn: int) -> list[dict]:
        """What a Chat Completions server is sent for the turn."""
        messages = [{"role": "system", "content": self.system}] if self.system is not None else []
        for each in self.turns[: turn + 1]:
            for result in each.results:
                messages.append({"role": "tool", "tool_call_id": result.id, "content": result.out})
            if len(each.texts) == 1:
                messages.append({"role": "user", "content": each.texts[0]})
            elif each.texts:
                messages.append({"role": "user", "content": [{"type": "text", "text": text} for text in each.texts]})
            messages.append(reply_message(each))
        return messages[:-1]

    def responses_input(self, turn: int) -> list[dict]:
        """What a Responses server is sent for the turn."""
        entries: list[dict] = []
        for at, each in enumerate(self.turns[: turn + 1]):
            for result in each.results:
                entries.append({"type": "function_call_output", "call_id": result.id, "output": result.out})
            if each.texts:
                pieces = [{"type": "input_text", "text": text} for text in each.texts]
                content = each.texts[0] if len(each.texts) == 1 else pieces
                entries.append({"type": "message", "role": "user", "content": content})
            if at == turn:
                break
            if each.reply or not each.calls:
                entries.append({"type": "message", "role": "assistant", "content": each.reply})
            for call in each.calls:
                member = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.args}
                entries.append(member)
        return entries

    def anthropic_messages(self, turn: int) -> list[dict]:
        """What a Messages server is sent for the turn."""
        messages = []
        for each in self.turns[: turn + 1]:
            asked = []
            for result in each.results:
                block: dict = {"type": "tool_result", "tool_use_id": result.id}
                block |= {"content": text_blocks([result.out])} if result.out.strip() else {}
                asked.append(block | ({"is_error": True} if result.error else {}))
            asked += text_blocks(each.texts)
            said = text_blocks([each.reply])
            said += [{"type": "tool_use", "id": c.id, "name": c.name, "input": json.loads(c.args)} for c in each.calls]
            messages.append({"role": "user", "content": asked or text_blocks([NO_TEXT])})
            messages.append({"role": "assistant", "content": said or text_blocks([NO_TEXT])})
        return messages[:-1]

    def _read(self, messages: list[dict]) -> None:
        turn, waiting, seen = Turn(), [], set()
        for at, message in enumerate(messages):
            role, content = message["role"], message.get("content") or ""
            if role == "system":
                if at == 0:
                    self.system = content
                self.shapes.add("a system message later on" if at else "a system prompt")
            elif role == "user":
                self._fail_waiting(turn, waiting)
                if turn.texts:
                    self.shapes.add("user messages in a row")
                if content:
                    turn.texts.append(content)
                else:
                    self.shapes.add("an empty user message")
            elif role == "tool":
                # An id that was never given, or given and answered, is nothing that can be played.
                waiting.remove(message["tool_call_id"])
                turn.results.append(Result(message["tool_call_id"], content))
                if not content:
                    self.shapes.add("an empty result")
            else:
                self._fail_waiting(turn, waiting)
                if not turn.results and not turn.texts:
                    turn.texts.append(GO_ON)
                    self.shapes.add("a reply without input" if self.turns else "an assistant message first")
                turn.reply = content
                turn.calls = [read_call(call) for call in message.get("tool_calls") or []]
                self._note_reply(turn, seen)
                waiting = [call.id for call in turn.calls]
                self.turns.append(turn)
                turn = Turn()
        last = messages[-1]["role"]
        if turn.results or turn.texts:
            self._fail_waiting(turn, waiting)
            turn.reply = THE_END
            self.turns.append(turn)
            self.shapes.add("ends with a result" if last == "tool" else "ends with a user message")

    def _fail_waiting(self, turn: Turn, waiting: list[str]) -> None:
        for call in waiting:
            turn.results.append(Result(call, NO_RESULT, error=True))
            self.shapes.add("a call without a result")
        waiting.clear()

    def _note_reply(self, turn: Turn, seen: set[str]) -> None:
        ids = {call.id for call in turn.calls}
        noted = {
            "a call beside text": turn.calls and turn.reply,
            "an empty reply": not turn.calls and not turn.reply,
            "ids of calls come again": ids & seen,
            "several calls at once": len(turn.calls) > 1,
            "tool calls": turn.calls,
        }
        self.shapes |= {shape for shape, met in noted.items() if met}
        seen |= ids


def read_call(call: dict) -> Call:
    return Call(call["id"], call["function"]["name"], call["function"]["arguments"])


def reply_message(turn: Turn) -> dict:
    """A turn's reply as a Chat Completions message."""
    if not turn.calls:
        return {"role": "assistant", "content": turn.reply}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.args}}
        for call in turn.calls
    ]
    return {"role": "assistant", "content": turn.reply or None, "tool_calls": calls}


def text_blocks(texts: list[str]) -> list[dict]:
    return [{"type": "text", "text": text} for text in texts if text.strip()]
