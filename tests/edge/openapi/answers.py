#!/usr/bin/env python3
"""A running server answers as the document says: on every path, complete and streamed, and with errors in every format.

    answers.py DOCUMENT

For each answer, the script looks up its status, headers, media type and body under the path. For a stream, it looks up each
event. An undocumented member of an answer is a fault. Exit code 0: all answers are as documented. 1: some are not.
"""

from __future__ import annotations

import copy
import http.client
import json
import sys
from collections import Counter
from collections.abc import Iterator

from support import FAILING, Document, Model, start

TOOL = {"type": "object", "properties": {"a": {"type": "integer"}}}
seen: Counter[str] = Counter()
wrong: list[str] = []


def closed(schema: object, name: str = "") -> object:
    """The schema, with undocumented members of objects as faults. Parts of an `allOf` stay open."""
    if isinstance(schema, list):
        return [closed(part, name) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part, key) if key != "properties" else {k: closed(p) for k, p in part.items()} for key, part in schema.items()}
    if "properties" in parts and "additionalProperties" not in parts and name != "allOf":
        parts["unevaluatedProperties"] = False
    return parts


def parts_of_others(node: object) -> Iterator[str]:
    """The names of the schemas that an `allOf` refers to."""
    if isinstance(node, dict):
        for part in node.get("allOf", []):
            if "$ref" in part:
                yield part["$ref"].rsplit("/", 1)[1]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from parts_of_others(inner)


class Session:
    """Sends requests to a server, and compares its answers with the document."""

    def __init__(self, document: Document, address: str) -> None:
        self.document = copy.copy(document)
        self.document.whole = copy.deepcopy(document.whole)
        schemas = self.document.whole["components"]["schemas"]
        # A schema that is also a part of another one stays open.
        parts = set(parts_of_others(self.document.whole))
        for name in schemas:
            schemas[name] = schemas[name] if name in parts else closed(schemas[name])
        self.address = address

    def ask(self, method: str, path: str, body: object = None, status: int = 200, headers: dict | None = None, raw: bytes | None = None) -> dict:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = {"content-type": "application/json"} | (headers or {})
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        where = f"{method} {path} {response.status}"
        if response.status != status:
            wrong.append(f"{where}: expected {status}: {text[:300]!r}")
            return {}
        return self.check(where, path.split("?")[0], method.lower(), response, text)

    def check(self, where: str, path: str, method: str, response: http.client.HTTPResponse, text: bytes) -> dict:
        responses = self.document.operation(path, method)["responses"]
        described = responses.get(str(response.status))
        if described is None:
            wrong.append(f"{where}: this status is not documented: {text[:200]!r}")
            return {}
        for name in ("retry-after", "ratelimit", "ratelimit-policy", "www-authenticate", "x-should-retry"):
            if response.headers.get(name) is not None and name not in described.get("headers", {}):
                wrong.append(f"{where}: the header `{name}` is not documented")
        if response.status == 304:
            seen[where] += 1
            return {}
        media = response.headers["content-type"].split(";")[0]
        content = described["content"].get(media)
        if content is None:
            wrong.append(f"{where}: the media type {media} is not documented")
            return {}
        if media == "text/event-stream":
            return self.stream(where, content["schema"], text.decode())
        body = json.loads(text)
        seen[f"{where} {code_of(body)}".strip()] += 1
        wrong.extend(f"{where}: {fault}" for fault in self.document.faults(content["schema"], body))
        return body

    def stream(self, where: str, schema: dict, text: str) -> dict:
        last: dict = {}
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
            if "data" not in fields:
                continue
            data = fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])
            event = {"data": data} | ({"event": fields["event"]} if "event" in fields else {})
            seen[f"{where} {fields.get('event', '-')}"] += 1
            wrong.extend(f"{where} {fields.get('event', '')}: {fault}" for fault in self.document.faults(schema, event))
            last = data if isinstance(data, dict) else last
        return last


