"""A Chat Completions service that obeys the last message. Uses only Python's standard library.

`say …` replies with the rest of the message, `fail` is a 500, `cut` streams a word and breaks off, `hold …`
waits until `released` is set and then replies. A request for a summary gets one; with `holds_summaries` it waits
first.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The reported usage of each turn.
INPUT_TOKENS, OUTPUT_TOKENS = 60, 40


class Upstream:
    """The service, on a free port."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.holds_summaries = False
        self.lock = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0
        self.calls = 0
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                upstream.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        word, _, rest = text.partition(" ")
        with self.lock:
            self.calls += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if word == "hold" or (word == "Summarize" and self.holds_summaries):
                self.released.wait(30)
            if word == "fail":
                reply(handler, 500, "application/json", b'{"error":{"message":"out of order"}}')
            elif body.get("stream"):
                stream(handler, rest or "yes", complete=word != "cut")
            else:
                choice = {"index": 0, "message": {"role": "assistant", "content": rest or "yes"}, "finish_reason": "stop"}
                reply(handler, 200, "application/json", json.dumps({"choices": [choice], "usage": USAGE}).encode())
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
        finally:
            with self.lock:
                self.in_flight -= 1

    def reset(self) -> None:
        """Waits until all calls have ended, resets the counts, and holds calls again."""
        self.released.set()
        while self.in_flight > 0:
            time.sleep(0.01)
        self.most_in_flight = self.calls = 0
        self.released.clear()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


USAGE = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}


def reply(handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-type", kind)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def stream(handler: BaseHTTPRequestHandler, text: str, complete: bool) -> None:
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.close_connection = True
    send(handler, {"choices": [{"index": 0, "delta": {"content": text}}]})
    if complete:
        send(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE})
        handler.wfile.write(b"data: [DONE]\n\n")


def send(handler: BaseHTTPRequestHandler, event: dict) -> None:
    handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    handler.wfile.flush()
