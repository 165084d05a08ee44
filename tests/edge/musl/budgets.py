#!/usr/bin/env python3
"""Holds programs to their budgets: tests/edge/musl/budgets.py NAME=PATH…

    cargo build --release && tests/edge/musl/budgets.py glibc=target/release/holdall

| figure | how it is taken | held to the budget |
|---|---|---|
| start to first turn | from starting the process to the last byte of a whole answer of the built-in model, over RUNS starts | the best: other work on the machine only ever adds to it |
| processor time of that | user and system time of the process at its end, over the same runs | the median: other work adds little to it |
| idle memory | VmRSS of a server that has answered one turn | the median |
| size | bytes of the file, which has no symbols | as it is |

Exit 0 all kept, 1 not so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

# The budgets.
FIRST_TURN_MS = 50.0
IDLE_BYTES = 15 << 20
FILE_BYTES = 15 << 20

RUNS = 20
# What a start and a turn get before they count as hung, in seconds.
WAIT = 10.0
HEADERS = "POST /v1/turns HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
BODY = json.dumps({"input": "My name is Ada."})
REQUEST = f"{HEADERS}content-length: {len(BODY)}\r\n\r\n{BODY}".encode()


def first_turn(program: Path) -> tuple[float, float, int]:
    """Starts it and takes one turn: milliseconds by the clock, of the processor, and VmRSS in bytes."""
    began = time.monotonic()
    process = subprocess.Popen(
        [program, "serve", "--dev", "--listen", "127.0.0.1:0"],
        env={},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    # A program that says nothing ends, and with it what is read from it.
    hung = threading.Timer(WAIT, os.kill, (process.pid, signal.SIGKILL))
    hung.start()
    try:
        answer = turn(port(process, program))
        clock = (time.monotonic() - began) * 1_000
        if not answer.startswith(b"HTTP/1.1 200 ") or b'"reply":"Noted: your name is Ada."' not in answer:
            raise SystemExit(f"{program} answers {answer!r}")
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        hung.cancel()
        # Popen would reap one that has ended, and throw the usage away.
        os.kill(process.pid, signal.SIGKILL)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        process.stderr.close()
    resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
    return clock, (usage.ru_utime + usage.ru_stime) * 1_000, resident


def port(process: subprocess.Popen, program: Path) -> int:
    """Where it says that it listens."""
    for said in process.stderr:
        if b" listens on http://127.0.0.1:" in said:
            return int(said.rsplit(b":", 1)[1])
    raise SystemExit(f"{program} does not start within {WAIT} s, or not at all")


def turn(at: int) -> bytes:
    """The whole answer to REQUEST."""
    answer = b""
    with socket.create_connection(("127.0.0.1", at), timeout=WAIT) as connection:
        connection.sendall(REQUEST)
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def figures(program: Path) -> list[tuple[str, float, float, str]]:
    """What is held to which budget, with its unit."""
    runs = [first_turn(program) for _ in range(RUNS)]
    clocks, processor, resident = zip(*runs)
    median = f"median {statistics.median(clocks):.1f}, worst {max(clocks):.1f}"
    return [
        ("start to first turn, ms", min(clocks), FIRST_TURN_MS, median),
        ("processor time of it, ms", statistics.median(processor), FIRST_TURN_MS, f"worst {max(processor):.1f}"),
        ("idle memory, MiB", statistics.median(resident) / (1 << 20), IDLE_BYTES / (1 << 20), ""),
        ("size, MiB", program.stat().st_size / (1 << 20), FILE_BYTES / (1 << 20), f"{program.stat().st_size} bytes"),
    ]


def main() -> int:
    programs = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if not programs:
        raise SystemExit(f"usage: {sys.argv[0]} NAME=PATH…")
    over = 0
    print(f"{'program':16} {'figure':26} {'measured':>9} {'budget':>7}")
    for name, path in programs.items():
        for figure, measured, budget, beside in figures(Path(path)):
            verdict = "" if measured < budget else "  OVER BUDGET"
            over += bool(verdict)
            print(f"{name:16} {figure:26} {measured:9.1f} {budget:7.0f}  {beside}{verdict}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
