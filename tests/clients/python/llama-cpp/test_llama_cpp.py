"""llama.cpp's server as the model service, with a model of random weights: what it says is nonsense, but its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import two_servers, write
from conversation import FIRST, MODEL, TOOL_DESCRIPTION, TOOL_NAME
from gguf_model import write_model
from support import Balancer

from holdall import Answer, Client, config

SCHEMA = {"type": "object", "properties": {"at": {"enum": ["red"]}}, "required": ["at"], "additionalProperties": False}
TOOL = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": SCHEMA}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of the model service."""
    model = tmp_path_factory.mktemp("model") / "nonsense.gguf"
    write_model(model)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("serve.py")), str(model)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process.stdout.readline().strip().removeprefix("http://")
    process.kill()
    process.wait()


class Chat:
    """A conversation, each turn at the other of two servers."""

    def __init__(self, addresses: list[str], stream: bool) -> None:
        self.addresses = addresses
        self.stream = stream
        self.client = Client()
        self.token: str | None = None

    def turn(self, said: object, **members: object) -> dict:
        self.addresses.reverse()
        options = {"max_output_tokens": 24, "temperature": 0, "stream": self.stream}
        body = {"input": said, "token": self.token, **options, **members}
        answer = self.read(self.client.post(self.addresses[0], "/v1/turns", body))
        self.token = answer["token"]
        return answer

    def read(self, answer: Answer) -> dict:
        assert answer.status == 200, answer.body
        if not self.stream:
            return answer.json()
        *events, (last, whole) = answer.events()
        assert last == "done", whole
        assert "".join(data["text"] for name, data in events if name == "delta") == whole["reply"]
        return whole


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["openai", "openai-responses"])
def test_holds_a_conversation(
    address: str, tmp_path_factory: pytest.TempPathFactory, kind: str, stream: bool
) -> None:
    service = Balancer([address])
    servers = two_servers(write(tmp_path_factory, config(kind, f"{service.url}/v1", [(MODEL, None)])))
    chat = Chat(next(servers), stream)
    try:
        hold_a_conversation(chat)
        check_requests(service)
    finally:
        chat.client.close()
        service.close()
        servers.close()


def hold_a_conversation(chat: Chat) -> None:
    """Five turns; the second has a tool called."""
    answers = [chat.turn(FIRST)]
    called = chat.turn("Look.", tools=[TOOL], tool_choice="required", max_output_tokens=500)
    calls = [item for item in called["output"] if item["t"] == "call"]
    assert {(call["name"], "".join(call["args"].split())) for call in calls} == {(TOOL_NAME, '{"at":"red"}')}
    assert called["finish_reason"] == "tool_calls"
    answers.append(chat.turn([{"t": "result", "id": call["id"], "out": "5"} for call in calls]))
    answers += [chat.turn("What is my name?"), chat.turn("And yours?"), chat.turn("What did I say first?")]
    for answer in answers:
        assert answer["reply"]
    # The service knows the earlier turns again, byte for byte, and need not read them anew; tools stand before them.
    usages = [answer["usage"] for answer in answers[1:]]
    for before, after in zip(usages, usages[1:]):
        assert after["cached_tokens"] >= before["input_tokens"] - 1


def check_requests(service: Balancer) -> None:
    """That each request began with all of the one before it."""
    sent = [passed.json().get("messages") or passed.json()["input"] for passed in service.passed]
    assert len(sent) == 6
    assert FIRST in str(sent[-1][0])
    for before, after in zip(sent, sent[1:]):
        assert after[: len(before)] == before
