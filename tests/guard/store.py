"""Redis servers for tests of outages, and a client. Uses only Python's standard library."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


class Refused(Exception):
    """An error reply of the store."""


class Connection:
    """One connection, for commands and their replies (RESP2)."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words: object):
        self.send(*words)
        return self.read()

    def send(self, *words: object) -> None:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        frames = [b"*%d\r\n" % len(parts)] + [b"$%d\r\n%s\r\n" % (len(part), part) for part in parts]
        self.socket.sendall(b"".join(frames))

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the store closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        raise ValueError(f"unexpected reply {line!r}")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def program() -> str:
    """The server under test: `GUARD_STORE`, or else Debian's redis-server."""
    return os.environ.get("GUARD_STORE", "redis-server")


class Store:
    """A server on a free loopback port. It keeps the port when it is restarted."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="holdall-guard-"))
        self.process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server with its saved data."""
        command = [program(), *self.options, "--port", str(self.port), "--bind", "127.0.0.1"]
        if "--sentinel" not in self.options:
            command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.folder)
        for _ in range(200):
            try:
                self.do("PING")
                return
            except (OSError, ConnectionError):
                time.sleep(0.05)
            except Refused:
                return
        raise SystemExit(f"{command[0]} did not start")

    def do(self, *words: object):
        """Sends one command on a new connection."""
        connection = Connection(self.port)
        try:
            return connection(*words)
        finally:
            connection.close()

    def keys(self, kind: str = "") -> list[bytes]:
        """The keys of one kind, or all keys."""
        return sorted(self.do("KEYS", f"holdall1:*:{kind}*" if kind else "*"))

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
