"""Single use: a token is valid for one turn. A failed turn releases it, and a lost answer can be requested again."""

from __future__ import annotations

import http.client
import json
import threading
import time

from fleet import Case, Fleet, codes, eventually, concurrently
from forge import damaged_history

PARALLEL, ROUNDS = 50, 12


class SingleUse(Case):
    def single(self, more: str = "") -> Fleet:
        return self.fleet('single_use = true\nlease_grace = "1s"', f"{more}[limits]\nturns_per_user = 60")

    def test_one_of_50_concurrent_uses_succeeds(self) -> None:
        fleet = self.single()
        for round in range(ROUNDS):
            token = self.token_of(fleet.turn("ada", "say hi"))
            answers = concurrently(PARALLEL, lambda at: fleet.turn("ada", f"say {at}", token))
            self.assertEqual(codes(answers), {"ok": 1, "token_used": PARALLEL - 1}, f"round {round}")

    def test_one_of_50_concurrent_uses_with_the_same_input_reaches_the_model(self) -> None:
        fleet = self.single()
        for round in range(ROUNDS):
            token = self.token_of(fleet.turn("ada", "say hi"))
            self.upstream.reset()
            left = threading.Semaphore(0)

            def ask(_: int):
                answer = fleet.turn("ada", "hold on", token)
                left.release()
                return answer

            def release() -> None:
                for _ in range(PARALLEL - 1):
                    left.acquire(timeout=30)
                self.upstream.released.set()

            threading.Thread(target=release).start()
            answers = concurrently(PARALLEL, ask)
            self.assertEqual(codes(answers), {"ok": 1, "token_used": PARALLEL - 1}, f"round {round}")
            self.assertEqual(self.upstream.calls, 1)
            # The turn in flight may fail. Then a retry can succeed.
            self.assertTrue(all(a.json()["retry"] == "after" for a in answers if a.status == 409))

    def test_a_shorter_ttl_does_not_forget_used_tokens(self) -> None:
        fleet = self.fleet("single_use = true", 'ttl = "1h"', instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        fleet.reload('ttl = "1h"', 'ttl = "30s"')
        self.token_of(fleet.turn("ada", "say on", token))
        (used,) = [key for key in self.store.keys("used-token") if self.store.do("HEXISTS", key, "spent")]
        self.assertGreater(self.store.do("TTL", used), 3_000)

    def test_a_reload_does_not_shorten_leases(self) -> None:
        fleet = self.fleet('single_use = true\nlease_grace = "1s"', '[timeouts]\ntotal = "90s"', instances=1)
        token = self.token_of(fleet.turn("ada", "say hi"))
        fleet.reload('total = "90s"', 'total = "2s"')
        self.upstream.reset()
        thread = threading.Thread(target=lambda: fleet.turn("ada", "hold on", token))
        thread.start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        (used,) = self.store.keys("used-token")
        self.assertGreater(int(self.store.do("HGET", used, "until")), (time.time() + 60) * 1_000)
        self.upstream.released.set()
        thread.join()

    def test_a_failure_before_the_first_delta_releases_the_token(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        for stream in (False, True):
            for _ in range(4):
                self.refused(fleet.turn("ada", "fail", token, stream=stream), 502, "upstream_unavailable")
        self.token_of(fleet.turn("ada", "say something else", token))
        self.refused(fleet.turn("ada", "say a third thing", token), 409, "token_used")

    def test_after_the_first_delta_the_token_is_spent_and_the_partial_token_continues(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        answer = fleet.turn("ada", "cut here", token, stream=True)
        kind, problem = answer.events()[-1]
        self.assertEqual((kind, problem["code"]), ("error", "upstream_cut"))
        self.refused(fleet.turn("ada", "say on", token), 409, "token_used")
        self.token_of(fleet.turn("ada", "say on", problem["partial"]["token"]))

    def test_a_client_that_leaves_before_the_first_delta_releases_the_token(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.reset()
        connection = http.client.HTTPConnection(fleet.servers[0].address, timeout=10)
        body = {"input": "hold on", "token": token, "user_id": "ada"}
        connection.request("POST", "/v1/turns", json.dumps(body), {"content-type": "application/json"})
        eventually(lambda: self.upstream.in_flight == 1, 10)
        self.refused(fleet.turn("ada", "say other", token, server=1), 409, "token_used")
        connection.close()
        eventually(lambda: fleet.turn("ada", "say other", token, server=1).status == 200, 5)
        self.upstream.released.set()

    def test_the_lease_of_a_killed_process_ends(self) -> None:
        lease = 3
        more = '[timeouts]\ntotal = "2s"\n[limits]\nturns_per_user = 1'
        fleet = self.fleet('single_use = true\nlease_grace = "1s"', more)
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.reset()
        threading.Thread(target=lambda: self.gone(fleet, token), daemon=True).start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        started = time.monotonic()
        fleet.servers[0].kill()
        self.refused(fleet.turn("ada", "hold on", token, server=1), 409, "token_used")
        self.refused(fleet.turn("ada", "say hi", server=2), 429, "user_busy")
        self.upstream.released.set()
        eventually(lambda: fleet.turn("ada", "say other", token, server=1).status == 200, lease + 2)
        self.assertLess(time.monotonic() - started, lease + 1)

    def gone(self, fleet: Fleet, token: str) -> None:
        try:
            fleet.turn("ada", "hold on", token, server=0)
        except (OSError, http.client.HTTPException):
            pass

    def test_a_stopped_server_releases_its_turns_in_flight(self) -> None:
        fleet = self.fleet("single_use = true", '[timeouts]\ndrain = "100ms"')
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.reset()
        threading.Thread(target=lambda: self.gone(fleet, token), daemon=True).start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        fleet.servers[0].process.terminate()
        fleet.servers[0].process.wait(20)
        self.token_of(fleet.turn("ada", "say other", token, server=1))
        self.upstream.released.set()

    def test_a_lost_answer_can_be_requested_again_for_ten_minutes(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.token_of(fleet.turn("ada", "say on", token))
        self.token_of(fleet.turn("ada", "say on", token))
        self.refused(fleet.turn("ada", "say other", token), 409, "token_used")
        # The first use counts, whatever the result of the retry.
        self.refused(fleet.turn("ada", "say other", token), 409, "token_used")
        key = next(key for key in self.store.keys("used-token") if self.store.do("HEXISTS", key, "spent"))
        spent = int(self.store.do("HGET", key, "spent"))
        now = time.time() * 1000
        self.store.do("HSET", key, "spent", int(now - 590_000))
        self.token_of(fleet.turn("ada", "say on", token))
        self.store.do("HSET", key, "spent", int(now - 600_001))
        self.refused(fleet.turn("ada", "say on", token), 409, "token_used")
        self.assertLess(abs(spent - now), 60_000)
        # It is remembered for as long as the token would have been valid.
        self.assertGreater(self.store.do("TTL", key), 7 * 86_400)

    def test_a_retry_must_be_the_same_request(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        options = {"max_output_tokens": 50, "temperature": 0}
        self.token_of(fleet.turn("ada", "say on", token, **options))
        tool = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
        for other in ({}, {**options, "temperature": 1}, {**options, "max_output_tokens": 51}, {**options, "model": "m"},
                      {**options, "tools": [tool]}, {**options, "truncation": "oldest"}):
            self.refused(fleet.turn("ada", "say on", token, **other), 409, "token_used")
        self.token_of(fleet.turn("ada", "say on", token, **options))

    def test_a_fault_in_the_history_releases_the_token(self) -> None:
        fleet = self.single()
        token = damaged_history(fleet.keys, "ada")
        for _ in range(2):
            # A token that stayed in use would get `token_used`, for another input.
            for text in ("say hi", "say on"):
                self.refused(fleet.turn("ada", text, token), 400, "token_invalid")
        self.assertEqual(self.store.keys("used-token"), [])
        # The same for input that does not fit the history.
        token = self.token_of(fleet.turn("ada", "say hi"))
        result = [{"t": "result", "id": "c1", "out": "3"}]
        for _ in range(2):
            self.refused(fleet.turn("ada", result, token), 400, "request_invalid")
        self.token_of(fleet.turn("ada", "say on", token))

    def test_a_failed_retry_leaves_the_token_spent(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.released.set()
        self.token_of(fleet.turn("ada", "hold on", token))
        self.upstream.reset()
        threading.Thread(target=lambda: self.gone(fleet, token), daemon=True).start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        result = self.refused(fleet.turn("ada", "hold on", token, server=1), 409, "token_used")
        self.assertEqual(result["retry"], "after")
        fleet.servers[0].process.terminate()
        fleet.servers[0].process.kill()
        self.upstream.released.set()
        self.refused(fleet.turn("ada", "say other", token, server=1), 409, "token_used")

    def test_histories_of_used_tokens_can_be_read(self) -> None:
        fleet = self.single()
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.token_of(fleet.turn("ada", "say on", token))
        self.assertEqual(fleet.history("ada", token).status, 200)
