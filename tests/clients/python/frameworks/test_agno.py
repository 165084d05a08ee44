"""agno with `OpenAIResponses`: the run's session holds the messages, and the last one the id."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.models.openai import OpenAIResponses
from conversation import FIRST, LIBRARY_SCENARIOS, TURNS, Reply
from support import Balancer

# agno continues a response only where it takes the model for one that reasons, by its name.
MODEL = "gpt-5"


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def agent_of(balancer: Balancer, model: str = MODEL, db: InMemoryDb | None = None) -> Agent:
    return Agent(
        model=OpenAIResponses(id=model, base_url=f"{balancer.url}/v1", api_key="unused", timeout=30),
        db=db or InMemoryDb(),
        add_history_to_context=True,
        # As many of the session's runs as there are, where agno sends them.
        num_history_runs=10,
        instructions="Add with the tool.",
        tools=[add],
        telemetry=False,
    )


class Speaker:
    """Each turn is a run of one session."""

    runs_tools = True

    def __init__(self, balancer: Balancer, way: Callable) -> None:
        self.agent = agent_of(balancer)
        self.way = way

    def say(self, text: str) -> Reply:
        result = self.way(self.agent, text)
        id_ = next(m.provider_data["response_id"] for m in reversed(result.messages) if m.role == "assistant")
        return Reply(id_.removeprefix("resp_"), result.content)


def whole(agent: Agent, said: str):
    return agent.run(said, session_id="one")


def streamed(agent: Agent, said: str):
    events = list(agent.run(said, session_id="one", stream=True, stream_events=True, yield_run_output=True))
    deltas = [event.content or "" for event in events[:-1] if event.event == "RunContent"]
    assert "".join(deltas) == events[-1].content
    return events[-1]


@pytest.mark.parametrize("scenario", LIBRARY_SCENARIOS)
@pytest.mark.parametrize("way", [whole, streamed])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: Callable) -> None:
    scenario(Speaker(balancer, way), balancer, "/v1/responses")


def test_an_id_that_the_server_does_not_know_is_replaced_by_the_messages(
    balancer: Balancer, accepting_balancer: Balancer
) -> None:
    db = InMemoryDb()
    whole(agent_of(balancer, db=db), FIRST)
    # Servers with other keys; agno looks for the text of the refusal.
    result = whole(agent_of(accepting_balancer, db=db), "What is my name?")
    assert result.content == "Your name is Ada."
    assert [passed.status for passed in accepting_balancer.passed] == [400, 200]


@pytest.mark.parametrize("way", [whole, streamed])
def test_other_names_work_where_client_history_is_accepted(accepting_balancer: Balancer, way: Callable) -> None:
    agent = agent_of(accepting_balancer, "default")
    for said, answered in TURNS:
        assert way(agent, said).content == answered
    assert {"previous_response_id" in passed.json() for passed in accepting_balancer.passed} == {False}
