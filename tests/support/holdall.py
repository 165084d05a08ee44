"""Starts `holdall serve` and calls its native API. Uses Python's standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]


def binary() -> Path:
    """The program under test: `HOLDALL_BIN`, else the one that `cargo build` makes."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("HOLDALL_BIN", target / "debug" / "holdall"))


def new_keys() -> str:
    """A key ring with one new key, in the format of `HOLDALL_KEYS`."""
    return "test:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


class Server:
    """A `holdall serve` on a loopback port. Port 0 means a free port that the system chooses.

    `keys` is a key ring, or None if the configuration names a key file. `program` replaces the program
    under test.
    """

    def __init__(
        self, config: Path, keys: str | None, port: int = 0, program: Path | None = None, **variables: str
    ) -> None:
        # The server must not see settings of this shell.
        environment = {"PATH": os.environ["PATH"], **variables}
        if "read_rate" not in config.read_text(encoding="utf-8"):
            # Suites read faster than people do.
            environment.setdefault("HOLDALL_READ_RATE", "off")
        if keys is not None:
            environment["HOLDALL_KEYS"] = keys
        command = [str(program or binary()), "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        self.address = self._read_address()
        # A full pipe would block the server.
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def kill(self) -> None:
        """Ends the process without a warning or a drain, as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _read_address(self) -> str:
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"listens on http://(\S+)", line)
            if found:
                return found[1]
        raise SystemExit(f"holdall did not start: {''.join(self.log)}")


class Answer:
    """The answer to one request."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> dict:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, dict]]:
        """The server-sent events, without comments."""
        events = []
        for block in self.body.decode().split("\n\n"):
            fields = [line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":")]
            if fields:
                named = dict(fields)
                events.append((named["event"], json.loads(named["data"])))
        return events


class Client:
    """Keeps one connection per server. Not thread-safe."""

    def __init__(self) -> None:
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def post(self, address: str, path: str, body: dict) -> Answer:
        connection = self._connections.get(address)
        if connection is None:
            parts = urlsplit(f"//{address}")
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
            self._connections[address] = connection
        connection.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def toml(value: str) -> str:
    """A TOML string."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def config(
    kind: str, base_url: str, models: list[tuple[str, str | None]], api_key_env: str | None = None
) -> str:
    """A configuration with one upstream, and for each (model, system prompt) an alias with the model's name."""
    lines = ["[[upstream]]", 'name = "upstream"', f"kind = {toml(kind)}", f"base_url = {toml(base_url)}"]
    if kind == "openai":
        # The suites compare what the service gets with what the client sent, text by text.
        lines += ["text_lists = true", "empty_messages = true"]
    if api_key_env is not None:
        lines.append(f"api_key_env = {toml(api_key_env)}")
    for model, system in models:
        lines += ["[[model]]", f"alias = {toml(model)}", f"model = {toml(model)}", 'upstreams = ["upstream"]']
        if system is not None:
            lines.append(f"system_prompt = {toml(system)}")
    return "\n".join(lines) + "\n"
