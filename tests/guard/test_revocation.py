"""Revocation of tokens before they expire: by users and operators through the API, and with `holdall revoke`."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time

from fleet import Case, Fleet, eventually
from holdall import binary


class Revocation(Case):
    def chain(self, fleet: Fleet, user: str, turns: int) -> list[str]:
        tokens: list[str] = []
        for number in range(turns):
            tokens.append(self.token_of(fleet.turn(user, f"say {number}", tokens[-1] if tokens else None)))
        return tokens

    def alive(self, fleet: Fleet, user: str, tokens: list[str]) -> list[bool]:
        """For each token, whether it is valid at all instances."""
        answers = [[fleet.history(user, token, server).status for server in range(3)] for token in tokens]
        self.assertTrue(all(len(set(statuses)) == 1 for statuses in answers), answers)
        return [statuses[0] == 200 for statuses in answers]

    def test_each_scope_revokes_exactly_its_tokens(self) -> None:
        fleet = self.fleet("")
        one, other = self.chain(fleet, "ada", 3), self.chain(fleet, "ada", 2)
        eves = self.chain(fleet, "eve", 1)
        result = fleet.revoke({"token": one[1], "user_id": "ada"}).json()["revoked"]
        self.assertEqual((result["scope"], len(result["id"])), ("token", 36))
        self.assertEqual(self.alive(fleet, "ada", one + other), [True, False, True, True, True])
        self.refused(fleet.turn("ada", "say on", one[1]), 410, "token_revoked")
        result = fleet.revoke({"token": one[0], "scope": "conversation", "user_id": "ada"}).json()["revoked"]
        self.assertEqual((result["scope"], len(result["id"])), ("conversation", 36))
        self.assertEqual(self.alive(fleet, "ada", one + other), [False, False, False, True, True])
        result = fleet.revoke({"token": other[0], "scope": "user", "user_id": "ada"}).json()["revoked"]
        self.assertEqual(result, {"scope": "user", "id": "ada"})
        self.assertEqual(self.alive(fleet, "ada", one + other), [False] * 5)
        self.assertEqual(self.alive(fleet, "eve", eves), [True])
        # Tokens of the same second are revoked. Tokens of the next second are valid.
        time.sleep(1.1)
        self.assertEqual(self.alive(fleet, "ada", self.chain(fleet, "ada", 2)), [True, True])

    def test_the_owner_of_a_revoked_token_can_revoke_the_others_with_it(self) -> None:
        fleet = self.fleet('read_rate = "9/1h"')
        revoked, other = self.chain(fleet, "ada", 1) + self.chain(fleet, "ada", 1)
        for scope in ("token", "token", "user"):
            answer = fleet.revoke({"token": revoked, "scope": scope, "user_id": "ada"})
            self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["ratelimit"].split(";")[:2], ['"read_rate-3600"', "r=6"])
        self.refused(fleet.turn("ada", "say on", other), 410, "token_revoked")

    def test_a_turn_in_flight_does_not_outlive_its_conversation(self) -> None:
        fleet = self.fleet("live_conversations = 2")
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.upstream.reset()
        answers: list = []
        thread = threading.Thread(target=lambda: answers.append(fleet.turn("ada", "hold on", token)))
        thread.start()
        eventually(lambda: self.upstream.in_flight == 1, 10)
        self.assertEqual(fleet.revoke({"token": token, "scope": "conversation", "user_id": "ada"}).status, 200)
        self.upstream.released.set()
        thread.join()
        self.refused(fleet.turn("ada", "say on", self.token_of(answers[0])), 410, "token_revoked")

    def test_users_revoke_only_their_own_tokens(self) -> None:
        fleet = self.fleet("")
        token, anonymous = self.token_of(fleet.turn("ada", "say hi")), self.token_of(fleet.turn(None, "say hi"))
        garbage = fleet.revoke({"token": "garbage", "user_id": "eve"})
        for body in ({"token": token, "user_id": "eve"}, {"token": token}, {"token": anonymous, "user_id": "eve"}):
            answer = fleet.revoke(body)
            self.refused(answer, 400, "token_invalid")
            same = {**answer.json(), "request_id": ""}
            self.assertEqual(same, {**garbage.json(), "request_id": ""})
        self.assertEqual(self.alive(fleet, "ada", [token]), [True])
        claims = "01890a5d-ac96-774b-bcce-b302099a8057"
        for body in ({"token_id": claims}, {"conversation_id": claims}, {"user_id": "ada", "idp": "none"}):
            self.refused(fleet.revoke(body), 401, "unauthenticated")
        # An anonymous user is identified by its token.
        self.assertEqual(fleet.revoke({"token": anonymous}).status, 200)
        self.assertEqual(self.alive(fleet, None, [anonymous]), [False])

    def test_operators_revoke_tokens_of_all_users(self) -> None:
        fleet = self.fleet("", "seal = false")
        tokens = {name: self.chain(fleet, name, 2) for name in ("ada", "bob", "eve", "joe")}
        conversation = fleet.history("bob", tokens["bob"][0]).json()["conversation"]["id"]
        token_id = claims_of(tokens["joe"][1])["jti"]
        for body in (
            {"token": tokens["ada"][0]},
            {"conversation_id": conversation},
            {"user_id": "eve", "idp": "none"},
            {"token_id": token_id},
        ):
            self.assertEqual(fleet.revoke(body, operator=True).status, 200)
        self.assertEqual(self.alive(fleet, "ada", tokens["ada"]), [False, True])
        self.assertEqual(self.alive(fleet, "bob", tokens["bob"]), [False, False])
        self.assertEqual(self.alive(fleet, "eve", tokens["eve"]), [False, False])
        self.assertEqual(self.alive(fleet, "joe", tokens["joe"]), [True, False])

    def test_the_command_line_revokes_at_the_store(self) -> None:
        fleet = self.fleet("", "seal = false")
        tokens = {name: self.chain(fleet, name, 2) for name in ("ada", "bob", "eve", "joe")}
        file = fleet.config.parent / "chat.token"
        file.write_text(tokens["ada"][0] + "\n")
        claims = {name: [claims_of(token) for token in tokens[name]] for name in tokens}
        self.assertEqual(self.run_revoke(fleet, "-t", str(file)), (0, f"revoked: the token {claims['ada'][0]['jti']}\n", ""))
        self.assertEqual(self.alive(fleet, "ada", tokens["ada"]), [False, True])
        conversation = claims["ada"][0]["cid"]
        result = f"revoked: all tokens of the conversation {conversation}\n"
        self.assertEqual(self.run_revoke(fleet, "-t", str(file), "--scope", "conversation"), (0, result, ""))
        self.assertEqual(self.alive(fleet, "ada", tokens["ada"]), [False, False])
        code, out, _ = self.run_revoke(fleet, "-t", "-", "--scope", "user", "--json", given=tokens["bob"][1])
        self.assertEqual((code, json.loads(out)), (0, {"revoked": {"scope": "user", "id": "bob"}}))
        self.assertEqual(self.alive(fleet, "bob", tokens["bob"]), [False, False])
        conversation = claims["eve"][0]["cid"]
        code, out, _ = self.run_revoke(fleet, "--conversation-id", conversation, "--json")
        self.assertEqual((code, json.loads(out)), (0, {"revoked": {"scope": "conversation", "id": conversation}}))
        self.assertEqual(self.alive(fleet, "eve", tokens["eve"]), [False, False])
        token_id = claims["joe"][0]["jti"]
        self.assertEqual(self.run_revoke(fleet, "--token-id", token_id), (0, f"revoked: the token {token_id}\n", ""))
        self.assertEqual(self.alive(fleet, "joe", tokens["joe"]), [False, True])
        code, out, err = self.run_revoke(fleet, "--user", "joe", "--idp", "none")
        self.assertRegex(out, r"^revoked: all tokens of the user `joe` \(not authenticated\) issued until 20\S+Z\n$")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.alive(fleet, "joe", tokens["joe"]), [False, False])

    def test_the_command_line_reports_what_it_ended(self) -> None:
        fleet = self.fleet("live_conversations = 5")
        tokens = [self.token_of(fleet.turn("ada", "say hi")) for _ in range(3)]
        ended = fleet.turn("ada", "say on", tokens[0]).json()["conversation"]["id"]
        code, out, _ = self.run_revoke(fleet, "--conversation-id", ended)
        self.assertEqual((code, out), (0, f"revoked: all tokens of the conversation {ended}\n"))
        code, out, _ = self.run_revoke(fleet, "--conversation-id", ended)
        self.assertEqual((code, out), (0, f"revoked: all tokens of the conversation {ended}, which was revoked before\n"))
        code, out, _ = self.run_revoke(fleet, "--user", "ada")
        self.assertRegex(out, r"^revoked: all tokens of the user `ada` .* issued until 20\S+Z; 2 live conversations ended\n$")
        code, out, _ = self.run_revoke(fleet, "--user", "adda", "--json")
        self.assertEqual(json.loads(out), {"revoked": {"scope": "user", "id": "adda", "live_conversations": 0}})
        answer = fleet.revoke({"user_id": "ada", "idp": "none"}, operator=True)
        self.assertEqual(answer.json()["revoked"]["live_conversations"], 0)

    def test_the_command_line_reports_why_it_revoked_nothing(self) -> None:
        fleet = self.fleet("")
        self.store.kill()
        code, out, err = self.run_revoke(fleet, "--user", "joe", "--idp", "none")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"^error: not revoked: limits store: cannot connect: Connection refused")
        fleet.config.write_text("")
        self.assertEqual(
            self.run_revoke(fleet, "--user", "joe", "--idp", "none"),
            (
                1,
                "",
                "error: revocation needs a limits store, and none is configured\n"
                "hint: set HOLDALL_REDIS_URL, or guard.redis_url in the file of --config, as on the servers\n",
            ),
        )

    def test_with_another_issuer_nothing_is_revoked_or_written(self) -> None:
        fleet = self.fleet("", 'issuer = "shop"')
        self.token_of(fleet.turn("ada", "say hi"))
        before = self.store.keys()
        code, out, err = self.run_revoke(fleet, "--user", "ada", "--idp", "none", "--issuer", "holdall")
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(err.startswith("error: not revoked: the store does not know the deployment `holdall`\nhint: pass --issuer"), err)
        self.assertEqual(self.store.keys(), before)
        code, out, err = self.run_revoke(fleet, "--user", "ada", "--idp", "none")
        self.assertEqual((code, err), (0, ""))

    def test_a_user_is_revoked_by_the_stores_clock(self) -> None:
        fleet = self.fleet("")
        self.token_of(fleet.turn("ada", "say hi"))
        before = int(self.store.do("TIME")[0])
        self.assertEqual(fleet.revoke({"user_id": "ada", "idp": "none"}, operator=True).status, 200)
        (key,) = self.store.keys("revoked-user")
        self.assertTrue(before <= int(self.store.do("GET", key)) <= before + 2)

    def test_a_later_revocation_of_a_user_is_kept(self) -> None:
        fleet = self.fleet("")
        token = self.token_of(fleet.turn("ada", "say hi"))
        self.assertEqual(fleet.revoke({"token": token, "scope": "user", "user_id": "ada"}).status, 200)
        (key,) = self.store.keys("revoked-user")
        ahead = int(time.time()) + 500
        self.store.do("SET", key, ahead, "EX", 1000)
        self.assertEqual(fleet.revoke({"user_id": "ada", "idp": "none"}, operator=True).status, 200)
        self.assertEqual(int(self.store.do("GET", key)), ahead)
        # It is remembered for as long as the revoked tokens could be valid.
        self.assertGreaterEqual(self.store.do("TTL", key), 30 * 86_400 + 500)

    def run_revoke(self, fleet: Fleet, *arguments: str, given: str = "") -> tuple[int, str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": fleet.folder.name,
            "XDG_DATA_HOME": fleet.folder.name,
            "HOLDALL_KEYS": fleet.keys,
        }
        command = [str(binary()), "revoke", "--config", str(fleet.config), *arguments]
        done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr


def claims_of(token: str) -> dict:
    """The claims of a clear token."""
    payload = token.split(".")[1]
    frames = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    done = subprocess.run(["zstd", "-dc"], input=frames, capture_output=True, check=True)
    return json.loads(done.stdout.split(b"\n")[0])
