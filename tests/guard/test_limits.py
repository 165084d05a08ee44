"""Limits apply across all instances: three of them admit concurrently as many turns as one would alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from fleet import Case, Fleet, codes, eventually, concurrently
from forge import damaged_history
from holdall import Answer
from upstream import INPUT_TOKENS, OUTPUT_TOKENS


SCRIPTS = Path(__file__).resolve().parents[2] / "src" / "shell" / "redis"


class Limits(Case):
    def test_three_instances_never_exceed_the_quota(self) -> None:
        fleet = self.fleet('[[guard.quota]]\nperiod = "1d"\nturns = 15', "[limits]\nturns_per_user = 60")
        answers = concurrently(60, lambda at: fleet.turn("ada", f"say {at}"))
        self.assertEqual(codes(answers), {"ok": 15, "quota_exceeded": 45})
        self.assertEqual(self.upstream.calls, 15)
        refusal = next(answer for answer in answers if answer.status == 429)
        self.assertGreater(int(refusal.headers["retry-after"]), 0)
        self.assertIn('"turns-86400";r=0', refusal.headers["ratelimit"])
        self.assertEqual(fleet.turn("eve", "say hi").status, 200)

    def test_a_failed_turn_is_refunded(self) -> None:
        fleet = self.fleet('[[guard.quota]]\nperiod = "1d"\nturns = 3\nconversations = 3')
        self.assertEqual(codes([fleet.turn("ada", "fail") for _ in range(7)]), {"upstream_unavailable": 7})
        answers = [fleet.turn("ada", "say hi") for _ in range(5)]
        self.assertEqual(codes(answers), {"ok": 3, "quota_exceeded": 2})

    def test_a_failed_turn_is_charged_for_its_summary(self) -> None:
        fleet, token, long = self.before_summary()
        answers = [fleet.turn("ada", f"fail {long}", token, truncation="summarize") for _ in range(3)]
        self.assertEqual(codes(answers), {"upstream_unavailable": 3})
        self.assertEqual(self.used("turns"), 1)
        self.assertEqual(self.used("model_tokens"), 4 * (INPUT_TOKENS + OUTPUT_TOKENS))
        # The token stays valid.
        self.token_of(fleet.turn("ada", f"say {long}", token, truncation="summarize"))
        self.assertEqual((self.used("turns"), self.used("model_tokens")), (2, 6 * (INPUT_TOKENS + OUTPUT_TOKENS)))

    def test_a_client_that_leaves_during_the_summary_is_charged_for_it(self) -> None:
        fleet, token, long = self.before_summary()
        self.upstream.reset()
        self.upstream.holds_summaries = True
        called = lambda: eventually(lambda: self.upstream.in_flight == 1, 10)
        fleet.leave("ada", f"say {long}", called, token=token, truncation="summarize")
        eventually(lambda: self.used("turns") == 2 and self.store.keys("places") == [], 10)
        # One token for each four bytes of the request for the summary, which has the first turn.
        self.assertGreater(self.used("model_tokens"), INPUT_TOKENS + OUTPUT_TOKENS + 2 * len(long) // 4)

    def before_summary(self) -> tuple[Fleet, str, str]:
        """A token with which another turn of the same length needs a summary, and the length of a turn."""
        quota = '[[guard.quota]]\nperiod = "1d"\nturns = 9\nmodel_tokens = 1000000'
        limits = "[limits]\nhistory_bytes = 33000\nreply_reserve_bytes = 1000"
        fleet, long = self.fleet(f"single_use = true\n{quota}", limits, instances=1), "word " * 2500
        return fleet, self.token_of(fleet.turn("ada", f"say {long}")), long

    def used(self, count: str) -> int:
        (quota,) = self.store.keys("quota")
        return int(self.store.do("HGET", quota, count))

    def test_a_client_that_leaves_has_used_a_turn(self) -> None:
        for stream in (False, True):
            user = f"user-{stream}"
            fleet = self.fleet('single_use = true\n[[guard.quota]]\nperiod = "1d"\nturns = 3\nmodel_tokens = 1000')
            token = self.token_of(fleet.turn(user, "say hi"))
            for _ in range(2):
                self.upstream.reset()
                called = lambda: eventually(lambda: self.upstream.in_flight == 1, 10)
                fleet.leave(user, "hold on", called, token=token, stream=stream)
                # The token stays valid. The quota limits the number of attempts.
                eventually(lambda: self.store.keys("places") == [], 10)
                (used,) = self.store.keys("used-token") or [None]
                self.assertIsNone(used)
            self.refused(fleet.turn(user, "say hi", token), 429, "quota_exceeded")
            (quota,) = [key for key in self.store.keys("quota") if self.store.do("HGET", key, "turns") == b"3"]
            self.assertGreater(int(self.store.do("HGET", quota, "model_tokens")), 100)
            self.store.do("DEL", quota)
            self.upstream.released.set()
            self.token_of(fleet.turn(user, "say hi", token))
            self.store.do("FLUSHALL")

    def test_a_flood_of_abandoned_requests_does_not_affect_others(self) -> None:
        fleet = self.fleet("", "[limits]\nturns_per_user = 4\nrequests_per_peer = 1000", instances=1)
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                fleet.leave("eve", "say hi")

        floods = [threading.Thread(target=flood) for _ in range(8)]
        for thread in floods:
            thread.start()
        for at in range(60):
            self.assertEqual(fleet.turn("ada", f"say {at}").status, 200)
        stop.set()
        for thread in floods:
            thread.join()
        # The user who caused it can soon continue as well.
        eventually(lambda: self.store.keys("places") == [], 10)
        self.token_of(fleet.turn("eve", "say hi"))

    def test_a_new_rate_or_a_clock_ahead_locks_no_user_out(self) -> None:
        fleet = self.fleet('rate = "1/1d"', instances=1)
        self.token_of(fleet.turn("ada", "say hi"))
        self.refused(fleet.turn("ada", "say hi"), 429, "rate_limited")
        fleet.reload('rate = "1/1d"', 'rate = "10/1s"')
        eventually(lambda: fleet.turn("ada", "say hi").status == 200, 5)
        (rate,) = self.store.keys("rate")
        # The value after a clock was a year ahead.
        self.store.do("SET", rate, int((time.time() + 366 * 86_400) * 1_000_000))
        result = self.refused(fleet.turn("ada", "say hi"), 429, "rate_limited")
        self.assertLessEqual(result["retry_after_seconds"], 1)
        eventually(lambda: fleet.turn("ada", "say hi").status == 200, 5)

    def test_an_unexpected_value_affects_only_its_caller(self) -> None:
        fleet = self.fleet('rate = "60/1h"\n[[guard.quota]]\nperiod = "1d"\nturns = 60', instances=1)
        for user in ("ada", "eve"):
            self.token_of(fleet.turn(user, "say hi"))
        for key in self.store.keys("rate"):
            self.store.do("SET", key, "x")
        for key in self.store.keys("quota"):
            self.store.do("HSET", key, "turns", "x")
        self.assertEqual(codes([fleet.turn(user, "say hi") for user in ("ada", "eve")]), {"ok": 2})
        rate = self.store.keys("rate")[0]
        self.store.do("DEL", rate)
        self.store.do("LPUSH", rate, "x")
        result = codes([fleet.turn(user, "say hi") for user in ("ada", "eve", "ada", "eve", "bob")])
        self.assertEqual(result, {"ok": 3, "guard_unavailable": 2})
        self.assertNotIn("guard_store_lost", fleet.log())

    def test_counting_model_tokens_reports_the_quota_and_uses_no_turn(self) -> None:
        rates = 'rate = "60/1h"\nread_rate = "40/1h"'
        fleet = self.fleet(f'{rates}\n[[guard.quota]]\nperiod = "1d"\nturns = 10', instances=1)
        for _ in range(2):
            self.token_of(fleet.turn("ada", "say hi"))
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        body["metadata"] = {"user_id": "ada"}
        for left in (39, 38):
            answer = fleet.post("/v1/messages/count_tokens", body)
            self.assertEqual(answer.status, 200, answer.body)
            result = [limit.split(";")[:2] for limit in answer.headers["ratelimit"].split(", ")]
            self.assertEqual(result, [['"read_rate-3600"', f"r={left}"], ['"turns-86400"', "r=8"]])

    def test_reads_have_a_rate_of_their_own_over_all_instances(self) -> None:
        fleet = self.fleet('rate = "4/1h"\nread_rate = "6/1h"')
        token = self.token_of(fleet.turn("ada", "say hi"))
        owned = {"user_id": "ada", "token": token}
        messages = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        messages |= {"metadata": {"user_id": "ada"}, "conversation_token": token}
        responses = {"model": "m", "user": "ada", "input": "hi", "previous_response_id": f"resp_{token}"}
        reads = [
            ("/v1/history", owned),
            ("/v1/messages/count_tokens", messages),
            ("/v1/responses/input_tokens", responses),
            ("/v1/revocations", {**owned, "scope": "token"}),
        ]
        for path, body in reads[:3] * 2 + reads[3:]:
            answer = fleet.post(path, body)
            self.assertEqual(answer.status, 429 if path == "/v1/revocations" else 200, (path, answer.body))
        for path, body in reads:
            self.assertEqual(fleet.post(path, body).status, 429, path)
        # Turns, other users and operators are not concerned.
        self.token_of(fleet.turn("ada", "say on", token))
        other = self.token_of(fleet.turn("bob", "say hi"))
        self.assertEqual(fleet.history("bob", other).status, 200)
        for _ in range(8):
            self.assertEqual(fleet.revoke({"token": token, "scope": "token"}, operator=True).status, 200)

    def test_faults_in_the_history_give_back_all_but_the_rate(self) -> None:
        quota = '[[guard.quota]]\nperiod = "1d"\nturns = 2\nconversations = 2'
        fleet = self.fleet(f'rate = "60/1h"\nread_rate = "30/1h"\n{quota}', "[limits]\nturns_per_user = 1")
        token = damaged_history(fleet.keys, "ada")
        for _ in range(3):
            self.refused(fleet.turn("ada", "say hi", token), 400, "token_invalid")
            self.refused(fleet.history("ada", token), 400, "token_invalid")
        self.assertEqual(fleet.left("ada"), [57, 2, 2, 27])
        self.assertEqual(self.upstream.calls, 0)
        self.token_of(fleet.turn("ada", "say hi"))
        self.assertEqual(fleet.left("ada"), [56, 1, 1, 27])
        # Over the rate, the fault of the history stays unknown.
        fleet = self.fleet('rate = "1/1h"\nread_rate = "1/1h"')
        token = damaged_history(fleet.keys, "eve")
        self.refused(fleet.turn("eve", "say hi", token), 400, "token_invalid")
        self.refused(fleet.turn("eve", "say hi", token), 429, "rate_limited")
        self.refused(fleet.history("eve", token), 400, "token_invalid")
        self.refused(fleet.history("eve", token), 429, "rate_limited")

    def test_the_rate_is_reported_before_the_concurrent_turns(self) -> None:
        fleet = self.fleet('rate = "1/1h"', "[limits]\nturns_per_user = 1", instances=1)
        self.upstream.reset()
        thread = threading.Thread(target=lambda: fleet.turn("ada", "hold on"))
        thread.start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        self.refused(fleet.turn("ada", "say hi"), 429, "rate_limited")
        self.upstream.released.set()
        thread.join()

    def test_conversations_count_when_they_start(self) -> None:
        fleet = self.fleet('[[guard.quota]]\nperiod = "1d"\nconversations = 4', "[limits]\nturns_per_user = 60")
        answers = concurrently(30, lambda at: fleet.turn("ada", f"say {at}"))
        self.assertEqual(codes(answers), {"ok": 4, "quota_exceeded": 26})
        token = self.token_of(next(answer for answer in answers if answer.status == 200))
        for _ in range(3):
            token = self.token_of(fleet.turn("ada", "say more", token))

    def test_usage_adds_up_over_instances(self) -> None:
        turn = INPUT_TOKENS + OUTPUT_TOKENS
        for limit in (f"model_tokens = {2 * turn + 1}", "history_bytes = 500", "upstream_seconds = 1"):
            with self.subTest(limit):
                user = limit.split()[0]
                fleet = self.fleet(f'[[guard.quota]]\nperiod = "1d"\n{limit}')
                token, passed = None, 0
                while passed < 20:
                    if user == "upstream_seconds":
                        self.upstream.reset()
                        self.pause_then_release(0.4)
                    answer = fleet.turn(user, "hold on" if user == "upstream_seconds" else "say on", token)
                    if answer.status != 200:
                        break
                    token, passed = self.token_of(answer), passed + 1
                self.assertEqual(self.refused(answer, 429, "quota_exceeded")["retry"], "after")
                # Usage counts at the end of a turn: the turn that exceeds the limit is the last one.
                self.assertEqual(passed, 3)

    def pause_then_release(self, seconds: float) -> None:
        threading.Timer(seconds, self.upstream.released.set).start()

    def test_a_rate_admits_its_burst_and_then_an_even_stream(self) -> None:
        fleet = self.fleet('rate = "5/1h"', "[limits]\nturns_per_user = 60")
        answers = concurrently(60, lambda at: fleet.turn("ada", f"say {at}"))
        self.assertEqual(codes(answers), {"ok": 5, "rate_limited": 55})
        self.assertGreater(int(next(a for a in answers if a.status == 429).headers["retry-after"]), 60)
        fleet = self.fleet('rate = "10/1s"\nburst = 3', "[limits]\nturns_per_user = 60")
        started, passed = time.monotonic(), 0
        while time.monotonic() - started < 2:
            passed += codes(concurrently(12, lambda at: fleet.turn("bob", f"say {at}")))["ok"]
        self.assertLessEqual(passed, 3 + 10 * (time.monotonic() - started))
        self.assertGreater(passed, 10)

    def test_the_longest_wait_is_reported(self) -> None:
        # The rate leaves a turn in two days and more, the quota at midnight in UTC.
        left = 86_400 - int(time.time()) % 86_400
        for burst, code, wait in ((1, "rate_limited", 200_000), (99, "quota_exceeded", left)):
            guard = f'rate = "1/200000s"\nburst = {burst}\n[[guard.quota]]\nperiod = "1d"\nturns = 1'
            fleet = self.fleet(guard, instances=1)
            user = f"user-{burst}"
            self.token_of(fleet.turn(user, "say hi"))
            result = self.refused(fleet.turn(user, "say hi"), 429, code)
            self.assertAlmostEqual(result["retry_after_seconds"], wait, delta=60)

    def test_reading_the_counts_changes_nothing(self) -> None:
        quota = '[[guard.quota]]\nperiod = "1d"\nturns = 10\nmodel_tokens = 1000'
        fleet = self.fleet(f'rate = "60/1h"\n{quota}')
        for _ in range(3):
            answer = fleet.turn("ada", "say hi")
        self.assertEqual(answer.headers["ratelimit-policy"].split(", ")[0], '"rate-3600";q=60;w=3600')
        left = [limit.split(";")[:2] for limit in answer.headers["ratelimit"].split(", ")]
        self.assertEqual(left, [['"rate-3600"', "r=57"], ['"turns-86400"', "r=7"], ['"model_tokens-86400"', "r=800"]])
        script = (SCRIPTS / "allowances.lua").read_text()
        keys = [*self.store.keys("rate"), "none", *self.store.keys("quota")]
        for _ in range(2):
            reads, debt, period, seconds, *counts = self.store.do("EVAL", script, len(keys), *keys, 86_400)
            self.assertTrue(175_000_000 < debt <= 180_000_000 and 0 < seconds <= 86_400, (debt, seconds))
            self.assertEqual(reads, 0)
            self.assertEqual((period, counts), (int(time.time()) // 86_400, [3, 0, 300, 0, 0]))
        self.assertEqual(self.store.do("EVAL", script, 3, "none", "neither", "nor", 60)[4:], [0] * 5)

    def test_anonymous_users_count_by_address(self) -> None:
        fleet = self.fleet('rate = "3/1h"')
        self.assertEqual(codes([fleet.turn(None, "say hi") for _ in range(5)]), {"ok": 3, "rate_limited": 2})

    def test_concurrent_turns_are_counted_over_all_instances(self) -> None:
        fleet = self.fleet("", "[limits]\nturns_per_user = 4")

        left = threading.Semaphore(0)

        def ask(at: int) -> Answer:
            answer = fleet.turn("ada", f"hold {at}")
            left.release()
            return answer

        def release() -> None:
            # The 26 refused requests have been answered.
            for _ in range(26):
                left.acquire(timeout=20)
            self.upstream.released.set()

        threading.Thread(target=release).start()
        answers = concurrently(30, ask)
        self.assertEqual(codes(answers), {"ok": 4, "user_busy": 26})
        self.assertEqual(self.upstream.most_in_flight, 4)
        self.assertEqual(codes([fleet.turn("ada", "say hi") for _ in range(6)]), {"ok": 6})
        self.assertEqual(self.store.keys("places"), [])

    def test_the_oldest_live_conversations_are_revoked(self) -> None:
        fleet = self.fleet("live_conversations = 3", "[limits]\nturns_per_user = 60")
        tokens = []
        for number in range(5):
            tokens.append(self.token_of(fleet.turn("ada", f"say {number}")))
            alive = [fleet.history("ada", token).status for token in tokens]
            self.assertEqual(alive, [410] * max(0, number - 2) + [200] * min(number + 1, 3))
        # A turn makes its conversation the newest.
        tokens[2] = self.token_of(fleet.turn("ada", "say again", tokens[2]))
        tokens.append(self.token_of(fleet.turn("ada", "say 5")))
        alive = [fleet.history("ada", token).status for token in tokens]
        self.assertEqual(alive, [410, 410, 200, 410, 200, 200])
        self.refused(fleet.turn("ada", "say", tokens[3]), 410, "token_revoked")
        self.assertEqual(fleet.turn("eve", "say hi").status, 200)

    def test_concurrent_new_conversations_never_exceed_the_limit(self) -> None:
        fleet = self.fleet("live_conversations = 3", "[limits]\nturns_per_user = 60")
        for round in range(3):
            tokens = [self.token_of(answer) for answer in concurrently(12, lambda at: fleet.turn("ada", f"say {round} {at}"))]
            alive = [fleet.history("ada", token).status for token in tokens]
            self.assertEqual((alive.count(200), alive.count(410)), (3, 9))

    def test_a_chat_that_sends_all_its_turns_is_no_conversation(self) -> None:
        limits = 'live_conversations = 2\n[[guard.quota]]\nperiod = "1d"\nconversations = 2'
        fleet = self.fleet(limits, 'client_history = "accept"')
        first = self.token_of(fleet.turn("ada", "say hi"))
        messages = [{"role": "user", "content": "say one"}]
        for number in range(5):
            body = {"model": "m", "user": "ada", "messages": messages}
            answer = fleet.post("/v1/chat/completions", body)
            self.assertEqual(answer.status, 200, answer.body)
            messages += [answer.json()["choices"][0]["message"], {"role": "user", "content": f"say {number}"}]
        # Only the first request of the chat counted.
        last = answer.json()["conversation_token"]
        self.assertEqual([fleet.history("ada", token).status for token in (first, last)], [200, 200])
        self.refused(fleet.turn("ada", "say hi"), 429, "quota_exceeded")

    def test_a_revoked_conversation_is_not_live(self) -> None:
        fleet = self.fleet("live_conversations = 2")
        first, second = (self.token_of(fleet.turn("ada", f"say {number}")) for number in range(2))
        revoked = fleet.revoke({"token": second, "scope": "conversation", "user_id": "ada"})
        self.assertEqual(revoked.status, 200, revoked.body)
        third = self.token_of(fleet.turn("ada", "say 2"))
        alive = [fleet.history("ada", token).status for token in (first, second, third)]
        self.assertEqual(alive, [200, 410, 200])
