"""The conversation that every client holds, and what a token must hold at its end.

Five turns; the second has the model call a tool, so that there are six requests. The built-in model answers from the
history alone, which is why the answers prove that the history came along.
"""

from __future__ import annotations

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
CALLING = f"Call {TOOL_NAME} with {TOOL_ARGUMENTS}"
# What is said, and what is answered; the result of the call is what the second turn goes on with.
TURNS = [
    (FIRST, "Noted: your name is Ada."),
    (CALLING, f"{TOOL_NAME} gave: {TOOL_RESULT}"),
    ("What is my name?", "Your name is Ada."),
    ("How many turns do you see?", "I see 4 messages of yours and 3 replies of mine: this is turn 4."),
    ("What did I say first?", f'Your first message was: "{FIRST}"'),
]
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

    def say(self, text: str) -> Reply: ...

    def result(self, call_id: str, out: str) -> Reply: ...


def hold(speaker: Speaker, balancer: Balancer, path: str) -> str:
    """Holds the conversation; gives back the token that it ends with."""
    before = len(balancer.passed)
    tokens = []
    for said, answered in TURNS:
        reply = speaker.say(said)
        tokens.append(reply.token)
        if said == CALLING:
            assert reply.text == ""
            [(call_id, name, arguments)] = reply.calls
            assert (name, arguments) == (TOOL_NAME, TOOL_ARGUMENTS)
            reply = speaker.result(call_id, TOOL_RESULT)
            tokens.append(reply.token)
        assert (reply.text, reply.calls) == (answered, [])
    check_way(balancer, before, path)
    # A token is spent on one turn; each turn gives another.
    assert len(set(tokens)) == REQUESTS
    check_history(balancer, tokens[-1])
    return tokens[-1]


def check_way(balancer: Balancer, before: int, path: str) -> None:
    """That each request went once, and to the other server than the one before it."""
    passed = balancer.passed[before:]
    assert [(one.method, one.path.partition("?")[0], one.status) for one in passed] == [("POST", path, 200)] * REQUESTS
    assert {one.backend for one in passed} == {0, 1}
    assert all(one.backend != next_.backend for one, next_ in zip(passed, passed[1:]))


def check_history(balancer: Balancer, token: str) -> None:
    """That both servers read the whole conversation out of the token."""
    for address in balancer.addresses:
        client = Client()
        answer = client.post(address, "/v1/history", {"token": token})
        client.close()
        assert answer.status == 200, answer.body
        items = answer.json()["items"]
        assert [told(item) for item in items] == expected_history()
        # A call and its result know each other by the id.
        ids = [item["id"] for item in items if "id" in item]
        assert ids == [ids[0]] * 2


def expected_history() -> list[tuple]:
    items: list[tuple] = []
    for said, answered in TURNS:
        items.append(("user", said))
        if said == CALLING:
            items += [("call", TOOL_NAME, TOOL_ARGUMENTS), ("result", TOOL_RESULT)]
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
