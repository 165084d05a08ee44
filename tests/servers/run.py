#!/usr/bin/env python3
"""Runs `holdall serve` against a model server that is not ours: `run.py PATH_OF_LLMOCK`.

The server is @copilotkit/aimock (tests/servers/run installs it), with `fixtures.json` as what it answers. Each case is
played with upstreams of kind `openai`, `openai-responses` and `anthropic`, streamed and not: text, history, tools, usage,
reasoning, finish reasons, credentials, and what the server has in the way of faults. Then one conversation goes from kind
to kind. Exit 0 all well, 1 not so, 2 misuse.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from holdall import Answer, Client, Server, config, new_keys  # noqa: E402

KEY = "a key of the upstream"
KINDS = ("openai", "openai-responses", "anthropic")
MODEL = "some-model"
SYSTEM = "Be brief."
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

# Input, then code, retry and what the detail says.
FAULTS = [
    ("slow down", "upstream_refused", "after", "429"),
    ("limit", "upstream_refused", "after", "429"),
    ("wrong", "upstream_refused", "never", "That was wrong."),
    ("fail", "upstream_unavailable", "safe", "could not be reached, or failed"),
    ("drop", "upstream_unavailable", "safe", "could not be reached, or failed"),
    ("garble", "upstream_malformed", "never", "format"),
    ("hang up", "upstream_unavailable", "safe", "could not be reached, or failed"),
]


class Mock:
    """The model server, on a loopback port of the system's choice."""

    def __init__(self, program: str) -> None:
        options = ["--port", "0", "--fixtures", str(HERE / "fixtures.json"), "--strict", "--validate-on-load"]
        # The key is sent as each API has it: a bearer token, or x-api-key.
        environment = {"PATH": os.environ["PATH"], "AIMOCK_API_KEYS": KEY}
        self.process = subprocess.Popen(
            ["node", program, *options, "--chunk-size", "7"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log = []
        for line in self.process.stdout:
            log.append(line)
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                self.url = found[1]
                break
        else:
            raise SystemExit(f"the model server did not start: {''.join(log)}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def last_request(self) -> dict:
        """The body of the last request, as this server understood it."""
        request = urllib.request.Request(f"{self.url}/__aimock/journal", headers={"x-api-key": KEY})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)[-1]["body"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Cases:
    """The cases, for one kind of upstream, streamed or not."""

    def __init__(self, mock: Mock, server: Server, kind: str, stream: bool) -> None:
        self.mock = mock
        self.server = server
        self.kind = kind
        self.stream = stream
        self.client = Client()
        self.failed: list[str] = []
        self.checked = 0

    def run(self) -> None:
        self.text_and_history()
        self.tools()
        self.text_beside_a_call()
        self.reasoning()
        self.finish_reasons()
        self.faults()
        self.cut_reply()
        self.client.close()

    def text_and_history(self) -> None:
        first = self.turn("hello", max_output_tokens=99, temperature=0.5)
        self.check("text", first["reply"], "Grüß 👋 你好 — “hi” \\ \"hi\"\n\nمرحبا")
        self.check("usage", first["usage"], {"input_tokens": 21, "output_tokens": 9, "cached_tokens": 0})
        self.check("end", first["finish_reason"], "stop")
        sent = self.mock.last_request()
        self.check("options", [sent.get("max_tokens"), sent.get("temperature"), sent.get("model")], [99, 0.5, MODEL])
        again = self.turn("and again", token=first["token"])
        self.check("history", again["reply"], "I remember one turn.")
        self.check("turns", again["conversation"]["turn"], 2)

    def tools(self) -> None:
        asked = self.turn("weather", tools=[TOOL], tool_choice="auto")
        calls = [item for item in asked["output"] if item["t"] == "call"]
        self.check("calls", [(call["id"], call["name"]) for call in calls], [
            ("call_oslo", "get_weather"),
            ("call_rome", "get_weather"),
        ])
        # This server writes arguments anew where the API has them as an object.
        written = ['{"city":"Oslo","days":[1,2.50]}', '{"city":"Rome \\u00e9"}']
        read = [json.loads(args) for args in written]
        self.check("arguments", [json.loads(call["args"]) for call in calls], read)
        if self.kind != "anthropic":
            self.check("arguments as written", [call["args"] for call in calls], written)
        self.check("end with calls", asked["finish_reason"], "tool_calls")
        results = [{"t": "result", "id": "call_oslo", "out": "11"}, {"t": "result", "id": "call_rome", "out": "29"}]
        told = self.turn(results, token=asked["token"], tools=[TOOL])
        self.check("reply to results", told["reply"], "Rome is warmer.")

    def text_beside_a_call(self) -> None:
        asked = self.turn("look it up")
        # Asked for what reasoning is sent back as, this server gives some with every reply that could have it.
        kinds = [item["t"] for item in asked["output"] if item["t"] != "think"]
        self.check("text beside a call", kinds, ["msg", "call"])
        self.check("text of it", asked["reply"], "Let me see.")
        told = self.turn([{"t": "result", "id": "call_up", "out": ""}], token=asked["token"])
        self.check("reply to an empty result", told["reply"], "Found nothing.")

    def reasoning(self) -> None:
        thought = self.turn("think first")
        self.check("thought", thought["reply"], "Thought it over.")
        kept = [item for item in thought["output"] if item["t"] == "think"]
        # Chat Completions has no reasoning that could be sent back.
        self.check("reasoning kept", len(kept), 0 if self.kind == "openai" else 1)
        for item in kept:
            self.check("whose it is", item["by"], f"{self.kind}@{urlsplit(self.mock.url).netloc}")
            blob = json.loads(item["blob"])
            said = blob["thinking"] if self.kind == "anthropic" else blob["summary"][0]["text"]
            self.check("reasoning as it was said", said, "What would they like to hear?")
            proof = blob["signature" if self.kind == "anthropic" else "encrypted_content"]
            self.check("what proves it", proof != "", True)
        again = self.turn("and again", token=thought["token"])
        self.check("reasoning in the history", again["reply"], "I remember one turn.")
        asked = self.turn("think and call")
        if self.kind == "anthropic":
            # As the API does, this server wants the thinking back that led to a call, while thinking is on.
            body = {
                "model": MODEL,
                "max_tokens": 4_000,
                "thinking": {"type": "enabled", "budget_tokens": 1_024},
                "conversation_token": asked["token"],
                "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_after"}]}],
            }
            answer = self.client.post(self.server.address, "/v1/messages", body)
            self.check("thinking sent back", (answer.status, "It knew." in answer.body.decode()), (200, True))

    def finish_reasons(self) -> None:
        self.check("cut off by length", self.turn("be long")["finish_reason"], "length")
        # This server does not translate it for the other APIs.
        if self.kind == "openai":
            self.check("held back", self.turn("be bad")["finish_reason"], "content_filter")

    def faults(self) -> None:
        good = self.turn("hello")["token"]
        for said, code, retry, detail in FAULTS:
            answer = self.post(said, token=good)
            problem = answer.json()
            self.check(said, (answer.status, problem["code"], problem["retry"]), (502, code, retry))
            self.check(f"{said}: detail", detail in problem["detail"], True)
            self.check(f"{said}: wait", ("retry-after" in answer.headers), retry == "after")
        self.check("wait as told", self.post("slow down").headers["retry-after"], "7")
        self.check("the old token", self.turn("and again", token=good)["reply"], "I remember one turn.")

    def cut_reply(self) -> None:
        if not self.stream:
            return
        good = self.turn("hello")["token"]
        name, problem = self.post("cut", token=good).events()[-1]
        self.check("cut", (name, problem["code"]), ("error", "upstream_cut"))
        said = problem["partial"]["reply"]
        whole = "This reply never comes to its end, for it is cut, before or after this word or another."
        self.check("partial reply", whole.startswith(said) and said not in ("", whole), True)
        answer = self.client.post(self.server.address, "/v1/history", {"token": problem["partial"]["token"]})
        marked = {"t": "msg", "role": "assistant", "parts": [{"text": said}], "cut": True}
        self.check("partial token", answer.json()["items"][-1], marked)
        self.check("the token before it", self.turn("and again", token=good)["reply"], "I remember one turn.")

    def wrong_key(self) -> None:
        answer = self.post("hello")
        problem = answer.json()
        self.check("wrong key", (answer.status, problem["code"], problem["retry"]), (502, "upstream_unavailable", "never"))
        self.check("wrong key: detail", "key" in problem["detail"].lower(), False)

    def turn(self, said: str | list[dict], **members: object) -> dict:
        answer = self.post(said, **members)
        if answer.status != 200:
            raise SystemExit(f"{self.place}: {said!r}: status {answer.status}: {answer.body.decode()}")
        if not self.stream:
            return answer.json()
        events = answer.events()
        name, done = events[-1]
        if name != "done":
            raise SystemExit(f"{self.place}: {said!r}: ends with {name}: {json.dumps(done)}")
        text = "".join(data["text"] for name, data in events if name == "delta")
        self.check(f"{said!r}: deltas", text, done["reply"])
        return done

    def post(self, said: str | list[dict], **members: object) -> Answer:
        body = {"input": said, "stream": self.stream, **members}
        return self.client.post(self.server.address, "/v1/turns", body)

    def check(self, what: str, found: object, expected: object) -> None:
        self.checked += 1
        if found != expected:
            self.failed.append(f"{self.place}: {what}: {found!r} instead of {expected!r}")

    @property
    def place(self) -> str:
        return f"{self.kind}, {'streamed' if self.stream else 'whole'}"


