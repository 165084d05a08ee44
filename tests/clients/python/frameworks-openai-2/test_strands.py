"""strands with `OpenAIResponsesModel` and `stateful=True`: the agent keeps the id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from conversation import LIBRARY_SCENARIOS, MODEL, Reply
from strands import Agent, tool
from strands.models.openai_responses import OpenAIResponsesModel
from support import Balancer


@tool
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return str(a + b)


def agent_of(balancer: Balancer) -> Agent:
    model = OpenAIResponsesModel(
        client_args={"base_url": f"{balancer.url}/v1", "api_key": "unused", "timeout": 30},
        model_id=MODEL,
        stateful=True,
    )
    return Agent(model=model, tools=[add], system_prompt="Add with the tool.", callback_handler=None)


class Speaker:
    """Each turn is a call of one agent."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: Callable) -> None:
        self.agent = agent_of(balancer)
        self.way = way

    def say(self, text: str) -> Reply:
        result = self.way(self.agent, text)
        said = "".join(block["text"] for block in result.message["content"])
        return Reply(self.agent._model_state["response_id"].removeprefix("resp_"), said)


def whole(agent: Agent, said: str):
    return agent(said)


def streamed(agent: Agent, said: str):
    async def follow():
        async for event in agent.stream_async(said):
            if "result" in event:
                return event["result"]

    return asyncio.run(follow())


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")
