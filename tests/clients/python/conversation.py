"""What every client does: hold a conversation, have two tools called at once, carry odd and long texts.

The conversation has five turns; the second has the model call a tool, so that there are six requests. The built-in
model answers from the history alone, which is why the answers prove that the history came along.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass, field
from typing import Protocol

from support import Balancer

from holdall import Client

MODEL = "default"
TOOL_NAME = "add"
TOOL_DESCRIPTION = "Adds two numbers."
TOOL_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
TOOL_ARGUMENTS = '{"a": 2, "b": 3}'
TOOL_RESULT = "5"

FIRST = "My name is Ada."


def calling(tool: str) -> str:
    """What has the model call the tool of that name."""
    return f"Call {tool} with {TOOL_ARGUMENTS}"


def turns(tool: str) -> list[tuple[str, str]]:
    """What is said, and what is answered; the result of the call is what the second turn goes on with."""
    return [
        (FIRST, "Noted: your name is Ada."),
        (calling(tool), f"{tool} gave: {TOOL_RESULT}"),
        ("What is my name?", "Your name is Ada."),
        ("How many turns do you see?", "I see 4 messages of yours and 3 replies of mine: this is turn 4."),
        ("What did I say first?", f'Your first message was: "{FIRST}"'),
    ]


CALLING = calling(TOOL_NAME)
TURNS = turns(TOOL_NAME)
REQUESTS = len(TURNS) + 1

# No token, whatever it is read as; and ids that resp_… would be cut off from.
GARBAGE = "bm90LWEtdG9rZW4.bm90LWEtdG9rZW4.bm90LWEtdG9rZW4"


@dataclass
class Reply:
    """One answer, as the client under test has it."""

    token: str
    text: str
    # Id, name, arguments.
    calls: list[tuple[str, str, str]] = field(default_factory=list)


class Speaker(Protocol):
    """A way to use a client; keeps what that client needs to go on."""

    # Whether it calls tools by itself, and goes on with what they gave.
    runs_tools: bool
    # The tool's name in requests.
    tool_name: str = TOOL_NAME

    def say(self, text: str) -> Reply: ...

    def results(self, results: list[tuple[str, str]]) -> Reply: ...


def hold_a_conversation(speaker: Speaker, balancer: Balancer, path: str) -> None:
    """Five turns over two servers; at the end the token holds all of it."""
    before = len(balancer.passed)
    tokens = []
    tool = tool_of(speaker)
    for said, answered in turns(tool):
        reply = speaker.say(said)
        tokens.append(reply.token)
        if said == calling(tool) and not speaker.runs_tools:
            reply = called(speaker, reply, [(TOOL_ARGUMENTS, TOOL_RESULT)])
            tokens.append(reply.token)
        assert (reply.text, reply.calls) == (answered, [])
    check_way(balancer, before, path)
    # Each turn gives another.
    assert len(set(tokens)) == len(tokens)
    check_history(balancer, tokens[-1], tool)


def have_two_calls_at_once(speaker: Speaker, balancer: Balancer, path: str) -> None:
    """Both results go back in one request."""
    before = len(balancer.passed)
    first, second = '{"a": 1, "b": 2}', '{"a": 3, "b": 4}'
    tool = tool_of(speaker)
    reply = speaker.say(f"Call {tool} with {first} and call {tool} with {second}")
    if not speaker.runs_tools:
        reply = called(speaker, reply, [(first, "3"), (second, "7")])
    assert reply.text == f"{tool} gave: 3\n{tool} gave: 7"
    assert [passed.path.partition("?")[0] for passed in balancer.passed[before:]] == [path] * 2


def carry_odd_text(speaker: Speaker, balancer: Balancer, path: str) -> None:
    """Line ends of all kinds, which decoders of streams stumble over; quotes, signs beyond 16 bits, right to left."""
    odd = "Grüß 👩\u200d🚀\r\n\"q\" \\ \u2028\u2029\x85\x0b\x0c\ttab\n\ndata: [DONE]\n\nevent: error\rمرحبا é 𝕏"
    assert speaker.say(f"Repeat {odd}").text == odd
    assert speaker.say("What did I say first?").text == f'Your first message was: "Repeat {odd}"'


def carry_a_long_text(speaker: Speaker, balancer: Balancer, path: str) -> None:
    """A token of a few 100 kB is no trouble to a client."""
    # Nothing that a compressor could make use of.
    noise = random.Random(1)
    longs = [base64.b64encode(noise.randbytes(150_000)).decode() for _ in range(2)]
    for long in longs:
        reply = speaker.say(f"Repeat {long}")
        assert reply.text == long
    assert len(reply.token) > 400_000
    assert speaker.say("How many turns do you see?").text == (
        "I see 3 messages of yours and 2 replies of mine: this is turn 3."
    )


SCENARIOS = [hold_a_conversation, have_two_calls_at_once, carry_odd_text, carry_a_long_text]
# For libraries on top of an SDK that is tested itself.
LIBRARY_SCENARIOS = SCENARIOS[:3]


def tool_of(speaker: Speaker) -> str:
    return getattr(speaker, "tool_name", TOOL_NAME)


def called(speaker: Speaker, reply: Reply, expected: list[tuple[str, str]]) -> Reply:
    """Checks the calls of a reply, and sends their results; `expected` are arguments and result."""
    assert reply.text == ""
    assert [(name, arguments) for _, name, arguments in reply.calls] == [
        (tool_of(speaker), given) for given, _ in expected
    ]
    return speaker.results([(id_, out) for (id_, _, _), (_, out) in zip(reply.calls, expected)])


def check_way(balancer: Balancer, before: int, path: str) -> None:
    """That each request went once, and to the other server than the one before it."""
    passed = balancer.passed[before:]
    assert [(one.method, one.path.partition("?")[0], one.status) for one in passed] == [("POST", path, 200)] * REQUESTS
    assert {one.backend for one in passed} == {0, 1}
    assert all(one.backend != next_.backend for one, next_ in zip(passed, passed[1:]))


def check_history(balancer: Balancer, token: str, tool: str = TOOL_NAME) -> None:
    """That both servers read the whole conversation out of the token."""
    for address in balancer.addresses:
        client = Client()
        answer = client.post(address, "/v1/history", {"token": token})
        client.close()
        assert answer.status == 200, answer.body
        items = answer.json()["items"]
        # Beside the messages there may be what a model service has of its own.
        items = [item for item in items if item["t"] != "think"]
        assert [told(item) for item in items] == expected_history(tool)
        # A call and its result know each other by the id.
        ids = [item["id"] for item in items if "id" in item]
        assert ids == [ids[0]] * 2


def expected_history(tool: str) -> list[tuple]:
    items: list[tuple] = []
    for said, answered in turns(tool):
        items.append(("user", said))
        if said == calling(tool):
            items += [("call", tool, TOOL_ARGUMENTS), ("result", TOOL_RESULT)]
        items.append(("assistant", answered))
    return items


def told(item: dict) -> tuple:
    """An item of the history without its id."""
    match item:
        case {"t": "msg", "role": role, "parts": [{"text": text}]}:
            return role, text
        case {"t": "call", "name": name, "args": arguments}:
            return "call", name, arguments
        case {"t": "result", "out": out}:
            return "result", out
    return ("unexpected", item)
