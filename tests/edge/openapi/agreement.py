#!/usr/bin/env python3
"""The document and the server agree on what a request is.

    agreement.py DOCUMENT [PATH …]

Requests are made of each path's schema, and then changed in one place. What the schema takes, the server does not refuse
as `request_invalid` for its shape; what the schema refuses, the server refuses. What a schema cannot say is in `BEYOND`.
Bounded in count, and the same requests every time. Exit 0 they agree, 1 they do not.
"""

from __future__ import annotations

import copy
import http.client
import json
import random
import re
import sys

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from support import Document, start

PATHS = {
    "/v1/turns": 30,
    "/v1/history": 10,
    "/v1/revocations": 15,
    "/v1/responses": 20,
    "/v1/responses/input_tokens": 5,
    "/v1/chat/completions": 20,
    "/v1/messages": 20,
    "/v1/messages/count_tokens": 5,
}
# How many other requests are made of each.
CHANGES = 24

# Rules between members, or about the conversation: what a server says of a request whose shape is right.
BEYOND = re.compile(
    "|".join(
        [
            "`tool_choice` (names|requires|allows|.tools)",
            "must name one or more functions of `tools`",
            "`thinking.budget_tokens` must be at least",
            "`model` is missing. Send a name from GET /v1/models, or continue",
            "`input` is empty. Send text",
            "The input message is empty",
            "No open tool call has the id",
        ]
    )
)

said: set[str] = set()


def inlined(schema: object, whole: dict) -> object:
    """A schema without references; none of ours leads back to itself."""
    if isinstance(schema, list):
        return [inlined(part, whole) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "description", "default")}
        found = inlined(named, whole)
        return {"allOf": [found, inlined(rest, whole)]} if rest else found
    return {key: inlined(value, whole) for key, value in schema.items() if key not in ("description", "default", "format")}


class Both:
    """The schema and the server, asked the same."""

    def __init__(self, document: Document, address: str, path: str) -> None:
        self.document, self.path = document, path
        self.schema = document.request(path)
        self.address = address
        self.counts = {"taken": 0, "refused": 0}
        self.apart: set[str] = set()

    def ask(self, body: object) -> None:
        try:
            text = json.dumps(body).encode()
        except (TypeError, ValueError):
            return
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("POST", self.path, text, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        answer = {} if is_stream(response) else json.loads(answer)
        error = answer.get("error") if isinstance(answer.get("error"), dict) else answer
        refused = response.status >= 400
        code, detail = (error.get("code"), str(error.get("detail") or error.get("message"))) if refused else (None, "")
        faults = self.document.faults(self.schema, body)
        self.counts["refused" if faults else "taken"] += 1
        if faults and not refused:
            self.apart.add(f"{self.path}: the schema refuses what the server takes\n{text.decode()}\n{faults}")
        if not faults and code == "request_invalid":
            said.add(detail)
            if not BEYOND.search(detail):
                self.apart.add(f"{self.path}: the server refuses what the schema takes\n{text.decode()}\n{detail}")


def is_stream(response: http.client.HTTPResponse) -> bool:
    return response.headers["content-type"].startswith("text/event-stream")


ODD = [None, True, 0, -1, 1.5, 5_000_000_000, "", "x", "auto", "user", [], [None], ["x"], {}, {"x": 1}, {"text": "x"}, [{"text": "x"}]]


def changed(body: object, chance: random.Random) -> object:
    """The same but in one place: another value, a member less, or one more."""
    body = copy.deepcopy(body)
    place, holder = body, None
    while isinstance(place, (dict, list)) and place and (holder is None or chance.random() < 0.7):
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        holder, place = (place, key), place[key]
    if holder is None:
        return chance.choice(ODD)
    inside, key = holder
    way = chance.random()
    if way < 0.2:
        del inside[key]
    elif way < 0.3 and isinstance(inside, dict):
        inside["unheard_of"] = chance.choice(ODD)
    else:
        inside[key] = chance.choice(ODD)
    return body


def agree(both: Both, examples: int) -> None:
    strategy = from_schema(inlined(both.schema, both.document.whole))

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy, st.integers(0, 2**32))
    def one(body: object, seed: int) -> None:
        both.ask(body)
        chance = random.Random(seed)
        for _ in range(CHANGES):
            both.ask(changed(body, chance))

    one()


def main() -> None:
    document = Document(sys.argv[1])
    server = start(settings="retries = 0\n")
    apart: list[str] = []
    try:
        for path in sys.argv[2:] or PATHS:
            both = Both(document, server.address, path)
            agree(both, PATHS[path])
            apart += sorted(both.apart)
            print(f"   {path}: {both.counts['taken']} that the schema takes, {both.counts['refused']} that it refuses")
    finally:
        server.kill()
    for detail in sorted({re.sub(r"\d+", "N", detail)[:100] for detail in said}):
        print(f"   beyond the schema: {detail}")
    if apart:
        raise SystemExit("\n".join(text[:1_000] for text in apart[:20]))


main()
