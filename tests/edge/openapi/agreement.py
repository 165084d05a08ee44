#!/usr/bin/env python3
"""The document and a running server accept and reject the same requests.

    agreement.py DOCUMENT [PATH …]

Hypothesis generates requests from the schema of each path. Then each request is changed in one place. If the schema accepts
a request, the server must not reject its shape with `request_invalid`. If the schema rejects it, the server must reject it
too. `BEYOND` has the rules that a schema cannot express. The number of requests is fixed, and each run has the same ones.
Exit code 0: they agree. 1: they differ.
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

# The number of generated requests, where it is not that of most paths. A count takes the same members as its turn.
REQUESTS = {
    "/v1/turns": 30,
    "/v1/history": 10,
    "/v1/revocations": 15,
    "/v1/responses/input_tokens": 5,
    "/v1/messages/count_tokens": 5,
}
MOST_PATHS = 20
# The number of changes of each generated request.
CHANGES = 24

# Rules between members, about the conversation, or about the caller: the errors for a request whose shape is valid. Some
# members name the user, and count only if neither a credential nor a newer member does.
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
            "The user in the request is invalid",
            "A user name must not start with `anon-`",
            "An image must ",
        ]
    )
)

NUMBER = re.compile(r"\d+")

beyond_schema: set[str] = set()


def inlined(schema: object, whole: dict) -> object:
    """The schema without references. No schema of the document is recursive."""
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


class Agreement:
    """Sends requests to a server, and compares its verdicts with those of the schema."""

    def __init__(self, document: Document, address: str, path: str) -> None:
        self.document, self.path = document, path
        self.schema = document.request(path)
        self.address = address
        self.counts = {"accepted": 0, "rejected": 0}
        self.differences: dict[str, bytes] = {}

    def compare(self, body: object) -> None:
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
        rejected = response.status >= 400
        code, detail = (error.get("code"), str(error.get("detail") or error.get("message"))) if rejected else (None, "")
        faults = self.document.faults(self.schema, body)
        self.counts["rejected" if faults else "accepted"] += 1
        if faults and not rejected:
            self.differ("accepts what the schema rejects", str(faults), text)
        if not faults and code == "request_invalid":
            beyond_schema.add(detail)
            if not BEYOND.search(detail):
                self.differ("rejects what the schema accepts", detail, text)

    def differ(self, verdict: str, reason: str, request: bytes) -> None:
        """Notes the shortest request for each reason. Requests that differ in a number have the same reason."""
        heading = f"{self.path}: the server {verdict}: {re.sub(NUMBER, 'N', reason)[:600]}"
        self.differences[heading] = min(self.differences.get(heading, request), request, key=len)


def is_stream(response: http.client.HTTPResponse) -> bool:
    return response.headers["content-type"].startswith("text/event-stream")


ODD = [None, True, 0, -1, 1.5, 5_000_000_000, "", "x", "auto", "user", [], [None], ["x"], {}, {"x": 1}, {"text": "x"}, [{"text": "x"}]]


def changed(body: object, chance: random.Random) -> object:
    """The body with one change: another value, one member less, or one member more."""
    body = copy.deepcopy(body)
    value, parent = body, None
    while isinstance(value, (dict, list)) and value and (parent is None or chance.random() < 0.7):
        key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        parent, value = (value, key), value[key]
    if parent is None:
        return chance.choice(ODD)
    inside, key = parent
    kind = chance.random()
    if kind < 0.2:
        del inside[key]
    elif kind < 0.3 and isinstance(inside, dict):
        inside["unknown_member"] = chance.choice(ODD)
    else:
        inside[key] = chance.choice(ODD)
    return body


def run(agreement: Agreement, examples: int) -> None:
    strategy = from_schema(inlined(agreement.schema, agreement.document.whole))

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy, st.integers(0, 2**32))
    def one(body: object, seed: int) -> None:
        agreement.compare(body)
        chance = random.Random(seed)
        for _ in range(CHANGES):
            agreement.compare(changed(body, chance))

    one()


def main() -> None:
    document = Document(sys.argv[1])
    server = start(settings="retries = 0\n")
    differences: list[str] = []
    try:
        for path in sys.argv[2:] or document.posts():
            agreement = Agreement(document, server.address, path)
            run(agreement, REQUESTS.get(path, MOST_PATHS))
            differences += [f"{heading}\n   {request.decode()[:600]}" for heading, request in sorted(agreement.differences.items())]
            print(f"   {path}: the schema accepts {agreement.counts['accepted']} requests, and rejects {agreement.counts['rejected']}")
    finally:
        server.kill()
    for detail in sorted({re.sub(NUMBER, "N", detail)[:100] for detail in beyond_schema}):
        print(f"   beyond the schema: {detail}")
    if differences:
        raise SystemExit("\n".join(differences))


main()
