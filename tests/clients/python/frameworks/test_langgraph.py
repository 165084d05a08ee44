"""langgraph: an agent of `langgraph.prebuilt` and a checkpointer, with langchain-openai's `use_previous_response_id`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conversation import MODEL, LIBRARY_SCENARIOS, Reply
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from support import Balancer

THREAD = {"configurable": {"thread_id": "one"}}


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def graph_of(balancer: Balancer):
    """The graph of the documentation: a model and its tools, in a circle."""
    model = ChatOpenAI(
        model=MODEL,
        base_url=f"{balancer.url}/v1",
        api_key="unused",
        timeout=30,
        use_previous_response_id=True,
    ).bind_tools([add])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=InMemorySaver())


class Speaker:
    """Each turn is a run of one thread."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: Callable) -> None:
        self.graph = graph_of(balancer)
        self.way = way

    def say(self, text: str) -> Reply:
        self.way(self.graph, {"messages": [("user", text)]})
        last = self.graph.get_state(THREAD).values["messages"][-1]
        assert isinstance(last, AIMessage)
        return Reply(last.response_metadata["id"].removeprefix("resp_"), last.text)


def whole(graph, said: dict) -> None:
    graph.invoke(said, THREAD)


def streamed(graph, said: dict) -> None:
    pieces = [piece for piece, _ in graph.stream(said, THREAD, stream_mode="messages")]
    assert len([piece for piece in pieces if isinstance(piece, AIMessageChunk) and piece.text]) >= 1


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")
