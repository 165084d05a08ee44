"""A model service that fails on purpose, and otherwise reports the messages that it received.

Its reply has every secret in the messages, the number of user messages, and a digest of all messages. A
client that knows the conversation can check that it was sent, complete and in order.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The faults of a call, each with the error codes that clients may receive (docs/api.md).
FAULTS = {
    "close before the head": {"upstream_unavailable", "upstream_cut"},
    "429 with Retry-After": {"upstream_refused"},
    "500": {"upstream_unavailable"},
    "502 in HTML": {"upstream_unavailable"},
    "hang": {"upstream_timeout"},
    "cut midway": {"upstream_cut", "upstream_malformed"},
    "garbage": {"upstream_malformed"},
    "empty 200": {"upstream_malformed", "upstream_cut"},
    "stall midway": {"upstream_timeout"},
}
SECRET = re.compile(r"secret-[0-9a-f]{16}")
# The pieces of a streamed reply, and the pause between two pieces in seconds.
PIECES = 8
PAUSE = 0.01


def digest(messages: list[tuple[str, str]]) -> str:
    """What tells one history from every other: roles and texts, in order."""
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]


class Model(ThreadingHTTPServer):
    """A Chat Completions service on a free loopback port."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, rate: float, seed: int, patience: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rate = rate
        # Seconds that a hanging call lasts: longer than every timeout of the instances.
        self.patience = patience
        self.injected: Counter[str] = Counter()
        self.calls = 0
        self._chance = random.Random(f"{seed}/model")
        self._recent: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def draw(self, secrets: set[str]) -> str | None:
        """The fault of this call, or None."""
        with self._lock:
            self.calls += 1
            drawn = int(self._chance.random() / self.rate) if self.rate > 0 else len(FAULTS)
            if drawn >= len(FAULTS):
                return None
            fault = list(FAULTS)[drawn]
            self.injected[fault] += 1
            for secret in secrets:
                self._recent.setdefault(secret, []).append(fault)
            return fault

    def recent(self, secret: str) -> list[str]:
        """The faults of calls with this secret since the last call of this method."""
        with self._lock:
            return self._recent.pop(secret, [])

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores callers that leave. They are a part of the test."""


class Handler(BaseHTTPRequestHandler):
    """Handles the calls of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages = [(m["role"], text_of(m["content"])) for m in body["messages"] if m["role"] != "system"]
        secrets = {secret for _, text in messages for secret in SECRET.findall(text)}
        seen = {
            "secrets": sorted(secrets),
            "users": sum(role == "user" for role, _ in messages),
            "digest": digest(messages),
        }
        reply = f"{json.dumps(seen)} Some more words follow, so that there is text to cut."
        usage = {"prompt_tokens": len(messages), "completion_tokens": len(reply)}
        fault = self.server.draw(secrets)
        responses = {
            "429 with Retry-After": (429, "application/json", '{"error":{"message":"slow down"}}'),
            "500": (500, "application/json", '{"error":{"message":"no luck"}}'),
            "502 in HTML": (502, "text/html", "<html><body>502 Bad Gateway</body></html>"),
            "empty 200": (200, "text/event-stream" if body.get("stream") else "application/json", ""),
        }
        if fault == "close before the head":
            self.reset()
        elif fault == "hang":
            self.wait()
        elif fault in responses:
            self.complete(*responses[fault])
        elif body.get("stream"):
            self.stream(reply, usage, fault)
        else:
            message = {"role": "assistant", "content": reply}
            answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
            self.complete(200, "application/json", json.dumps(answer), fault)

    def complete(self, status: int, content_type: str, text: str, fault: str | None = None) -> None:
        data = text.encode()
        if fault == "garbage":
            data = b"\x00<<" + data[3:]
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(data)))
        if status == 429:
            self.send_header("retry-after", "1")
        self.end_headers()
        if fault in ("cut midway", "stall midway"):
            self.wfile.write(data[: len(data) // 2])
            self.reset() if fault == "cut midway" else self.wait()
            return
        self.wfile.write(data)

    def stream(self, reply: str, usage: dict, fault: str | None) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        size = -(-len(reply) // PIECES)
        for at in range(PIECES):
            if at == PIECES // 2 and fault is not None:
                if fault == "garbage":
                    self.chunk('data: {"choices":[{"index":0,"delta"\n\n')
                    self.wait()
                elif fault == "cut midway":
                    self.reset()
                else:
                    self.wait()
                return
            piece = reply[at * size : (at + 1) * size]
            self.event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            time.sleep(PAUSE)
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data: dict) -> None:
        self.chunk(f"data: {json.dumps(data)}\n\n")

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def wait(self) -> None:
        """Sends nothing more, and waits until the caller leaves."""
        self.close_connection = True
        self.connection.settimeout(self.server.patience)
        try:
            self.connection.recv(1)
        except OSError:
            pass

    def reset(self) -> None:
        """Resets the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Does not log single calls."""


def text_of(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)
