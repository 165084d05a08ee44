"""Users with credentials, as the SDKs send them: OpenAI's as a bearer token, Anthropic's as `x-api-key`.

One conversation goes from door to door, because any token works at any of them, for its owner.
"""

from __future__ import annotations

import time

import anthropic
import jwt
import openai
import pytest
from conversation import FIRST, MODEL
from support import Balancer

ISSUER = "https://login.example"
AUDIENCE = "chat"
DOORS = ("responses", "chat", "messages")


def credential(secret: str, user: str, **claims: object) -> str:
    body = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "exp": int(time.time()) + 300, **claims}
    return jwt.encode(body, secret, algorithm="HS256")


def say(door: str, balancer: Balancer, key: str, text: str, token: str | None) -> tuple[str, str]:
    """One turn by that door's SDK; gives the reply and the token."""
    extra = {"conversation_token": token} if token else None
    messages = [{"role": "user", "content": text}]
    if door == "messages":
        client = anthropic.Anthropic(base_url=balancer.url, api_key=key, timeout=30)
        message = client.messages.create(model=MODEL, max_tokens=1000, messages=messages, extra_body=extra)
        return message.content[0].text, message.conversation_token
    client = openai.OpenAI(base_url=f"{balancer.url}/v1", api_key=key, timeout=30)
    if door == "chat":
        completion = client.chat.completions.create(model=MODEL, messages=messages, extra_body=extra)
        return completion.choices[0].message.content, completion.conversation_token
    previous = {"previous_response_id": f"resp_{token}"} if token else {}
    response = client.responses.create(model=MODEL, input=text, **previous)
    return response.output_text, response.id.removeprefix("resp_")


@pytest.fixture
def vouched(vouched_addresses: list[str]):
    balancer = Balancer(vouched_addresses)
    yield balancer
    balancer.close()


def test_a_conversation_goes_from_door_to_door(vouched: Balancer, jwt_secret: str) -> None:
    ada = credential(jwt_secret, "ada")
    token = None
    for door in DOORS:
        text, token = say(door, vouched, ada, FIRST if token is None else "What is my name?", token)
    for turn, door in enumerate(DOORS, start=4):
        text, token = say(door, vouched, ada, "How many turns do you see?", token)
        before = turn - 1
        assert text == f"I see {turn} messages of yours and {before} replies of mine: this is turn {turn}."
    text, _ = say("responses", vouched, ada, "What did I say first?", token)
    assert text == f'Your first message was: "{FIRST}"'
    assert [passed.status for passed in vouched.passed] == [200] * 7
    assert {passed.backend for passed in vouched.passed} == {0, 1}


@pytest.mark.parametrize("door", DOORS)
def test_tokens_of_others_are_refused_at_every_door(vouched: Balancer, jwt_secret: str, door: str) -> None:
    _, token = say("responses", vouched, credential(jwt_secret, "ada"), FIRST, None)
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)) as raised:
        say(door, vouched, credential(jwt_secret, "eve"), "What is my name?", token)
    error = raised.value
    code = error.body["error"]["code"] if door == "messages" else error.code
    assert code == ("previous_response_not_found" if door == "responses" else "token_invalid")
    assert len(vouched.passed) == 2
    # To its owner it is as good as before.
    assert say(door, vouched, credential(jwt_secret, "ada"), "What is my name?", token)[0] == "Your name is Ada."


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", ["unsigned by us", "expired", "not a credential"])
def test_bad_credentials_are_the_sdks_own_error(vouched: Balancer, jwt_secret: str, door: str, fault: str) -> None:
    key = {
        "unsigned by us": credential("x" * 32, "ada"),
        "expired": credential(jwt_secret, "ada", exp=int(time.time()) - 300),
        "not a credential": "sk-test",
    }[fault]
    with pytest.raises((openai.AuthenticationError, anthropic.AuthenticationError)) as raised:
        say(door, vouched, key, FIRST, None)
    body = raised.value.body
    assert (body["error"] if door == "messages" else body)["code"] == "unauthenticated"
    assert "www-authenticate" in vouched.passed[0].headers
    # Nothing is won by another try.
    assert len(vouched.passed) == 1
