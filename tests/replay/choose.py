#!/usr/bin/env python3
"""Chooses the conversations for the replay from a corpus:

    choose.py CORPUS_FOLDER > conversations.jsonl

The same corpus always gives the same choice: the longest records of each source. Only sources are
used whose text has a single origin (README.md). The command fails if the choice lacks a language or
a shape that the replay must cover.
"""

import json
import sys
from pathlib import Path

from source import Conversation

# The number of records of each source. The longest are chosen.
QUOTAS = {
    "crosswoz": 8,
    "mt-bench-101": 8,
    "swe-agent": 3,
    "tau-bench-airline": 11,
    "tldr-ar": 4,
    "tldr-hi": 4,
    "tldr-ja": 4,
    "tldr-ko": 4,
    "tldr-ru": 4,
}
# Two far longer records: one with hundreds of tool calls, one with hundreds of short turns.
LONG = ("long-crosswoz-a", "long-taubench-a")

LANGUAGES = {"ar", "en", "hi", "ja", "ko", "ru", "zh"}
SHAPES = {
    "text with a call",
    "an empty result",
    "ends with a result",
    "ends with a user message",
    "repeated call ids",
    "a system prompt",
    "tool calls",
}


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: choose.py CORPUS_FOLDER", file=sys.stderr)
        return 2
    corpus = Path(sys.argv[1])
    records = read(corpus / "conversations.jsonl")
    chosen = [record for source, count in QUOTAS.items() for record in longest(records, source, count)]
    chosen += [record for record in read(corpus / "long.jsonl") if record["id"] in LONG]
    chosen.sort(key=lambda record: record["id"])

    missing = LANGUAGES - {record["lang"] for record in chosen}
    missing |= SHAPES - {shape for record in chosen for shape in Conversation(record).shapes}
    if missing:
        print(f"the choice lacks: {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    for record in chosen:
        print(compact(record))
    return 0


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def longest(records: list[dict], source: str, count: int) -> list[dict]:
    of_source = [record for record in records if record["source"] == source]
    of_source.sort(key=lambda record: (-len(compact(record["messages"]).encode()), record["id"]))
    return of_source[:count]


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
