#!/usr/bin/env python3
"""Runs the tests of the guard on one store server: tests/guard/run.py [--store PROGRAM] [NAME]…

NAME is a unittest name: `test_limits`, `test_limits.Limits.test_a_failed_turn_is_refunded`. Requires the
binary of `cargo build`. Exits with 0 if all tests pass, with 1 if one fails, and with 2 for wrong arguments.
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
        parser.error(f"{binary()} does not exist; run `cargo build` first, or set HOLDALL_BIN")
    if shutil.which(arguments.store) is None:
        parser.error(f"{arguments.store} is not installed")
    os.environ["GUARD_STORE"] = arguments.store
    sys.path.insert(0, str(HERE))
    loader = unittest.defaultTestLoader
    tests = loader.loadTestsFromNames(arguments.names) if arguments.names else loader.discover(str(HERE))
    outcome = unittest.TextTestRunner(verbosity=2).run(tests)
    return 0 if outcome.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
