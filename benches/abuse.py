#!/usr/bin/env python3
"""Measures what requests cost that the server refuses, by class, and how much they slow others.

    cargo build --release && HOLDALL_BIN=target/release/holdall benches/abuse.py

Starts `holdall serve` with the built-in model on the loopback. Prints two tables:

- the processor time of a refused request, and processor seconds for each MiB sent;
- the median time of another user's turn: alone, and next to 16 and 200 refused requests a second.

`--check` exits with 1 if a figure exceeds its bound. The run takes about two minutes: requests are
bounded in number and time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from holdall import Server, new_keys  # noqa: E402

CONFIG = """
operator_keys = []
[guard]
{guard}
[limits]
turns_per_user = 16
[[upstream]]
name = "builtin"
kind = "builtin"
[[model]]
alias = "default"
upstreams = ["builtin"]
model = "builtin"
"""
OPEN, CLOSED = 'read_rate = "off"', 'rate = "1/1h"\nread_rate = "1/1h"'
REQUESTS, SECONDS = 200, 3.0
TURNS, RATES = 200, (16, 200)
MIB = 1 << 20

# The bound of a request that is refused for its rate, in milliseconds, whatever its token holds.
FIXED_MS, MS_PER_MIB = 0.3, 4.0
# The bound of every cheap refusal.
SECONDS_PER_MIB = 0.5
# The bound of another user's median, as a multiple of the quiet one.
SLOWDOWN = 2.0


class Instance(Server):
    """A server whose processor time can be measured."""

    def __init__(self, folder: Path, keys: str, guard: str) -> None:
        path = folder / f"{abs(hash(guard))}.toml"
        path.write_text(CONFIG.format(guard=guard))
        super().__init__(path, keys)
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)

    def processor_seconds(self) -> float:
        """The time that all threads have run. Threads that have ended are missing, but none ends within seconds."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)


@dataclass
class Attack:
    """Requests of one class."""

    name: str
    path: str
    body: bytes
    status: int
    # True if the request is refused before the history of its token is inflated.
    cheap: bool = True
    # True if most of its bytes are many small parts of input, which take longer to parse than text.
    small_parts: bool = False


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def token(server: Instance, inputs: list) -> str:
    """The token of a conversation with these inputs."""
    connection, last = server.connect(), None
    for each in inputs:
        body = json.dumps({"user_id": "mallory", "input": each, "token": last}).encode()
        status, answer = post(connection, "/v1/turns", body)
        assert status == 200, answer
        last = json.loads(answer)["token"]
    connection.close()
    return last


def tokens(server: Instance) -> dict[str, str]:
    """Tokens by what they hold: 4 MiB of letters, many items, many parts, and text that does not compress."""
    parts = [{"text": "a"}] * 1_000
    noise = "".join(chr(0x4E00 + at * 7_919 % 20_000) for at in range(60_000))
    return {
        "small": token(server, ["hi"]),
        "letters": token(server, ["a" * 200_000] * 16),
        "items": token(server, ["a"] * 300),
        "parts": token(server, [parts] * 150),
        "noise": token(server, [noise[at:] + noise[:at] for at in range(0, 60_000, 5_000)]),
    }


def turn(of: str | None, **more: object) -> bytes:
    return json.dumps({"user_id": "mallory", "token": of, "input": "hi", **more}).encode()


def padded(body: bytes) -> bytes:
    """The body with white space up to 1 KiB, the smallest size that counts."""
    return body + b" " * max(0, 1_024 - len(body))


def over_the_rate(held: dict[str, str]) -> list[Attack]:
    """Requests that are refused for their rate."""
    message = [{"role": "user", "content": "hi"}]
    attacks = [Attack(f"turn, {name}", "/v1/turns", turn(of), 429) for name, of in held.items()]
    parts = held["parts"]
    many = [{"role": "user", "content": [{"type": "text", "text": "a"}] * 14_000}] * 4
    chat = {"model": "default", "user": "mallory", "conversation_token": parts, "messages": message}
    messages = {**chat, "max_tokens": 9, "metadata": {"user_id": "mallory"}}
    del messages["user"]
    response = {"model": "default", "user": "mallory", "previous_response_id": f"resp_{parts}", "input": "hi"}
    bodies = [
        ("chat, parts", "/v1/chat/completions", chat),
        ("messages, parts", "/v1/messages", messages),
        ("responses, parts", "/v1/responses", response),
        ("count, parts", "/v1/messages/count_tokens", messages),
        ("input_tokens, parts", "/v1/responses/input_tokens", response),
        ("history, parts", "/v1/history", {"user_id": "mallory", "token": parts}),
        ("turn, parts, 200 KB of input", "/v1/turns", json.loads(turn(parts, input="a" * 200_000))),
        ("turn, 1,000 small parts of input", "/v1/turns", json.loads(turn(parts, input=[{"text": "a"}] * 1_000))),
        ("chat, 56,000 small parts of input", "/v1/chat/completions", {**chat, "messages": many}),
    ]
    for name, path, body in bodies:
        small_parts = "small parts" in name
        attacks.append(Attack(name, path, json.dumps(body).encode(), 429, small_parts=small_parts))
    return attacks


