"""A model service with Anthropic's Messages API. It refuses requests that lack the model's thinking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from service import KEY, MODEL, Refused, Reply, Service, pieces, want, want_members, want_names

OPTIONS = {
    "cache_control", "metadata", "output_config", "service_tier", "stop_sequences", "stream", "system", "temperature",
    "thinking", "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
# The members of each kind of block: required, optional.
BLOCKS = {
    "image": ({"type", "source"}, {"cache_control"}),
    "text": ({"type", "text"}, {"cache_control", "citations"}),
    "thinking": ({"type", "thinking", "signature"}, set()),
    "tool_result": ({"type", "tool_use_id"}, {"cache_control", "content", "is_error"}),
    "tool_use": ({"type", "id", "name", "input"}, {"cache_control"}),
}
# The kinds of blocks that each role may have.
OF_ROLE = {"user": {"image", "text", "tool_result"}, "assistant": {"text", "thinking", "tool_use"}}
EFFORTS = {"low", "medium", "high", "xhigh", "max"}


class Messages(Service):
    """Every request must have the thinking of all replies so far, unchanged and with its signature."""

    PATH = "/v1/messages"

    def check_headers(self, headers: dict[str, str]) -> None:
        want(headers.get("x-api-key") == KEY and "authorization" not in headers, "the key is wrong")
        want(headers.get("anthropic-version") == "2023-06-01", "anthropic-version: header is required")

    def check(self, request: dict) -> None:
        want_members("body", request, {"model", "messages", "max_tokens"}, OPTIONS)
        want(request["model"] == MODEL, f"there is no model {request['model']!r}")
        self._check_options(request)
        self._check_offers(request.get("tools", []))
        marks = json.dumps(request).count('"cache_control"')
        want(marks <= 4, f"a maximum of 4 blocks with cache_control may be provided, found {marks}")
        messages = request["messages"]
        want(messages and messages[0]["role"] == "user", "the first message must have the role user")
        for number, message in enumerate(messages):
            self._check_message(f"messages.{number}", message)
        self._check_calls(messages)
        self._check_thinking(messages)

    def _check_options(self, request: dict) -> None:
        want(request["max_tokens"] >= 1, "max_tokens: must be at least 1")
        thinking = request.get("thinking", {"type": "disabled"})
        match thinking["type"]:
            case "enabled":
                want_members("thinking", thinking, {"type", "budget_tokens"}, {"display"})
                want(1024 <= thinking["budget_tokens"] < request["max_tokens"], "thinking.budget_tokens: out of range")
            case "adaptive" | "disabled":
                want_members("thinking", thinking, {"type"}, {"display"})
            case other:
                raise Refused(f"thinking.type: {other!r} is unknown")
        want(thinking.get("display", "omitted") in ("omitted", "summarized"), "thinking.display: unknown value")
        want(thinking["type"] == "disabled" or request.get("temperature", 1) == 1, "temperature may only be set to 1")
        effort = request.get("output_config", {}).get("effort", "high")
        want(effort in EFFORTS, f"output_config.effort: {effort!r} is unknown")
        for block in request.get("system", []) if isinstance(request.get("system"), list) else []:
            want_members("system", block, *BLOCKS["text"])

    def _check_offers(self, tools: list[dict]) -> None:
        for tool in tools:
            want_members("tools", tool, {"name", "input_schema"}, {"description", "cache_control", "strict", "type"})
            want(tool["input_schema"].get("type") == "object", f"{tool['name']}: input_schema.type must be object")
        want_names([tool["name"] for tool in tools], 128)

    def _check_message(self, name: str, message: dict) -> None:
        want_members(name, message, {"role", "content"})
        allowed = OF_ROLE.get(message["role"])
        want(allowed, f"{name}: the role {message['role']!r} is not supported on this model")
        blocks = blocks_of(message)
        want(blocks, f"{name}: content must not be empty")
        for block in blocks:
            kind = block.get("type")
            want(kind in allowed, f"{name}: {kind} is not allowed for {message['role']}")
            want_members(f"{name}.{kind}", block, *BLOCKS[kind])
            want(kind != "text" or block["text"].strip(), f"{name}: text content blocks must contain text")
            want(kind != "tool_use" or isinstance(block["input"], dict), f"{name}: input must be an object")

    def _check_calls(self, messages: list[dict]) -> None:
        """Every call is answered by the next message, which begins with the results."""
        seen: set[str] = set()
        waiting: set[str] = set()
        for message in messages:
            blocks = blocks_of(message)
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            want(set(results) <= waiting, f"unexpected tool_use_id in tool_result blocks: {results}")
            want(waiting <= set(results), f"tool_use ids were found without tool_result blocks: {sorted(waiting)}")
            first = [block["type"] for block in blocks[: len(results)]]
            want(first == ["tool_result"] * len(results), "tool_result blocks must come first")
            calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            for call in calls:
                want(re.fullmatch("[a-zA-Z0-9_-]{1,64}", call), f"tool_use.id: {call!r} is malformed")
                want(call not in seen, "tool_use ids must be unique")
                seen.add(call)
            waiting = set(calls)
        want(not waiting, "the last message must answer the calls")

    def _check_thinking(self, messages: list[dict]) -> None:
        """Each thought has its own signature and comes before the text or call of its reply."""
        thoughts = self.thoughts()
        blocks = [block for message in messages for block in blocks_of(message)]
        found = [(block, after) for block, after in zip(blocks, blocks[1:]) if block["type"] == "thinking"]
        want(len(found) == len(thoughts), f"expected {len(thoughts)} `thinking` blocks, but found {len(found)}")
        for (block, after), (name, reply) in zip(found, thoughts):
            want(block["signature"] == signature(name), "invalid `signature` in `thinking` block")
            want(block["thinking"] in ("", reply.thought), "`thinking` blocks cannot be modified")
            want(is_of(after, name, reply), f"the block after a thought is not of its reply: {after}")

    def tools(self, request: dict) -> dict[str, dict]:
        return {tool["name"]: tool["input_schema"] for tool in request["tools"]}

    def prompt(self, request: dict) -> list[object]:
        without_marks = json.loads(json.dumps(request), object_hook=without_mark)
        return [without_marks.get("system"), *without_marks["messages"]]

    def events(self, request: dict, name: str, reply: Reply) -> Iterator[dict]:
        usage = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        message = {
            "id": f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | {"output_tokens": 1},
        }
        yield {"type": "message_start", "message": message}
        yield {"type": "ping"}
        shows = request.get("thinking", {}).get("display") != "omitted"
        for index, (block, deltas) in enumerate(written(name, reply, shows)):
            yield {"type": "content_block_start", "index": index, "content_block": block}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        end = {"stop_reason": "tool_use" if reply.call else "end_turn", "stop_sequence": None}
        yield {"type": "message_delta", "delta": end, "usage": usage | {"output_tokens": 20}}
        yield {"type": "message_stop"}

    def error(self, why: str) -> dict:
        return {"type": "error", "error": {"type": "invalid_request_error", "message": why}}


def blocks_of(message: dict) -> list[dict]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def signature(name: str) -> str:
    return f"c2lnbmF0dXJlIG9m{name}=="


def call_id(name: str) -> str:
    return f"toolu_01{name}"


def is_of(block: dict, name: str, reply: Reply) -> bool:
    if reply.text:
        return block.get("text") == reply.text
    return block.get("id") == call_id(name)


def without_mark(value: dict) -> dict:
    value.pop("cache_control", None)
    return value


def written(name: str, reply: Reply, shows_thinking: bool) -> Iterator[tuple[dict, list[dict]]]:
    """The blocks of a reply, each as it starts and with its fragments."""
    if reply.thought:
        shown = pieces(reply.thought) if shows_thinking else []
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in shown]
        sign = {"type": "signature_delta", "signature": signature(name)}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, sign]
    if reply.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(reply.text)]
    if reply.call:
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(reply.call.arguments)]
        yield {"type": "tool_use", "id": call_id(name), "name": reply.call.name, "input": {}}, deltas
