"""The examples, run as their first lines say, through the balancer: each request of one goes to another server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import ROOT, Balancer

EXAMPLES = ROOT / "examples"
NOTED = "Noted: your name is Ada."
NAME = "Your name is Ada."
SUM = "add gave: 5"
FIRST = 'Your first message was: "My name is Ada."'
TEN = "1 2 3 4 5 6 7 8 9 10"

# What each prints, and how many requests it makes.
PYTHON = {
    "openai-python/responses.py": ([NOTED, NAME, TEN, FIRST, SUM], 6),
    "openai-python/chat.py": ([NOTED, NAME, TEN, FIRST], 4),
    "openai-python/agents_sdk.py": ([NOTED, SUM, NAME], 4),
    "langchain/chat.py": ([NOTED, NAME, SUM, FIRST], 5),
    "anthropic/messages.py": ([NOTED, NAME, SUM, FIRST, NAME], 6),
}
# Said and answered; the headings stand before every other.
DOORS = [
    ("My name is Ada.", NOTED),
    ("What is my name?", NAME),
    ("Count to 5.", "1 2 3 4 5"),
    ("What did I say first?", FIRST),
    ("Count to 6.", "1 2 3 4 5 6"),
    ("What is my name?", NAME),
    ("Count to 7.", "1 2 3 4 5 6 7"),
    ("How many turns do you see?", "I see 8 messages of yours and 7 replies of mine: this is turn 8."),
]
HEADINGS = ["/v1/turns", "/v1/responses", "/v1/chat/completions", "/v1/messages", "/v1/history"]


def run(command: list[str], balancer: Balancer) -> list[str]:
    """What it prints, line by line."""
    # The shell's PATH is all that it is to find.
    environment = {"PATH": os.environ["PATH"], "HOLDALL_URL": balancer.url}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("example", PYTHON)
def test_python_examples_print_what_they_should(balancer: Balancer, example: str) -> None:
    lines, requests = PYTHON[example]
    assert run([sys.executable, "-W", "error", str(EXAMPLES / example)], balancer) == lines
    assert [passed.status for passed in balancer.passed] == [200] * requests


def test_curl_example_goes_through_all_doors(balancer: Balancer) -> None:
    lines = run(["bash", str(EXAMPLES / "curl" / "apis.sh")], balancer)
    sections: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("== "):
            section = sections.setdefault(line.removeprefix("== ").partition(":")[0], [])
        else:
            section.append(line)
    assert list(sections) == HEADINGS
    *doors, history = sections.values()
    assert [line for door in doors for line in door] == [answered for _, answered in DOORS]
    assert [len(door) for door in doors] == [2, 2, 2, 2]
    assert history == [line for said, answered in DOORS for line in (f"user: {said}", f"assistant: {answered}")]


def test_every_example_is_run(balancer: Balancer) -> None:
    ours = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("**/*.py")}
    assert ours == set(PYTHON)
