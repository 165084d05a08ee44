"""`RunnableWithMessageHistory` of langchain-core, with langchain-openai's `use_previous_response_id`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import pytest
from conversation import MODEL, LIBRARY_SCENARIOS, Reply
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from support import Balancer

SESSION = {"configurable": {"session_id": "one"}}


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def chain_of(balancer: Balancer) -> RunnableWithMessageHistory:
    model = ChatOpenAI(
        model=MODEL,
        base_url=f"{balancer.url}/v1",
        api_key="unused",
        timeout=30,
        use_previous_response_id=True,
    ).bind_tools([add])
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Add with the tool."), MessagesPlaceholder("history"), MessagesPlaceholder("new")]
    )
    sessions: dict = {}
    return RunnableWithMessageHistory(
        prompt | model,
        lambda session_id: sessions.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="new",
        history_messages_key="history",
    )


class Speaker:
    """The chain keeps the messages; results of tools are a turn's input."""

    runs_tools = False

    def __init__(self, balancer: Balancer, way: Callable) -> None:
        self.chain = chain_of(balancer)
        self.way = way

    def say(self, text: str) -> Reply:
        return self.turn([HumanMessage(text)])

    def results(self, results: list[tuple[str, str]]) -> Reply:
        return self.turn([ToolMessage(out, tool_call_id=id_) for id_, out in results])

    def turn(self, messages: list) -> Reply:
        answer = self.way(self.chain, {"new": messages})
        calls = [(call["id"], call["name"], raw_arguments(answer, call)) for call in answer.tool_calls]
        return Reply(answer.response_metadata["id"].removeprefix("resp_"), answer.text, calls)


def raw_arguments(answer, call: dict) -> str:
    [block] = [one for one in answer.content if one.get("call_id") == call["id"]]
    return block["arguments"]


def whole(chain: RunnableWithMessageHistory, said: dict):
    return chain.invoke(said, SESSION)


def streamed(chain: RunnableWithMessageHistory, said: dict):
    return reduce(operator.add, chain.stream(said, SESSION))


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")
