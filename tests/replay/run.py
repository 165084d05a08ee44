#!/usr/bin/env python3
"""Plays source conversations turn by turn through two `holdall serve` processes, and checks them.

    tests/replay/run.py [--kind openai|openai-responses|anthropic] [--only ID]

The turns of a conversation go to the two processes alternately. Several conversations are played in
parallel. Midway, both processes are killed, and two new ones are started with the same keys and
settings.

For each turn, these are checked: the answer, its items, finish reason, usage and counts; the
request at the upstream; and for a stream, that the deltas add up to the answer. At the end, and for a token
of the first half, `/v1/history` of both servers is compared with the source, item by item.

Exit status: 0 if everything is equal, 1 if something differs, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from holdall import Client, Server, binary, config, new_keys  # noqa: E402
from source import KINDS, Conversation  # noqa: E402
from upstream import Upstream, first_difference  # noqa: E402

# The number of conversations that are played in parallel.
PARALLEL = 4
# The number of differences that are shown. The others are only counted.
SHOWN = 5


class Difference(Exception):
    """A difference from the source."""


class Player:
    """A conversation that is being played."""

    def __init__(self, conversation: Conversation, kind: str, stream: bool) -> None:
        self.conversation = conversation
        self.kind = kind
        self.stream = stream
        self.token: str | None = None
        self.id: str | None = None
        self.played = 0
        self.token_bytes = 0

    def play(self, until: int, addresses: itertools.cycle[str], client: Client) -> None:
        for number in range(self.played, until):
            self.turn(number, next(addresses), client)
            self.played = number + 1

    def turn(self, number: int, address: str, client: Client) -> None:
        turn = self.conversation.turns[number]
        request = {
            "input": turn.input(),
            "user_id": self.user,
            "model": self.conversation.id,
            "stream": self.stream,
            "token": self.token,
        }
        answer = client.post(address, "/v1/turns", request)
        if answer.status != 200:
            raise Difference(f"{self.place(number)}: status {answer.status}: {answer.body.decode()}")
        body = self.streamed(answer.events(), number) if self.stream else answer.json()
        self.id = self.id or body["conversation"]["id"]
        self.compare(
            number,
            {
                "reply": turn.reply,
                "output": turn.output_items(),
                "finish_reason": turn.finish_reason,
                "user_id": self.user,
                "id": self.id,
                "turn": number + 1,
                "trimmed_items": 0,
                "input_tokens": len(self.conversation.prompt(self.kind, number)),
                "output_tokens": len(turn.reply) + len(turn.calls),
            },
            {
                **{member: body[member] for member in ("reply", "output", "finish_reason", "user_id")},
                **{member: body["conversation"][member] for member in ("id", "turn", "trimmed_items")},
                **{member: body["usage"][member] for member in ("input_tokens", "output_tokens")},
            },
        )
        self.token = body["token"]
        self.token_bytes = max(self.token_bytes, len(self.token))

    def streamed(self, events: list[tuple[str, dict]], number: int) -> dict:
        """The complete answer of a stream. The deltas must add up to it."""
        name, done = events[-1]
        if name != "done":
            raise Difference(f"{self.place(number)}: the stream ends with {name}: {json.dumps(done)[:400]}")
        text = "".join(data["text"] for name, data in events if name == "delta")
        calls = [{"t": "call"} | data for name, data in events if name == "tool_call"]
        complete = {"text": done["reply"], "calls": [item for item in done["output"] if item["t"] == "call"]}
        self.compare(number, complete, {"text": text, "calls": calls})
        return done

    def check_history(self, address: str, client: Client) -> None:
        answer = client.post(address, "/v1/history", {"token": self.token, "user_id": self.user})
        if answer.status != 200:
            raise Difference(f"{self.place(self.played)}: status {answer.status}: {answer.body.decode()}")
        self.compare(self.played, {"items": self.conversation.items(self.played)}, {"items": answer.json()["items"]})

    def compare(self, number: int, source: dict, found: dict) -> None:
        if source != found:
            raise Difference(f"{self.place(number)}:\n{first_difference(source, found)}")

    def place(self, number: int) -> str:
        return f"{self.conversation.id}, turn {number + 1}"

    @property
    def user(self) -> str:
        return f"user of {self.conversation.id}"


def replay(kind: str, conversations: list[Conversation]) -> list[str]:
    """Plays all conversations. Returns the differences."""
    started = time.monotonic()
    upstream = Upstream(conversations)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    players = [Player(conversation, kind, at % 2 == 0) for at, conversation in enumerate(conversations)]
    differences: list[str] = []
    keys = new_keys()
    base_url = upstream.url if kind == "anthropic" else f"{upstream.url}/v1"
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "holdall.toml"
        models = [(conversation.id, conversation.system) for conversation in conversations]
        settings.write_text(config(kind, base_url, models), encoding="utf-8")
        for half in (0, 1):
            servers = [Server(settings, keys) for _ in range(2)]
            try:
                differences += play_half(players, [server.address for server in servers], last=half == 1)
            finally:
                for server in servers:
                    server.kill()
            if differences:
                break
    upstream.shutdown()
    upstream.server_close()

    turns = sum(player.played for player in players)
    streamed = sum(player.played for player in players if player.stream)
    longest = max(player.token_bytes for player in players)
    print(
        f"replay {kind}: {len(players)} conversations, {turns} turns ({streamed} streamed) over 4 processes, "
        f"2 of them killed midway; {upstream.requests} upstream requests, tokens to {longest} bytes; "
        f"{time.monotonic() - started:.1f} s"
    )
    if not differences and upstream.requests != turns:
        differences.append(f"{turns} turns made {upstream.requests} upstream requests")
    return upstream.faults + differences


def play_half(players: list[Player], addresses: list[str], last: bool) -> list[str]:
    """Plays each conversation to its middle or its end, then compares the histories at both servers."""

    def play(player: Player, first: int) -> str | None:
        client = Client()
        turns = len(player.conversation.turns)
        try:
            if last and player.token:
                player.check_history(addresses[first], client)
            # Conversations start at different servers, so that they do not stay in step.
            player.play(turns if last else turns // 2, itertools.cycle(addresses[first:] + addresses[:first]), client)
            if player.token:
                for address in addresses:
                    player.check_history(address, client)
        except Difference as difference:
            return str(difference)
        finally:
            client.close()
        return None

    with ThreadPoolExecutor(PARALLEL) as pool:
        outcomes = pool.map(play, players, itertools.cycle([0, 1]))
    return [outcome for outcome in outcomes if outcome]


def load(only: str | None) -> list[Conversation]:
    files = [HERE / "conversations.jsonl", HERE / "shapes.jsonl"]
    records = [json.loads(line) for file in files for line in file.read_bytes().split(b"\n") if line]
    conversations = [Conversation(record) for record in records]
    return [conversation for conversation in conversations if only in (None, conversation.id)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Plays source conversations through two holdall servers.")
    parser.add_argument("--kind", choices=KINDS, help="the kind of upstream [default: all, one after another]")
    parser.add_argument("--only", metavar="ID", help="play only this conversation")
    arguments = parser.parse_args()
    conversations = load(arguments.only)
    if not conversations:
        parser.error(f"there is no conversation {arguments.only}")
    if not binary().is_file():
        parser.error(f"{binary()} does not exist; run `cargo build` first, or set HOLDALL_BIN")

    failed = False
    for kind in [arguments.kind] if arguments.kind else KINDS:
        differences = replay(kind, conversations)
        for difference in differences[:SHOWN]:
            print(difference, file=sys.stderr)
        if len(differences) > SHOWN:
            print(f"… and {len(differences) - SHOWN} more", file=sys.stderr)
        failed |= bool(differences)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
