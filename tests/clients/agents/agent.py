"""The common part of the agents' tests: folders, two servers, a model service, and the agent's process.

A test plays two sessions. In the first, the agent reads a file and writes its word to another file.
The second resumes the first: the agent reads the other file. All replies are streamed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import replace
from pathlib import Path

from service import KEY, MODEL, Call, Reply, Service

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "clients" / "python")]

from holdall import Server, new_keys, toml  # noqa: E402
from support import Balancer  # noqa: E402

PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
# An agent reaches only this machine: nothing listens on the proxy's port.
OFFLINE = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}
# An agent that hangs is ended after this time.
SECONDS = 120
# The alias of docs/compatibility.md.
ALIAS = "coder"
FIRST = "Copy the word in note.txt to word.txt."
SECOND = "Which word is in word.txt now?"


class AgentTest(unittest.TestCase):
    """One agent, whose program is $AGENT. A subclass names its section of the page and its package of npm's."""

    SECTION = ""
    PACKAGE = ""

    @classmethod
    def setUpClass(cls) -> None:
        package = Path(os.environ["AGENTS_HOME"]) / "node_modules" / cls.PACKAGE / "package.json"
        version = json.loads(package.read_text(encoding="utf-8"))["version"]
        assert f"`{cls.PACKAGE}`) | {version} |" in PAGE, f"docs/compatibility.md must name {cls.PACKAGE} {version}"

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="holdall-agents-")
        self.addCleanup(temporary.cleanup)
        # Agents resolve links, and the temporary folder of some systems is a link.
        folder = Path(temporary.name).resolve()
        self.folder, self.home, self.work = folder, folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        # The word is in the file only, so that a reply with it proves that a tool ran.
        self.word = f"word-{secrets.token_hex(8)}"
        self.note, self.copy = self.work / "note.txt", self.work / "word.txt"
        self.note.write_text(f"The word is {self.word}.\n", encoding="utf-8")

    def start(self, service: Service, kind: str, alias: str = ALIAS) -> None:
        """Starts two servers in front of this service, with the alias of the page, and a balancer over them."""
        self.service, self.alias = service, alias
        self.addCleanup(service.close)
        base_url = service.address + ("" if kind == "anthropic" else "/v1")
        upstream = [
            "[[upstream]]", f'name = "{kind}"', f"kind = {toml(kind)}", f"base_url = {toml(base_url)}",
            'api_key_env = "MODEL_KEY"',
        ]  # fmt: skip
        model = re.search(r"^\[\[model\]\]\n.*", block("Coding agents", "toml"), re.M | re.S)[0]
        for name, value in (("alias", alias), ("model", MODEL)):
            model = replaced(rf'^{name} = ".*"', f"{name} = {toml(value)}", model)
        model = replaced(r"^upstreams = \[.*\]", f"upstreams = [{toml(kind)}]", model)
        settings = self.folder / "holdall.toml"
        settings.write_text("\n".join([*upstream, model]), encoding="utf-8")
        keys = new_keys()
        servers = [Server(settings, keys, MODEL_KEY=KEY) for _ in range(2)]
        for server in servers:
            self.addCleanup(server.kill)
        self.balancer = Balancer([server.address for server in servers])
        self.addCleanup(self.balancer.close)

    def settings(self, language: str) -> str:
        """The settings of the agent's section, with this test's address and alias."""
        text = block(self.SECTION, language).replace("https://holdall.example", self.balancer.url)
        return text.replace("…", "none").replace(ALIAS, self.alias)

    def run_agent(self, *arguments: str, **variables: str) -> str:
        """Runs the agent's program in the work folder, and returns what it prints."""
        pipe = subprocess.PIPE
        process = self.spawn(arguments, variables, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.fail(f"the agent ran for over {SECONDS} s\n{self.diary()}")
        finally:
            end_group(process)
        self.assertEqual(process.returncode, 0, f"{out}\n{err}\n{self.diary()}")
        return out

    def run_in_terminal(self, last: bytes, *arguments: str, **variables: str) -> None:
        """Runs the agent's program in a terminal, and ends it after the script. `last` ends an answer."""
        master, terminal = os.openpty()
        process = self.spawn(arguments, variables | {"TERM": "xterm"}, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        end = time.monotonic() + SECONDS
        try:
            # A full terminal would stop the program, so all that it prints is read.
            while not self.has_all_answers(last) and time.monotonic() < end:
                if select.select([master], [], [], 0.1)[0] and not read(master):
                    break
        finally:
            end_group(process)
            os.close(master)

    def has_all_answers(self, last: bytes) -> bool:
        return self.service.is_at_end() and all(last in passed.answer for passed in self.balancer.passed)

    def spawn(self, arguments: tuple[str, ...], variables: dict[str, str], **streams: int) -> subprocess.Popen:
        """Starts the agent's program in the work folder, in a group of its own, so that its children end with it."""
        return subprocess.Popen(
            [os.environ["AGENT"], *arguments],
            cwd=self.work,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **OFFLINE, **variables},
            text=True,
            start_new_session=True,
            **streams,
        )

    def diary(self) -> str:
        """The requests of the agent and the refusals of the service, for the message of a failure."""
        lines = [f"{passed.method} {passed.path}: {passed.status}" for passed in self.balancer.passed]
        lines += [bytes(passed.answer[:500]).decode() for passed in self.balancer.passed if passed.status != 200]
        return "\n".join([*lines, *(f"refused: {why[:2000]}" for why in self.service.refusals)])

    def turns(self, read: Call, write: Call, read_again: Call, thinks: bool = True) -> list[Reply]:
        """The model's turns, with these calls of the agent's own tools."""
        replies = [
            Reply(thought="The file comes first.", call=read),
            Reply(thought="Now the copy.", text="I write it down.", call=write),
            Reply(thought="That is all.", text="The word is copied."),
            Reply(thought="It may have changed.", call=read_again),
            Reply(text=f"It is {self.word}."),
        ]
        return replies if thinks else [replace(reply, thought="") for reply in replies]

    def play(self, service: Service, kind: str, alias: str = ALIAS) -> None:
        """Plays both sessions with this service, and checks what the agent printed and did."""
        self.start(service, kind, alias)
        first = self.run_session(FIRST)
        second = self.run_session(SECOND, resumes=True)
        self.check_sessions(first, second)

    def run_session(self, text: str, resumes: bool = False) -> str:
        """Runs the agent with a text of its user, in a new session or the last one."""
        raise NotImplementedError

    def check_requests(self) -> None:
        """Checks that the agent got every reply of the script, and that no request was refused."""
        self.assertEqual(self.service.refusals, [], self.diary())
        self.assertEqual(len(self.service.requests), len(self.service.script), self.diary())
        self.assertEqual({passed.status for passed in self.balancer.passed}, {200}, self.diary())

    def check_sessions(self, first: str, second: str) -> None:
        """Checks what the agent printed and did, and what the service was asked."""
        self.assertIn("The word is copied.", first)
        self.assertIn(f"It is {self.word}.", second)
        self.assertEqual(self.copy.read_text(encoding="utf-8").strip(), self.word)
        self.check_requests()
        # The note is read by a tool: the first request cannot have its word, all later ones have.
        texts = [json.dumps(request) for request in self.service.requests]
        self.assertEqual([self.word in text for text in texts], [False, True, True, True, True])
        self.assertNotIn(SECOND, texts[2])
        self.assertIn(SECOND, texts[3])


def read(terminal: int) -> bytes:
    """Output of a program in a terminal, empty after its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def block(heading: str, language: str) -> str:
    """The first code block in this language below this heading of docs/compatibility.md."""
    section = re.split(rf"^#+ {heading}\n", PAGE, maxsplit=1, flags=re.M)[1]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.M)[0]
    return re.search(rf"^```{language}\n(.*?)^```", section, re.M | re.S)[1]


def replaced(pattern: str, by: str, text: str) -> str:
    changed, count = re.subn(pattern, lambda _: by, text, flags=re.M)
    assert count == 1, f"{pattern} occurs {count} times"
    return changed


def end_group(process: subprocess.Popen) -> None:
    """Ends the processes that the agent left, by the id of its own group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
