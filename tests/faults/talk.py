"""The conversations of users through the balancer. Each user checks every answer against its own history."""

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
from model import FAULTS, Model, digest

# The longest time of a turn's calls, and the lease of a turn whose instance was killed, in seconds.
TOTAL = 6
LEASE = 8
# The number of tries of a turn, and their total time in seconds, after which a conversation counts as lost.
TRIES = 300
PATIENCE = 60.0
# The longest time of an answer in seconds. The instances' own timeouts are shorter.
ANSWER = 30.0
MEMBERS = {"type", "title", "status", "detail", "code", "retry", "request_id"}
# The error codes of an instance that is stopping, without a fault of the model.
ENDING = {"internal"}


class Results:
    """The results of all conversations. Each conversation has a thread, so the lists are only appended to."""

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
        self.incomplete: list[str] = []


@dataclass
class Disturbances:
    """The times at which an instance or the store was disturbed."""

    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def begin(self, kind: str) -> int:
        self.spans.append((kind, time.monotonic(), float("inf")))
        return len(self.spans) - 1

    def end(self, at: int) -> None:
        kind, started_at, _ = self.spans[at]
        # The balancer and the instances need time to notice the end.
        self.spans[at] = (kind, started_at, time.monotonic() + 2.0)

    def touch(self, kind: str, started_at: float, ended: float) -> bool:
        return any(one == kind and start <= ended and started_at <= end for one, start, end in list(self.spans))


class Broken(Exception):
    """The answer was incomplete, or came from the balancer."""


class Failed(Exception):
    """The server returned an error."""

    def __init__(self, problem: dict, headers: dict[str, str] | None) -> None:
        super().__init__(problem.get("code"))
        self.problem = problem
        self.headers = headers


