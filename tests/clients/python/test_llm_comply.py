"""llm-comply, which checks answers against the published schemas of the three formats.

Some of its cases send what an assistant is to have said, with no token that vouches for it; so they are played against
a server that takes such histories.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("llm-comply")
# What each format's suite comes to; one case of each wants a model that reasons.
FORMATS = {
    "open-responses": {"passed": 12, "skipped": ["reasoning-summary"]},
    "openai-chat": {"passed": 8, "skipped": ["chat-reasoning-summary"]},
    "anthropic": {"passed": 8, "skipped": ["anth-thinking-display"]},
}


@pytest.mark.parametrize("format_", FORMATS)
def test_answers_are_as_the_schemas_have_them(accepting: str, format_: str) -> None:
    command = [PROGRAM, "--json", "--format", format_, "-u", f"{accepting}/v1", "-k", "unused", "-m", "default"]
    if format_ == "anthropic":
        command += ["--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    suite = json.loads(run.stdout)
    results = suite["results"]
    assert [(one["id"], one.get("errors")) for one in results if one["status"] == "failed"] == []
    assert run.returncode == 0
    expected = FORMATS[format_]
    assert [one["id"] for one in results if one["status"] == "skipped"] == expected["skipped"]
    assert len([one for one in results if one["status"] == "passed"]) == expected["passed"]
    # The compaction endpoint is not ours to have; nothing else is warned of.
    warned = {one["id"] for one in results if one.get("warnings")}
    assert warned <= {"compact-response"}
