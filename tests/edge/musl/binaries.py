"""The programs under test, by the variables that `run` sets, and how each is started on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from instance import Instance  # noqa: E402

# What `uname -m` says where a program runs by itself.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = "glibc"
STATIC = tuple(MACHINES)


def program(name: str) -> Path:
    """The file of `glibc`, `amd64` or `arm64`."""
    path = os.environ.get(f"HOLDALL_{name.upper()}")
    if not path:
        raise SystemExit("started by tests/edge/musl/run alone")
    return Path(path)


def command(name: str) -> list[str]:
    """How it is started here: another machine's program by qemu."""
    path = str(program(name))
    machine = MACHINES.get(name, platform.machine())
    if machine == platform.machine():
        return [path]
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        raise unittest.SkipTest(f"there is no qemu for {machine}")
    return [emulator, path]


def serve(name: str, variables: dict[str, str]) -> Instance:
    """A server of it, on a loopback port of the system's choice."""
    return Instance([*command(name), "serve"], {"HOLDALL_LISTEN": "127.0.0.1:0", **variables})
