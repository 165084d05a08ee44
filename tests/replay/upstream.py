"""A small model server for Chat Completions, Responses and Messages. It answers with the assistant
turns of the sources.

It keeps no conversation: it finds the turn from the messages of the request. These must be exactly
the messages of the source, in the form of the API. Every difference is added to `Upstream.faults`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from source import Conversation, Turn

# The number of characters in a streamed fragment.
FRAGMENT = 16
# The mark that makes a Messages server cache the prompt up to a block. It is not part of the
# prompt, and moves from turn to turn.
MARK = b',"cache_control":{"type":"ephemeral"}'
# The bytes of one write: few enough to split events and characters.
WRITE = 1021


class Upstream(ThreadingHTTPServer):
    """The server, on a free loopback port. The name of a model is the id of a conversation."""

    daemon_threads = True
    # All connections of a client may arrive together.
    request_queue_size = 128

    def __init__(self, conversations: list[Conversation]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.conversations = {conversation.id: conversation for conversation in conversations}
        self.faults: list[str] = []
        self.requests = 0
        self._bodies: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def check(self, api: Api, raw: bytes) -> tuple[dict, Turn]:
        """Compares a request with the source. Returns its body and its turn."""
        marked = json.loads(raw)
        raw = raw.replace(MARK, b"")
        body = json.loads(raw)
        conversation = self.conversations[body["model"]]
        number = api.number(body)
        place = f"{conversation.id}, turn {number + 1}"
        expected = api.expected(conversation, number)
        found = {member: body.get(member) for member in expected}
        with self._lock:
            self.requests += 1
            if api.marks(marked) != api.expected_marks(body):
                self.faults.append(f"{place}: the marks are {api.marks(marked)}, expected {api.expected_marks(body)}")
            if found != expected:
                self.faults.append(f"{place}: the request of the upstream\n{first_difference(expected, found)}")
            before = self._bodies.get(conversation.id)
            self._bodies[conversation.id] = raw
            # A request, up to the end of its messages, is the beginning of the next one.
            if number and before and not raw.startswith(before.removesuffix(b"]}") + b","):
                self.faults.append(f"{place}: the request does not begin with the previous one")
        return body, conversation.turns[number]


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    # There are many small writes.
    disable_nagle_algorithm = True
    server: Upstream

    def do_POST(self) -> None:
        api = APIS.get(self.path)
        raw = self.rfile.read(int(self.headers["content-length"]))
        try:
            if api is None:
                raise LookupError(f"no API at {self.path}")
            body, turn = self.server.check(api, raw)
        except (LookupError, ValueError) as fault:
            self.server.faults.append(f"{self.path}: {fault!r}")
            self.answer(400, "application/json", json.dumps({"error": {"message": "not the request of the source"}}))
            return
        if body["stream"]:
            self.answer(200, "text/event-stream", api.stream(turn, body))
        else:
            self.answer(200, "application/json", api.complete(turn, body))

    def answer(self, status: int, content_type: str, text: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        data = text.encode()
        for piece in slices(data, WRITE):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Writes no log of requests."""


class Unmarked:
    """An API that caches prompts without marks."""

    @staticmethod
    def marks(_: dict) -> list[str]:
        return []

    @staticmethod
    def expected_marks(_: dict) -> list[str]:
        return []