def other_refusals(held: dict[str, str]) -> list[Attack]:
    """Requests that are refused for another reason, at a server without rates."""
    parts = held["parts"]
    forged = {"model": "default", "user": "mallory", "conversation_token": parts}
    forged["messages"] = [{"role": "assistant", "content": "no"}, {"role": "user", "content": "hi"}]
    unsigned = "A" * (3 * MIB - 2)
    header = parts.split(".")[0]
    many = json.dumps([{"role": "user", "content": "a"}] * 16_385).encode()
    return [
        Attack("no JSON", "/v1/turns", b"{" * 1_024, 400),
        Attack("unknown member", "/v1/turns", turn(None, unknown="a" * 1_024), 400),
        Attack("too many messages", "/v1/chat/completions", b'{"model":"default","messages":' + many + b"}", 400),
        Attack("wrong tag, 3 MB", "/v1/turns", turn(f"{header}.{unsigned[: -len(header) - 50]}.AAAA"), 400),
        Attack("wrong user", "/v1/turns", turn(parts, user_id="eve"), 400),
        Attack("unknown model", "/v1/turns", turn(parts, model="unknown"), 400),
        Attack("forged reply, after the guard", "/v1/chat/completions", json.dumps(forged).encode(), 400, cheap=False),
    ]


def cost(server: Instance, attack: Attack) -> float:
    """The processor time of one request, in seconds."""
    connection, body = server.connect(), padded(attack.body)
    for _ in range(3):
        # The first request of a user is within its rate.
        status, answer = post(connection, attack.path, body)
    assert status == attack.status, (attack.name, status, answer[:300])
    started, before, sent = time.monotonic(), server.processor_seconds(), 0
    while sent < REQUESTS and time.monotonic() - started < SECONDS:
        status, answer = post(connection, attack.path, body)
        assert status == attack.status, (attack.name, status, answer[:300])
        sent += 1
    spent = server.processor_seconds() - before
    connection.close()
    return spent / sent


def costs(server: Instance, attacks: list[Attack]) -> list[str]:
    """Prints a row for each class. Returns the classes that exceed their bound."""
    exceeded = []
    for attack in attacks:
        seconds, mib = cost(server, attack), len(padded(attack.body)) / MIB
        has_bound = attack.status == 429 and not attack.small_parts
        bound = (FIXED_MS + MS_PER_MIB * mib) / 1_000 if has_bound else SECONDS_PER_MIB * mib
        fits = seconds <= bound and seconds / mib <= SECONDS_PER_MIB
        if attack.cheap and not fits:
            exceeded.append(attack.name)
        mark = "" if fits else " (over)" if attack.cheap else " (bounded by the rate)"
        print(f"| {attack.name} | {attack.status} | {mib * 1_024:,.1f} | {seconds * 1e3:.3f} | {seconds / mib:.3f}{mark} |")
    return exceeded


def flood(server: Instance, attack: Attack, per_second: int, stop: threading.Event) -> None:
    """Sends `per_second` requests a second, from 8 connections at most."""
    lanes = min(per_second, 8)

    def lane(number: int) -> None:
        connection = server.connect()
        due = time.monotonic() + number / per_second
        while not stop.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            post(connection, attack.path, attack.body)
            due = max(due + lanes / per_second, time.monotonic() - 1)

    for number in range(lanes):
        threading.Thread(target=lane, args=(number,), daemon=True).start()


def median_ms(server: Instance, user: int) -> float:
    """The median time of turns of another user. Each user has a rate of its own."""
    connection, times = server.connect(), []
    for number in range(TURNS):
        body = json.dumps({"user_id": f"ada-{user}-{number}", "input": "hi"}).encode()
        started = time.perf_counter()
        status, answer = post(connection, "/v1/turns", body)
        times.append((time.perf_counter() - started) * 1e3)
        assert status == 200, answer
        time.sleep(0.01)
    connection.close()
    return statistics.median(times)


def slowdowns(server: Instance, attacks: list[Attack]) -> list[str]:
    exceeded = []
    for number, attack in enumerate(attacks):
        row, quiet = [], median_ms(server, number * 10)
        for at, per_second in enumerate(RATES):
            stop = threading.Event()
            flood(server, attack, per_second, stop)
            beside = median_ms(server, number * 10 + at + 1)
            stop.set()
            time.sleep(0.5)
            row.append(beside)
            if attack.cheap and beside > SLOWDOWN * quiet:
                exceeded.append(f"{attack.name}, {per_second} a second")
        print(f"| {attack.name} | {quiet:.2f} | " + " | ".join(f"{ms:.2f}" for ms in row) + " |")
    return exceeded


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures what refused requests cost.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure exceeds its bound")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdall-abuse-") as folder:
        keys = new_keys()
        unlimited, limited = (Instance(Path(folder), keys, guard) for guard in (OPEN, CLOSED))
        try:
            held = tokens(unlimited)
            rated, others = over_the_rate(held), other_refusals(held)
            print("| request | status | KiB sent | processor ms | processor s per MiB |\n|---|---|---|---|---|")
            exceeded = costs(limited, rated) + costs(unlimited, others)
            print("\n| next to | quiet, ms | " + " | ".join(f"{rate} a second, ms" for rate in RATES) + " |")
            print("|---|---|" + "---|" * len(RATES))
            exceeded += slowdowns(limited, [rated[0], rated[3]]) + slowdowns(unlimited, others[-1:])
        finally:
            unlimited.kill()
            limited.kill()
    for name in exceeded:
        print(f"over its bound: {name}", file=sys.stderr)
    return 1 if arguments.check and exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
