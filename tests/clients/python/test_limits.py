"""Limits on users as the SDKs meet them: their own exception for 429, our code in it, and the time to come again."""

from __future__ import annotations

import anthropic
import openai
import pytest
from conversation import FIRST, MODEL
from support import Balancer

DOORS = ("responses", "chat", "messages")


def say(door: str, balancer: Balancer, key: str) -> object:
    """One turn by that door's SDK, which tries again by itself as it is set."""
    options = {"api_key": key, "timeout": 30}
    messages = [{"role": "user", "content": FIRST}]
    if door == "messages":
        client = anthropic.Anthropic(base_url=balancer.url, **options)
        return client.messages.create(model=MODEL, max_tokens=1000, messages=messages)
    client = openai.OpenAI(base_url=f"{balancer.url}/v1", **options)
    if door == "chat":
        return client.chat.completions.create(model=MODEL, messages=messages)
    return client.responses.create(model=MODEL, input=FIRST)


@pytest.mark.parametrize("door", DOORS)
def test_a_limit_is_the_sdks_own_error_and_says_when_to_come_again(
    limited: Balancer, limited_keys: dict[str, str], door: str
) -> None:
    key = limited_keys[door]
    for left in (1, 0):
        say(door, limited, key)
        assert limited.passed[-1].headers["ratelimit"].startswith(f'"rate-3600";r={left};')
    calls = len(limited.passed)
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
        say(door, limited, key)
    # To try again before then would be in vain.
    assert len(limited.passed) == calls + 1
    error = raised.value
    body = error.body["error"] if door == "messages" else error.body
    assert body["code"] == "rate_limited"
    assert 1700 < int(error.response.headers["retry-after"]) <= 1800
    assert error.response.headers["x-should-retry"] == "false"
    # Another user of the same server is as free as before.
    other = limited_keys[f"beside {door}"]
    say(door, limited, other)
    assert limited.passed[-1].status == 200


@pytest.mark.parametrize("door", DOORS)
def test_a_key_that_nobody_has_is_the_sdks_own_error(limited: Balancer, door: str) -> None:
    with pytest.raises((openai.AuthenticationError, anthropic.AuthenticationError)):
        say(door, limited, "hk_nobody")
    assert len(limited.passed) == 1
