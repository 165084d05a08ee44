"""LangChain's `ChatOpenAI` with `use_previous_response_id`: it finds the id in its own last message."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from functools import reduce

import pytest
from conversation import FIRST, GARBAGE, MODEL, SCENARIOS, Reply
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import APIError, BadRequestError, InternalServerError
from support import CUT, Balancer


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def model_of(balancer: Balancer, model: str = MODEL, **members: object) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        base_url=f"{balancer.url}/v1",
        api_key="unused",
        timeout=30,
        **{"use_previous_response_id": True, **members},
    )


class Speaker:
    """Keeps the list of messages, as LangChain has it; what of it is sent is LangChain's affair."""

    runs_tools = False

    def __init__(self, balancer: Balancer, way: str) -> None:
        self.balancer = balancer
        self.model = model_of(balancer).bind_tools([add])
        self.way = way
        self.messages: list[BaseMessage] = []

    def say(self, text: str) -> Reply:
        return self.turn([HumanMessage(text)])

    def results(self, results: list[tuple[str, str]]) -> Reply:
        messages = [add.invoke(call) for call in self.messages[-1].tool_calls]
        assert [(message.tool_call_id, message.content) for message in messages] == results
        return self.turn(messages)

    def turn(self, messages: list[BaseMessage]) -> Reply:
        self.messages += messages
        answer = getattr(self, self.way)()
        self.messages.append(answer)
        # Only what is new went out.
        assert len(self.balancer.passed[-1].json()["input"]) == len(messages)
        assert answer.usage_metadata["total_tokens"] > 0
        calls = [(call["id"], call["name"], json.dumps(call["args"])) for call in answer.tool_calls]
        assert answer.response_metadata["id"].startswith("resp_")
        return Reply(answer.response_metadata["id"].removeprefix("resp_"), answer.text, calls)

    def invoke(self) -> AIMessage:
        return self.model.invoke(self.messages)

    def stream(self) -> AIMessageChunk:
        return reduce(operator.add, self.model.stream(self.messages))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: str) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")


@pytest.mark.parametrize("responses", [True, False], ids=["responses", "chat"])
def test_without_the_option_the_second_turn_is_refused(balancer: Balancer, responses: bool) -> None:
    # LangChain then sends all of it from the start, and neither an id nor a token.
    model = model_of(balancer, use_previous_response_id=False, use_responses_api=responses)
    messages = [HumanMessage(FIRST)]
    messages += [model.invoke(messages), HumanMessage("What is my name?")]
    with pytest.raises(BadRequestError) as raised:
        model.invoke(messages)
    assert raised.value.code == "role_forbidden"
    assert len(balancer.passed) == 2


def test_after_a_live_stream_the_next_turn_is_refused(balancer: Balancer) -> None:
    # LangChain keeps the first id that it sees, which in a live stream is no token.
    model = model_of(balancer, extra_body={"metadata": {"holdall_stream": "live"}})
    messages = [HumanMessage(FIRST)]
    messages += [reduce(operator.add, model.stream(messages)), HumanMessage("What is my name?")]
    with pytest.raises(BadRequestError) as raised:
        model.invoke(messages)
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 2


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_garbage_ids_are_refused_and_not_retried(balancer: Balancer, way: str) -> None:
    messages = [AIMessage("…", response_metadata={"id": f"resp_{GARBAGE}"}), HumanMessage("hello")]
    with pytest.raises(BadRequestError) as raised:
        list(getattr(model_of(balancer), way)(messages))
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 1


def test_foreign_ids_are_refused(balancer: Balancer) -> None:
    model = model_of(balancer)
    messages = [HumanMessage(FIRST)]
    messages += [model.invoke(messages, user="ada"), HumanMessage("What is my name?")]
    with pytest.raises(BadRequestError) as raised:
        model.invoke(messages, user="eve")
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 2
    assert model.invoke(messages, user="ada").text == "Your name is Ada."


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_retries_are_those_that_are_safe(faulty: Balancer, way: str) -> None:
    for model, error, code, requests in (
        ("busy", InternalServerError, "upstream_unavailable", 2),
        ("refusing", InternalServerError, "upstream_refused", 1),
        ("overflowing", BadRequestError, "context_length_exceeded", 1),
    ):
        before = len(faulty.passed)
        with pytest.raises(error) as raised:
            list(getattr(model_of(faulty, model, max_retries=1), way)([HumanMessage("hello")]))
        assert raised.value.code == code
        assert len(faulty.passed) - before == requests


def test_overflows_are_known_as_such(faulty: Balancer) -> None:
    with pytest.raises(ContextOverflowError):
        model_of(faulty, "overflowing").invoke([HumanMessage("hello")])


def test_cut_replies_are_never_a_normal_end(faulty: Balancer) -> None:
    with pytest.raises((APIError, ValueError)):
        list(model_of(faulty, CUT, max_retries=0).stream([HumanMessage("hello")]))
