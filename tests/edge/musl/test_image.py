"""The image of the static program: what is in it, what it is set up to run, and that it runs with nothing else there.

buildah builds the Dockerfile's `prebuilt` image, and lays it out; the program is then run as a runtime would run it: as
the image's user, by its command and with its variables, in the image's root alone, which is mounted read-only, without
/proc, /dev, /etc or /tmp.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from binaries import MACHINES, ROOT, Instance, program
from holdall import Client, new_keys

sys.path.insert(0, str(ROOT / "tests" / "guard"))

from upstream import Upstream  # noqa: E402

DEPLOY = ROOT / "examples" / "deploy"
NATIVE = next((name for name, machine in MACHINES.items() if machine == platform.machine()), "amd64")
# Becomes the program in the end, so that signals to this process reach it.
CONTAINED = """
mount --bind "$1" "$1" && mount -o remount,bind,ro,nosuid,nodev "$1" || exit
root=$1 user=$2
shift 2
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


class Built(unittest.TestCase):
    """An image, in a store of this test's own."""

    @classmethod
    def setUpClass(cls) -> None:
        if os.geteuid() != 0 or not shutil.which("buildah"):
            raise unittest.SkipTest("wants root and buildah")
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)

    @classmethod
    def build(cls, name: str, *arguments: str) -> Path:
        """Where the image is laid out."""
        cls.buildah("build", "--tag", name, *arguments)
        cls.addClassCleanup(cls.buildah, "umount", "--all")
        return Path(cls.buildah("mount", cls.buildah("from", name).strip()).strip())

    @classmethod
    def buildah(cls, *arguments: str) -> str:
        """What it says."""
        store = ["--root", f"{cls.folder.name}/root", "--runroot", f"{cls.folder.name}/run", "--storage-driver", "vfs"]
        done = subprocess.run(["buildah", *store, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"buildah {' '.join(arguments)}: {done.stderr}")
        return done.stdout


class Context(Built):
    """What is sent to whatever builds the image."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        file = Path(cls.folder.name, "Dockerfile")
        file.write_text("FROM scratch\nCOPY . /\n")
        ignored = str(DEPLOY / "Dockerfile.dockerignore")
        cls.root = cls.build("context", "--file", str(file), "--ignorefile", ignored, str(ROOT))

    def test_it_is_what_the_build_needs_and_nothing_else(self) -> None:
        found = {path.name for path in self.root.iterdir()}
        self.assertEqual(found, {"Cargo.lock", "Cargo.toml", "benches", "docs", "examples", "src"})
        examples = [str(path.relative_to(self.root)) for path in self.root.glob("examples/*/*")]
        self.assertEqual(examples, ["examples/deploy/build-static"])
        self.assertTrue(os.access(self.root / "examples" / "deploy" / "build-static", os.X_OK))
        # Cargo finds all that the manifest names.
        look = ["cargo", "metadata", "--offline", "--no-deps", "--format-version", "1", "--manifest-path"]
        subprocess.run([*look, str(self.root / "Cargo.toml")], check=True, stdout=subprocess.DEVNULL)

    def test_what_the_program_takes_in_is_there(self) -> None:
        taken = 0
        for source in (self.root / "src").rglob("*.rs"):
            # Tests take in what is not sent.
            text = source.read_text().split("#[cfg(test)]\nmod tests {")[0]
            if "tests" in source.stem or "tests" in source.relative_to(self.root).parts:
                continue
            for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', text):
                taken += 1
                self.assertTrue((source.parent / name).resolve().is_file(), f"{source}: {name}")
        self.assertGreater(taken, 0)


class Image(Built):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        file = str(DEPLOY / "Dockerfile")
        cls.root = cls.build("holdall", "--target", "prebuilt", "--file", file, str(program(NATIVE).parent))
        cls.config = json.loads(cls.buildah("inspect", "--type", "image", "holdall"))["OCIv1"]["config"]

    def contained(self, arguments: list[str], variables: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command and the variables of a container with these arguments in the place of the image's."""
        own = dict(variable.split("=", 1) for variable in self.config["Env"])
        inside = [*self.config["Entrypoint"], *arguments]
        outside = [shutil.which("unshare"), "--mount", "sh", "-c", CONTAINED, "sh", str(self.root), self.config["User"]]
        return [*outside, *inside], {**own, **variables}

    def start(self, **variables: str) -> Instance:
        command, environment = self.contained(self.config["Cmd"], {"HOLDALL_LISTEN": "127.0.0.1:0", **variables})
        server = Instance(command, environment)
        self.addCleanup(server.kill)
        return server

    def test_the_program_is_all_that_is_in_it(self) -> None:
        found = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        self.assertEqual(found, ["holdall"])
        self.assertEqual((self.root / "holdall").stat().st_mode & 0o7777, 0o555)
        self.assertEqual((self.root / "holdall").read_bytes(), program(NATIVE).read_bytes())

    def test_it_is_set_up_to_serve_as_nobody(self) -> None:
        self.assertEqual(self.config["User"], "65532:65532")
        self.assertEqual((self.config["Entrypoint"], self.config["Cmd"]), (["/holdall"], ["serve"]))
        self.assertEqual(self.config["StopSignal"], "SIGTERM")
        self.assertEqual(list(self.config["ExposedPorts"]), ["8080/tcp"])
        self.assertIn("PORT=8080", self.config["Env"])

    def test_it_takes_turns_with_an_upstream_and_nothing_else_there(self) -> None:
        upstream = Upstream()
        variables = {"HOLDALL_UPSTREAM": "openai", "HOLDALL_UPSTREAM_URL": upstream.base_url, "HOLDALL_MODEL": "m"}
        server = self.start(HOLDALL_KEYS=new_keys(), **variables)
        self.assertEqual(self.identity(server), {"Uid": {"65532"}, "Gid": {"65532"}, "CapEff": {"0" * 16}})
        client = Client()
        first = client.post(server.address, "/v1/turns", {"input": "say one", "user_id": "ada"})
        self.assertEqual((first.status, first.json()["reply"]), (200, "one"))
        ask = {"input": "say two", "user_id": "ada", "token": first.json()["token"], "stream": True}
        event, whole = client.post(server.address, "/v1/turns", ask).events()[-1]
        self.assertEqual((event, whole["reply"], whole["conversation"]["turn"]), ("done", "two", 2))
        client.close()
        server.terminate()
        self.assertEqual(server.ended(), 0)

    def test_it_knows_public_authorities_by_itself(self) -> None:
        """A server whose certificate none of them signed is turned away for that, not for want of any authority."""
        port = self.strange_https()
        url = f"https://127.0.0.1:{port}/v1"
        variables = {"HOLDALL_UPSTREAM": "openai", "HOLDALL_UPSTREAM_URL": url, "HOLDALL_MODEL": "m"}
        server = self.start(HOLDALL_KEYS=new_keys(), HOLDALL_RETRIES="0", **variables)
        client = Client()
        answer = client.post(server.address, "/v1/turns", {"input": "hi", "user_id": "ada"})
        client.close()
        self.assertEqual((answer.status, answer.json()["code"]), (502, "upstream_unavailable"))
        server.terminate()
        server.ended()
        self.assertRegex("".join(server.log), "the server's certificate is not signed by a known authority")

    def test_without_a_rule_for_callers_it_does_not_start(self) -> None:
        command, environment = self.contained(self.config["Cmd"], {"HOLDALL_KEYS": new_keys()})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("0.0.0.0:8080", done.stderr)

    def test_other_commands_work_in_it(self) -> None:
        command, environment = self.contained(["keys", "new"], {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
        self.assertRegex(done.stdout, r"^[A-Za-z0-9_-]{1,32}:[A-Za-z0-9_-]{43,}\n$")

    def test_its_root_cannot_be_written(self) -> None:
        """The test's own means: that the mount is read-only, and that the user may not write either."""
        command, environment = self.contained(["send", "-t", "/chat.token", "hi"], {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("Read-only file system", done.stderr)

    @staticmethod
    def identity(server: Instance) -> dict[str, set[str]]:
        """The ids and capabilities of its process, as this machine sees them."""
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        found = {key: re.search(rf"^{key}:\s+(.*)$", status, re.MULTILINE)[1] for key in ("Uid", "Gid", "CapEff")}
        return {key: set(values.split()) for key, values in found.items()}

    def strange_https(self) -> int:
        """The port of a server with a certificate of its own making."""
        key, certificate = f"{self.folder.name}/key.pem", f"{self.folder.name}/certificate.pem"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
        extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(
            [*made, *extensions, "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=True)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_port