class ChatCompletions(Unmarked):
    """OpenAI Chat Completions: the expected request, and the reply of a turn."""

    @staticmethod
    def number(body: dict) -> int:
        """The number of replies before the turn."""
        return sum(message["role"] == "assistant" for message in body["messages"])

    @staticmethod
    def expected(conversation: Conversation, turn: int) -> dict:
        return {"messages": conversation.openai_messages(turn)}

    @staticmethod
    def stream(turn: Turn, body: dict) -> str:
        def chunk(delta: dict, **members: object) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": None} | members
            return event({"object": "chat.completion.chunk", "model": body["model"], "choices": [choice]})

        text = chunk({"role": "assistant", "content": ""})
        text += "".join(chunk({"content": piece}) for piece in slices(turn.reply, FRAGMENT))
        for index, call in enumerate(turn.calls):
            head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            text += chunk({"tool_calls": [head]})
            for piece in slices(call.args, FRAGMENT):
                text += chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        text += chunk({}, finish_reason=turn.finish_reason)
        if body.get("stream_options", {}).get("include_usage"):
            text += event({"object": "chat.completion.chunk", "choices": [], "usage": openai_usage(turn, body)})
        return text + "data: [DONE]\n\n"

    @staticmethod
    def complete(turn: Turn, body: dict) -> str:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.args}}
            for call in turn.calls
        ]
        message = {"role": "assistant", "content": turn.reply or (None if calls else "")}
        message |= {"tool_calls": calls} if calls else {}
        choice = {"index": 0, "message": message, "finish_reason": turn.finish_reason}
        return json.dumps({"object": "chat.completion", "choices": [choice], "usage": openai_usage(turn, body)})


class Responses(Unmarked):
    """OpenAI Responses: the same for its format."""

    @staticmethod
    def number(body: dict) -> int:
        by_model = [item["type"] == "function_call" or item.get("role") == "assistant" for item in body["input"]]
        return sum(now and not before for before, now in zip([False, *by_model], by_model))

    @staticmethod
    def expected(conversation: Conversation, turn: int) -> dict:
        return {
            "input": conversation.responses_input(turn),
            "instructions": conversation.system,
            "store": False,
            "previous_response_id": None,
        }

    @staticmethod
    def stream(turn: Turn, body: dict) -> str:
        text = named_event("response.created", response={"status": "in_progress", "output": []})
        for index, item in enumerate(response_items(turn)):
            empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
            text += named_event("response.output_item.added", output_index=index, item=item | empty)
            if item["type"] == "message":
                for piece in slices(turn.reply, FRAGMENT):
                    text += named_event("response.output_text.delta", output_index=index, content_index=0, delta=piece)
            else:
                for piece in slices(item["arguments"], FRAGMENT):
                    text += named_event("response.function_call_arguments.delta", output_index=index, delta=piece)
            text += named_event("response.output_item.done", output_index=index, item=item)
        return text + named_event("response.completed", response=response(turn, body))

    @staticmethod
    def complete(turn: Turn, body: dict) -> str:
        return json.dumps(response(turn, body))


class Messages:
    """Anthropic Messages: the same for its format. Blocks at the ends of prompts are marked for the
    cache."""

    @staticmethod
    def number(body: dict) -> int:
        return sum(message["role"] == "assistant" for message in body["messages"])

    @staticmethod
    def expected(conversation: Conversation, turn: int) -> dict:
        system = None if conversation.system is None else [{"type": "text", "text": conversation.system}]
        return {"messages": conversation.anthropic_messages(turn), "system": system}

    @staticmethod
    def marks(body: dict) -> list[str]:
        lists = {"system": body.get("system") or []}
        lists |= {f"messages[{at}]": message["content"] for at, message in enumerate(body["messages"])}
        return [
            f"{name}[{at}]" for name, blocks in lists.items() for at, block in enumerate(blocks) if "cache_control" in block
        ]

    @staticmethod
    def expected_marks(body: dict) -> list[str]:
        """The system prompt, the end of the previous request, and the end of this request."""
        messages = body["messages"]
        replies = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        ends = [replies[-1] - 1] if replies else []
        ends.append(len(messages) - 1)
        system = ["system[0]"] if body.get("system") else []
        return system + [f"messages[{at}][{len(messages[at]['content']) - 1}]" for at in ends]

    @staticmethod
    def stream(turn: Turn, body: dict) -> str:
        sent, received = usage(turn, body)
        text = named_event("message_start", message={"usage": {"input_tokens": sent, "output_tokens": 1}})
        blocks = [{"type": "text", "text": ""}] if turn.reply else []
        blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": {}} for call in turn.calls]
        fragments = [[{"type": "text_delta", "text": piece} for piece in slices(turn.reply, FRAGMENT)]]
        fragments = fragments if turn.reply else []
        fragments += [
            [{"type": "input_json_delta", "partial_json": piece} for piece in slices(call.args, FRAGMENT)]
            for call in turn.calls
        ]
        for index, (block, deltas) in enumerate(zip(blocks, fragments)):
            text += named_event("content_block_start", index=index, content_block=block)
            text += "".join(named_event("content_block_delta", index=index, delta=delta) for delta in deltas)
            text += named_event("content_block_stop", index=index)
        end = {"delta": {"stop_reason": stop_reason(turn)}, "usage": {"output_tokens": received}}
        return text + named_event("message_delta", **end) + named_event("message_stop")

    @staticmethod
    def complete(turn: Turn, body: dict) -> str:
        sent, received = usage(turn, body)
        blocks = [json.dumps({"type": "text", "text": turn.reply})] if turn.reply else []
        for call in turn.calls:
            head = json.dumps({"type": "tool_use", "id": call.id, "name": call.name}).removesuffix("}")
            # The arguments as they were written: parsing would lose their exact bytes.
            blocks.append(f'{head}, "input": {call.args.strip()}}}')
        tail = json.dumps(
            {"stop_reason": stop_reason(turn), "usage": {"input_tokens": sent, "output_tokens": received}}
        ).removeprefix("{")
        return f'{{"type": "message", "role": "assistant", "content": [{", ".join(blocks)}], {tail}'


