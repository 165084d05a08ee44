"""A model service with OpenAI's Chat Completions API."""

from __future__ import annotations

from collections.abc import Iterator

from service import KEY, MODEL, Reply, Service, pieces, want, want_members, want_names

OPTIONS = {
    "max_completion_tokens", "max_tokens", "n", "parallel_tool_calls", "reasoning_effort", "response_format", "seed",
    "stop", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_p", "user",
}  # fmt: skip
# The members of each role's messages: required, optional.
ROLES = {
    "assistant": ({"role"}, {"content", "tool_calls"}),
    "developer": ({"role", "content"}, set()),
    "system": ({"role", "content"}, set()),
    "tool": ({"role", "content", "tool_call_id"}, set()),
    "user": ({"role", "content"}, set()),
}


class Chat(Service):
    """Every call must have its result directly after it."""

    PATH = "/v1/chat/completions"
    NAMED_EVENTS = False

    def check_headers(self, headers: dict[str, str]) -> None:
        want(headers.get("authorization") == f"Bearer {KEY}", "the key is wrong")

    def check(self, request: dict) -> None:
        want_members("body", request, {"model", "messages"}, OPTIONS)
        want(request["model"] == MODEL, f"there is no model {request['model']!r}")
        want(request.get("tools") or not request.get("tool_choice"), "tool_choice is only allowed when tools are given")
        for tool in request.get("tools", []):
            want_members("tools", tool, {"type", "function"})
            want_members("tools.function", tool["function"], {"name"}, {"description", "parameters", "strict"})
        want_names([tool["function"]["name"] for tool in request.get("tools", [])], 64)
        for position, message in enumerate(request["messages"]):
            name = f"messages[{position}]"
            want(message.get("role") in ROLES, f"{name}: the role {message.get('role')!r} is unknown")
            want_members(name, message, *ROLES[message["role"]])
            says = message.get("content") or message.get("tool_calls")
            want(says or message["role"] == "tool", f"{name}: neither content nor tool_calls")
        self._check_calls(request["messages"])

    def _check_calls(self, messages: list[dict]) -> None:
        """Every call is answered, directly after its message."""
        seen: set[str] = set()
        waiting: set[str] = set()
        for message in messages:
            if message["role"] == "tool":
                want(message["tool_call_id"] in waiting, "a tool message must be a response to a call before it")
                waiting.discard(message["tool_call_id"])
                continue
            want(not waiting, f"calls without a response: {sorted(waiting)}")
            calls = [call["id"] for call in message.get("tool_calls") or []]
            want(not seen & set(calls) and all(len(call) <= 40 for call in calls), f"malformed ids of calls: {calls}")
            seen |= set(calls)
            waiting = set(calls)
        want(not waiting, f"calls without a response: {sorted(waiting)}")

    def tools(self, request: dict) -> dict[str, dict]:
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in request["tools"]}

    def prompt(self, request: dict) -> list[object]:
        return [*request["messages"]]

    def events(self, request: dict, name: str, reply: Reply) -> Iterator[dict]:
        deltas: list[dict] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in pieces(reply.text)]
        if reply.call:
            function = {"name": reply.call.name, "arguments": ""}
            call = {"index": 0, "id": f"call_{name}", "type": "function", "function": function}
            deltas.append({"tool_calls": [call]})
            for piece in pieces(reply.call.arguments):
                deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        for delta in deltas:
            yield chunk([{"index": 0, "delta": delta, "finish_reason": None}])
        yield chunk([{"index": 0, "delta": {}, "finish_reason": "tool_calls" if reply.call else "stop"}])
        if request.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
            yield chunk([]) | {"usage": usage}

    def error(self, why: str) -> dict:
        return {"error": {"message": why, "type": "invalid_request_error", "param": None, "code": None}}


def chunk(choices: list[dict]) -> dict:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
