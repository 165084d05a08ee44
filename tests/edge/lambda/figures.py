#!/usr/bin/env python3
"""Measures a cold start: from the start of the process to the end of its first turn, and what memory it takes.

    HOLDALL_FUNCTION=target/release/holdall tests/edge/lambda/figures.py [STARTS]

The model is the built-in one, so that the time is ours alone; times of the emulator's are in it. Prints medians.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from pathlib import Path

from emulator import BINARY, Emulator, start_function

TURN = json.dumps({"input": "my name is Ada"})
JSON = {"content-type": "application/json"}


def turn(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/turns", TURN, JSON)
    answer = connection.getresponse()
    if answer.status != 200 or b"Noted: your name is Ada." not in answer.read():
        raise SystemExit(f"status {answer.status}")
    connection.close()


def memory(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def processor_millis(pid: int) -> float:
    """The time on a processor, which other processes' load does not change much."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1e6


def main() -> int:
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    emulator = Emulator()
    settings = {"HOLDALL_KEYS": "k1:" + "A" * 42 + "E", "HOLDALL_DANGEROUS_OPEN": "true"}
    environment = emulator.environment(HOLDALL_LAMBDA_RESPONSE="stream", **settings)
    first, again, ready, idle, peak, spent = [], [], [], [], [], []
    for _ in range(starts):
        began = time.monotonic()
        function = start_function(environment)
        turn(emulator.port)
        first.append(time.monotonic() - began)
        lines = [function.stderr.readline() for _ in range(3)]
        assert lines[0].endswith("handles AWS Lambda events\n"), lines
        spent.append(processor_millis(function.pid))
        idle.append(memory(function.pid)["VmRSS"])
        began = time.monotonic()
        turn(emulator.port)
        again.append(time.monotonic() - began)
        for _ in range(100):
            turn(emulator.port)
        peak.append(memory(function.pid)["VmHWM"])
        function.kill()
        function.wait()
        function.stderr.close()
        began = time.monotonic()
        function = start_function(environment)
        function.stderr.readline()
        ready.append(time.monotonic() - began)
        function.kill()
        function.wait()
        function.stderr.close()
    emulator.stop()
    millis = lambda seconds: f"{statistics.median(seconds) * 1000:.1f} ms"  # noqa: E731
    print(f"{BINARY}: {BINARY.stat().st_size} bytes, {starts} starts")
    print(f"ready for events after {millis(ready)}, first turn answered after {millis(first)}, a further one {millis(again)}")
    print(f"of the first, {statistics.median(spent):.1f} ms on a processor")
    print(f"resident after the first turn {statistics.median(idle):.1f} MiB, at most {statistics.median(peak):.1f} MiB in 100")
    return 0


if __name__ == "__main__":
    sys.exit(main())
