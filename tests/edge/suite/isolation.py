"""Users at once over three instances, one of which is killed and one started on the way: every reply knows its own
user's secret and nobody else's, and no turn is lost; nobody gets anywhere with another's token."""

from __future__ import annotations

import http.client
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wire
from holdall import Client, Server, new_keys

USERS = 60
TURNS = 8
# Users that talk at once.
PARALLEL = 12


class Fleet:
    """Instances that share a key and nothing else."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.keys = new_keys()
        self.servers: list[Server] = []

    def start(self) -> None:
        self.servers.append(Server(self.config, self.keys, HOLDALL_DANGEROUS_OPEN="true"))

    def kill(self, index: int) -> None:
        self.servers.pop(index).kill()

    def close(self) -> None:
        while self.servers:
            self.kill(0)


class User:
    """A user with a secret, and the one token that holds what was said."""

    def __init__(self, number: int, fleet: Fleet) -> None:
        self.name = f"user-{number}"
        self.chance = random.Random(number)
        self.secret = f"secret-{self.chance.getrandbits(64):016x}"
        self.fleet = fleet
        self.client = Client()
        self.token: str | None = None

    def talk(self, progress: Progress) -> None:
        self.turn(f"My secret is {self.secret}.")
        progress.add()
        for number in range(1, TURNS):
            asks = number == TURNS - 1 or self.chance.random() < 0.5
            said = "What is my secret?" if asks else f"My favourite number in turn {number} is {self.chance.randint(0, 999)}."
            reply = self.turn(said)
            # The built-in model's note of what it was told repeats that alone.
            assert reply.count("secret-") == asks, reply
            assert not asks or reply == f"Your secret is {self.secret}.", reply
            progress.add()
        history = self.post("/v1/history", {"user_id": self.name, "token": self.token}).json()
        assert len(history["items"]) == 2 * TURNS and history["conversation"]["turn"] == TURNS, history
        self.client.close()

    def turn(self, text: str) -> str:
        door, stream = self.chance.choice(list(wire.PATHS)), self.chance.random() < 0.5
        body = wire.turn(door, self.name, self.token, text, stream)
        # A stream that breaks off has no token, and is asked for again.
        for _ in range(20):
            said = wire.read(door, self.post(wire.PATHS[door], body).body, stream)
            if said is not None:
                self.token = said[1]
                return said[0]
        raise AssertionError(f"{self.name} got no whole reply")

    def post(self, path: str, body: dict):
        """Sends to any instance; after a failure the same again, with the same token, to another."""
        for _ in range(20):
            address = self.chance.choice(self.fleet.servers).address
            try:
                answer = self.client.post(address, path, body)
            except (OSError, http.client.HTTPException):
                self.client.close()
                continue
            if answer.status == 200:
                return answer
        raise AssertionError(f"{self.name} found no instance")


class Progress:
    """Turns done, and what is to happen at some of them."""

    def __init__(self, steps: dict[int, callable]) -> None:
        self._lock = threading.Lock()
        self._steps = steps
        self.turns = 0

    def add(self) -> None:
        with self._lock:
            self.turns += 1
            step = self._steps.get(self.turns)
        if step:
            step()


def check(config: Path) -> str:
    fleet = Fleet(config)
    try:
        for _ in range(3):
            fleet.start()
        swapped = swap(fleet.servers[0].address)
        total = USERS * TURNS
        progress = Progress({total // 4: lambda: fleet.kill(0), total // 2: fleet.start})
        with ThreadPoolExecutor(PARALLEL) as pool:
            for done in [pool.submit(User(number, fleet).talk, progress) for number in range(USERS)]:
                done.result()
        assert progress.turns == total
    finally:
        fleet.close()
    return f"{USERS} users, {total} turns through 4 doors, an instance killed, one added; {swapped} foreign tokens refused"


def swap(address: str) -> int:
    """Offers each other's tokens, forged and cut ones, at every door; they differ in nothing that the caller sees."""
    client, refused = Client(), 0
    for door, path in wire.PATHS.items():

        def take(user: str, token: str | None, text: str):
            return client.post(address, path, wire.turn(door, user, token, text, False))

        tokens = {
            user: wire.read(door, take(user, None, f"My secret is {secret}.").body, False)[1]
            for user, secret in (("alice", "plum-1"), ("bob", "fig-2"))
        }
        alice = tokens["alice"]
        offers = [
            ("alice", tokens["bob"]),
            ("bob", alice),
            ("Alice", alice),
            ("alice ", alice),
            ("alice", alice.replace("a", "b")),
            ("alice", alice[:-1]),
            ("alice", "no.such.token"),
        ]
        answers = []
        for user, token in offers:
            answer = take(user, token, "What is my secret?")
            body = answer.json()
            body.pop("request_id", None)
            code = body.get("error", body)["code"]
            expected = "previous_response_not_found" if door == "responses" else "token_invalid"
            assert (answer.status, code) == (400, expected), (door, user, answer.body)
            answers.append(json.dumps(body))
            refused += 1
        assert len(set(answers)) == 1, answers
        assert wire.read(door, take("alice", alice, "What is my secret?").body, False)[0] == "Your secret is plum-1."
    client.close()
    return refused
