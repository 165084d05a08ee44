"""What the clients are pointed at: a load balancer over two servers, and a model server that fails as it is told to."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

# Headers that concern one connection and not the message (RFC 9110 §7.6.1), and what http.client writes itself.
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


@dataclass
class Passed:
    """One request that went through the balancer, with its answer as the client got it."""

    backend: int
    method: str
    path: str
    body: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytearray = field(default_factory=bytearray)

    def json(self) -> dict:
        """What the client sent."""
        return json.loads(self.body)


class Balancer(ThreadingHTTPServer):
    """Hands each request to the next of its servers, as a round-robin balancer does, and keeps what passed.

    So a client with one base URL talks to another server with every request, retries and all.
    """

    def __init__(self, addresses: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.addresses = addresses
        self.passed: list[Passed] = []
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def note(self, method: str, path: str, body: bytes) -> Passed:
        with self._lock:
            passed = Passed(len(self.passed) % len(self.addresses), method, path, body)
            self.passed.append(passed)
        return passed

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Relay(BaseHTTPRequestHandler):
    """Passes one request on, and its answer back as it comes."""

    server: Balancer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        passed = self.server.note(self.command, self.path, body)
        connection = http.client.HTTPConnection(self.server.addresses[passed.backend], timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        passed.status = answer.status
        passed.headers = {name.lower(): value for name, value in answer.headers.items()}
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        self.end_headers()
        while piece := answer.read1():
            passed.answer += piece
            self.wfile.write(piece)
        connection.close()

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass


# What the model server answers, by the name of the model: status and body.
FAULTS = {
    "busy": (503, {"error": {"message": "try later", "type": "server_error"}}),
    "refusing": (400, {"error": {"message": "no such thing", "type": "invalid_request_error"}}),
    "overflowing": (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 10 tokens.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
}
# The model whose reply breaks off, and what it says before it does.
CUT = "cut"
CUT_TEXT = "This reply never co"


class FaultyModels(ThreadingHTTPServer):
    """A model server in the Chat Completions format, none of whose models gets to the end of a reply."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FaultyModel)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class FaultyModel(BaseHTTPRequestHandler):
    """Answers one request in the way its model's name says."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request["model"] == CUT:
            self.cut(bool(request.get("stream")))
            return
        status, body = FAULTS[request["model"]]
        self.answer(status, "application/json", json.dumps(body).encode())

    def cut(self, stream: bool) -> None:
        said = {"role": "assistant", "content": CUT_TEXT}
        choice = {"index": 0, "finish_reason": None, "delta" if stream else "message": said}
        object_ = "chat.completion.chunk" if stream else "chat.completion"
        body = {"id": "chatcmpl-1", "object": object_, "created": 1, "model": CUT, "choices": [choice]}
        text = json.dumps(body)
        if stream:
            # The connection closes, and neither a finish reason nor [DONE] was there.
            self.answer(200, "text/event-stream", f"data: {text}\n\n".encode())
        else:
            self.answer(200, "application/json", text[:-2].encode(), length=len(text))

    def answer(self, status: int, kind: str, body: bytes, length: int | None = None) -> None:
        self.send_response_only(status)
        self.send_header("content-type", kind)
        if length is not None:
            self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
