"""The functions of template.yaml, each with its variables, as AWS Lambda runs them: by the Runtime API alone."""

from __future__ import annotations

import json
import queue
import re
import sys
import threading
import time
import tomllib
import unittest
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import platforms
from holdall import binary, new_keys
from network import Issuer, own_network
from samtranslator.yaml_helper import yaml_parse

LAMBDA = platforms.ROOT / "tests" / "edge" / "lambda"
sys.path.insert(0, str(LAMBDA))

from emulator import start_function  # noqa: E402

SECRET = re.compile(r"\{\{resolve:secretsmanager:holdall:SecretString:[a-z-]+::\$\{SecretVersion\}\}\}")
# For an answer, in seconds; a turn of the built-in model takes milliseconds.
WAIT = 30


@dataclass
class Answer:
    """What a function gives back for an event, whole or as a stream."""

    streamed: bool
    body: bytes

    def parts(self) -> tuple[int, str]:
        """Status and body, as the platform takes them out."""
        if self.streamed:
            head, body = self.body.split(b"\0" * 8, 1)
            return json.loads(head)["statusCode"], body.decode()
        document = json.loads(self.body)
        return document["statusCode"], document["body"]


class Runtime:
    """A Runtime API of one function: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html."""

    def __init__(self, timeout: float) -> None:
        self.events: queue.Queue[dict] = queue.Queue()
        self.answers: queue.Queue[Answer] = queue.Queue()
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(runtime.events.get()).encode()
                self.send_response(200)
                self.send_header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                self.send_header("lambda-runtime-deadline-ms", str(int((time.time() + timeout) * 1_000)))
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                streamed = self.headers["lambda-runtime-function-response-mode"] == "streaming"
                body = b"".join(self.pieces())
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                runtime.answers.put(Answer(streamed, body))

            def pieces(self):
                if "content-length" in self.headers:
                    yield self.rfile.read(int(self.headers["content-length"]))
                    return
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Functions that are killed hear no answer.
        self.server.handle_error = lambda *_: None
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def invoke(self, event: dict) -> Answer:
        self.events.put(event)
        return self.answers.get(timeout=WAIT)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Deployed:
    """What holds of each function; the classes below say which, and what events it gets."""

    resource: str
    event: str

    def setUp(self) -> None:
        self.issuer = Issuer()
        self.addCleanup(self.issuer.close)
        self.issuer.open()
        template = yaml_parse((platforms.DEPLOY / "template.yaml").read_text())
        everywhere, own = template["Globals"]["Function"], template["Resources"][self.resource]["Properties"]
        written = everywhere["Environment"]["Variables"] | own.get("Environment", {}).get("Variables", {})
        self.variables = self.resolved(written, template["Parameters"])
        self.timeout = own.get("Timeout", everywhere["Timeout"])

    def resolved(self, written: dict, parameters: dict) -> dict[str, str]:
        """As the platform hands them out: parameters by their defaults, secrets as they were stored."""
        secrets = {"HOLDALL_KEYS": new_keys(), "OPENAI_API_KEY": platforms.API_KEY}
        variables = {}
        for name, value in written.items():
            if isinstance(value, dict) and "Ref" in value:
                value = parameters[value["Ref"]]["Default"]
            elif isinstance(value, dict):
                self.assertRegex(value["Fn::Sub"], SECRET)
                value = secrets.pop(name)
            variables[name] = value
        self.assertEqual(secrets, {}, "not from the platform's secrets")
        return variables

    def start(self, **variables: str) -> Runtime:
        runtime = Runtime(self.timeout)
        self.addCleanup(runtime.close)
        given = {"AWS_LAMBDA_RUNTIME_API": runtime.address, "HOLDALL_JWT_JWKS_URL": self.issuer.url}
        function = start_function({**self.variables, **given, **variables}, binary=binary())
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(function.stderr), daemon=True)
        reader.start()

        def end() -> None:
            function.kill()
            function.wait()
            reader.join()
            function.stderr.close()
            self.assertTrue(any("handles AWS Lambda events" in line for line in log), log)

        self.addCleanup(end)
        return runtime

    def sent(self, path: str, body: dict | None = None, user: str | None = "ada") -> dict:
        """An event of a caller's."""
        event = json.loads((LAMBDA / "events" / f"{self.event}.json").read_text())
        context = event["requestContext"]
        event["rawPath"] = context["http"]["path"] = path
        context["stage"] = "$default"
        event["body"] = json.dumps(body)
        if body is None:
            context["http"]["method"] = "GET"
            del event["body"]
        if user is not None:
            event["headers"]["authorization"] = f"Bearer {self.issuer.credential(user)}"
        return event

    def test_it_starts_for_the_model_that_it_names(self) -> None:
        status, body = self.start().invoke(self.sent("/v1/models")).parts()
        self.assertEqual(status, 200, body)
        self.assertIn(self.variables["HOLDALL_MODEL"], [entry["id"] for entry in json.loads(body)["data"]])

    def test_its_callers_chat_from_instance_to_instance(self) -> None:
        builtin = {"HOLDALL_UPSTREAM": "builtin", "HOLDALL_MODEL": "builtin"}
        first = self.start(**builtin)
        self.assertEqual(first.invoke(self.sent("/v1/turns", {"input": "hi"}, user=None)).parts()[0], 401)
        status, body = first.invoke(self.sent("/v1/turns", {"input": "My name is Ada."})).parts()
        self.assertEqual(status, 200, body)
        ask = {"input": "What is my name?", "token": json.loads(body)["token"], "stream": True}
        answer = self.start(**builtin).invoke(self.sent("/v1/turns", ask))
        status, body = answer.parts()
        self.assertEqual(status, 200, body)
        self.assertEqual(answer.streamed, self.streams)
        event, data = body.strip().split("\n\n")[-1].splitlines()
        self.assertEqual(event, "event: done")
        self.assertEqual(json.loads(data.removeprefix("data: "))["reply"], "Your name is Ada.")


class Streamed(Deployed, unittest.TestCase):
    resource, event, streams = "Streamed", "function-url", True


class Buffered(Deployed, unittest.TestCase):
    resource, event, streams = "Buffered", "http-api", False

    def test_a_whole_answer_is_one_that_the_platform_takes(self) -> None:
        """Its token is in it up to twice, beside the reply."""
        limits = tomllib.loads(self.variables["HOLDALL_CONFIG_TEXT"])["limits"]
        reply = limits.get("reply_bytes", 1 << 20)
        self.assertLess(2 * limits["token_bytes"] + reply, 6_000_000)


def setUpModule() -> None:
    own_network()
