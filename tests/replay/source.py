"""A source conversation, read into turns that can be played, with the expected requests and items.

A source is a list of OpenAI `messages`. A turn of Holdall is the caller's input and the model's
reply. So the messages are read into turns: user and tool messages are input until an assistant message
answers them. Messages that do not fit are changed as follows. `Conversation.shapes` lists which of
these a source has.

| in the source                        | in the replay                                             |
| ------------------------------------ | --------------------------------------------------------- |
| a system message at the start        | the system prompt of the conversation's own alias         |
| a later system message               | left out: a system prompt belongs to an alias, not a turn |
| consecutive user messages            | one message with several parts                            |
| an empty user message                | left out: Holdall refuses it                              |
| an assistant message without input   | the input NO_INPUT, also in the history                   |
| a call without a result              | the failed result NO_RESULT, also in the history          |
| input at the end without a reply     | the reply NO_REPLY, also in the history                   |
| empty text with calls                | no text                                                   |
| `name` on a tool message             | left out: a result names its call                         |
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

# The kinds of upstream for a replay.
KINDS = ("openai", "openai-responses", "anthropic")

NO_INPUT = "(no input)"
NO_RESULT = "(no result)"
NO_REPLY = "(no reply)"
# The text that Holdall writes for Anthropic in a message without text, because that API refuses
# blank text.
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
    """One turn: the results, then the texts, and the reply."""

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
        """The history after the first `turns` turns, or after all turns."""
        return [item for turn in self.turns[:turns] for item in turn.input_items() + turn.output_items()]

    def prompt(self, kind: str, turn: int) -> list[dict]:
        """The messages that an upstream of this kind gets for the turn."""
        prompts = {
            "openai": self.openai_messages,
            "openai-responses": self.responses_input,
            "anthropic": self.anthropic_messages,
        }
        return prompts[kind](turn)

    def openai_messages(self, turn: int) -> list[dict]:
        """The messages that a Chat Completions server gets for the turn."""
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
        """The input that a Responses server gets for the turn."""
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
        """The messages that a Messages server gets for the turn."""
        messages = []
        for each in self.turns[: turn + 1]:
            user = []
            for result in each.results:
                block: dict = {"type": "tool_result", "tool_use_id": result.id}
                block |= {"content": text_blocks([result.out])} if result.out.strip() else {}
                user.append(block | ({"is_error": True} if result.error else {}))
            user += text_blocks(each.texts)
            assistant = text_blocks([each.reply])
            assistant += [{"type": "tool_use", "id": c.id, "name": c.name, "input": json.loads(c.args)} for c in each.calls]
            messages.append({"role": "user", "content": user or text_blocks([NO_TEXT])})
            messages.append({"role": "assistant", "content": assistant or text_blocks([NO_TEXT])})
        return messages[:-1]

    def _read(self, messages: list[dict]) -> None:
        turn, waiting, seen = Turn(), [], set()
        for at, message in enumerate(messages):
            role, content = message["role"], message.get("content") or ""
            if role == "system":
                if at == 0:
                    self.system = content
                self.shapes.add("a later system message" if at else "a system prompt")
            elif role == "user":
                self._fail_waiting(turn, waiting)
                if turn.texts:
                    self.shapes.add("consecutive user messages")
                if content:
                    turn.texts.append(content)
                else:
                    self.shapes.add("an empty user message")
            elif role == "tool":
                # This fails for an id that has no open call. Such a source cannot be played.
                waiting.remove(message["tool_call_id"])
                turn.results.append(Result(message["tool_call_id"], content))
                if not content:
                    self.shapes.add("an empty result")
            else:
                self._fail_waiting(turn, waiting)
                if not turn.results and not turn.texts:
                    turn.texts.append(NO_INPUT)
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
            turn.reply = NO_REPLY
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
            "text with a call": turn.calls and turn.reply,
            "an empty reply": not turn.calls and not turn.reply,
            "repeated call ids": ids & seen,
            "parallel calls": len(turn.calls) > 1,
            "tool calls": turn.calls,
        }
        self.shapes |= {shape for shape, occurs in noted.items() if occurs}
        seen |= ids


def read_call(call: dict) -> Call:
    return Call(call["id"], call["function"]["name"], call["function"]["arguments"])


def reply_message(turn: Turn) -> dict:
    """The reply of a turn as a Chat Completions message."""
    if not turn.calls:
        return {"role": "assistant", "content": turn.reply}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.args}}
        for call in turn.calls
    ]
    return {"role": "assistant", "content": turn.reply or None, "tool_calls": calls}


def text_blocks(texts: list[str]) -> list[dict]:
    return [{"type": "text", "text": text} for text in texts if text.strip()]
