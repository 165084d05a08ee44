"""openai-python at `/v1/responses`: the conversation travels as the response's id."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conversation import GARBAGE, MODEL, SCENARIOS, TOOL_DESCRIPTION, TOOL_NAME, TOOL_SCHEMA, Reply
from openai import APIError, BadRequestError, InternalServerError, NotFoundError, OpenAI
from support import CUT, Balancer

TOOLS = [
    {
        "type": "function",
        "name": TOOL_NAME,
        "description": TOOL_DESCRIPTION,
        "parameters": TOOL_SCHEMA,
        "strict": True,
    }
]
LIFECYCLE = ("response.created", "response.in_progress", "response.completed")


def client_of(balancer: Balancer, retries: int = 2) -> OpenAI:
    return OpenAI(base_url=f"{balancer.url}/v1", api_key="unused", max_retries=retries, timeout=30)


class Speaker:
    """Talks in one of four ways; all it keeps is the last id."""

    runs_tools = False

    def __init__(self, client: OpenAI, way: str, aside: OpenAI) -> None:
        self.client = client
        self.way = way
        self.aside = aside
        self.id: str | None = None

    def say(self, text: str) -> Reply:
        return self.turn(text)

    def results(self, results: list[tuple[str, str]]) -> Reply:
        return self.turn([{"type": "function_call_output", "call_id": id_, "output": out} for id_, out in results])

    def turn(self, said: str | list[dict]) -> Reply:
        members = {"model": MODEL, "input": said, "tools": TOOLS}
        if self.id:
            members["previous_response_id"] = self.id
        response = getattr(self, self.way)(members)
        assert response.object == "response"
        assert response.status == "completed"
        # Never echoed: it would be a second copy of the conversation.
        assert response.previous_response_id is None
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
        self.id = response.id
        calls = [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]
        return Reply(response.id.removeprefix("resp_"), response.output_text, calls)

    def whole(self, members: dict):
        return self.client.responses.create(**members)

    def helper(self, members: dict):
        deltas = []
        with self.client.responses.stream(**members) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    deltas.append(event.delta)
            response = stream.get_final_response()
        assert "".join(deltas) == response.output_text
        return response

    def raw_hold(self, members: dict):
        events = list(self.client.responses.create(stream=True, **members))
        response = checked(events)
        # One id stands in all of them, so a client may take it from any.
        assert {event.response.id for event in events if event.type in LIFECYCLE} == {response.id}
        return response

    def raw_live(self, members: dict):
        events = list(self.client.responses.create(stream=True, metadata={"holdall_stream": "live"}, **members))
        response = checked(events)
        # It is the request's own, and comes back.
        assert response.metadata == {"holdall_stream": "live"}
        before = {event.response.id for event in events if event.type in LIFECYCLE[:2]}
        assert len(before) == 1
        assert response.id not in before
        # The id that came first is no token.
        [throw_away] = before
        with pytest.raises(BadRequestError) as raised:
            self.aside.responses.create(model=MODEL, input="hello", previous_response_id=throw_away)
        assert raised.value.code == "previous_response_not_found"
        return response


def checked(events: list):
    """The response of a stream, whose events must be in order and come to the same."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    response = events[-1].response
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert text == response.output_text
    assert arguments == "".join(item.arguments for item in response.output if item.type == "function_call")
    assert [event.item for event in events if event.type == "response.output_item.done"] == response.output
    return response


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("way", ["whole", "helper", "raw_hold", "raw_live"])
def test_does_what_every_client_does(balancer: Balancer, scenario: Callable, way: str) -> None:
    # The ids that are no tokens are tried past the balancer, so that the turns still alternate.
    aside = Balancer(balancer.addresses[:1])
    scenario(Speaker(client_of(balancer), way, client_of(aside)), balancer, "/v1/responses")
    aside.close()


def test_the_helper_wants_one_id(balancer: Balancer) -> None:
    # Which a live stream cannot have: the token is there only when the reply is.
    live = {"holdall_stream": "live"}
    with pytest.raises(RuntimeError, match="identity changed"):
        with client_of(balancer).responses.stream(model=MODEL, input="hello", metadata=live) as stream:
            stream.until_done()


def test_id_is_resp_and_the_token(balancer: Balancer) -> None:
    response = client_of(balancer).responses.create(model=MODEL, input="My name is Ada.")
    assert response.id.startswith("resp_")
    assert response.id.count(".") == 2
    assert response._request_id == balancer.passed[-1].headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("id_", [f"resp_{GARBAGE}", "resp_68af4030592c81938ec0a5fbab4a3e9f", GARBAGE, "resp_", "x"])
