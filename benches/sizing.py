#!/usr/bin/env python3
"""Measures the resources of an instance: memory at rest, for a connection and for a turn in flight,
and processor time for a turn.

    cargo build --release && HOLDALL_BIN=target/release/holdall benches/sizing.py

Starts one `holdall serve` with the built-in model on the loopback. Memory is the resident set
(VmRSS). A turn in flight is a stream that has sent its first words and waits for the next.
Processor time is that of the process, user and system, over consecutive turns on one connection.
Sizes are those of the inflated history.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from holdall import Server, new_keys  # noqa: E402

CONFIG = """
builtin_pace_ms = {pace}
[limits]
turns_per_user = 100000
concurrent_requests = 4096
[[upstream]]
name = "builtin"
kind = "builtin"
[[model]]
alias = "default"
upstreams = ["builtin"]
model = "builtin"
"""
IDLE_CONNECTIONS = 1_000
STREAMS = 200
TURNS = 300
SIZES = (1, 20, 100, 200)
WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they".split()


class Instance(Server):
    """A server whose process can be measured."""

    def __init__(self, folder: Path, keys: str, pace: int) -> None:
        path = folder / f"pace-{pace}.toml"
        path.write_text(CONFIG.format(pace=pace))
        super().__init__(path, keys)
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def processor_ms(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000 / os.sysconf("SC_CLK_TCK")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)


def text(kilobytes: int, seed: int) -> str:
    """Varied words, which compress about as well as English."""
    generator = random.Random(seed)
    words, length = [], 0
    while length < kilobytes * 1_000:
        word = generator.choice(WORDS) if generator.random() < 0.6 else f"{generator.randrange(36**4):x}"
        words.append(word)
        length += len(word) + 1
    return " ".join(words)


def send(connection: http.client.HTTPConnection, body: dict) -> None:
    connection.request("POST", "/v1/turns", json.dumps(body), {"content-type": "application/json"})


def turn(connection: http.client.HTTPConnection, body: dict) -> http.client.HTTPResponse:
    send(connection, body)
    return connection.getresponse()


def history(connection: http.client.HTTPConnection, kilobytes: int) -> str:
    """A token with about this much history: one message and a short reply."""
    answer = json.loads(turn(connection, {"input": "My name is Ada. " + text(kilobytes, kilobytes)}).read())
    return answer["token"]


def at_rest(instance: Instance) -> None:
    print(f"at rest: {instance.resident_kib() / 1024:.1f} MiB")
    before = instance.resident_kib()
    sockets = [socket.create_connection((instance.host, instance.port)) for _ in range(IDLE_CONNECTIONS)]
    for open_socket in sockets:
        open_socket.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        open_socket.recv(4_096)
    each = (instance.resident_kib() - before) / IDLE_CONNECTIONS
    print(f"a connection at rest: {each:.1f} KiB, over {IDLE_CONNECTIONS}")
    for open_socket in sockets:
        open_socket.close()


def in_flight(folder: Path, keys: str, token: str, kilobytes: int) -> None:
    instance = Instance(folder, keys, pace=5_000)
    try:
        before = instance.resident_kib()
        connections = [instance.connect() for _ in range(STREAMS)]
        request = {"input": "Write 50 words", "token": token, "stream": True}
        for connection in connections:
            send(connection, request)
        # The head comes with the first words.
        answers = [connection.getresponse() for connection in connections]
        each = (instance.resident_kib() - before) / STREAMS
        print(f"a stream in flight with {kilobytes} KB of history: {each:.0f} KiB, over {len(answers)}")
        for connection in connections:
            connection.close()
    finally:
        instance.kill()


def a_turn(instance: Instance, kilobytes: int) -> None:
    connection = instance.connect()
    token = history(connection, kilobytes)
    request = {"input": "What is my name?", "token": token}
    for _ in range(20):
        turn(connection, request).read()
    start, start_clock = instance.processor_ms(), time.monotonic()
    for _ in range(TURNS):
        answer = turn(connection, request).read()
    used, clock = instance.processor_ms() - start, (time.monotonic() - start_clock) * 1_000
    sizes = json.loads(answer)["conversation"]
    print(
        f"a turn with {kilobytes} KB of history (token {sizes['token_bytes']} bytes): "
        f"{used / TURNS:.2f} ms of processor time, {clock / TURNS:.2f} ms by the client's clock, over {TURNS}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, keys = Path(name), new_keys()
        instance = Instance(folder, keys, pace=0)
        try:
            at_rest(instance)
            for kilobytes in SIZES:
                a_turn(instance, kilobytes)
            print(f"at rest, after these turns: {instance.resident_kib() / 1024:.1f} MiB")
            tokens = [history(instance.connect(), kilobytes) for kilobytes in SIZES]
        finally:
            instance.kill()
        for token, kilobytes in zip(tokens, SIZES):
            in_flight(folder, keys, token, kilobytes)


if __name__ == "__main__":
    main()
