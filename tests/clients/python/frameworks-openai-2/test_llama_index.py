"""llama-index's `OpenAIResponses` with `track_previous_responses=True`: it keeps the id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from conversation import LIBRARY_SCENARIOS, Reply
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAIResponses
from support import Balancer

# llama-index asks for what a model can do by its name.
MODEL = "gpt-5"


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def model_of(balancer: Balancer) -> OpenAIResponses:
    return OpenAIResponses(
        model=MODEL, api_base=f"{balancer.url}/v1", api_key="unused", timeout=30, track_previous_responses=True
    )


class Speaker:
    """Sends what is new; the model object keeps the id."""

    runs_tools = False

    def __init__(self, balancer: Balancer, way: str) -> None:
        self.model = model_of(balancer)
        self.tools = [FunctionTool.from_defaults(add)]
        self.way = way

    def say(self, text: str) -> Reply:
        return self.turn([ChatMessage(role=MessageRole.USER, content=text)])

    def results(self, results: list[tuple[str, str]]) -> Reply:
        return self.turn(
            [
                ChatMessage(role=MessageRole.TOOL, content=out, additional_kwargs={"call_id": id_})
                for id_, out in results
            ]
        )

    def turn(self, messages: list) -> Reply:
        answer = getattr(self, self.way)(messages)
        calls = self.model.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        return Reply(
            self.model._previous_response_id.removeprefix("resp_"),
            answer.message.content or "",
            [(call.tool_id, call.tool_name, json.dumps(call.tool_kwargs)) for call in calls],
        )

    def whole(self, messages: list):
        return self.model.chat_with_tools(self.tools, chat_history=messages, allow_parallel_tool_calls=True)

    def streamed(self, messages: list):
        *_, last = self.model.stream_chat_with_tools(self.tools, chat_history=messages, allow_parallel_tool_calls=True)
        return last


class AgentSpeaker:
    """An agent with its memory; sends all of it and the id."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: str, runner: asyncio.Runner) -> None:
        self.model = model_of(balancer)
        # What the memory counts with would be downloaded.
        self.memory = ChatMemoryBuffer.from_defaults(token_limit=100_000, tokenizer_fn=str.split)
        self.agent = FunctionAgent(llm=self.model, tools=[add], streaming=way == "streamed")
        self.runner = runner

    def say(self, text: str) -> Reply:
        return self.runner.run(self.turn(text))

    async def turn(self, text: str) -> Reply:
        result = await self.agent.run(text, memory=self.memory)
        return Reply(self.model._previous_response_id.removeprefix("resp_"), result.response.content)


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: str) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_an_agent_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: str) -> None:
    with asyncio.Runner() as runner:
        scenario(AgentSpeaker(balancer, way, runner), balancer, "/v1/responses")
