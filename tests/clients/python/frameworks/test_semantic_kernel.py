"""Semantic Kernel's `OpenAIResponsesAgent`: the thread keeps the id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from conversation import MODEL, LIBRARY_SCENARIOS, Reply
from openai import AsyncOpenAI
from semantic_kernel.agents import OpenAIResponsesAgent
from semantic_kernel.functions import kernel_function
from support import Balancer


class Adder:
    @kernel_function(name="add", description="Adds two numbers.")
    def add(self, a: int, b: int) -> int:
        return a + b


def agent_of(balancer: Balancer) -> OpenAIResponsesAgent:
    client = AsyncOpenAI(base_url=f"{balancer.url}/v1", api_key="unused", timeout=30)
    return OpenAIResponsesAgent(
        ai_model_id=MODEL, client=client, name="Adder", instructions="Add with the tool.", plugins=[Adder()]
    )


class Speaker:
    """Keeps the thread."""

    runs_tools = True
    tool_name = "Adder-add"

    def __init__(self, balancer: Balancer, way: Callable, runner: asyncio.Runner) -> None:
        self.agent = agent_of(balancer)
        self.way = way
        self.runner = runner
        self.thread = None

    def say(self, text: str) -> Reply:
        said, self.thread = self.runner.run(self.way(self.agent, text, self.thread))
        return Reply(self.thread.response_id.removeprefix("resp_"), said)


async def whole(agent: OpenAIResponsesAgent, said: str, thread):
    answer = await agent.get_response(said, thread=thread)
    return answer.message.content, answer.thread


async def streamed(agent: OpenAIResponsesAgent, said: str, thread):
    pieces = []
    async for piece in agent.invoke_stream(said, thread=thread):
        pieces.append(piece.message.content)
        thread = piece.thread
    return "".join(pieces), thread


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    with asyncio.Runner() as runner:
        scenario(Speaker(balancer, way, runner), balancer, "/v1/responses")
