#!/usr/bin/env python3
"""Holds the binary against cargo-lambda's emulator: streams, whole answers, conversations over instances, bad events.

Started by ./run. Events are documents in `events/`, of the shape that AWS documents:
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html,
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from emulator import INSTALLED, Emulator, start_function

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))

from holdall import new_keys  # noqa: E402

JSON = {"content-type": "application/json"}


class Function:
    """One instance; its log lines as they come."""

    def __init__(self, emulator: Emulator, **settings: str) -> None:
        self.process = start_function(emulator.environment(**{"HOLDALL_DANGEROUS_OPEN": "true", **settings}))
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def wait_for(self, what: str) -> str:
        """The first line with this in it."""
        for _ in range(1000):
            found = [line for line in self.lines if what in line]
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no {what!r} in {self.lines}")


def event(name: str, body: object = None, **members: object) -> dict:
    document = json.loads((HERE / "events" / f"{name}.json").read_text(encoding="utf-8"))
    if body is not None:
        document["body"] = json.dumps(body)
    return document | members


class Case(unittest.TestCase):
    """Each test has an emulator; its functions end with it."""

    def setUp(self) -> None:
        self.emulator = Emulator()
        self.addCleanup(self.emulator.stop)
        self.keys = new_keys()

    def function(self, **settings: str) -> Function:
        function = Function(self.emulator, HOLDALL_KEYS=self.keys, **settings)
        self.addCleanup(function.kill)
        return function

    def connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator.port, timeout=30)
        self.addCleanup(connection.close)
        return connection

    def post(self, path: str, body: object, headers: dict = JSON) -> http.client.HTTPResponse:
        connection = self.connection()
        connection.request("POST", path, json.dumps(body), headers)
        return connection.getresponse()

    def document(self, sent: dict) -> dict:
        """The answer of an API Gateway event."""
        status, answer = self.emulator.invoke(sent)
        self.assertEqual(status, 200, answer)
        return json.loads(answer)


class FunctionUrls(Case):
    def test_deltas_arrive_one_by_one(self) -> None:
        self.function(HOLDALL_LAMBDA_RESPONSE="stream", HOLDALL_BUILTIN_PACE_MS="200")
        answer = self.post("/v1/turns", {"input": "my name is Ada", "stream": True})
        self.assertEqual((answer.status, answer.getheader("content-type")), (200, "text/event-stream"))
        pieces = []
        while piece := answer.read1():
            pieces.append((time.monotonic(), piece))
        text = b"".join(piece for _, piece in pieces).decode()
        self.assertEqual(text.count("event: delta\n"), 5, text)
        self.assertIn("event: done\n", text)
        self.assertEqual(pieces[0][1], b'event: delta\ndata: {"text":"Noted:"}\n\n')
        # Four pauses of a fifth of a second lie between the first word and the last.
        self.assertGreater(pieces[-1][0] - pieces[0][0], 0.6)

    def test_an_event_of_a_function_url_is_known_by_its_domain(self) -> None:
        function = self.function()
        status, answer = self.emulator.invoke(event("function-url"))
        self.assertEqual(status, 200)
        # The emulator takes the head off what is marked as a stream, and leaves a document as it is.
        self.assertEqual(json.loads(answer)["reply"], "Noted: your name is Ada.")
        self.assertIn('"status":200', function.wait_for("/v1/turns"))
        status, answer = self.emulator.invoke(event("function-url", {"input": 1}))
        self.assertEqual((status, json.loads(answer)["code"]), (400, "request_invalid"))

    def test_any_instance_goes_on_with_a_conversation(self) -> None:
        token = None
        says = [("my name is Ada", "Noted: your name is Ada."), ("what is my name?", "Your name is Ada.")]
        for turn, (said, reply) in enumerate(says * 2, 1):
            function = self.function(HOLDALL_LAMBDA_RESPONSE="stream")
            answer = self.post("/v1/turns", {"input": said, "user_id": "ada", "token": token})
            body = json.loads(answer.read())
            self.assertEqual((answer.status, body["conversation"]["turn"], body["reply"]), (200, turn, reply))
            token = body["token"]
            function.kill()

    def test_a_client_that_leaves_ends_its_turn(self) -> None:
        function = self.function(HOLDALL_LAMBDA_RESPONSE="stream", HOLDALL_BUILTIN_PACE_MS="300")
        connection = self.connection()
        connection.request("POST", "/v1/turns", json.dumps({"input": "my name is Ada", "stream": True}), JSON)
        answer = connection.getresponse()
        answer.read1()
        answer.close()
        connection.close()
        self.assertIn('"status":499', function.wait_for("/v1/turns"))
        self.assertEqual(self.post("/v1/turns", {"input": "hi"}).status, 200)

    def test_hostile_heads_harm_nobody(self) -> None:
        self.function(HOLDALL_LAMBDA_RESPONSE="stream")
        long = "x" * 8000
        for head in [
            "GET /v1/turns/%00%0d%0aset-cookie:a=b HTTP/1.1\r\nHost: a\r\n",
            "GET /%F0%9F%92%A9?q=%zz&%00 HTTP/1.1\r\nHost: a\r\n",
            "GET //evil.example/v1/turns HTTP/1.1\r\nHost: a\r\n",
            "POST /v1/turns HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 0\r\n",
            "POST /v1/turns HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{]}",
            "POST /v1/turns HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
            f"GET /v1/models HTTP/1.1\r\nHost: a\r\nCookie: {long}\r\nAuthorization: Bearer {long}\r\n",
            "BREW /v1/turns HTTP/1.1\r\nHost: a\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        ]:
            with self.subTest(head=head[:60]), socket.create_connection(("127.0.0.1", self.emulator.port), 10) as raw:
                raw.sendall(f"{head}\r\n".encode() if "\r\n\r\n" not in head else head.encode())
                raw.settimeout(10)
                status = raw.recv(64).split(b" ")[1]
                self.assertTrue(status.startswith((b"2", b"4")), status)
        answer = self.post("/v1/turns", {"input": "still here?"})
        self.assertEqual(answer.status, 200)


class HttpApis(Case):
    def test_answers_come_whole_below_a_stage(self) -> None:
        self.function()
        for encode in (False, True):
            sent = event("http-api")
            if encode:
                sent |= {"body": base64.b64encode(sent["body"].encode()).decode(), "isBase64Encoded": True}
            answer = self.document(sent)
            self.assertEqual((answer["statusCode"], answer["isBase64Encoded"], answer["cookies"]), (200, False, []))
            self.assertEqual(answer["headers"]["content-type"], "application/json")
            self.assertEqual(json.loads(answer["body"])["reply"], "Noted: your name is Ada.")

    def test_a_stream_comes_whole_as_well(self) -> None:
        self.function()
        answer = self.document(event("http-api", {"input": "my name is Ada", "stream": True}))
        self.assertEqual(answer["headers"]["content-type"], "text/event-stream")
        self.assertTrue(answer["body"].startswith("event: delta\n"))
        self.assertIn("event: done\n", answer["body"])

    def test_refusals_are_answers(self) -> None:
        self.function()
        long = "x" * (5 << 20)
        for body, status, code in [
            ({"input": "hi", "token": "a.b.c"}, 400, "token_invalid"),
            ({"input": long}, 413, "body_too_large"),
            ({"inputs": "hi"}, 400, "request_invalid"),
        ]:
            answer = self.document(event("http-api", body))
            self.assertEqual(answer["statusCode"], status)
            self.assertEqual(answer["headers"]["content-type"], "application/problem+json")
            self.assertEqual(json.loads(answer["body"])["code"], code)
        answer = self.document(event("http-api", isBase64Encoded=True, body="\0"))
        self.assertEqual((answer["statusCode"], json.loads(answer["body"])["code"]), (400, "request_invalid"))

    def test_cargo_lambda_invokes_it(self) -> None:
        self.function()
        command = [INSTALLED / "bin" / "cargo-lambda", "lambda", "invoke", "-A", "127.0.0.1", "-P"]
        command += [str(self.emulator.port), "--data-file", HERE / "events" / "http-api.json"]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
        self.assertEqual((answer["statusCode"], answer["headers"]["cache-control"]), (200, "no-store"))

    def test_other_events_are_named_in_the_log(self) -> None:
        function = self.function()
        status, answer = self.emulator.invoke(event("rest-api"))
        self.assertEqual((status, json.loads(answer)["errorType"]), (500, "Holdall.UnknownEvent"))
        notice = json.loads(function.wait_for("lambda_event_unknown"))
        self.assertIn("payload format 1.0", notice["detail"])
        self.assertEqual(self.document(event("http-api"))["statusCode"], 200)


class Instances(Case):
    def test_identity_none_is_as_open_as_a_public_listener(self) -> None:
        function = self.function(HOLDALL_DANGEROUS_OPEN="false")
        self.assertEqual(function.process.wait(10), 1)
        function.wait_for("error: `identity.mode` is `none`: any caller could act as any user")

    def test_sigterm_lets_the_turn_under_way_end(self) -> None:
        function = self.function(HOLDALL_LAMBDA_RESPONSE="stream", HOLDALL_BUILTIN_PACE_MS="200")
        answer = self.post("/v1/turns", {"input": "my name is Ada", "stream": True})
        function.process.send_signal(signal.SIGTERM)
        self.assertIn(b"event: done\n", answer.read())
        self.assertEqual(function.process.wait(10), 0)

    def test_an_instance_without_a_platform_ends(self) -> None:
        function = self.function()
        function.wait_for("handles AWS Lambda events")
        self.emulator.stop()
        self.assertEqual(function.process.wait(10), 1)
        function.wait_for("error: cannot get events")

    def test_a_freeze_longer_than_connections_last_costs_no_turn(self) -> None:
        model = Model()
        self.addCleanup(model.close)
        settings = {"HOLDALL_UPSTREAM": "openai", "HOLDALL_UPSTREAM_URL": model.url, "HOLDALL_MODEL": "m"}
        function = self.function(HOLDALL_LAMBDA_RESPONSE="stream", **settings)
        for turn in range(3):
            answer = self.post("/v1/turns", {"input": "hi"})
            self.assertEqual((answer.status, json.loads(answer.read())["reply"]), (200, "hello"))
            function.process.send_signal(signal.SIGSTOP)
            # What the model's side does meanwhile: closes, and at last even forgets the connection.
            model.hang_up(reset=turn == 1)
            time.sleep(0.2)
            function.process.send_signal(signal.SIGCONT)
        self.assertEqual(model.connections, 3, "each turn found its connection gone")


class Model(ThreadingHTTPServer):
    """A model service in the Chat Completions format that keeps connections until it is told to hang up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ModelHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.connections = 0
        self.open: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def hang_up(self, reset: bool) -> None:
        for connection in self.open:
            if reset:
                # Closed with a linger of zero: a reset instead of an end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class ModelHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Model

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.server.open.append(self.connection)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chunk = {"id": secrets.token_hex(4), "object": "chat.completion.chunk", "created": 1, "model": "m"}
        if request.get("stream"):
            deltas = [({"role": "assistant", "content": "hello"}, None), ({}, "stop")]
            events = [chunk | {"choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
            body = "".join(f"data: {json.dumps(each)}\n\n" for each in events) + "data: [DONE]\n\n"
            kind = "text/event-stream"
        else:
            message = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
            body = json.dumps(chunk | {"object": "chat.completion", "choices": [message]})
            kind = "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    unittest.main()
