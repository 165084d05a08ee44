"""pydantic-ai with `openai_previous_response_id="auto"`: it finds the id in its own messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from conversation import MODEL, LIBRARY_SCENARIOS, Reply
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider
from support import Balancer


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def agent_of(balancer: Balancer) -> Agent:
    client = AsyncOpenAI(base_url=f"{balancer.url}/v1", api_key="unused", timeout=30)
    model = OpenAIResponsesModel(MODEL, provider=OpenAIProvider(openai_client=client))
    settings = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    return Agent(model, model_settings=settings, instructions="Add with the tool.", tools=[add])


class Speaker:
    """Keeps all messages; what of them is sent is the library's affair."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: Callable, runner: asyncio.Runner) -> None:
        self.balancer = balancer
        self.agent = agent_of(balancer)
        self.way = way
        self.runner = runner
        self.messages: list = []

    def say(self, text: str) -> Reply:
        before = len(self.balancer.passed)
        output, self.messages = self.runner.run(self.way(self.agent, text, self.messages))
        # Only what is new went out, after the tools as well.
        first, *others = [len(one.json()["input"]) for one in self.balancer.passed[before:]]
        assert first == 1
        assert len(others) <= 1
        return Reply(self.messages[-1].provider_response_id.removeprefix("resp_"), output)


async def whole(agent: Agent, said: str, messages: list):
    result = await agent.run(said, message_history=messages)
    return result.output, result.all_messages()


async def streamed(agent: Agent, said: str, messages: list):
    async with agent.run_stream(said, message_history=messages) as result:
        text = "".join([delta async for delta in result.stream_text(delta=True, debounce_by=None)])
        return text, result.all_messages()


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    # The client's connections belong to one event loop.
    with asyncio.Runner() as runner:
        scenario(Speaker(balancer, way, runner), balancer, "/v1/responses")
