"""The common part of the model services: a script of replies, strict checks, and streams over HTTP.

Each service has one API and refuses the requests that this API refuses. It also refuses a request
that lacks the model's reasoning, or that does not begin with the prompt of the request before.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "a-key-of-the-operator"
MODEL = "the-model"


@dataclass(frozen=True)
class Call:
    """A call of a tool. A text instead of arguments is the input of a tool that takes only a text."""

    name: str
    arguments: dict[str, object] | str

    def bound(self, tools: dict[str, dict]) -> Call:
        """This call with the name and the arguments that a request's tools have for it, in JSON.

        Holdall offers a tool of a namespace under a longer name, and a tool that takes a text as a
        function with one parameter.
        """
        names = [name for name in tools if name == self.name or name.endswith(f"_{self.name}")]
        want(len(names) == 1, f"{len(names)} of the tools {sorted(tools)} are called {self.name!r}")
        arguments = self.arguments
        if isinstance(arguments, str):
            parameters = list(tools[names[0]]["properties"])
            want(len(parameters) == 1, f"{self.name} must have one parameter, and has {parameters}")
            arguments = {parameters[0]: arguments}
        return Call(names[0], json.dumps(arguments))


@dataclass(frozen=True)
class Reply:
    """One reply of the model: a thought, a text and a call, each optional, in this order."""

    thought: str = ""
    text: str = ""
    call: Call | None = None


# The reply to a request without tools: agents ask for a title, for example.
ASIDE = Reply(text="A title")


class Refused(Exception):
    """The service refuses the request. The message names the reason."""


def want(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


def want_members(name: str, value: object, required: set[str], optional: Iterable[str] = ()) -> None:
    """Refuses a value that is not an object, lacks a member, or has an unknown one."""
    want(isinstance(value, dict), f"{name}: must be an object")
    missing, unknown = required - set(value), set(value) - required - set(optional)
    want(not missing, f"{name}: {sorted(missing)}: field required")
    want(not unknown, f"{name}: {sorted(unknown)}: extra inputs are not permitted")


def want_names(names: list[str], most: int) -> None:
    """Refuses names of tools that are malformed or equal."""
    for name in names:
        want(re.fullmatch(f"[a-zA-Z0-9_-]{{1,{most}}}", name), f"the tool name {name!r} is malformed")
    want(len(set(names)) == len(names), "tool names must be unique")


class Service(ThreadingHTTPServer):
    """A model service on a loopback port. Its n-th reply to a request with tools is the n-th of the script."""

    # Replaced by each API.
    PATH = ""
    NAMED_EVENTS = True

    def __init__(self, script: list[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        # The replies so far, as they were sent.
        self.replies: list[Reply] = []
        # The bodies of the requests with tools, and of the requests without tools.
        self.requests: list[dict] = []
        self.asides: list[dict] = []
        # The reasons of refusals.
        self.refusals: list[str] = []
        self._tools: dict[str, str] = {}
        self._prefix: list[str] = []
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Iterator[dict] | dict]:
        """The status and the events of a stream, or an error's body."""
        with self._lock:
            try:
                return 200, self._events(path, headers, body)
            except Refused as refused:
                self.refusals.append(str(refused))
                return 400, self.error(str(refused))

    def _events(self, path: str, headers: dict[str, str], body: bytes) -> Iterator[dict]:
        want(path == self.PATH, f"there is no {path}")
        self.check_headers(headers)
        request = json.loads(body.decode())
        self.check(request)
        want(request.get("stream") is True, "this service only streams")
        if not request.get("tools"):
            self.asides.append(request)
            return self.events(request, f"aside{len(self.asides)}", ASIDE)
        self._check_tools(self.tools(request))
        self._check_prefix(self.prompt(request))
        number = len(self.requests)
        want(number < len(self.script), "the script is at its end")
        reply = self.script[number]
        if reply.call:
            reply = replace(reply, call=reply.call.bound(self.tools(request)))
        self.requests.append(request)
        self.replies.append(reply)
        return self.events(request, str(number), reply)

    def is_at_end(self) -> bool:
        """True if the last reply of the script was asked for."""
        return len(self.requests) == len(self.script)

    def _check_tools(self, tools: dict[str, dict]) -> None:
        """Refuses a tool that was offered before in another form. A client may offer more tools."""
        for name, schema in tools.items():
            want(self._tools.setdefault(name, json.dumps(schema)) == json.dumps(schema), f"the tool {name} changed")

    def _check_prefix(self, prompt: list[object]) -> None:
        """Refuses a prompt that does not begin with the last prompt: a prompt cache could not use it."""
        texts = [json.dumps(entry) for entry in prompt]
        for position, (before, now) in enumerate(zip(self._prefix, texts)):
            want(before == now, f"part {position} of the prompt was {before}, and is now {now}")
        want(len(texts) >= len(self._prefix), "the prompt has become shorter")
        self._prefix = texts

    def thoughts(self) -> list[tuple[str, Reply]]:
        """The replies so far that have a thought, each with its name."""
        return [(str(number), reply) for number, reply in enumerate(self.replies) if reply.thought]

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def check_headers(self, headers: dict[str, str]) -> None:
        raise NotImplementedError

    def check(self, request: dict) -> None:
        """Raises `Refused` by the rules of the API."""
        raise NotImplementedError

    def tools(self, request: dict) -> dict[str, dict]:
        """The schemas of the tools, by name."""
        raise NotImplementedError

    def prompt(self, request: dict) -> list[object]:
        """The system prompt, and the conversation in its order, without marks for the cache."""
        raise NotImplementedError

    def events(self, request: dict, name: str, reply: Reply) -> Iterator[dict]:
        """The events of a reply. Ids are made of `name`."""
        raise NotImplementedError

    def error(self, why: str) -> dict:
        raise NotImplementedError


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer = self.server.answer(self.path, headers, body)
        self.send_response_only(status)
        self.send_header("content-type", "application/json" if isinstance(answer, dict) else "text/event-stream")
        self.end_headers()
        if isinstance(answer, dict):
            self.wfile.write(json.dumps(answer).encode())
            return
        for event in answer:
            name = f"event: {event['type']}\n" if self.server.NAMED_EVENTS else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if not self.server.NAMED_EVENTS:
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        pass