def test_garbage_ids_are_not_found_and_not_retried(balancer: Balancer, id_: str, stream: bool) -> None:
    with pytest.raises(BadRequestError) as raised:
        client_of(balancer).responses.create(model=MODEL, input="hello", previous_response_id=id_, stream=stream)
    error = raised.value
    assert (error.code, error.param, error.type) == (
        "previous_response_not_found",
        "previous_response_id",
        "invalid_request_error",
    )
    # The fixed text has `x` and `resp_`.
    assert id_ in ("x", "resp_") or id_ not in error.message
    assert error.request_id == balancer.passed[0].headers["x-request-id"]
    assert len(balancer.passed) == 1


@pytest.mark.parametrize("member", ["user", "safety_identifier"])
def test_foreign_ids_are_not_found(balancer: Balancer, member: str) -> None:
    client = client_of(balancer)
    first = client.responses.create(model=MODEL, input="My name is Ada.", **{member: "ada"})
    with pytest.raises(BadRequestError) as raised:
        client.responses.create(
            model=MODEL, input="What is my name?", previous_response_id=first.id, **{member: "eve"}
        )
    assert raised.value.code == "previous_response_not_found"
    assert len(balancer.passed) == 2
    again = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id, **{member: "ada"}
    )
    assert again.output_text == "Your name is Ada."


def test_id_of_a_response_not_stored_is_no_token(balancer: Balancer) -> None:
    client = client_of(balancer)
    response = client.responses.create(model=MODEL, input="My name is Ada.", store=False)
    assert response.output_text == "Noted: your name is Ada."
    assert response.store is False
    with pytest.raises(BadRequestError) as raised:
        client.responses.create(model=MODEL, input="What is my name?", previous_response_id=response.id)
    assert raised.value.code == "previous_response_not_found"


def test_ids_in_a_path_are_refused_by_name(balancer: Balancer) -> None:
    client = client_of(balancer)
    id_ = client.responses.create(model=MODEL, input="hello").id
    for call, instead in ((client.responses.retrieve, "/v1/history"), (client.responses.delete, "/v1/revocations")):
        with pytest.raises(BadRequestError) as raised:
            call(id_)
        assert raised.value.code == "unsupported"
        assert instead in raised.value.message
    assert len(balancer.passed) == 3


@pytest.mark.parametrize(
    "member", [{"background": True}, {"conversation": "conv_123"}, {"input": [{"type": "item_reference", "id": "x"}]}]
)
def test_what_cannot_be_honoured_is_refused_by_name(balancer: Balancer, member: dict) -> None:
    with pytest.raises(BadRequestError) as raised:
        client_of(balancer).responses.create(**{"model": MODEL, "input": "hello", **member})
    assert raised.value.code == "unsupported"
    [name] = member
    assert {"input": "item_reference"}.get(name, name) in raised.value.message
    assert len(balancer.passed) == 1


def test_unknown_models_are_not_found(balancer: Balancer) -> None:
    with pytest.raises(NotFoundError) as raised:
        client_of(balancer).responses.create(model="no-such-model", input="hello")
    assert raised.value.code == "model_not_found"
    assert len(balancer.passed) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("model", "error", "status", "code", "requests"),
    [
        ("busy", InternalServerError, 502, "upstream_unavailable", 2),
        # A status that the client would retry, had it not been told better.
        ("refusing", InternalServerError, 502, "upstream_refused", 1),
        ("overflowing", BadRequestError, 400, "context_length_exceeded", 1),
    ],
)
def test_retries_are_those_that_are_safe(
    faulty: Balancer, stream: bool, model: str, error: type[Exception], status: int, code: str, requests: int
) -> None:
    with pytest.raises(error) as raised:
        client_of(faulty, retries=1).responses.create(model=model, input="hello", stream=stream)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert len(faulty.passed) == requests


@pytest.mark.parametrize("metadata", [{}, {"holdall_stream": "live"}], ids=["hold", "live"])
def test_cut_replies_are_never_a_normal_end(faulty: Balancer, metadata: dict) -> None:
    events = []
    with pytest.raises(APIError) as raised:
        for event in client_of(faulty, retries=0).responses.create(
            model=CUT, input="hello", stream=True, metadata=metadata
        ):
            events.append(event.type)
    assert "response.completed" not in events
    assert raised.value.code == "upstream_cut"
