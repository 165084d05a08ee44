"""Instances of `holdall serve` that share a store and an upstream, and the base class of the tests."""

from __future__ import annotations

import http.client
import itertools
import json
import signal
import sys
import tempfile
import time
import unittest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from holdall import Answer, Server, config, new_keys, toml  # noqa: E402
from store import Store  # noqa: E402
from upstream import Upstream  # noqa: E402

# An operator's key, and its digest as `sha256sum` prints it.
OPERATOR = "operator-key-of-the-tests"
OPERATOR_DIGEST = "9d7e6d5c144ee5fa02f877e8e7d3fef853b465293f2f6253184e89a2bd46d691"


class Fleet:
    """Instances with the same settings."""

    def __init__(self, url: str, upstream: Upstream, guard: str, more: str = "", instances: int = 3) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="holdall-guard-")
        self.config = Path(self.folder.name) / "holdall.toml"
        self.keys = new_keys()
        text = config("openai", upstream.base_url, [("m", None)])
        # Top-level keys come before the tables.
        self.config.write_text(f"{more}\n[guard]\nredis_url = {toml(url)}\n{guard}\n{text}")
        self.servers = [Server(self.config, self.keys) for _ in range(instances)]
        self.turns = itertools.count()

    def post(self, path: str, body: dict, server: int | None = None, headers: dict | None = None) -> Answer:
        """Sends a request to one instance: `server`, or else the next one in turn."""
        at = next(self.turns) if server is None else server
        parts = urlsplit(f"//{self.servers[at % len(self.servers)].address}")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request(
                "POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})}
            )
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def turn(self, user: str | None, text: str, token: str | None = None, server: int | None = None, **more) -> Answer:
        body = {"input": text, "token": token, **({"user_id": user} if user else {}), **more}
        return self.post("/v1/turns", body, server)

    def ready(self, server: int = 0) -> tuple[int, str]:
        """The status of an instance's readiness probe, and its words."""
        parts = urlsplit(f"//{self.servers[server].address}")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            return response.status, json.loads(response.read())["status"]
        finally:
            connection.close()

    def leave(self, user: str, text: str, after: Callable[[], object] = lambda: None, **more) -> None:
        """Requests a turn, and closes the connection after `after` returns."""
        parts = urlsplit(f"//{self.servers[0].address}")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        body = json.dumps({"input": text, "user_id": user, **more})
        connection.request("POST", "/v1/turns", body, {"content-type": "application/json"})
        after()
        connection.close()

    def reload(self, old: str, new: str) -> None:
        """Replaces a part of the configuration, and reloads all instances."""
        text = self.config.read_text()
        assert old in text, old
        self.config.write_text(text.replace(old, new))
        for server in self.servers:
            lines = len(server.log)
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(server.log) > lines, 10)

    def history(self, user: str | None, token: str, server: int | None = None) -> Answer:
        return self.post("/v1/history", {"token": token, **({"user_id": user} if user else {})}, server)

    def left(self, user: str) -> list[int]:
        """What each limit of a user has left."""
        parts = urlsplit(f"//{self.servers[0].address}")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request("GET", f"/v1/usage?user_id={user}")
            return [limit["remaining"] for limit in json.loads(connection.getresponse().read())["limits"]]
        finally:
            connection.close()

    def revoke(self, body: dict, operator: bool = False) -> Answer:
        headers = {"authorization": f"Bearer {OPERATOR}"} if operator else None
        return self.post("/v1/revocations", body, headers=headers)

    def log(self) -> str:
        return "".join(line for server in self.servers for line in server.log)

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        self.folder.cleanup()


class Case(unittest.TestCase):
    """A test with a store and an upstream. Its fleets are closed with it."""

    def setUp(self) -> None:
        self.store = Store()
        self.addCleanup(self.store.close)
        self.upstream = Upstream()
        self.addCleanup(self.upstream.close)

    def fleet(self, guard: str, more: str = "", instances: int = 3, url: str | None = None) -> Fleet:
        more = f'operator_keys = ["{OPERATOR_DIGEST}"]\n{more}'
        fleet = Fleet(url or self.store.url, self.upstream, 'timeout = "2s"\n' + guard, more, instances)
        self.addCleanup(fleet.close)
        return fleet

    def token_of(self, answer: Answer) -> str:
        """The token of a successful turn."""
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["token"]

    def refused(self, answer: Answer, status: int, code: str) -> dict:
        self.assertEqual((answer.status, answer.json().get("code")), (status, code), answer.body)
        return answer.json()


def concurrently(count: int, ask: Callable[[int], Answer]) -> list[Answer]:
    """Calls `ask` `count` times concurrently."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def codes(answers: list[Answer]) -> Counter:
    """The number of successful answers, and of errors by code."""
    return Counter("ok" if answer.status == 200 else answer.json()["code"] for answer in answers)


def eventually(check: Callable[[], bool], seconds: float) -> float:
    """Waits until a check is true, and returns the time that it took."""
    started = time.monotonic()
    while not check():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - started
