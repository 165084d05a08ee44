"""The OpenAI Agents SDK with `previous_response_id`: a run calls the tool by itself, and hands over the last id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, RunConfig, Runner, SQLiteSession, function_tool
from conversation import FIRST, GARBAGE, MODEL, SCENARIOS, Reply
from openai import APIError, AsyncOpenAI, BadRequestError, InternalServerError
from support import CUT, Balancer

# Nothing is reported to anyone.
CONFIG = RunConfig(tracing_disabled=True)


@function_tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def agent_of(balancer: Balancer, model: str = MODEL, retries: int = 2) -> Agent:
    client = AsyncOpenAI(base_url=f"{balancer.url}/v1", api_key="unused", max_retries=retries, timeout=30)
    return Agent(
        name="Adder",
        instructions="Add with the tool.",
        model=OpenAIResponsesModel(model=model, openai_client=client),
        tools=[add],
    )


async def whole(agent: Agent, said: str, id_: str | None):
    return await Runner.run(
        agent, said, previous_response_id=id_, auto_previous_response_id=id_ is None, run_config=CONFIG
    )


async def streamed(agent: Agent, said: str, id_: str | None):
    result, first_ids = await followed(agent, said, id_)
    assert first_ids[-1] == result.last_response_id
    return result


async def streamed_live(agent: Agent, said: str, id_: str | None):
    live = agent.clone(model_settings=ModelSettings(metadata={"holdall_stream": "live"}))
    result, first_ids = await followed(live, said, id_)
    # The SDK takes the id from the last event.
    assert result.last_response_id not in first_ids
    return result


async def followed(agent: Agent, said: str, id_: str | None):
    """The result, and the ids that the streams of the run began with."""
    result = Runner.run_streamed(
        agent, said, previous_response_id=id_, auto_previous_response_id=id_ is None, run_config=CONFIG
    )
    deltas, first_ids = [], []
    async for event in result.stream_events():
        if event.type != "raw_response_event":
            continue
        if event.data.type == "response.output_text.delta":
            deltas.append(event.data.delta)
        elif event.data.type == "response.created":
            first_ids.append(event.data.response.id)
    assert "".join(deltas) == result.final_output
    return result, first_ids


class Speaker:
    """Between runs it keeps the last id."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: Callable, runner: asyncio.Runner) -> None:
        self.balancer = balancer
        self.agent = agent_of(balancer)
        self.way = way
        self.runner = runner
        self.id: str | None = None

    def say(self, text: str) -> Reply:
        before = len(self.balancer.passed)
        result = self.runner.run(self.way(self.agent, text, self.id))
        kinds = [item.type for item in result.new_items]
        results = kinds.count("tool_call_output_item")
        assert kinds == ["tool_call_item"] * results + ["tool_call_output_item"] * results + ["message_output_item"]
        # Only what is new went out, after the tools as well.
        sent = [len(one.json()["input"]) for one in self.balancer.passed[before:]]
        assert sent == [1, results] if results else [1]
        self.id = result.last_response_id
        assert self.id.startswith("resp_")
        return Reply(self.id.removeprefix("resp_"), result.final_output)

    def results(self, results: list[tuple[str, str]]) -> Reply:
        raise AssertionError("the SDK calls tools by itself")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed, streamed_live])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    # The client's connections belong to one event loop.
    with asyncio.Runner() as runner:
        scenario(Speaker(balancer, way, runner), balancer, "/v1/responses")


@pytest.mark.parametrize("way", [whole, streamed])
def test_agents_hand_over_to_each_other(balancer: Balancer, way: Callable) -> None:
    helper = agent_of(balancer).clone(name="Helper", instructions="Help.")
    asked = agent_of(balancer).clone(handoffs=[helper])

    async def talk() -> None:
        first = await way(asked, FIRST, None)
        handed = await way(asked, "Call transfer_to_helper", first.last_response_id)
        assert handed.last_agent is helper
        assert handed.final_output == 'transfer_to_helper gave: {"assistant": "Helper"}'
        last = await way(helper, "What is my name?", handed.last_response_id)
        assert last.final_output == "Your name is Ada."

    asyncio.run(talk())
    # Each agent's instructions are for its own turns, and are in no token.
    instructions = [passed.json()["instructions"] for passed in balancer.passed]
    assert instructions == ["Add with the tool."] * 2 + ["Help."] * 2


def test_sessions_of_its_own_are_refused(balancer: Balancer) -> None:
    # With a session the SDK sends all of it from the start, and no id.
    agent = agent_of(balancer)
    session = SQLiteSession("one")

    async def talk() -> None:
        await Runner.run(agent, FIRST, session=session, run_config=CONFIG)
        await Runner.run(agent, "What is my name?", session=session, run_config=CONFIG)

    with pytest.raises(BadRequestError) as raised:
        asyncio.run(talk())
    session.close()
    assert raised.value.code == "role_forbidden"
    assert len(balancer.passed) == 2


@pytest.mark.parametrize("way", [whole, streamed])
def test_garbage_ids_are_refused_and_not_retried(balancer: Balancer, way: Callable) -> None:
    with pytest.raises(BadRequestError) as raised:
        asyncio.run(way(agent_of(balancer), "hello", f"resp_{GARBAGE}"))
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 1


@pytest.mark.parametrize("way", [whole, streamed])
def test_retries_are_those_that_are_safe(faulty: Balancer, way: Callable) -> None:
    for model, error, code, requests in (
        ("busy", InternalServerError, "upstream_unavailable", 2),
        ("refusing", InternalServerError, "upstream_refused", 1),
        ("overflowing", BadRequestError, "context_length_exceeded", 1),
    ):
        before = len(faulty.passed)
        with pytest.raises(error) as raised:
            asyncio.run(way(agent_of(faulty, model, retries=1), "hello", None))
        assert raised.value.code == code
        assert len(faulty.passed) - before == requests


def test_cut_replies_are_never_a_normal_end(faulty: Balancer) -> None:
    with pytest.raises(APIError):
        asyncio.run(streamed(agent_of(faulty, CUT, retries=0), FIRST, None))