def from_kind_to_kind(mock: Mock, stream: bool) -> Cases:
    """One conversation, each turn with another kind of upstream: a call is answered to another than has made it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "holdall.toml"
        entries = [
            config(kind, base_url(mock, kind), [(f"m-{kind}", SYSTEM)], "MODEL_KEY").replace('"upstream"', f'"{kind}"')
            for kind in KINDS
        ]
        settings.write_text("".join(entries), encoding="utf-8")
        server = Server(settings, new_keys(), MODEL_KEY=KEY)
        cases = Cases(mock, server, "from kind to kind", stream)
        try:
            token = None
            for asking, answering in zip(KINDS, KINDS[1:] + KINDS[:1]):
                thought = cases.turn("think first", token=token, model=f"m-{asking}")
                cases.check(f"{asking}: thought", thought["reply"], "Thought it over.")
                asked = cases.turn("look it up", token=thought["token"], model=f"m-{asking}")
                results = [{"t": "result", "id": "call_up", "out": "nothing"}]
                told = cases.turn(results, token=asked["token"], model=f"m-{answering}")
                cases.check(f"{asking}, then {answering}", told["reply"], "Found nothing.")
                token = told["token"]
            items = cases.client.post(server.address, "/v1/history", {"token": token}).json()["items"]
            whose = [item["by"].split("@")[0] for item in items if item["t"] == "think"]
            cases.check("whose reasoning there is", list(dict.fromkeys(whose)), ["openai-responses", "anthropic"])
        finally:
            cases.client.close()
            server.kill()
        return cases


def base_url(mock: Mock, kind: str) -> str:
    return mock.url if kind == "anthropic" else f"{mock.url}/v1"


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: run.py PATH_OF_LLMOCK", file=sys.stderr)
        return 2
    failed: list[str] = []
    checked = 0
    mock = Mock(sys.argv[1])
    try:
        for kind in KINDS:
            for key, play in ((KEY, Cases.run), ("another key", Cases.wrong_key)):
                with tempfile.TemporaryDirectory() as folder:
                    settings = Path(folder) / "holdall.toml"
                    settings.write_text(config(kind, base_url(mock, kind), [(MODEL, SYSTEM)], "MODEL_KEY"), encoding="utf-8")
                    server = Server(settings, new_keys(), MODEL_KEY=key)
                    try:
                        for stream in (False, True):
                            cases = Cases(mock, server, kind, stream)
                            play(cases)
                            failed += cases.failed
                            checked += cases.checked
                    finally:
                        server.kill()
        for stream in (False, True):
            cases = from_kind_to_kind(mock, stream)
            failed += cases.failed
            checked += cases.checked
    finally:
        mock.kill()
    for line in failed:
        print(line, file=sys.stderr)
    print(f"servers: aimock as {', '.join(KINDS)}, streamed and not: {checked} checks, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
