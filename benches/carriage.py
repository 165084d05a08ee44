#!/usr/bin/env python3
"""Measures the bytes on the wire for a turn's request and answer, by the size of the history.

    cargo build --release && HOLDALL_BIN=target/release/holdall benches/carriage.py [FILE.jsonl]…

Plays source conversations (those of tests/replay, or files of the same shape) through one `holdall
serve`, with a model server on the loopback that answers like the source. The turns are streamed by
the native API, with sealed tokens. Request and answer are bodies, without HTTP heads. Each row is
the median over all turns whose inflated history has that size.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "replay")]

from holdall import Client, Server, config, new_keys  # noqa: E402
from source import Conversation  # noqa: E402
from upstream import Upstream  # noqa: E402

# Upper ends of the classes, in kilobytes of history.
CLASSES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


@dataclass
class Turn:
    """The sizes of one turn, in bytes."""

    number: int
    history: int
    token: int
    request: int
    answer: int
    # The bytes of the answer without the reply's text and the token.
    frame: int


def play(conversation: Conversation, address: str) -> list[Turn]:
    client, token, turns = Client(), None, []
    for number, source in enumerate(conversation.turns):
        body = {"input": source.input(), "model": conversation.id, "user_id": "ada", "stream": True}
        if token is not None:
            body["token"] = token
        answer = client.post(address, "/v1/turns", body)
        name, done = answer.events()[-1]
        assert name == "done", done
        token = done["token"]
        reply = len(done["reply"].encode())
        turns.append(
            Turn(
                number + 1,
                done["conversation"]["history_bytes"],
                len(token),
                len(json.dumps(body)),
                len(answer.body),
                len(answer.body) - len(token) - reply,
            )
        )
    client.close()
    return turns


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]] or [ROOT / "tests" / "replay" / "conversations.jsonl"]
    records = [json.loads(line) for file in files for line in file.read_bytes().split(b"\n") if line]
    conversations = [Conversation(record) for record in records]
    upstream = Upstream(conversations)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "holdall.toml"
        settings.write_text(config("openai", f"{upstream.url}/v1", [(each.id, each.system) for each in conversations]))
        server = Server(settings, new_keys())
        try:
            played = [play(conversation, server.address) for conversation in conversations]
        finally:
            server.kill()
    upstream.shutdown()
    report(played)


def report(played: list[list[Turn]]) -> None:
    turns = [turn for conversation in played for turn in conversation]
    print(f"{len(played)} conversations, {len(turns)} turns")
    growth = [
        after.history - before.history
        for conversation in played
        for before, after in zip(conversation, conversation[1:])
    ]
    tenths = statistics.quantiles(growth, n=10)
    print(f"a turn adds to the history: median {statistics.median(growth):.0f} bytes, p90 {tenths[8]:.0f}")
    print("\n| history, KB | turns | turn number | token / history | token | request | answer | frame of the answer |")
    print("|---|---|---|---|---|---|---|---|")
    floor = 0
    for top in CLASSES:
        of_class = [turn for turn in turns if floor * 1_000 <= turn.history < top * 1_000]
        if of_class:

            def median(value) -> float:
                return statistics.median(value(turn) for turn in of_class)

            print(
                f"| {floor} to {top} | {len(of_class)} | {median(lambda t: t.number):.0f} "
                f"| {median(lambda t: t.token / t.history):.2f} | {median(lambda t: t.token):,.0f} "
                f"| {median(lambda t: t.request):,.0f} | {median(lambda t: t.answer):,.0f} "
                f"| {median(lambda t: t.frame):,.0f} |"
            )
        floor = top
    print("\na conversation, all its turns together:")
    for conversation in sorted(played, key=len)[-3:]:
        carried = sum(turn.request + turn.answer for turn in conversation)
        last = conversation[-1]
        print(f"  {len(conversation)} turns, {last.history:,} bytes of history: {carried:,} bytes on the wire")


if __name__ == "__main__":
    main()
