#!/usr/bin/env python3
"""Holds a server to what the native one does: users apart, hostile tokens, and the same answers to the same requests.

    HOLDALL_BIN=tests/edge/worker/holdall tests/edge/suite/run.py [--texts-only] [isolation|tokens|alike]…

`HOLDALL_BIN` is started as `holdall serve` is; without it the native server is held to itself. The reference is what
`cargo build` makes; `--texts-only` leaves out request bodies that are no UTF-8, where what stands in front refuses them.
Exit 0 all as it must be, 1 not so.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))

import alike  # noqa: E402
import isolation  # noqa: E402
import tokens  # noqa: E402
from holdall import ROOT, binary  # noqa: E402

CONFIG = """
[[upstream]]
name = "builtin"
kind = "builtin"
[[model]]
alias = "default"
upstreams = ["builtin"]
model = "builtin"
"""
TEXTS_ONLY = "--texts-only"
CHECKS = {
    "isolation": isolation.check,
    "tokens": tokens.check,
    "alike": lambda config: alike.check(native(), binary(), config, TEXTS_ONLY in sys.argv),
}


def native() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "holdall"


def main() -> int:
    names = [argument for argument in sys.argv[1:] if argument != TEXTS_ONLY] or list(CHECKS)
    if not set(names) <= set(CHECKS):
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "holdall.toml"
        config.write_text(CONFIG)
        for name in names:
            began = time.monotonic()
            try:
                told = CHECKS[name](config)
            except AssertionError as error:
                print(f"{name}: FAILED: {error}", file=sys.stderr)
                failed += 1
            else:
                print(f"{name}: {told}, {time.monotonic() - began:.1f} s")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
