#!/usr/bin/env python3
"""Checks the doors against the published schemas of the APIs that they speak.

    check.py LLM-COMPLY

First llm-comply's own requests, in its three formats. Then, for Open Responses, what its compliance tests ask beyond
that: a round trip through a tool and a continued conversation, at two servers in turn, whole, held and live; every body
and every event is held against the schema. Exit 0 all as expected, 1 not so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import llm_comply  # noqa: E402
from holdall import Answer, Client, Server, new_keys  # noqa: E402
from llm_comply.schema import SSE_EVENT_TO_SCHEMA, SpecLoader  # noqa: E402

# The suite sends an assistant's messages without a token, which only this setting takes.
CONFIG = 'client_history = "accept"\n'

FORMATS = ("open-responses", "openai-chat", "anthropic")

# It grants that servers have no such path, and then says what the answer lacks.
NOT_OFFERED = {"compact-response"}

# Its table has two names that the specification does not; these are the specification's.
EVENTS = SSE_EVENT_TO_SCHEMA | {
    "response.reasoning_summary_text.delta": "ResponseReasoningSummaryDeltaStreamingEvent",
    "response.reasoning_summary_text.done": "ResponseReasoningSummaryDoneStreamingEvent",
}

SPEC = SpecLoader(str(Path(llm_comply.__file__).parent / "specs" / "openresponses.json"))

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}


class Difference(Exception):
    """Something is not as it should be."""


def equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Difference(f"{what} is {found!r}, not {expected!r}")


def conforms(schema: str, value: object) -> None:
    errors = SPEC.validate(value, schema)
    if errors:
        raise Difference(f"{schema}: {'; '.join(errors[:5])}")


def suite(program: str, form: str, address: str) -> None:
    """Runs llm-comply in one of its formats."""
    command = [program, "run", "--format", form, "-u", f"http://{address}/v1", "-k", "none", "-m", "default", "--json"]
    if form == "anthropic":
        command += ["--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(run.stdout)["results"]
    counts = {"passed": 0, "skipped": 0}
    for result in results:
        shortcomings = result.get("errors", []) if result["status"] == "failed" else result.get("warnings", [])
        granted = result["status"] == "passed" and result["id"] in NOT_OFFERED
        if shortcomings and not granted:
            raise Difference(f"{result['id']}: {'; '.join(shortcomings[:5])}")
        counts[result["status"]] += 1
    print(f"        {form}: {counts['passed']} passed, {counts['skipped']} skipped")


class Talk:
    """A conversation at two servers in turn, in one of the ways that a reply comes."""

    def __init__(self, addresses: list[str], way: str) -> None:
        self.addresses = addresses
        self.way = way
        self.client = Client()
        self.id: str | None = None
        self.turns = 0

    def ask(self, given: object, **more: object) -> dict:
        """One turn: the response that the stream ends with, or that is the answer."""
        body = {"model": "default", "input": given, "previous_response_id": self.id, **more}
        body["stream"] = self.way != "whole"
        if self.way == "live":
            body["metadata"] = {"holdall_stream": "live"}
        answer = self.client.post(self.addresses[self.turns % 2], "/v1/responses", body)
        self.turns += 1
        equal("status", answer.status, 200)
        response = answer.json() if self.way == "whole" else self.streamed(answer)
        conforms("ResponseResource", response)
        equal("status of the response", response["status"], "completed")
        self.id = response["id"]
        return response

    def streamed(self, answer: Answer) -> dict:
        blocks = [block for block in answer.body.decode().split("\n\n") if block and not block.startswith(":")]
        equal("the end", blocks.pop(), "data: [DONE]")
        ids = set()
        for number, block in enumerate(blocks):
            name, data = block.split("\n")
            event = json.loads(data.removeprefix("data: "))
            equal("event", name, f"event: {event['type']}")
            equal("sequence_number", event["sequence_number"], number)
            conforms(EVENTS[event["type"]], event)
            if "response" in event:
                ids.add(event["response"]["id"])
        equal("the first event", json.loads(blocks[0].split("data: ")[1])["type"], "response.created")
        equal("the last event", event["type"], "response.completed")
        equal("how many ids there are", len(ids), 2 if self.way == "live" else 1)
        return event["response"]


def text(response: dict) -> str:
    equal("the items", [item["type"] for item in response["output"]], ["message"])
    return "".join(part["text"] for part in response["output"][0]["content"])


def round_trip(talk: Talk) -> None:
    """A conversation with a call in it, as the compliance tests make one."""
    equal("the reply", text(talk.ask("My name is Ada.")), "Noted: your name is Ada.")
    use_it = {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}}
    asked = talk.ask("Use the weather tool to get the temperature in San Francisco.", **use_it)
    equal("the items", [item["type"] for item in asked["output"]], ["function_call"])
    call = asked["output"][0]
    equal("the tool", call["name"], "get_weather")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "64 degrees and clear"}
    equal("the reply", text(talk.ask([result])), "get_weather gave: 64 degrees and clear")
    equal("the reply", text(talk.ask("What is my name?")), "Your name is Ada.")


def at_once(addresses: list[str]) -> None:
    """The compliance tests run all at once."""
    failures = []

    def ask(number: int) -> None:
        try:
            talk = Talk(addresses, "held" if number % 2 else "whole")
            equal("the reply", text(talk.ask(f"Repeat {number}")), str(number))
        except Exception as error:  # noqa: BLE001 - a thread's end is not seen otherwise
            failures.append(f"{number}: {error}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal("what failed of twelve at once", failures, [])


def refused(address: str) -> None:
    """An error has the members that the schema wants."""
    body = {"model": "default", "input": "What is my name?", "previous_response_id": "resp_garbage"}
    for stream in (False, True):
        answer = Client().post(address, "/v1/responses", body | {"stream": stream})
        equal("status", answer.status, 400)
        conforms("ErrorPayload", answer.json()["error"])
        equal("code", answer.json()["error"]["code"], "previous_response_not_found")


def main() -> int:
    keys = new_keys()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "holdall.toml")
        config.write_text(CONFIG)
        servers = [Server(config, keys) for _ in range(2)]
        addresses = [server.address for server in servers]
        steps = [(f"llm-comply, {form}", lambda form=form: suite(sys.argv[1], form, addresses[0])) for form in FORMATS]
        for way in ("whole", "held", "live"):
            steps.append((f"round trip, {way}", lambda way=way: round_trip(Talk(addresses, way))))
        steps += [("twelve at once", lambda: at_once(addresses)), ("refused", lambda: refused(addresses[0]))]
        failed = 0
        try:
            for name, step in steps:
                try:
                    step()
                    print(f"ok      {name}")
                except Difference as difference:
                    failed += 1
                    print(f"FAILED  {name}: {difference}")
        finally:
            for server in servers:
                server.kill()
    print(f"{len(steps) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
