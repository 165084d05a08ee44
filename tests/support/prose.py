#!/usr/bin/env python3
"""Checks the English of comments, messages and documentation, and the width of comments in Rust files.

    tests/support/prose.py [--list]

It reads the files that Git tracks. The rules are:

- Width: no comment in a Rust file ends beyond column 100. A comment with a URL may be wider.
- Openers: at most 12 per 1,000 lines. An opener is a sentence that starts with a relative clause,
  such as "What came of a call" instead of "The outcome of a call".
- House words: at most 5 per 1,000 lines. Each has a plain equivalent, see WORDS.

Openers and house words are counted in src, docs, examples and README.md: in comments, in string
literals of 12 characters and more, and in Markdown text outside of code blocks. `--list` prints each
of them. The exit status is 1 if a rule is broken.

The counts point at sentences that are hard to read. A sentence without a hit can be hard to read too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

WIDTH = 100
OPENERS_PER_1000 = 12
WORDS_PER_1000 = 5

OPENER = re.compile(r"(?:^|[.:;!?] )(?:What|Whatever|Whether|Who|Whoever|Whose|Nor|Were) (?=[a-z])")

# House words, each with the words to use instead.
WORDS = {
    r"alone(?=[.,;:)]|$)": "only",
    r"as (?:it was|they were)": "unchanged",
    r"at its end": "complete, finished",
    r"beside": "next to, in addition to",
    r"(?:came|come|comes) (?:by|of)": "obtained, result",
    r"(?:go|goes|going) on": "continue",
    r"good until": "expires",
    r"half-way": "midway",
    r"(?:is|are|was|were) told": "receives, reports",
    r"made anew": "recreated",
    r"no more than|nothing but": "only, at most",
    r"nobody|whoever": "name the person or program",
    r"parted by": "separated by",
    r"speaks? for": "represents",
    r"(?:stand|stands|stood) (?:beside|for|in)": "is, appears, represents",
    r"tells? of": "reports",
    r"the like": "similar",
    r"to be had": "available",
    r"under way": "in flight, in progress",
    r"vouch(?:ed|es)? for": "authenticated by",
}
WORD = re.compile(r"\b(?:" + "|".join(WORDS) + r")\b", re.IGNORECASE)

# Comments and string literals. A character literal is matched, so that a quote in it opens no string.
RUST = re.compile(
    r"""(?P<comment>//[^\n]*)
    | r(?P<hashes>\#*)"(?P<raw>.*?)"(?P=hashes)
    | "(?P<text>(?:\\.|[^"\\])*)"
    | '(?:\\.[^']*|[^'\\\n])'""",
    re.DOTALL | re.VERBOSE,
)
SCRIPT = re.compile(
    r"""(?P<comment>(?:^|(?<=\s))(?://|\#)[^\n]*)
    | \"""(?P<raw>.*?)\"""
    | (?P<quote>["'`])(?P<text>(?:\\.|(?!(?P=quote))[^\\\n])*)(?P=quote)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
MARKER = re.compile(r"\s*(?://[/!]?|#+!?)\s?")
SHORTEST_STRING = 12

# Files with prose, by the end of the name.
CODE = {".rs": RUST, ".mjs": SCRIPT, ".py": SCRIPT, ".toml": SCRIPT, ".ts": SCRIPT}


class Line(NamedTuple):
    """One line of prose: its place in the file, and its text without a comment marker."""

    path: Path
    number: int
    text: str


def main() -> int:
    shows_all = sys.argv[1:] == ["--list"]
    if sys.argv[1:] and not shows_all:
        sys.exit(__doc__)
    wide = [place for path in tracked("*.rs") for place in wide_comments(path)]
    for place in wide:
        print(f"{place}: the comment ends beyond column {WIDTH}")
    texts = [text for path in tracked("src", "docs", "examples", "README.md") for text in paragraphs(path)]
    lines = sum(len(text) for text in texts)
    ok = not wide
    for name, pattern, limit in [("openers", OPENER, OPENERS_PER_1000), ("house words", WORD, WORDS_PER_1000)]:
        hits = [hit for text in texts for hit in find(pattern, text)]
        rate = 1000 * len(hits) / max(lines, 1)
        if shows_all or rate > limit:
            print(*hits, sep="\n")
        print(f"{name}: {len(hits)} in {lines} lines of prose, {rate:.1f} per 1,000; the limit is {limit}")
        ok = ok and rate <= limit
    return 0 if ok else 1


def tracked(*patterns: str) -> Iterator[Path]:
    """The files that Git tracks below these paths."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    # A file may be deleted and not committed yet.
    return (path for name in names.split("\0") if name and (path := Path(name)) and (ROOT / path).exists())


def wide_comments(path: Path) -> Iterator[str]:
    """The places of comments that end beyond the width, without those that hold a URL."""
    source = (ROOT / path).read_text(encoding="utf-8")
    for match in RUST.finditer(source):
        comment = match["comment"]
        if comment is None or "://" in comment:
            continue
        start = source.rfind("\n", 0, match.start()) + 1
        if match.end() - start > WIDTH:
            yield f"{path}:{line_of(source, match.start())}"


def paragraphs(path: Path) -> Iterator[list[Line]]:
    """The prose of a file: lists of lines that belong together."""
    if path.suffix == ".md":
        yield from markdown(path)
    elif path.suffix in CODE:
        yield from code(path, CODE[path.suffix])


def code(path: Path, pattern: re.Pattern[str]) -> Iterator[list[Line]]:
    """String literals, and comments on lines that follow each other."""
    source = (ROOT / path).read_text(encoding="utf-8")
    comment: list[Line] = []
    fenced = False
    for match in pattern.finditer(source):
        number = line_of(source, match.start())
        if match["comment"] is None:
            text = match["raw"] or match["text"] or ""
            if len(text) >= SHORTEST_STRING:
                yield [Line(path, number + at, line) for at, line in enumerate(text.splitlines())]
            continue
        text = MARKER.sub("", match["comment"], count=1)
        fence = text.lstrip().startswith("```")
        fenced = fenced != fence
        if comment and (comment[-1].number + 1 != number or not text.strip() or fence):
            yield comment
            comment = []
        if text.strip() and not fence and not fenced:
            comment.append(Line(path, number, text))
    if comment:
        yield comment


def markdown(path: Path) -> Iterator[list[Line]]:
    """Paragraphs, list items and table cells outside of code blocks."""
    text: list[Line] = []
    fenced = False
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced = fenced != fence
        starts = re.match(r"\s*(?:$|#+ |[-*] |\d+\. |\||```)", line)
        if text and (starts or fenced):
            yield text
            text = []
        if fence or fenced or not line.strip():
            continue
        if line.lstrip().startswith("|"):
            yield from ([Line(path, number, cell.strip())] for cell in line.split("|") if cell.strip())
        else:
            text.append(Line(path, number, re.sub(r"^\s*(?:#+ |[-*] |\d+\. )?(?:\*\*)?", "", line)))
    if text:
        yield text


def find(pattern: re.Pattern[str], text: list[Line]) -> Iterator[str]:
    """The hits in a paragraph, each with its place. A hit may reach over the end of a line."""
    joined = " ".join(line.text.strip() for line in text)
    ends = []
    for line in text:
        ends.append((ends[-1] if ends else -1) + len(line.text.strip()) + 1)
    for match in pattern.finditer(joined):
        line = next(line for line, end in zip(text, ends) if match.end() <= end)
        around = joined[max(match.start() - 30, 0) : match.end() + 40]
        yield f"{line.path}:{line.number}: {around}"


def line_of(source: str, offset: int) -> int:
    return source.count("\n", 0, offset) + 1


if __name__ == "__main__":
    sys.exit(main())