Api = type[ChatCompletions] | type[Responses] | type[Messages]
APIS: dict[str, Api] = {
    "/v1/chat/completions": ChatCompletions,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
}


def response(turn: Turn, body: dict) -> dict:
    sent, received = usage(turn, body)
    counts = {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received}
    return {"object": "response", "status": "completed", "output": response_items(turn), "usage": counts}


def response_items(turn: Turn) -> list[dict]:
    part = {"type": "output_text", "text": turn.reply, "annotations": []}
    message = {"type": "message", "role": "assistant", "content": [part]}
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.args} for call in turn.calls
    ]
    return ([message] if turn.reply or not calls else []) + calls


def usage(turn: Turn, body: dict) -> tuple[int, int]:
    """Counts that the caller also knows: messages or items sent, characters and calls received."""
    return len(body.get("messages") or body["input"]), len(turn.reply) + len(turn.calls)


def openai_usage(turn: Turn, body: dict) -> dict:
    sent, received = usage(turn, body)
    return {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}


def stop_reason(turn: Turn) -> str:
    return "tool_use" if turn.calls else "end_turn"


def event(data: dict) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def named_event(name: str, **members: object) -> str:
    return f"event: {name}\n" + event({"type": name} | members)


def slices(values, size: int) -> list:
    return [values[at : at + size] for at in range(0, len(values), size)]


def first_difference(expected: object, found: object, path: str = "") -> str:
    """The first place where two JSON values differ, with both values."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if expected.get(key, ...) != found.get(key, ...):
                return first_difference(expected.get(key, "(absent)"), found.get(key, "(absent)"), f"{path}.{key}")
    if isinstance(expected, list) and isinstance(found, list):
        for at, (one, other) in enumerate(zip(expected, found)):
            if one != other:
                return first_difference(one, other, f"{path}[{at}]")
        if len(expected) != len(found):
            at = min(len(expected), len(found))
            ends = [part[at] if at < len(part) else "(absent)" for part in (expected, found)]
            return first_difference(*ends, f"{path}[{at}]")
    shown = [json.dumps(value, ensure_ascii=False) for value in (expected, found)]
    same = next((at for at, pair in enumerate(zip(*shown)) if pair[0] != pair[1]), min(map(len, shown)))
    start = max(0, same - 60)
    left, right = (("…" if start else "") + text[start : start + 200] for text in shown)
    return f"  at {path or 'the top'}\n  source {left}\n  found  {right}"
