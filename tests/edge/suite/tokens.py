"""The hostile tokens of tests/vectors/token, offered over HTTP: all that is wrong with them has one answer, the same
bytes; what is right is read as the case says.

The cases were written for a moment that has passed, so that good tokens are expired here: their owner still reads
them, and a turn says `token_expired`. Cases about the time itself, other keys or other settings are left to the tests
of the reader.
"""

from __future__ import annotations

import json
from pathlib import Path

from holdall import Client, Server

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "token"
# What most cases are written for.
KEYS = (
    "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8,"
    "k0:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-fw"
)
SETTINGS = {"keys": KEYS, "issuer": '"holdall"', "ttl": "604800", "max_age": "2592000", "idp": '"none"'}
LIMITS = ("token_bytes", "history_bytes", "history_items")


class Case:
    """One file."""

    def __init__(self, path: Path) -> None:
        head, token = path.read_bytes().split(b"\n\n", 1)
        self.name = path.stem
        self.token = token.removesuffix(b"\n").decode()
        self.fields = dict(line.split(": ", 1) for line in head.decode().splitlines())

    def fits(self) -> bool:
        """Whether a server with the common settings, at any later time, has to say what the case says."""
        common = all(self.fields.get(key, value) == value for key, value in SETTINGS.items())
        timely = self.fields["verdict"] == "token_expired" or self.fields.get("check") == "times"
        return common and not timely and not any(limit in self.fields for limit in LIMITS)

    def request(self) -> dict:
        body = {"token": self.token}
        if "caller" not in self.fields:
            body["user_id"] = json.loads(self.fields["sub"])
        return body


def check(config: Path) -> str:
    cases = [Case(path) for path in sorted(FOLDER.glob("*-*.txt"))]
    fitting = [case for case in cases if case.fits()]
    # Too long a token is another matter than a bad one.
    server = Server(config, KEYS, HOLDALL_DANGEROUS_OPEN="true", HOLDALL_MAX_AGE="36500d")
    client, refusals, accepted = Client(), {}, 0
    try:
        for case in fitting:
            answer = client.post(server.address, "/v1/history", case.request())
            if case.fields["verdict"] == "accepted":
                _is_read(case, answer)
                turn = client.post(server.address, "/v1/turns", {**case.request(), "input": "Hello."})
                assert (turn.status, turn.json()["code"]) == (410, "token_expired"), (case.name, turn.body)
                accepted += 1
                continue
            assert answer.status == {"token_invalid": 400, "token_too_large": 413}[case.fields["verdict"]], (
                f"{case.name}: {answer.status} {answer.body[:300]}"
            )
            body = answer.json()
            assert body["request_id"] == answer.headers["x-request-id"]
            refusals.setdefault(case.fields["verdict"], set()).add(
                answer.body.replace(body["request_id"].encode(), b"")
            )
    finally:
        client.close()
        server.kill()
    assert len(refusals["token_invalid"]) == 1, refusals
    assert len(fitting) > 500 and accepted > 40, "the cases were not found"
    return f"{len(fitting)} of {len(cases)} cases: {accepted} read, {len(fitting) - accepted} refused"


def _is_read(case: Case, answer) -> None:
    assert answer.status == 200, f"{case.name}: {answer.status} {answer.body[:300]}"
    told = answer.json()
    claims = json.loads(case.fields["claims"])
    assert len(told["items"]) == int(case.fields["items"]), case.name
    assert (told["conversation"]["id"], told["conversation"]["turn"]) == (claims["cid"], claims["turn"]), case.name
