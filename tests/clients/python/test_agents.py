"""The OpenAI Agents SDK with `previous_response_id`: a run calls the tool by itself, and hands over the last id."""

from __future__ import annotations

import asyncio

import pytest
from agents import Agent, ItemHelpers, OpenAIResponsesModel, RunConfig, Runner, function_tool
from conversation import CALLING, FIRST, GARBAGE, MODEL, REQUESTS, TOOL_NAME, TURNS, check_history, check_way
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
    result = Runner.run_streamed(
        agent, said, previous_response_id=id_, auto_previous_response_id=id_ is None, run_config=CONFIG
    )
    deltas = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            deltas.append(event.data.delta)
    assert "".join(deltas) == result.final_output
    return result


@pytest.mark.parametrize("way", [whole, streamed])
def test_five_turns_over_two_servers(balancer: Balancer, way) -> None:
    async def talk() -> str:
        agent = agent_of(balancer)
        id_ = None
        for said, answered in TURNS:
            result = await way(agent, said, id_)
            assert result.final_output == answered
            kinds = [item.type for item in result.new_items]
            called = ["tool_call_item", "tool_call_output_item"] if said == CALLING else []
            assert kinds == [*called, "message_output_item"]
            assert ItemHelpers.text_message_outputs(result.new_items) == answered
            id_ = result.last_response_id
            assert id_.startswith("resp_")
        return id_

    assert add.name == TOOL_NAME
    token = asyncio.run(talk()).removeprefix("resp_")
    check_way(balancer, 0, "/v1/responses")
    check_history(balancer, token)
    # What was there already was not sent again.
    assert [len(one.json()["input"]) if isinstance(one.json()["input"], list) else 1 for one in balancer.passed] == [
        1
    ] * REQUESTS


@pytest.mark.parametrize("way", [whole, streamed])
def test_garbage_ids_are_refused_and_not_retried(balancer: Balancer, way) -> None:
    with pytest.raises(BadRequestError) as raised:
        asyncio.run(way(agent_of(balancer), "hello", f"resp_{GARBAGE}"))
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 1


@pytest.mark.parametrize("way", [whole, streamed])
def test_retries_are_those_that_are_safe(faulty: Balancer, way) -> None:
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
