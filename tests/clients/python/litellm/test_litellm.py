"""LiteLLM: its SDK as a client, its proxy between a client and Holdall, and its proxy as Holdall's model service."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# It would look up prices on the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402
import pytest  # noqa: E402
from conftest import two_servers, write  # noqa: E402
from conversation import (  # noqa: E402
    LIBRARY_SCENARIOS,
    MODEL,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TOOL_SCHEMA,
    Reply,
    hold_a_conversation,
)
from openai import OpenAI  # noqa: E402
from support import Balancer  # noqa: E402

from holdall import config  # noqa: E402

litellm.telemetry = False

# The proxy's model for Holdall.
SERVICE = "service"

FUNCTION = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": TOOL_SCHEMA}
CHAT_TOOLS = [{"type": "function", "function": FUNCTION}]
RESPONSES_TOOLS = [{"type": "function", **FUNCTION}]


class ResponsesSpeaker:
    """Sends what is new and the id, with a function that has the form of `responses.create`."""

    runs_tools = False

    def __init__(self, create: Callable, balancer: Balancer, stream: bool) -> None:
        self.create = create
        self.balancer = balancer
        self.stream = stream
        self.id: str | None = None

    def say(self, text: str) -> Reply:
        return self.turn([{"role": "user", "content": text}])

    def results(self, results: list[tuple[str, str]]) -> Reply:
        return self.turn([{"type": "function_call_output", "call_id": id_, "output": out} for id_, out in results])

    def turn(self, new: list[dict]) -> Reply:
        members = {"input": new, "tools": RESPONSES_TOOLS, "previous_response_id": self.id}
        response = self.streamed(members) if self.stream else self.create(**members)
        self.id = response.id
        calls = [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]
        texts = [item.content[0].text for item in response.output if item.type == "message"]
        return Reply(last_token(self.balancer), "".join(texts), calls)

    def streamed(self, members: dict):
        events = list(self.create(stream=True, **members))
        assert events[-1].type == "response.completed"
        return events[-1].response


def last_token(balancer: Balancer) -> str:
    """The token in the last answer of a server. LiteLLM wraps ids, and its proxy encrypts what it wraps."""
    return re.findall(rb'"id":"resp_([^"]+)"', balancer.passed[-1].answer)[-1].decode()


class ChatSpeaker:
    """Appends the answer's message, as it came, and sends all of it."""

    runs_tools = False

    def __init__(self, create: Callable) -> None:
        self.create = create
        self.messages: list = []

    def say(self, text: str) -> Reply:
        return self.turn([{"role": "user", "content": text}])

    def results(self, results: list[tuple[str, str]]) -> Reply:
        return self.turn([{"role": "tool", "tool_call_id": id_, "content": out} for id_, out in results])

    def turn(self, new: list[dict]) -> Reply:
        self.messages += new
        completion = self.create(messages=self.messages, tools=CHAT_TOOLS)
        message = completion.choices[0].message
        self.messages.append(message)
        calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
        return Reply(completion.conversation_token, message.content or "", calls)


class Proxy:
    """LiteLLM's proxy; `models` are names and the base URLs of their servers."""

    def __init__(self, folder: Path, models: dict[str, str]) -> None:
        # The proxy refuses to start without one.
        self.key = f"sk-{secrets.token_hex(32)}"
        settings = folder / "litellm.yaml"
        settings.write_text(json.dumps({"model_list": [deployment(*model) for model in models.items()]}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(settings)]
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_MASTER_KEY": self.key,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # A start takes seconds; one that never ends is ended.
        limit = threading.Timer(300, self.process.kill)
        limit.start()
        self.log: list[str] = []
        for line in self.process.stdout:
            self.log.append(line)
            if "Uvicorn running on" in line:
                break
        else:
            raise RuntimeError("".join(self.log))
        limit.cancel()
        # A full pipe would stop it.
        threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True).start()

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key, timeout=60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def deployment(name: str, base_url: str) -> dict:
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{base_url}/v1", "api_key": "unused"},
    }


@pytest.fixture(scope="module")
def proxy(
    addresses: list[str], accepting: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, Balancer]]:
    """The proxy, and the balancer over two servers that it is in front of.

    For Holdall as its client it has another model: the built-in one at a server that is sent whole conversations.
    """
    balancer = Balancer(addresses)
    proxy = Proxy(tmp_path_factory.mktemp("litellm"), {MODEL: balancer.url, SERVICE: accepting})
    yield proxy, balancer
    proxy.close()
    balancer.close()


def sdk(function: Callable, balancer: Balancer) -> Callable:
    """A function of the SDK that calls Holdall."""
    fixed = {"model": f"openai/{MODEL}", "api_base": f"{balancer.url}/v1", "api_key": "unused", "timeout": 30}
    return lambda **members: function(**fixed, **members)


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_responses_of_the_sdk_do_what_every_client_does(balancer: Balancer, scenario: Callable, stream: bool) -> None:
    scenario(ResponsesSpeaker(sdk(litellm.responses, balancer), balancer, stream), balancer, "/v1/responses")


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
def test_completions_of_the_sdk_do_what_every_client_does(balancer: Balancer, scenario: Callable) -> None:
    scenario(ChatSpeaker(sdk(litellm.completion, balancer)), balancer, "/v1/chat/completions")


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_responses_through_the_proxy_do_what_every_client_does(
    proxy: tuple[Proxy, Balancer], scenario: Callable, stream: bool
) -> None:
    between, balancer = proxy
    create = partial(between.client().responses.create, model=MODEL)
    scenario(ResponsesSpeaker(create, balancer, stream), balancer, "/v1/responses")


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
def test_completions_through_the_proxy_do_what_every_client_does(
    proxy: tuple[Proxy, Balancer], scenario: Callable
) -> None:
    between, balancer = proxy
    create = partial(between.client().chat.completions.create, model=MODEL)
    scenario(ChatSpeaker(create), balancer, "/v1/chat/completions")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["openai", "openai-responses"])
def test_the_proxy_is_a_model_service(
    proxy: tuple[Proxy, Balancer], tmp_path_factory: pytest.TempPathFactory, kind: str, stream: bool
) -> None:
    service, _ = proxy
    settings = write(tmp_path_factory, config(kind, f"{service.url}/v1", [(SERVICE, None)], "KEY"))
    for addresses in two_servers(settings, KEY=service.key):
        balancer = Balancer(addresses)
        client = OpenAI(base_url=f"{balancer.url}/v1", api_key="unused", timeout=60)
        create = partial(client.responses.create, model=SERVICE)
        hold_a_conversation(ResponsesSpeaker(create, balancer, stream), balancer, "/v1/responses")
        balancer.close()
