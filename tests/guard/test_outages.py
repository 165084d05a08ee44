"""Outages of the store, and the recovery from them."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

from fleet import Case, Fleet, codes, eventually, concurrently
from holdall import Server, toml
from store import Connection, Store, free_port

# How many seconds an instance may take to notice that the store is back: the pause of its circuit
# breaker, and a margin.
BACK = 5


class FailsClosed(Case):
    """With revocation, which is on by default with a store."""

    def unavailable(self, fleet: Fleet, token: str | None, cause: str, user: str = "ada") -> None:
        """All instances refuse with a retry after 1 s. The cause is only in the log."""
        for server in range(len(fleet.servers)):
            answer = fleet.turn(user, "say on", token, server)
            result = self.refused(answer, 503, "guard_unavailable")
            self.assertEqual((result["retry"], answer.headers["retry-after"]), ("after", "1"))
            self.assertNotIn("limits store:", answer.body.decode())
            log = fleet.servers[server].log
            eventually(lambda: any('"code":"guard_unavailable"' in line and cause in line for line in log), 5)

    def back(self, fleet: Fleet, token: str, user: str = "ada") -> None:
        """All instances work again, and nothing was lost."""
        for server in range(len(fleet.servers)):
            eventually(lambda: fleet.turn(user, "say on", token, server).status == 200, BACK)

    def test_the_store_restarts_with_its_data(self) -> None:
        fleet = self.fleet("single_use = true", instances=2)
        token, other = (self.token_of(fleet.turn("ada", "say hi")) for _ in range(2))
        self.assertEqual(fleet.revoke({"token": other, "user_id": "ada"}).status, 200)
        self.store.do("SAVE")
        self.store.kill()
        # The first call may use the old connection, which then breaks.
        self.unavailable(fleet, token, "limits store: ")
        self.assertEqual(fleet.turn("ada", "say hi").status, 503)
        self.assertEqual(fleet.history("ada", token).status, 503)
        self.assertEqual(fleet.revoke({"token": token, "user_id": "ada"}).status, 503)
        self.store.start()
        self.back(fleet, token)
        self.refused(fleet.turn("ada", "say on", other), 410, "token_revoked")
        eventually(lambda: fleet.log().count('"notice":"guard_store_found"') == 2, 5)
        self.assertEqual(fleet.log().count('"notice":"guard_store_lost"'), 2)

    def test_an_instance_that_refuses_every_turn_is_not_ready(self) -> None:
        fleet = self.fleet("", instances=1)
        self.token_of(fleet.turn("ada", "say hi"))
        self.store.do("SAVE")
        self.store.kill()
        self.assertEqual(fleet.turn("ada", "say hi").status, 503)
        self.assertEqual(fleet.ready(), (200, "ready"), "a short outage takes no instance out of its balancer")
        unready = (503, "waiting for the limits store")
        self.assertGreater(eventually(lambda: fleet.ready() == unready, 15), 8)
        self.store.start()
        # No turn is needed: an instance that is not ready receives none.
        eventually(lambda: fleet.ready() == (200, "ready"), BACK)
        self.assertEqual(fleet.turn("ada", "say hi").status, 200)

    def test_a_store_that_starts_empty_refuses_older_tokens(self) -> None:
        fleet = self.fleet("")
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.store.kill()
        time.sleep(1.1)
        self.store.start()
        eventually(lambda: fleet.turn("bob", "say hi", server=0).status == 200, BACK)
        fresh = self.token_of(fleet.turn("ada", "say hi", server=0))
        eventually(lambda: all(fleet.turn("bob", "say", server=at).status == 200 for at in range(3)), BACK)
        for server in range(3):
            result = self.refused(fleet.turn("ada", "say on", token, server), 503, "guard_unavailable")
            # Waiting does not help. A new conversation does.
            self.assertEqual(result["retry"], "never")
            log = fleet.servers[server].log
            eventually(lambda: any('"code":"guard_unavailable"' in line and "its birth is 20" in line for line in log), 5)
        self.refused(fleet.history("ada", token), 503, "guard_unavailable")
        self.back(fleet, fresh)
        # The operator can accept older tokens if none were revoked.
        trusting = self.fleet("dangerous_trust_empty_guard = true", instances=1)
        trusting.servers[0].kill()
        trusting.keys = fleet.keys
        trusting.servers = [Server(trusting.config, fleet.keys)]
        self.token_of(trusting.turn("ada", "say on", token))

    def test_a_store_that_hangs_delays_only_the_first_calls(self) -> None:
        fleet = self.fleet('single_use = true\nlease_grace = "300s"')
        token = self.token_of(fleet.turn("ada", "say hi"))
        for server in range(3):
            self.token_of(fleet.turn("bob", "say hi", server=server))
        self.store.hang()
        started = time.monotonic()
        result = codes(concurrently(9, lambda at: fleet.turn("ada", "say on", token, at)))
        self.assertEqual(result, {"guard_unavailable": 9})
        self.assertLess(time.monotonic() - started, 4)
        started = time.monotonic()
        self.unavailable(fleet, token, "no answer within 2000 ms")
        self.assertLess(time.monotonic() - started, 1)
        self.store.resume()
        # The store now runs the old requests. Their turns are abandoned and do not count.
        self.back(fleet, token)
        eventually(lambda: self.store.keys("places") == [], 5)

    def test_a_turn_in_flight_completes_and_is_settled_later(self) -> None:
        fleet = self.fleet('single_use = true\nlease_grace = "300s"')
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.reset()
        answers: list = []
        thread = threading.Thread(target=lambda: answers.append(fleet.turn("ada", "hold on", token, server=0)))
        thread.start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        self.store.hang()
        self.upstream.released.set()
        thread.join(15)
        fresh = self.token_of(answers[0])
        self.store.resume()
        eventually(lambda: self.store.keys("places") == [], BACK)
        eventually(lambda: fleet.turn("ada", "say on", fresh, server=1).status == 200, BACK)
        # The token is spent: another input is refused.
        self.refused(fleet.turn("ada", "say other", token, server=1), 409, "token_used")

    def test_another_kind_of_server_in_place_of_the_store(self) -> None:
        fleet = self.fleet("", instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.store.do("SAVE")
        self.store.kill()
        with OtherServer(self.store.port):
            eventually(lambda: "does not use the Redis protocol" in fleet.log() or self.ask(fleet, token), 10)
            self.unavailable(fleet, token, "does not use the Redis protocol")
        self.store.start()
        self.back(fleet, token)

    def ask(self, fleet: Fleet, token: str) -> bool:
        self.assertEqual(fleet.turn("ada", "say on", token).status, 503)
        return False

    def test_a_key_of_the_wrong_type_affects_only_its_caller(self) -> None:
        guard = 'single_use = true\nlive_conversations = 5\nrate = "1000/1h"\n'
        fleet = self.fleet(f'{guard}[[guard.quota]]\nperiod = "1d"\nturns = 1000', instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.token_of(fleet.turn("ada", "say on", token))
        self.upstream.reset()
        held = threading.Thread(target=lambda: fleet.turn("ada", "hold on"))
        held.start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        kinds = {kind: self.store.keys(kind) for kind in ("places", "rate", "quota", "used-token")}
        self.upstream.released.set()
        held.join()
        for kind, keys in kinds.items():
            with self.subTest(kind):
                self.assertEqual(len(keys), 1)
                self.store.do("DEL", keys[0])
                self.store.do("RPUSH", keys[0], "a list")
                self.unavailable(fleet, token, "another client has written to a key of this deployment")
                if kind != "used-token":
                    self.assertEqual(fleet.turn("bob", "say hi").status, 200)
                self.store.do("DEL", keys[0])
                self.assertEqual(fleet.turn("ada", "say hi").status, 200)

    def test_an_error_at_the_end_of_a_turn_is_logged(self) -> None:
        fleet = self.fleet("live_conversations = 5", instances=1)
        self.token_of(fleet.turn("ada", "say hi"))
        (live,) = self.store.keys("live")
        self.store.do("SET", live, "text")
        self.token_of(fleet.turn("ada", "say hi"))
        eventually(lambda: '"notice":"guard_store_troubled"' in fleet.log(), 5)
        self.assertIn("WRONGTYPE", fleet.log())

    def test_a_store_that_refuses_commands_for_a_while(self) -> None:
        fleet = self.fleet("", instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        for begin, end, cause in (
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "is a replica"),
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "memory is full"),
        ):
            with self.subTest(cause):
                self.store.do(*begin)
                self.unavailable(fleet, token, cause)
                self.store.do(*end)
                self.back(fleet, token)

    def test_a_wrong_password_is_named_and_never_shown(self) -> None:
        store = Store("--requirepass", "right-password")
        self.addCleanup(store.close)
        url = f"redis://:wrong-password@127.0.0.1:{store.port}"
        fleet = self.fleet("", instances=1, url=url)
        self.assertIn("the user or password in `guard.redis_url` is wrong", fleet.log())
        self.unavailable(fleet, None, "the user or password in `guard.redis_url` is wrong")
        bare = self.fleet("", instances=1, url=store.url)
        self.unavailable(bare, None, "requires a user or password")
        connection = Connection(store.port)
        connection("AUTH", "right-password")
        connection("CONFIG", "SET", "requirepass", "wrong-password")
        eventually(lambda: fleet.turn("ada", "say hi").status == 200, BACK)
        connection.close()
        for text in (fleet.log(), bare.log()):
            self.assertNotIn("-password", text)

    def tls_store(self) -> tuple[str, Path]:
        """The URL of a store with a certificate of a private authority, and the authority's file."""
        folder = self.store.folder
        new_key = "-newkey rsa:2048 -nodes"

        def openssl(command: str) -> None:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

        openssl(f"req -x509 {new_key} -days 1 -subj /CN=authority -keyout ca.key -out ca.pem")
        openssl(f"req {new_key} -subj /CN=store -addext subjectAltName=DNS:localhost -keyout key -out request")
        openssl("x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -copy_extensions copy -out cert")
        port = free_port()
        options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-key-file", str(folder / "key")]
        store = Store(*options, "--tls-cert-file", str(folder / "cert"), "--tls-ca-cert-file", str(folder / "ca.pem"))
        self.addCleanup(store.close)
        return f"rediss://localhost:{port}", folder / "ca.pem"

    def test_a_certificate_is_accepted_only_from_a_known_authority(self) -> None:
        url, authority = self.tls_store()
        fleet = self.fleet("", instances=1, url=url)
        self.unavailable(fleet, None, "cannot connect: the server's certificate is not signed by a known authority")
        trusting = self.fleet(f"redis_ca_file = {toml(str(authority))}\nsingle_use = true", instances=2, url=url)
        token = self.token_of(trusting.turn("ada", "say hi"))
        self.token_of(trusting.turn("ada", "say on", token))
        self.refused(trusting.turn("ada", "say more", token), 409, "token_used")
        self.assertNotIn("guard_store_lost", trusting.log())
        other = self.fleet(f"redis_ca_file = {toml(str(authority))}", instances=1, url=url.replace("localhost", "127.0.0.1"))
        self.unavailable(other, None, "cannot connect: the server's certificate is for another name")

    def test_lost_scripts_and_connections_are_not_an_outage(self) -> None:
        fleet = self.fleet("", instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        for forget in (("SCRIPT", "FLUSH"), ("CLIENT", "KILL", "TYPE", "normal")):
            self.store.do(*forget)
            # The instance must notice that the connection is closed.
            time.sleep(0.2)
            self.token_of(fleet.turn("ada", "say on", token))
        self.assertNotIn("guard_store", fleet.log())

    def test_clusters_and_sentinels_are_refused_by_name(self) -> None:
        cluster = Store("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        self.addCleanup(cluster.close)
        port = free_port()
        settings = cluster.folder / "sentinel.conf"
        settings.write_text(f"port {port}\n")
        sentinel = Store(str(settings), "--sentinel", port=port)
        self.addCleanup(sentinel.close)
        for url, cause in ((cluster.url, "a node of a Redis Cluster"), (sentinel.url, "a Redis Sentinel")):
            fleet = self.fleet("", instances=1, url=url)
            # At the start and at each turn.
            self.assertIn(f"warning: limits store: the server is {cause}", fleet.log())
            self.unavailable(fleet, None, cause)

    def test_a_missing_permission_is_reported(self) -> None:
        rights = "+evalsha +script|load +select +info +get +set +del +exists +pttl +pexpire +pexpireat +@hash +@sortedset +time"
        for missing, cause in (("", None), ("-info", None), ("-pttl", "lacks a permission")):
            self.store.do("ACL", "SETUSER", "ada", "reset", "on", ">pass", "~holdall1:*", *rights.split(), *missing.split())
            url = self.store.url.replace("redis://", "redis://ada:pass@") + "/1"
            fleet = self.fleet("", instances=1, url=url)
            if cause is None:
                self.token_of(fleet.turn("ada", "say hi"))
                self.assertNotIn("warning: limits store", fleet.log())
            else:
                self.unavailable(fleet, None, cause)

    def test_snapshots_without_a_log_cause_a_warning(self) -> None:
        self.assertNotIn("snapshots", self.fleet("", instances=1).log())
        self.store.do("CONFIG", "SET", "save", "3600 1")
        self.assertIn("the store saves snapshots without an append-only file", self.fleet("", instances=1).log())
        self.store.do("CONFIG", "SET", "appendonly", "yes")
        self.assertNotIn("snapshots", self.fleet("", instances=1).log())

    def test_an_eviction_policy_causes_a_warning(self) -> None:
        self.store.do("CONFIG", "SET", "maxmemory", "100mb")
        self.assertNotIn("maxmemory", self.fleet("", instances=1).log())
        self.store.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        self.assertIn("set maxmemory-policy noeviction", self.fleet("", instances=1).log())


class FallsBack(Case):
    """Without revocation and single use, each instance enforces its own limits in an outage."""

    def test_each_instance_has_its_own_counts_in_an_outage(self) -> None:
        fleet = self.fleet("revocation = false", "[limits]\nturns_per_user = 2")
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.store.kill()
        self.upstream.reset()
        threading.Thread(target=lambda: (self.held(6), self.upstream.released.set())).start()
        # Two turns on each of three instances. With the store there were two in total.
        result = codes(concurrently(12, lambda at: fleet.turn("ada", "hold on", token, at)))
        self.assertEqual(result, {"ok": 6, "user_busy": 6})
        self.store.start()
        for server in range(3):
            eventually(lambda: fleet.turn("ada", "say hi", token, server).status == 200, BACK)
        eventually(lambda: fleet.log().count('"notice":"guard_store_found"') == 3, BACK)
        self.upstream.reset()
        threading.Thread(target=lambda: (self.held(2), self.upstream.released.set())).start()
        result = codes(concurrently(12, lambda at: fleet.turn("ada", "hold on", token, at)))
        self.assertEqual(result, {"ok": 2, "user_busy": 10})

    def held(self, count: int) -> None:
        eventually(lambda: self.upstream.in_flight == count, 20)
        time.sleep(1)

    def test_a_store_that_hangs_delays_one_turn(self) -> None:
        fleet = self.fleet("revocation = false", instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.store.hang()
        started = time.monotonic()
        self.token_of(fleet.turn("ada", "say on", token))
        self.assertLess(time.monotonic() - started, 4)
        started = time.monotonic()
        self.token_of(fleet.turn("ada", "say on", token))
        self.assertLess(time.monotonic() - started, 1)
        self.store.resume()

    def test_revocation_is_refused_if_it_is_off(self) -> None:
        fleet = self.fleet("revocation = false", instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.refused(fleet.revoke({"token": token, "user_id": "ada"}), 400, "unsupported")


class OtherServer:
    """A server that answers like an HTTP server."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            except OSError:
                pass
            client.close()

    def __enter__(self) -> OtherServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