class Conversation:
    """A user with a secret. `turn` takes one turn and retries it."""

    def __init__(self, number: int, seed: int, port: int, world: World) -> None:
        self.chance = random.Random(f"{seed}/{number}")
        self.number = number
        self.port = port
        self.world = world
        self.connection: http.client.HTTPConnection | None = None
        self.conversations = 0
        self.begin()

    def begin(self) -> None:
        """Starts a conversation of a new user."""
        self.conversations += 1
        self.user = f"user-{self.number}-{self.conversations}"
        self.secret = f"secret-{self.chance.getrandbits(64):016x}"
        self.token: str | None = None
        # The time at which an instance last broke off a try of this turn.
        self.interrupted_at: float | None = None
        self.history: list[tuple[str, str]] = []
        self.turns = 0

    def turn(self, others: list[Conversation]) -> bool:
        """Takes a turn. Returns False if all tries fail."""
        world, results = self.world, self.world.results
        if self.turns >= world.longest:
            self.begin()
        if self.token and self.chance.random() < 0.03:
            self.steal(self.chance.choice(others))
        text = f"My name is {self.user}, this is input {self.turns + 1}, and {self.secret}."
        streamed = self.chance.random() < 0.6
        started_at = time.monotonic()
        self.interrupted_at = None
        for tried in range(TRIES):
            started = time.monotonic()
            if started - started_at > PATIENCE:
                break
            try:
                answer = self.ask(text, streamed)
            except Broken as broken:
                results.broken.append(str(broken))
                self.drop_connection()
                self.interrupted_at = time.monotonic()
                if not self.disturbed("instance", started):
                    results.unexpected.append(f"{self.label()}: {broken}, although no instance was down")
                self.world.model.recent(self.secret)
                self.pause(0.05 * min(tried + 1, 10))
            except Failed as failed:
                if self.failed(failed, started) and self.follow(failed, text):
                    return True
            else:
                self.world.model.recent(self.secret)
                self.check(answer, text)
                now = time.monotonic()
                results.turns.append(now - started)
                results.with_retries.append(now - started_at)
                return True
        results.lost.append(f"{self.label()}: no answer in {tried + 1} tries and {time.monotonic() - started_at:.0f} s")
        self.begin()
        return False

    def ask(self, text: str, streamed: bool, token: str | None = None) -> dict:
        """Tries once: returns the answer, or raises an error."""
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
            raise Broken(f"connection broken ({type(error).__name__})") from error
        if "x-request-id" not in response.headers:
            raise Broken(f"{response.status} from the balancer")
        head = {name.lower(): value for name, value in response.headers.items()}
        if response.status != 200:
            raise Failed(json.loads(data), head)
        return self.last_event(data) if streamed else json.loads(data)

    def last_event(self, data: bytes) -> dict:
        """The answer of a stream. Checks that its deltas are equal to it."""
        events = []
        for block in data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
            if fields:
                events.append((fields["event"], json.loads(fields["data"])))
        name, last = events[-1] if events else ("nothing", {})
        if name == "error":
            raise Failed(last, None)
        if name != "done":
            raise Broken("a stream without an end")
        shown = "".join(event["text"] for kind, event in events if kind == "delta")
        if shown != last["reply"]:
            self.world.results.wrong.append(f"{self.label()}: the streamed text differs from the reply")
        return last

    def failed(self, failed: Failed, started: float) -> bool:
        """Checks an error against the faults. Returns True if it has a partial reply."""
        problem, results = failed.problem, self.world.results
        code = problem.get("code", "none")
        results.codes.append(code)
        after = problem.get("retry_after_seconds")
        complete = MEMBERS <= problem.keys() and (after is not None) == (problem.get("retry") == "after")
        if failed.headers is not None:
            complete &= problem.get("request_id") == failed.headers.get("x-request-id")
            complete &= failed.headers.get("content-type") == "application/problem+json"
            complete &= failed.headers.get("retry-after") == (None if after is None else str(after))
        if not complete:
            results.incomplete.append(f"{self.label()}: {json.dumps(problem)} {failed.headers}")
        # A reply that cannot be read was paid for. Holdall does not invite clients to pay again.
        if problem.get("retry") == "never" and code != "upstream_malformed":
            results.unrepeatable.append(f"{self.label()}: {code} has retry never")
        faults = self.world.model.recent(self.secret)
        allowed = {code for fault in faults for code in FAULTS[fault]}
        if self.disturbed("instance", started):
            # An interrupted turn may still be in flight when it is repeated.
            allowed |= ENDING | {"user_busy", "token_used"}
        if self.world.needs_store and (self.disturbed("store", started) or faults):
            allowed |= {"guard_unavailable", "token_used"}
        # A killed instance has not released the token. Its lease does.
        if self.interrupted_at is not None and time.monotonic() - self.interrupted_at < LEASE + 2:
            allowed |= {"token_used"}
        if code not in allowed:
            results.unexpected.append(f"{self.label()}: {code} after {faults or 'nothing'}: {problem.get('detail')}")
        self.pause(min(after or 0.05, 2.0))
        return "partial" in problem

    def follow(self, failed: Failed, text: str) -> bool:
        """Continues from a partial reply, or ignores it. A client may do either."""
        partial = failed.problem["partial"]
        follows = self.chance.random() < 0.5
        self.world.results.partials.append("continued" if follows else "ignored")
        if follows:
            self.turns += 1
            self.history += [("user", text), ("assistant", partial["reply"])]
            self.token = partial["token"]
        return follows

    def check(self, answer: dict, text: str) -> None:
        """Checks an answer against the history of this user."""
        results = self.world.results
        seen = json.loads(answer["reply"].split(" Some more words", 1)[0])
        self.history.append(("user", text))
        self.turns += 1
        if seen["secrets"] != [self.secret] or answer["user_id"] != self.user:
            results.foreign.append(f"{self.label()}: {seen['secrets']} for {self.secret}")
        if answer["conversation"]["turn"] != self.turns or seen["users"] != self.turns:
            results.wrong.append(f"{self.label()}: {answer['conversation']['turn']} and {seen['users']}")
        elif seen["digest"] != digest(self.history):
            results.wrong.append(f"{self.label()}: the history differs")
        self.history.append(("assistant", answer["reply"]))
        self.token = answer["token"]

    def steal(self, other: Conversation) -> None:
        """Tries another user's token, which must be refused."""
        stolen = other.token
        if stolen is None or other is self:
            return
        try:
            answer = self.ask("What is the secret?", False, stolen)
        except Broken:
            self.drop_connection()
        except Failed as failed:
            if failed.problem.get("code") == "token_invalid":
                self.world.results.refused_foreign.append(self.user)
            elif failed.problem.get("code") not in ENDING | {"guard_unavailable"}:
                self.world.results.unexpected.append(f"{self.label()}: {failed} for a foreign token")
        else:
            self.world.results.foreign.append(f"{self.label()}: an answer to a foreign token: {answer['reply']}")

    def needs(self) -> set[str]:
        """The ids of the keys that must not be dropped yet."""
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

    def label(self) -> str:
        return f"{self.user}, turn {self.turns + 1}"


@dataclass
class World:
    """The parts that all conversations share."""

    model: Model
    results: Results
    disturbances: Disturbances
    longest: int
    credential_key: bytes | None
    needs_store: bool


def credential(user: str, key: bytes) -> str:
    """A JSON Web Token for a user, HS256."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"iss": "faults", "aud": "holdall", "sub": user, "exp": int(time.time()) + 600}
    signed = f"{encode(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"
