"""One user's conversation through the balancer, who remembers what was said and holds every answer against it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import random
import time
from dataclasses import dataclass, field

from fleet import kid
from model import WAYS, Model, digest

# Seconds that a turn's calls may take, and for which a token stays taken whose instance was killed.
TOTAL = 6
LEASE = 8
# How often, and for how long, a turn is tried before the conversation counts as lost.
TRIES = 300
PATIENCE = 60.0
# Longest answer; instances give up on the model long before.
ANSWER = 30.0
MEMBERS = {"type", "title", "status", "detail", "code", "retry", "request_id"}
# What an instance may say that is ending, without a fault of the model's.
ENDING = {"internal"}


class Tally:
    """What all conversations have seen; each takes turns of its own thread, so that lists are appended to and no more."""

    def __init__(self) -> None:
        self.turns: list[float] = []
        self.with_retries: list[float] = []
        self.codes: list[str] = []
        self.broken: list[str] = []
        self.partials: list[str] = []
        self.refused_foreign: list[str] = []
        self.lost: list[str] = []
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        self.unrepeatable: list[str] = []
        self.unexpected: list[str] = []
        self.unwhole: list[str] = []


@dataclass
class Disturbances:
    """When an instance, or the store, was not as it should be."""

    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def begin(self, kind: str) -> int:
        self.spans.append((kind, time.monotonic(), float("inf")))
        return len(self.spans) - 1

    def end(self, at: int) -> None:
        kind, began, _ = self.spans[at]
        # Until the balancer, and the instances, have noticed.
        self.spans[at] = (kind, began, time.monotonic() + 2.0)

    def touch(self, kind: str, began: float, ended: float) -> bool:
        return any(of == kind and start <= ended and began <= end for of, start, end in list(self.spans))


class Broken(Exception):
    """The answer did not come whole, or came from the balancer."""


class Failed(Exception):
    """The server said what is wrong."""

    def __init__(self, problem: dict, headers: dict[str, str] | None) -> None:
        super().__init__(problem.get("code"))
        self.problem = problem
        self.headers = headers


class Conversation:
    """A user with a secret; `turn` takes one turn, as often as it needs to be tried."""

    def __init__(self, number: int, seed: int, port: int, world: World) -> None:
        self.chance = random.Random(f"{seed}/{number}")
        self.number = number
        self.port = port
        self.world = world
        self.connection: http.client.HTTPConnection | None = None
        self.conversations = 0
        self.begin()

    def begin(self) -> None:
        """A new user, who has said nothing."""
        self.conversations += 1
        self.user = f"user-{self.number}-{self.conversations}"
        self.secret = f"secret-{self.chance.getrandbits(64):016x}"
        self.token: str | None = None
        # When an instance last went away with a try of this turn.
        self.left_under_way: float | None = None
        self.said: list[tuple[str, str]] = []
        self.turns = 0

    def turn(self, others: list[Conversation]) -> bool:
        """Whether the turn came about in the end."""
        world, tally = self.world, self.world.tally
        if self.turns >= world.longest:
            self.begin()
        if self.token and self.chance.random() < 0.03:
            self.steal(self.chance.choice(others))
        text = f"My name is {self.user}, this is input {self.turns + 1}, and {self.secret}."
        streamed = self.chance.random() < 0.6
        began = time.monotonic()
        self.left_under_way = None
        for tried in range(TRIES):
            started = time.monotonic()
            if started - began > PATIENCE:
                break
            try:
                answer = self.ask(text, streamed)
            except Broken as broken:
                tally.broken.append(str(broken))
                self.drop_connection()
                self.left_under_way = time.monotonic()
                if not self.disturbed("instance", started):
                    tally.unexpected.append(f"{self.place()}: {broken}, though no instance was down")
                self.world.model.recent(self.secret)
                self.pause(0.05 * min(tried + 1, 10))
            except Failed as failed:
                if self.failed(failed, started) and self.follow(failed, text):
                    return True
            else:
                self.world.model.recent(self.secret)
                self.check(answer, text)
                now = time.monotonic()
                tally.turns.append(now - started)
                tally.with_retries.append(now - began)
                return True
        tally.lost.append(f"{self.place()}: no answer in {tried + 1} tries and {time.monotonic() - began:.0f} s")
        self.begin()
        return False

    def ask(self, text: str, streamed: bool, token: str | None = None) -> dict:
        """One try: the answer, or why there is none."""
        body = {"input": text, "token": token or self.token, "stream": streamed}
        headers = {"content-type": "application/json", "host": "localhost"}
        if self.world.credential_key is None:
            body["user_id"] = self.user
        else:
            headers["authorization"] = f"Bearer {credential(self.user, self.world.credential_key)}"
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER)
            self.connection.request("POST", "/v1/turns", json.dumps(body).encode(), headers)
            response = self.connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"broken off ({type(error).__name__})") from error
        if "x-request-id" not in response.headers:
            raise Broken(f"{response.status} of the balancer's")
        head = {name.lower(): value for name, value in response.headers.items()}
        if response.status != 200:
            raise Failed(json.loads(data), head)
        return self.last_event(data) if streamed else json.loads(data)

    def last_event(self, data: bytes) -> dict:
        """The answer of a stream; its deltas must come to the same."""
        events = []
        for block in data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
            if fields:
                events.append((fields["event"], json.loads(fields["data"])))
        name, last = events[-1] if events else ("nothing", {})
        if name == "error":
            raise Failed(last, None)
        if name != "done":
            raise Broken("a stream without its end")
        shown = "".join(event["text"] for kind, event in events if kind == "delta")
        if shown != last["reply"]:
            self.world.tally.wrong.append(f"{self.place()}: what was streamed is not the reply")
        return last

    def failed(self, failed: Failed, started: float) -> bool:
        """Holds an error against what was made to fail; whether there is a partial reply to go on from."""
        problem, tally = failed.problem, self.world.tally
        code = problem.get("code", "none")
        tally.codes.append(code)
        after = problem.get("retry_after_seconds")
        whole = MEMBERS <= problem.keys() and (after is not None) == (problem.get("retry") == "after")
        if failed.headers is not None:
            whole &= problem.get("request_id") == failed.headers.get("x-request-id")
            whole &= failed.headers.get("content-type") == "application/problem+json"
            whole &= failed.headers.get("retry-after") == (None if after is None else str(after))
        if not whole:
            tally.unwhole.append(f"{self.place()}: {json.dumps(problem)} {failed.headers}")
        if problem.get("retry") == "never":
            tally.unrepeatable.append(f"{self.place()}: {code} says never to repeat")
        ways = self.world.model.recent(self.secret)
        allowed = {code for way in ways for code in WAYS[way]}
        if self.disturbed("instance", started):
            # A turn that was cut off may be under way still, when it is repeated.
            allowed |= ENDING | {"user_busy", "token_used"}
        if self.world.store_is_asked and (self.disturbed("store", started) or ways):
            allowed |= {"guard_unavailable", "token_used"}
        # A killed instance has told nobody; the token is free again at the end of its lease.
        if self.left_under_way is not None and time.monotonic() - self.left_under_way < LEASE + 2:
            allowed |= {"token_used"}
        if code not in allowed:
            tally.unexpected.append(f"{self.place()}: {code} after {ways or 'nothing'}: {problem.get('detail')}")
        self.pause(min(after or 0.05, 2.0))
        return "partial" in problem

    def follow(self, failed: Failed, text: str) -> bool:
        """Goes on from a partial reply, or passes it over; both are the client's right."""
        partial = failed.problem["partial"]
        follows = self.chance.random() < 0.5
        self.world.tally.partials.append("followed" if follows else "passed over")
        if follows:
            self.turns += 1
            self.said += [("user", text), ("assistant", partial["reply"])]
            self.token = partial["token"]
        return follows

    def check(self, answer: dict, text: str) -> None:
        """Holds an answer against what this user knows to have been said."""
        tally = self.world.tally
        seen = json.loads(answer["reply"].split(" And so much", 1)[0])
        self.said.append(("user", text))
        self.turns += 1
        if seen["secrets"] != [self.secret] or answer["user_id"] != self.user:
            tally.foreign.append(f"{self.place()}: {seen['secrets']} for {self.secret}")
        if answer["conversation"]["turn"] != self.turns or seen["users"] != self.turns:
            tally.wrong.append(f"{self.place()}: {answer['conversation']['turn']} and {seen['users']}")
        elif seen["digest"] != digest(self.said):
            tally.wrong.append(f"{self.place()}: another history than was said")
        self.said.append(("assistant", answer["reply"]))
        self.token = answer["token"]

    def steal(self, other: Conversation) -> None:
        """Tries another user's token, which must be worth nothing."""
        stolen = other.token
        if stolen is None or other is self:
            return
        try:
            answer = self.ask("What is the secret?", False, stolen)
        except Broken:
            self.drop_connection()
        except Failed as failed:
            if failed.problem.get("code") == "token_invalid":
                self.world.tally.refused_foreign.append(self.user)
            elif failed.problem.get("code") not in ENDING | {"guard_unavailable"}:
                self.world.tally.unexpected.append(f"{self.place()}: {failed} for a foreign token")
        else:
            self.world.tally.foreign.append(f"{self.place()}: an answer to another's token: {answer['reply']}")

    def needs(self) -> set[str]:
        """The keys that must not go yet."""
        token = self.token
        return set() if token is None else {kid(token)}

    def disturbed(self, kind: str, since: float) -> bool:
        return self.world.disturbances.touch(kind, since, time.monotonic())

    def pause(self, seconds: float) -> None:
        time.sleep(seconds * (0.5 + self.chance.random()))

    def drop_connection(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def place(self) -> str:
        return f"{self.user}, turn {self.turns + 1}"


@dataclass
class World:
    """What all conversations share."""

    model: Model
    tally: Tally
    disturbances: Disturbances
    longest: int
    credential_key: bytes | None
    store_is_asked: bool


def credential(user: str, key: bytes) -> str:
    """A JSON Web Token for a user, HS256."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"iss": "faults", "aud": "holdall", "sub": user, "exp": int(time.time()) + 600}
    signed = f"{encode(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"
