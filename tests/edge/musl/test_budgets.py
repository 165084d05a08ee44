"""Programs that hang or answer wrongly fail their budgets, and do not outlive that."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import budgets

LISTENS = """#!/usr/bin/python3
import os, socket, sys, time
open(f"{sys.argv[0]}.pid", "w").write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0))
print(f"holdall listens on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
connection, _ = listener.accept()
"""
PROGRAMS = {
    "says nothing": ("#!/bin/sh\necho $$ >$0.pid\nexec sleep 60\n", SystemExit, "does not start"),
    "ends at once": ("#!/bin/sh\necho $$ >$0.pid\n", SystemExit, "does not start"),
    "does not answer": (f"{LISTENS}time.sleep(60)\n", OSError, ""),
    "answers wrongly": (
        f"{LISTENS}connection.recv(4096)\nconnection.sendall(b'HTTP/1.1 500 Oh\\r\\n\\r\\n')\n"
        "connection.close()\ntime.sleep(60)\n",
        SystemExit,
        "500 Oh",
    ),
}


class Failures(unittest.TestCase):
    @mock.patch.object(budgets, "WAIT", 1.0)
    def test_what_fails_is_named_and_killed(self) -> None:
        for name, (text, error, said) in PROGRAMS.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                program = Path(folder, "holdall")
                program.write_text(text)
                program.chmod(0o755)
                with self.assertRaisesRegex(error, said):
                    budgets.first_turn(program)
                process = Path(f"{program}.pid").read_text().strip()
                self.assertFalse(Path("/proc", process).exists(), "it is still there")
