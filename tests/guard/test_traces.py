"""The commands that the store receives, and the keys that it holds."""

from __future__ import annotations

import re
import threading

from fleet import Case, Fleet, eventually
from store import Connection, Refused

EVERYTHING = """single_use = true
live_conversations = 2
rate = "1000/1m"
[[guard.quota]]
period = "1h"
turns = 1000
conversations = 1000
model_tokens = 100000
history_bytes = 100000
upstream_seconds = 1000
[[guard.quota]]
period = "1d"
turns = 5000
"""
# A name and a text that must not appear in the store.
USER, TEXT = "ada-lovelace@example.com", "my-secret-is-forty-two"
NAME = re.compile(rb"holdall1:\{[0-9a-f]{32}\}:[a-z0-9-]+:[0-9a-f]{32}")


class Monitor:
    """Records the commands of clients, without the commands inside scripts."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self.connection("MONITOR")
        self.commands: list[str] = []
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        try:
            while True:
                line = self.connection.read()
                if " lua] " not in line:
                    self.commands.append(line.split('"')[1].lower())
        except (OSError, ValueError, ConnectionError, Refused):
            pass


class Traces(Case):
    def mixture(self, fleet: Fleet) -> None:
        """A mixture of turns and revocations."""
        tokens = [self.token_of(fleet.turn(USER, f"say {TEXT}"))]
        for _ in range(3):
            tokens.append(self.token_of(fleet.turn(USER, f"say {TEXT}", tokens[-1])))
        fleet.turn(USER, f"say {TEXT}", tokens[0])
        fleet.turn(USER, f"fail {TEXT}", tokens[-1])
        fleet.turn(USER, f"cut {TEXT}", tokens[-1], stream=True)
        for _ in range(3):
            token = self.token_of(fleet.turn(USER, f"say {TEXT}"))
        self.token_of(fleet.turn(None, f"say {TEXT}"))
        for scope in ("token", "conversation"):
            fleet.revoke({"token": token, "scope": scope, "user_id": USER})
        fleet.revoke({"user_id": USER + "2", "idp": "none"}, operator=True)

    def test_a_turn_is_one_round_trip_before_and_one_after(self) -> None:
        fleet = self.fleet(EVERYTHING)
        for server in range(3):
            token = self.token_of(fleet.turn(USER, "say hi", server=server))
        # The first call of each script loads it.
        self.assertEqual(fleet.revoke({"token": token, "user_id": USER}).status, 200)
        token = self.token_of(fleet.turn(USER, "say hi"))
        monitor = Monitor(self.store.port)
        turns = 12
        for number in range(turns):
            token = self.token_of(fleet.turn(USER, f"say {number}", token, stream=False))
        self.refused(fleet.turn(USER, "fail", token), 502, "upstream_unavailable")
        # The end of a turn is reported before its answer is sent.
        self.assertEqual(self.seen(monitor), ["evalsha"] * 2 * (turns + 1))
        # Reads have a beginning and an end as well.
        self.assertEqual(fleet.history(USER, token).status, 200)
        self.assertEqual(self.seen(monitor), ["evalsha"] * 2)
        self.assertEqual(fleet.revoke({"token": token, "user_id": USER}).status, 200)
        self.assertEqual(self.seen(monitor), ["evalsha"] * 3)
        self.refused(fleet.turn(USER, "say on", token), 410, "token_revoked")
        self.assertEqual(self.seen(monitor), ["evalsha"])

    def seen(self, monitor: Monitor) -> list[str]:
        """The commands of clients since the last call."""
        self.store.do("PING")
        eventually(lambda: "ping" in monitor.commands, 5)
        seen = monitor.commands[:-1]
        del monitor.commands[:]
        return seen

    def test_every_key_except_the_birth_expires(self) -> None:
        fleet = self.fleet(EVERYTHING)
        self.mixture(fleet)
        self.upstream.reset()
        threading.Thread(target=lambda: fleet.turn(USER, "hold on"), daemon=True).start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        keys = self.store.keys()
        kinds = {re.sub(rb"^holdall1:\{\w+\}:|:\w+$", b"", key) for key in keys}
        self.assertEqual(
            kinds,
            {
                b"birth",
                b"done",
                b"live",
                b"places",
                b"quota-3600",
                b"quota-86400",
                b"rate",
                b"revoked-conversation",
                b"revoked-token",
                b"revoked-user",
                b"used-token",
            },
        )
        for key in keys:
            left = self.store.do("PTTL", key)
            if key.endswith(b":birth"):
                self.assertEqual(left, -1)
            else:
                # Revocations are kept for the longest time, `max_age`.
                # -2: the key has expired since the listing.
                self.assertTrue(left == -2 or 0 < left <= (30 * 86_400 + 60) * 1000, (key, left))
        self.upstream.released.set()

    def test_keys_and_values_have_no_text(self) -> None:
        fleet = self.fleet(EVERYTHING, "seal = false")
        self.mixture(fleet)
        ids = set()
        token = self.token_of(fleet.turn(USER, f"say {TEXT}"))
        ids.add(fleet.history(USER, token).json()["conversation"]["id"])
        read = {
            "string": lambda key: [self.store.do("GET", key)],
            "hash": lambda key: self.store.do("HGETALL", key),
            "zset": lambda key: self.store.do("ZRANGE", key, 0, -1, "WITHSCORES"),
        }
        fields = {
            b"input", b"holder", b"until", b"spent", b"period",
            b"turns", b"conversations", b"model_tokens", b"history_bytes", b"upstream_millis",
        }  # fmt: skip
        for key in self.store.keys():
            if not key.endswith(b":birth"):
                self.assertRegex(key, NAME)
            kind = self.store.do("TYPE", key)
            if kind == "none":
                # The key has expired since the scan.
                continue
            for value in read[kind](key):
                number, digits = re.fullmatch(rb"\d+", value), re.fullmatch(rb"[0-9a-f]{32}", value)
                self.assertTrue(number or digits or value in fields or len(value) == 16, (key, value))
                for text in (USER, TEXT, "lovelace", "secret", "127.0.0.1", *ids):
                    self.assertNotIn(text.encode(), key + b" " + value)
