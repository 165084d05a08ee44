"""cargo-lambda's emulator, without a build: its Runtime API and its function URLs, and our binary beside it.

Python's standard library only. What is started ends with the process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HOME = Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache")
VERSION = "1.9.1"
# What `run` installs.
INSTALLED = Path(os.environ.get("HOLDALL_TOOLS") or CACHE / "holdall") / f"cargo-lambda-{VERSION}"
# The function's binary.
BINARY = Path(
    os.environ.get("HOLDALL_FUNCTION")
    or Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug" / "holdall"
)

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def bind_to_parent() -> None:
    """The child dies when its parent does."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Emulator:
    """The emulator on a port of the loopback."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # It asks cargo what the project is, and starts nothing of it.
        project = INSTALLED / "project"
        path = f"{HOME}/.cargo/bin:{os.environ.get('PATH', os.defpath)}"
        command = [str(INSTALLED / "bin" / "cargo-lambda"), "lambda", "watch", "--only-lambda-apis", "--offline"]
        command += ["--ignore-changes", "--disable-cors", "-A", "127.0.0.1", "-P", str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, "PATH": path, "HOME": str(HOME)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=bind_to_parent,
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(500):
            if self.process.poll() is not None:
                raise SystemExit(f"the emulator ended with {self.process.returncode}; cargo must be there as well")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit("the emulator does not listen after ten seconds")

    def environment(self, **variables: str) -> dict[str, str]:
        """What the platform sets, and `variables`."""
        return {
            "AWS_LAMBDA_RUNTIME_API": f"{self.url}/.rt",
            "AWS_LAMBDA_FUNCTION_NAME": "_",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            **variables,
        }

    def invoke(self, event: object, timeout: float = 30) -> tuple[int, bytes]:
        """Gives the function an event, as `cargo lambda invoke` does; its whole answer."""
        request = urllib.request.Request(
            f"{self.url}/2015-03-31/functions/_/invocations", json.dumps(event).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def start_function(environment: dict[str, str], binary: Path = BINARY, **popen: object) -> subprocess.Popen:
    """Starts the binary as the platform does: by the name `bootstrap`, without arguments, told all by variables."""
    if not binary.exists():
        raise SystemExit(f"there is no {binary}; `cargo build` makes it")
    return subprocess.Popen(
        ["bootstrap"],
        executable=binary,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bind_to_parent,
        **popen,
    )
