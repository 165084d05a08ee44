#!/usr/bin/env python3
"""Runs the tests of the guard on one store server: tests/guard/run.py [--store PROGRAM] [NAME]…

Names are those of unittest: `test_limits`, `test_limits.Limits.test_a_failed_turn_is_given_back`. Wants what
`cargo build` makes. Exit 0 all passed, 1 not so, 2 misuse.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from holdall import binary  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the tests of the guard on one store server.")
    parser.add_argument("--store", default="redis-server", help="the server [default: redis-server]")
    parser.add_argument("names", nargs="*", help="the tests to run [default: all]")
    arguments = parser.parse_args()
    if not binary().is_file():
        parser.error(f"{binary()} is not there; run `cargo build` first, or set HOLDALL_BIN")
    if shutil.which(arguments.store) is None:
        parser.error(f"there is no {arguments.store}")
    os.environ["GUARD_STORE"] = arguments.store
    sys.path.insert(0, str(HERE))
    loader = unittest.defaultTestLoader
    tests = loader.loadTestsFromNames(arguments.names) if arguments.names else loader.discover(str(HERE))
    outcome = unittest.TextTestRunner(verbosity=2).run(tests)
    return 0 if outcome.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
