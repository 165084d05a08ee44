"""The aliases, as both SDKs list them."""

from __future__ import annotations

import anthropic
import openai
import pytest
from support import CUT, FAULTS, Balancer

ALIASES = {*FAULTS, CUT}


@pytest.fixture(params=["openai", "anthropic"])
def client(request: pytest.FixtureRequest, faulty: Balancer):
    if request.param == "openai":
        return openai.OpenAI(base_url=f"{faulty.url}/v1", api_key="unused", timeout=30)
    return anthropic.Anthropic(base_url=faulty.url, api_key="unused", timeout=30)


def test_aliases_are_listed(client) -> None:
    assert {model.id for model in client.models.list()} == ALIASES


def test_an_alias_is_found(client) -> None:
    assert client.models.retrieve(CUT).id == CUT


def test_what_is_no_alias_is_not_found(client, faulty: Balancer) -> None:
    with pytest.raises((openai.NotFoundError, anthropic.NotFoundError)):
        client.models.retrieve("no-such-model")
    assert len(faulty.passed) == 1
