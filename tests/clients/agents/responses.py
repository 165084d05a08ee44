"""A model service with OpenAI's Responses API. It stores nothing, and refuses requests that lack the reasoning."""

from __future__ import annotations

from collections.abc import Iterator

from service import KEY, MODEL, Reply, Service, pieces, want, want_members, want_names

OPTIONS = {
    "include", "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "prompt_cache_key", "reasoning",
    "service_tier", "store", "stream", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "user",
}  # fmt: skip
# The members of each kind of item: required, optional.
ITEMS = {
    "function_call": ({"type", "call_id", "name", "arguments"}, {"id", "status"}),
    "function_call_output": ({"type", "call_id", "output"}, {"id", "status"}),
    "message": ({"type", "role", "content"}, {"id", "status", "phase"}),
    "reasoning": ({"type", "summary"}, {"content", "encrypted_content", "id", "status"}),
}
# The texts that a message of each role has.
TEXTS = {"assistant": "output_text", "developer": "input_text", "system": "input_text", "user": "input_text"}
EFFORTS = {None, "none", "minimal", "low", "medium", "high", "xhigh"}


class Responses(Service):
    """Every request must have the reasoning of all replies so far, still encrypted and before its item."""

    PATH = "/v1/responses"

    def check_headers(self, headers: dict[str, str]) -> None:
        want(headers.get("authorization") == f"Bearer {KEY}", "the key is wrong")

    def check(self, request: dict) -> None:
        want_members("body", request, {"model", "input"}, OPTIONS)
        want(request["model"] == MODEL, f"there is no model {request['model']!r}")
        want(request.get("store") is False, "this service stores nothing: `store` must be false")
        want(request.get("include") == ["reasoning.encrypted_content"], "without a store, ask for the reasoning")
        reasoning = request.get("reasoning") or {}
        want_members("reasoning", reasoning, set(), {"effort", "summary"})
        want(reasoning.get("effort") in EFFORTS, f"reasoning.effort: unknown value {reasoning.get('effort')!r}")
        for tool in request.get("tools", []):
            want(tool.get("type") == "function", f"tools: the type {tool.get('type')!r} is not offered")
            want_members("tools", tool, {"type", "name", "parameters", "strict"}, {"description"})
        want_names([tool["name"] for tool in request.get("tools", [])], 64)
        for position, item in enumerate(request["input"]):
            self._check_item(f"input[{position}]", item)
        self._check_calls(request["input"])
        self._check_reasoning(request["input"])

    def _check_item(self, name: str, item: dict) -> None:
        kind = item.get("type", "message")
        want(kind in ITEMS, f"{name}: the type {kind!r} is unknown")
        want_members(name, item, *ITEMS[kind])
        call_id = item.get("call_id", "call_0")
        want(1 <= len(call_id) <= 64, f"{name}: the call_id {call_id!r} is malformed")
        if kind == "message" and isinstance(item["content"], list):
            want(item["role"] in TEXTS, f"{name}: the role {item['role']!r} is unknown")
            kinds = {"input_image", TEXTS[item["role"]]}
            want(all(part.get("type") in kinds for part in item["content"]), f"{name}: a part is not of the role")

    def _check_calls(self, items: list[dict]) -> None:
        """Every call is answered, after it and once."""
        waiting: set[str] = set()
        seen: set[str] = set()
        for item in items:
            match item.get("type"):
                case "function_call":
                    want(item["call_id"] not in seen, f"duplicate call {item['call_id']}")
                    seen.add(item["call_id"])
                    waiting.add(item["call_id"])
                case "function_call_output":
                    want(item["call_id"] in waiting, f"no tool call found for output of {item['call_id']}")
                    waiting.discard(item["call_id"])
        want(not waiting, f"no tool output found for function calls {sorted(waiting)}")

    def _check_reasoning(self, items: list[dict]) -> None:
        """Each reasoning item has its encrypted content and comes before the next item of its reply."""
        thoughts = self.thoughts()
        found = [(item, after) for item, after in zip(items, items[1:]) if item.get("type") == "reasoning"]
        want(len(found) == len(thoughts), f"expected {len(thoughts)} `reasoning` items, but found {len(found)}")
        for (item, after), (name, reply) in zip(found, thoughts):
            want(item.get("encrypted_content") == encrypted(name), "the encrypted content could not be verified")
            want(not item.get("content"), "reasoning with encrypted content has no content")
            what = "message" if reply.text else "function_call"
            want(after.get("type") == what, "`reasoning` was provided without its required following item")

    def tools(self, request: dict) -> dict[str, dict]:
        return {tool["name"]: tool["parameters"] for tool in request["tools"]}

    def prompt(self, request: dict) -> list[object]:
        return [request.get("instructions"), *request["input"]]

    def events(self, request: dict, name: str, reply: Reply) -> Iterator[dict]:
        output: list[dict] = []
        response = {
            "id": f"resp_{name}",
            "object": "response",
            "created_at": 1,
            "model": MODEL,
            "status": "in_progress",
            "output": output,
            "usage": None,
        }
        events = [{"type": "response.created", "response": response | {"output": []}}]
        for index, (item, started, deltas) in enumerate(written(name, reply)):
            events.append({"type": "response.output_item.added", "output_index": index, "item": started})
            events += [{"output_index": index, "item_id": item["id"], **delta} for delta in deltas]
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
            output.append(item)
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 30,
        }
        events.append({"type": "response.completed", "response": response | {"status": "completed", "usage": usage}})
        for number, event in enumerate(events):
            yield event | {"sequence_number": number}

    def error(self, why: str) -> dict:
        return {"error": {"message": why, "type": "invalid_request_error", "param": None, "code": None}}


def encrypted(name: str) -> str:
    return f"gAAAAABlbmNyeXB0ZWQ{name}=="


def written(name: str, reply: Reply) -> Iterator[tuple[dict, dict, list[dict]]]:
    """The items of a reply: each whole, as it starts, and the events between."""
    if reply.thought:
        summary = [{"type": "summary_text", "text": reply.thought}]
        item = {"type": "reasoning", "id": f"rs_{name}", "summary": summary, "encrypted_content": encrypted(name)}
        yield item, item | {"summary": []}, []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        item = {"type": "message", "id": f"msg_{name}", "status": "completed", "role": "assistant", "content": [part]}
        delta = {"type": "response.output_text.delta", "content_index": 0}
        deltas = [delta | {"delta": piece} for piece in pieces(reply.text)]
        started = {"type": "response.content_part.added", "content_index": 0, "part": part | {"text": ""}}
        ended = {"type": "response.output_text.done", "content_index": 0, "text": reply.text}
        yield item, item | {"status": "in_progress", "content": []}, [started, *deltas, ended]
    if reply.call:
        item = {
            "type": "function_call",
            "id": f"fc_{name}",
            "status": "completed",
            "call_id": f"call_{name}",
            "name": reply.call.name,
            "arguments": reply.call.arguments,
        }
        fragments = pieces(reply.call.arguments)
        deltas = [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in fragments]
        ended = {"type": "response.function_call_arguments.done", "arguments": reply.call.arguments}
        yield item, item | {"status": "in_progress", "arguments": ""}, [*deltas, ended]