def code_of(body: dict) -> str:
    error = body.get("error")
    return str(body.get("code") or (error.get("code") if isinstance(error, dict) else ""))


def turns(session: Session) -> str:
    """Takes turns in the native API. Returns a token."""
    tools = {"tools": [{"name": "add", "description": "adds", "parameters": TOOL}]}
    token = None
    for stream in (False, True):
        for more in ({"input": "My name is Ada."}, {"input": 'Call add with {"a": 1}', **tools}):
            token = session.ask("POST", "/v1/turns", {**more, "token": token, "user_id": "ada", "stream": stream})["token"]
        answer = session.ask("POST", "/v1/history", {"token": token, "user_id": "ada"})
        call = [item for item in answer["items"] if item["t"] == "call"][-1]["id"]
        result = {"t": "result", "id": call, "out": [{"text": "3"}], "error": True}
        token = session.ask("POST", "/v1/turns", {"input": [result], "token": token, "user_id": "ada", "stream": stream})["token"]
    inline = [{"text": "Look."}, {"image": "data:image/png;base64,AAAA"}]
    return session.ask("POST", "/v1/turns", {"input": inline, "token": token, "user_id": "ada"})["token"]


def compatible(session: Session) -> None:
    """Takes turns in the compatible APIs: with and without a tool call, complete and streamed."""
    chat_tools = [{"type": "function", "function": {"name": "add", "parameters": TOOL}}]
    response_tools = [{"type": "function", "name": "add", "parameters": TOOL}]
    message_tools = [{"name": "add", "input_schema": TOOL}]
    for text in ("My name is Ada.", 'Call add with {"a": 1}'):
        for stream in (False, True):
            chat = {"model": "default", "messages": [{"role": "user", "content": text}], "tools": chat_tools, "stream": stream}
            session.ask("POST", "/v1/chat/completions", {**chat, "stream_options": {"include_usage": stream}})
            for how in ("hold", "live"):
                response = {"model": "default", "input": text, "tools": response_tools, "stream": stream, "tool_choice": "auto"}
                session.ask("POST", "/v1/responses", {**response, "metadata": {"holdall_stream": how, "a": "b"}, "user": "u"})
            message = {"model": "default", "max_tokens": 99, "messages": [{"role": "user", "content": text}], "tools": message_tools}
            session.ask("POST", "/v1/messages", {**message, "stream": stream})
        session.ask("POST", "/v1/responses/input_tokens", {"model": "default", "input": text})
        session.ask("POST", "/v1/messages/count_tokens", {"model": "default", "messages": [{"role": "user", "content": text}]})
    session.ask("POST", "/v1/responses", {"model": "default", "input": "hi", "store": False})
    session.ask("POST", "/v1/responses", {"model": "default", "input": "hi", "tools": response_tools, "tool_choice": {"type": "function", "name": "add"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"}, "reasoning": {"effort": "low"}})


REQUESTS = {
    "/v1/turns": lambda text, model, stream: {"input": text, "model": model, "stream": stream},
    "/v1/chat/completions": lambda text, model, stream: {"messages": [{"role": "user", "content": text}], "model": model, "stream": stream},
    "/v1/responses": lambda text, model, stream: {"input": text, "model": model, "stream": stream, "metadata": {"holdall_stream": "live"}},
    "/v1/messages": lambda text, model, stream: {"messages": [{"role": "user", "content": text}], "model": model, "max_tokens": 9, "stream": stream},
}


def errors(session: Session) -> None:
    """Errors in each API, before and inside a stream."""
    statuses = {"refusing": 502, "overflowing": None, "failing": 502, "busy": 502, "garbling": 502}
    for path, request in REQUESTS.items():
        for model in FAILING:
            for stream in (False, True):
                status = 400 if model == "overflowing" and path != "/v1/turns" else statuses.get(model) or 502
                # An error after the start of a stream is an event.
                session.ask("POST", path, request("hi", model, stream), 200 if model == "cutting" and stream else status)
        session.ask("POST", path, request("hi", "none", False), 400 if path == "/v1/turns" else 404)
        session.ask("POST", path, request("x" * 300_000, "default", False), 413)
        session.ask("POST", path, raw=b"{}", status=400)
        session.ask("POST", path, raw=b"{}", headers={"content-type": "text/plain"}, status=415)
        session.ask("POST", path, raw=b'"' + b"x" * 5_000_000 + b'"', status=413)
        token = {"/v1/responses": {"previous_response_id": "resp_a.b.c"}, "/v1/turns": {"token": "a.b.c"}}
        session.ask("POST", path, request("hi", "default", False) | token.get(path, {"conversation_token": "a.b.c"}), 400)
    session.ask("POST", "/v1/messages", REQUESTS["/v1/messages"]("hi", "default", False) | {"max_tokens": 0}, 400)
    session.ask("POST", "/v1/turns", {"input": [{"role": "system", "text": "x"}]}, 400)


def pages(session: Session, token: str) -> None:
    """All paths that are not an API."""
    for path in ("/health", "/healthz", "/ready", "/readyz", "/openapi.json", "/v1/models", "/v1/models/default", "/v1/usage?user_id=ada"):
        session.ask("GET", path)
    session.ask("GET", "/v1/models/none", status=404)
    session.ask("GET", "/v1/models/none", status=404, headers={"anthropic-version": "2023-06-01"})
    session.ask("GET", "/v1/usage?user_id=%ff", status=400)
    session.ask("GET", "/v1/usage")
    session.ask("POST", "/v1/history", {"token": "a.b.c"}, 400)
    session.ask("POST", "/v1/history", {"token": token, "user_id": "eve"}, 400)
    session.ask("POST", "/v1/revocations", {"conversation_id": "01890a5d-ac96-774b-bcce-b302099a8057"}, 401)
    # A server without a limits store cannot revoke. tests/guard tests one with a store.
    session.ask("POST", "/v1/revocations", {"token": token, "user_id": "ada"}, 400)


def limits(session: Session) -> None:
    """Answers with limits: within a limit, over it, and without a credential."""
    for path, request in REQUESTS.items():
        headers = {"authorization": "Bearer hk_" + path.rsplit("/", 1)[1]}
        session.ask("POST", path, request("hi", "default", False), 401)
        session.ask("POST", path, request("hi", "default", False), headers=headers)
        session.ask("POST", path, request("hi", "default", False), 429, headers=headers)
        session.ask("GET", "/v1/usage", headers=headers)
    for path in ("/v1/models", "/v1/models/default", "/v1/usage"):
        session.ask("GET", path, status=401)
    session.ask("GET", "/v1/models", status=401, headers={"anthropic-version": "2023-06-01"})
    session.ask("POST", "/v1/history", {"token": "x"}, 401)
    session.ask("POST", "/v1/turns", {"input": "hi"}, 400, headers={"authorization": "Bearer a", "x-api-key": "b"})


def main() -> None:
    from hashlib import sha256

    document, model = Document(sys.argv[1]), Model()
    server = start(model, "retries = 0\n")
    try:
        session = Session(document, server.address)
        token = turns(session)
        compatible(session)
        errors(session)
        pages(session, token)
    finally:
        server.kill()
    names = ["turns", "completions", "responses", "messages"]
    keys = ", ".join(f'{{ digest = "{sha256(f"hk_{name}".encode()).hexdigest()}", user = "{name}" }}' for name in names)
    server = start(settings=f'identity = {{ mode = "api_key", api_key = {{ keys = [{keys}] }} }}\n[guard]\nrate = "1/1h"\n')
    try:
        limits(Session(document, server.address))
    finally:
        server.kill()
    if wrong:
        raise SystemExit("\n".join(dict.fromkeys(wrong)))
    print(f"{sum(seen.values())} answers and events of {len(seen)} kinds are as documented")


main()
