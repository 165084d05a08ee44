"""The server as each platform starts, probes and stops it, by its file."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import platforms
from holdall import binary, new_keys
from instance import Instance
from network import Issuer, own_network
from platforms import Platform

# Whatever a platform calls by: its probes come by address, under any name.
HOSTS = ("10.4.0.7:8080", "holdall.svc.cluster.local", "app.example")
# A second for the machine: the platform's own clock begins when it sends the signal.
MARGIN = 1.0


def eventually(holds, within: float, what: str) -> None:
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)


class Stream(threading.Thread):
    """A streamed turn, read to its end."""

    def __init__(self, case: Deployed, said: str) -> None:
        super().__init__(daemon=True)
        self.connection, answer = case.request("POST", "/v1/turns", {"input": said, "stream": True})
        assert answer.status == 200, answer.read()
        self.answer, self.text = answer, answer.readline().decode()
        self.start()

    def run(self) -> None:
        try:
            self.text += self.answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.text += f"\n\nevent: broken\ndata: {json.dumps(str(error))}\n\n"

    def last(self, within: float) -> tuple[str, dict]:
        """Its last event, once it has ended."""
        self.join(within)
        if self.is_alive():
            raise AssertionError(f"the stream goes on after {within} s")
        fields = dict(line.split(": ", 1) for line in self.text.strip().split("\n\n")[-1].splitlines())
        return fields["event"], json.loads(fields["data"])


class Deployed:
    """What holds on each platform; the classes below say which."""

    def platform(self, keys: str) -> Platform:
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        cls.issuer = Issuer()
        cls.addClassCleanup(cls.issuer.close)

    def setUp(self) -> None:
        self.keys = new_keys()
        self.setup = self.platform(self.keys)
        self.issuer.open()

    def start(self, **variables: str) -> Instance:
        """The program as the image has it, with what the file sets, and the addresses that it leaves to be filled in."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        moved = {}
        for at, (path, text) in enumerate(self.setup.files.items()):
            (folder / str(at)).write_text(text)
            moved[path] = str(folder / str(at))
        own = {name: moved.get(value, value) for name, value in self.setup.variables.items()}
        filled = {"HOLDALL_UPSTREAM": "builtin", "HOLDALL_MODEL": "builtin", "HOLDALL_BUILTIN_PACE_MS": "50"}
        if self.setup.tells_callers_apart:
            filled["HOLDALL_JWT_JWKS_URL"] = self.issuer.url
        server = Instance([str(binary()), "serve"], {**own, **filled, **variables})
        self.addCleanup(server.kill)
        self.server = server
        return server

    def start_ready(self, **variables: str) -> Instance:
        server = self.start(**variables)
        eventually(lambda: self.probe("/ready") == 200, 10, "ready")
        return server

    def request(
        self, method: str, path: str, body: dict | None = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        # Connections from a proxy's address go to that address: there is no other machine in this network.
        connection = http.client.HTTPConnection(source, self.server.port, timeout=60, source_address=(source, 0))
        self.addCleanup(connection.close)
        sent = {"authorization": f"Bearer {self.issuer.credential('ada')}", **headers}
        if body is not None:
            sent["content-type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        return connection, connection.getresponse()

    def turn(self, body: dict, **headers: str) -> tuple[int, dict]:
        _, answer = self.request("POST", "/v1/turns", body, **headers)
        return answer.status, json.loads(answer.read())

    def probe(self, path: str, method: str = "GET", host: str = HOSTS[0]) -> int:
        """A probe's status: no credential, a name that is none of ours."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def test_it_listens_where_the_platform_looks(self) -> None:
        server = self.start()
        self.assertEqual((server.host, server.port), ("0.0.0.0", self.setup.port))

    def test_its_probes_are_answered_under_any_name(self) -> None:
        self.start_ready()
        for probe in self.setup.probes.values():
            for method in ("GET", "HEAD"):
                for host in HOSTS:
                    self.assertEqual(self.probe(probe.path, method, host), 200, (probe, method, host))

    def test_nobody_is_sent_to_it_before_it_can_tell_callers_apart(self) -> None:
        self.issuer.is_open.clear()
        self.start()
        gate = self.setup.probes.get("readiness") or self.setup.probes["startup"]
        self.assertEqual(self.probe(gate.path), 503)
        for kind, probe in self.setup.probes.items():
            # What would have the instance ended must not fail for it.
            if kind == "liveness":
                self.assertEqual(self.probe(probe.path), 200)
        self.issuer.open()
        eventually(lambda: self.probe(gate.path) == 200, gate.period * gate.failures + 5, "the gate opens")

    def test_it_starts_for_the_model_that_it_names(self) -> None:
        """With the secrets as they are handed out; the model service itself is not asked."""
        model = self.setup.variables["HOLDALL_MODEL"]
        self.start_ready(HOLDALL_UPSTREAM=self.setup.variables["HOLDALL_UPSTREAM"], HOLDALL_MODEL=model)
        _, answer = self.request("GET", "/v1/models")
        self.assertIn(model, [entry["id"] for entry in json.loads(answer.read())["data"]])

    def test_callers_are_known_by_their_issuer(self) -> None:
        self.start_ready()
        self.assertEqual(self.turn({"input": "hi"}, authorization="Bearer no")[0], 401)
        status, first = self.turn({"input": "My name is Ada."})
        self.assertEqual((status, first["user_id"]), (200, "ada"))
        foreign = f"Bearer {self.issuer.credential('eve')}"
        status, problem = self.turn({"input": "What is my name?", "token": first["token"]}, authorization=foreign)
        self.assertEqual((status, problem["code"]), (400, "token_invalid"))

    def test_callers_without_a_name_count_by_the_address_that_its_proxy_names(self) -> None:
        self.setup.forget_identity()
        self.start(HOLDALL_DANGEROUS_OPEN="true", HOLDALL_RATE="1/1h")

        def status(source: str, client: str) -> int:
            forwarded = {"x-forwarded-for": client + self.setup.appended}
            return self.request("POST", "/v1/turns", {"input": "hi"}, source, **forwarded)[1].status

        through, direct = self.setup.proxy, "127.0.0.1"
        self.assertEqual([status(through, "198.51.100.1") for _ in range(2)], [200, 429])
        self.assertEqual([status(through, "6.6.6.6, 198.51.100.2") for _ in range(2)], [200, 429])
        # Who is no proxy of the deployment is taken for who it is, whatever it says.
        self.assertEqual([status(direct, "198.51.100.3"), status(direct, "198.51.100.4")], [200, 429])

    def test_another_port_is_taken_and_an_address_goes_before_it(self) -> None:
        other = self.start(PORT="9191")
        self.assertEqual((other.host, other.port), ("0.0.0.0", 9191))
        named = self.start(PORT="9191", HOLDALL_LISTEN="127.0.0.1:9292")
        self.assertEqual((named.host, named.port), ("127.0.0.1", 9292))

    def test_a_stop_ends_within_the_grace_period_and_loses_nothing(self) -> None:
        lame_duck, drain = self.setup.span("lame_duck"), self.setup.span("drain")
        server = self.start_ready()
        endless = Stream(self, "Write 100000 words")
        short = Stream(self, "Count to 20")
        server.terminate()
        began = time.monotonic()

        if lame_duck:
            gate = self.setup.probes["readiness"]
            eventually(lambda: self.probe(gate.path) == 503, 2, "the gate closes")
            self.assertGreater(lame_duck, gate.period * gate.failures, "over before the platform has noticed")
            # Who has not heard of it yet is served all the same.
            self.assertEqual(self.turn({"input": "hi"})[0], 200)
            if "liveness" in self.setup.probes:
                self.assertEqual(self.probe(self.setup.probes["liveness"].path), 200)
        event, whole = short.last(self.setup.grace)
        self.assertEqual((event, whole["finish_reason"]), ("done", "stop"))
        event, problem = endless.last(self.setup.grace)
        self.assertEqual((event, problem["code"]), ("error", "internal"))
        code = server.ended(max(0.1, self.setup.grace - MARGIN - (time.monotonic() - began)))
        took = time.monotonic() - began
        self.assertEqual(code, 0)
        # What is under way got all of its time.
        self.assertGreater(took, lame_duck + drain - MARGIN)
        print(f"{self.setup.name}: stopped after {took:.1f} s of {self.setup.grace:.0f}", flush=True)

        # Any other instance goes on from what the client was handed.
        self.start_ready()
        partial = problem["partial"]
        self.assertIn("partial", problem)
        self.assertTrue(partial["reply"])
        status, next_turn = self.turn({"input": "What did I say first?", "token": partial["token"]})
        self.assertEqual((status, next_turn["conversation"]["turn"]), (200, 2))
        self.assertIn("Write 100000 words", next_turn["reply"])


class Kubernetes(Deployed, unittest.TestCase):
    def platform(self, keys: str) -> Platform:
        return platforms.kubernetes(keys)


class CloudRun(Deployed, unittest.TestCase):
    def platform(self, keys: str) -> Platform:
        return platforms.cloud_run(keys)

    def test_http2_is_spoken_from_the_first_byte(self) -> None:
        """For ports that are named `h2c`: probes and turns."""
        server = self.start_ready()
        base = f"http://127.0.0.1:{server.port}"
        body = json.dumps({"input": "Count to 3", "stream": True})
        caller = ["-H", f"authorization: Bearer {self.issuer.credential('ada')}", "-H", "content-type: application/json"]
        for path, options, expected in [
            ("/ready", [], '{"status":"ready"}'),
            ("/health", ["--head"], ""),
            ("/v1/turns", [*caller, "--data", body], "event: done"),
        ]:
            command = ["curl", "-sS", "--http2-prior-knowledge", "--max-time", "30", *options]
            said = subprocess.run(
                [*command, "-w", "\n%{http_version} %{http_code}", base + path], capture_output=True, text=True, check=True
            ).stdout
            self.assertIn(expected, said)
            self.assertEqual(said.splitlines()[-1], "2 200")


class Fly(Deployed, unittest.TestCase):
    def platform(self, keys: str) -> Platform:
        return platforms.fly(keys)

    def test_its_default_signal_would_do_as_well(self) -> None:
        server = self.start(HOLDALL_LAME_DUCK="1ms")
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.ended(5), 0)


def setUpModule() -> None:
    own_network()
