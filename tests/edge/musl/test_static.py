"""The static programs need nothing of the system that they run on, and carry each other's conversations."""

from __future__ import annotations

import subprocess
import unittest

import budgets
from binaries import GLIBC, STATIC, command, program, serve
from holdall import Client, new_keys

ELF_MACHINES = {"amd64": "X86-64", "arm64": "AArch64"}


def readelf(name: str, *options: str) -> str:
    done = subprocess.run(["readelf", *options, program(name)], capture_output=True, text=True, check=True)
    return done.stdout


class Files(unittest.TestCase):
    def test_static_programs_ask_for_no_loader_and_no_library(self) -> None:
        for name, machine in ELF_MACHINES.items():
            with self.subTest(name):
                self.assertIn(machine, readelf(name, "--file-header"))
                asked = readelf(name, "--wide", "--program-headers", "--dynamic")
                self.assertNotIn("INTERP", asked)
                self.assertNotIn("NEEDED", asked)

    def test_what_asks_for_libraries_is_noticed(self) -> None:
        asked = readelf(GLIBC, "--wide", "--program-headers", "--dynamic")
        self.assertIn("INTERP", asked)
        self.assertIn("NEEDED", asked)

    def test_programs_have_no_symbols(self) -> None:
        for name in (GLIBC, *STATIC):
            with self.subTest(name):
                self.assertNotIn(".symtab", readelf(name, "--wide", "--section-headers"))

    def test_all_are_within_the_budget_of_size(self) -> None:
        """Also those that run by an emulator alone, whose times say nothing."""
        for name in (GLIBC, *STATIC):
            with self.subTest(name):
                self.assertLess(program(name).stat().st_size, budgets.FILE_BYTES)


class Runs(unittest.TestCase):
    def test_all_are_of_one_version(self) -> None:
        said = {
            subprocess.run([*command(name), "--version"], capture_output=True, text=True, check=True, env={}).stdout
            for name in (GLIBC, *STATIC)
        }
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said.pop(), r"^holdall \d+\.\d+\.\d+\n$")

    def test_a_conversation_goes_from_architecture_to_architecture(self) -> None:
        """Turn by turn from one program to the next, by way of each pair in both directions, streamed and whole."""
        keys = {"HOLDALL_KEYS": new_keys()}
        servers = {name: serve(name, keys) for name in (GLIBC, *STATIC)}
        client = Client()
        try:
            token = None
            for turn, name in enumerate(["amd64", "arm64", "glibc", "arm64", "amd64", "glibc", "amd64"], 1):
                said = "My name is Ada." if turn == 1 else "What is my name?"
                ask = {"input": said, "user_id": "ada", "token": token, "stream": turn % 2 == 0}
                answer = client.post(servers[name].address, "/v1/turns", ask)
                self.assertEqual(answer.status, 200, answer.body)
                whole = answer.events()[-1][1] if ask["stream"] else answer.json()
                self.assertEqual(whole["conversation"]["turn"], turn)
                self.assertIn("Ada", whole["reply"])
                token = whole["token"]
            for name, server in servers.items():
                answer = client.post(server.address, "/v1/history", {"token": token, "user_id": "ada"})
                self.assertEqual(len(answer.json()["items"]), 14, name)
                foreign = client.post(server.address, "/v1/turns", {"input": "hi", "token": token, "user_id": "eve"})
                self.assertEqual(foreign.json()["code"], "token_invalid", name)
        finally:
            client.close()
            for server in servers.values():
                server.kill()

    def test_a_termination_ends_it_in_order(self) -> None:
        for name in (GLIBC, *STATIC):
            with self.subTest(name):
                server = serve(name, {"HOLDALL_KEYS": new_keys()})
                server.terminate()
                self.assertEqual(server.ended(), 0)
