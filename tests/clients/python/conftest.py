"""Servers for the tests: two alike behind a balancer, one with models that fail, one that takes histories."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

# What this shell has set is not to reach a client: keys, base URLs, proxies, tracing.
OWN = ("OPENAI_", "ANTHROPIC_", "LANGCHAIN_", "LANGSMITH_")
for name in list(os.environ):
    if name.upper().startswith(OWN) or name.upper().endswith("_PROXY"):
        del os.environ[name]
# The Agents SDK would report each run to its makers.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

pytest.register_assert_rewrite("conversation")

from support import CUT, FAULTS, Balancer, FaultyModels  # noqa: E402

from holdall import Server, config, new_keys, toml  # noqa: E402

# The built-in model under two names. Some clients ask for what they do by the name of the model.
BUILTIN = """
[[upstream]]
name = "upstream"
kind = "builtin"
[[model]]
alias = "default"
model = "builtin"
upstreams = ["upstream"]
[[model]]
alias = "gpt-5"
model = "builtin"
upstreams = ["upstream"]
"""
ACCEPT = 'client_history = "accept"\n'


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two servers with the same keys and settings."""
    yield from two_servers(write(tmp_path_factory, BUILTIN))


@pytest.fixture
def balancer(addresses: list[str]) -> Iterator[Balancer]:
    """In front of the two; each test has its own, so that it counts its own requests."""
    balancer = Balancer(addresses)
    yield balancer
    balancer.close()


@pytest.fixture(scope="session")
def faulty_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with an alias for each fault."""
    models = FaultyModels()
    aliases = [(name, None) for name in (*FAULTS, CUT)]
    server = Server(write(tmp_path_factory, config("openai", models.url, aliases)), new_keys())
    yield server.address
    server.kill()
    models.close()


@pytest.fixture
def faulty(faulty_address: str) -> Iterator[Balancer]:
    """In front of the server whose models fail; counts requests."""
    balancer = Balancer([faulty_address])
    yield balancer
    balancer.close()


@pytest.fixture(scope="session")
def accepting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that takes what a client says that the assistant said."""
    server = Server(write(tmp_path_factory, f"{ACCEPT}{BUILTIN}"), new_keys())
    yield f"http://{server.address}"
    server.kill()


@pytest.fixture(scope="session")
def accepting_addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two servers that take what a client says that the assistant said."""
    yield from two_servers(write(tmp_path_factory, f"{ACCEPT}{BUILTIN}"))


@pytest.fixture
def accepting_balancer(accepting_addresses: list[str]) -> Iterator[Balancer]:
    """In front of these two; each test has its own."""
    balancer = Balancer(accepting_addresses)
    yield balancer
    balancer.close()


@pytest.fixture(scope="session")
def jwt_secret() -> str:
    """What users' credentials are signed with."""
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="session")
def vouched_addresses(tmp_path_factory: pytest.TempPathFactory, jwt_secret: str) -> Iterator[list[str]]:
    """Two servers that take credentials."""
    key = tmp_path_factory.mktemp("key") / "secret"
    key.write_text(jwt_secret, encoding="utf-8")
    settings = write(
        tmp_path_factory,
        "\n".join([
            "[identity]",
            'mode = "jwt"',
            "[identity.jwt]",
            'issuer = "https://login.example"',
            'audience = ["chat"]',
            f"key_file = {toml(str(key))}",
        ]),
    )
    keys = new_keys()
    servers = [Server(settings, keys) for _ in range(2)]
    yield [server.address for server in servers]
    for server in servers:
        server.kill()


def two_servers(settings: Path, **variables: str) -> Iterator[list[str]]:
    """Their addresses; they have the same keys and settings. They are ended when the iterator is."""
    keys = new_keys()
    servers = [Server(settings, keys, **variables) for _ in range(2)]
    try:
        yield [server.address for server in servers]
    finally:
        for server in servers:
            server.kill()


def write(folders: pytest.TempPathFactory, text: str) -> Path:
    path = folders.mktemp("settings") / "holdall.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def limited_keys() -> dict[str, str]:
    """API keys of users, by name: for each door the one who asks too often, and another."""
    names = [name for door in ("responses", "chat", "messages") for name in (door, f"beside {door}")]
    return {name: f"hk_{secrets.token_urlsafe(32)}" for name in names}


@pytest.fixture(scope="session")
def limited_address(tmp_path_factory: pytest.TempPathFactory, limited_keys: dict[str, str]) -> Iterator[str]:
    """A server that knows callers by API keys and lets each have two turns an hour."""
    digests = [(hashlib.sha256(key.encode()).hexdigest(), name) for name, key in limited_keys.items()]
    keys = ", ".join(f"{{ digest = {toml(digest)}, user = {toml(name)} }}" for digest, name in digests)
    identity = f'[identity]\nmode = "api_key"\n[identity.api_key]\nkeys = [{keys}]\n'
    server = Server(write(tmp_path_factory, f'{identity}[guard]\nrate = "2/1h"\n'), new_keys())
    yield server.address
    server.kill()


@pytest.fixture
def limited(limited_address: str) -> Iterator[Balancer]:
    """In front of that server; counts requests."""
    balancer = Balancer([limited_address])
    yield balancer
    balancer.close()
