"""The document with a validator, a server, and a model service that fails on request."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from holdall import Server, new_keys  # noqa: E402
from jsonschema import Draft202012Validator, FormatChecker  # noqa: E402


class Document:
    """The document, with access by path and method."""

    def __init__(self, path: str) -> None:
        self.text = Path(path).read_text()
        self.whole = json.loads(self.text)

    def posts(self) -> list[str]:
        """The paths that accept a request body."""
        return [path for path, item in self.whole["paths"].items() if "post" in item]

    def operation(self, path: str, method: str) -> dict:
        item = self.whole["paths"].get(path)
        if item is None and path.startswith("/v1/models/"):
            item = self.whole["paths"]["/v1/models/{model}"]
        return item[method]

    def schema(self, schema: dict) -> dict:
        """The schema with everything that it can refer to."""
        return {"components": self.whole["components"], "allOf": [schema]}

    def request(self, path: str) -> dict:
        return self.operation(path, "post")["requestBody"]["content"]["application/json"]["schema"]

    def faults(self, schema: dict, value: object) -> list[str]:
        """The faults of a value under a schema."""
        validator = Draft202012Validator(self.schema(schema), format_checker=FormatChecker())
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in validator.iter_errors(value)]


class Model(ThreadingHTTPServer):
    """A Chat Completions service. The name of the requested model decides how it fails."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    """Fails as the name of the model says."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        refusals = {
            "refusing": (400, {"error": {"message": "no such thing", "type": "invalid_request_error"}}),
            "overflowing": (400, {"error": {"message": "maximum context length is 10 tokens", "code": "context_length_exceeded"}}),
            "failing": (500, {"error": {"message": "out of order"}}),
            "busy": (429, {"error": {"message": "too fast"}}),
            "garbling": (200, {"nonsense": True}),
        }
        status, answer = refusals.get(body["model"], (200, None))
        if answer is None:
            # The reply breaks off after one word.
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            chunk = {"choices": [{"index": 0, "delta": {"content": "So far "}}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            return
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


FAILING = ("refusing", "overflowing", "failing", "busy", "garbling", "cutting")


def start(model: Model | None = None, settings: str = "", **variables: str) -> Server:
    """A server with the built-in model as `default`. Its other models are those of `model`."""
    lines = [settings, "[[upstream]]", 'name = "builtin"', 'kind = "builtin"']
    if model is not None:
        lines += ["[[upstream]]", 'name = "failing"', 'kind = "openai"', f'base_url = "{model.url}"']
    lines += ["[[model]]", 'alias = "default"', 'upstreams = ["builtin"]', 'model = "builtin"']
    for name in FAILING if model is not None else ():
        lines += ["[[model]]", f'alias = "{name}"', 'upstreams = ["failing"]', f'model = "{name}"']
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write("\n".join(lines) + "\n")
    try:
        return Server(Path(file.name), new_keys(), **variables)
    finally:
        Path(file.name).unlink()
