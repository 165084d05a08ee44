"""The system under test: instances of `holdall serve` with a common keys file, a load balancer and a store.

All of them listen on the loopback. Every process is ended by its own id, even if the test fails.
"""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from holdall import Server, binary, toml  # noqa: E402

# The seconds that a program has to start, and to end after SIGTERM.
START = 20.0
END = 15.0

HAPROXY = """
global
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  option redispatch
  retries 3
frontend all
  bind 127.0.0.1:{port}
  default_backend instances
backend instances
  balance roundrobin
  option httpchk GET /ready
  default-server check inter 200ms fall 1 rise 1
{servers}
"""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 5m;
  upstream instances {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://instances;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost;
      proxy_buffering off;
      proxy_connect_timeout 1s;
    }}
  }}
}}
"""


def free_port() -> int:
    """A free port outside the range of ephemeral ports, so that no connection uses it while an instance is down."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(lowest, 11_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def kid(token: str) -> str:
    """The id of the key that signed a token."""
    header = token.split(".", 1)[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


class Program:
    """A program that runs next to the instances."""

    def __init__(self, command: list[str], port: int) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + START
        while not listens(port):
            if self.process.poll() is not None or time.monotonic() > until:
                self.end()
                raise SystemExit(f"{command[0]} does not start")
            time.sleep(0.02)

    def end(self) -> None:
        end(self.process)


def end(process: subprocess.Popen) -> None:
    """Ends a process with SIGTERM, or with SIGKILL if it does not end in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Store:
    """A redis-server without persistence."""

    def __init__(self) -> None:
        self.port = free_port()
        self.program: Program | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", str(self.port)]
        self.program = Program(["redis-server", *options], self.port)

    def stop(self) -> None:
        if self.program is not None:
            self.program.end()
            self.program = None


class Fleet:
    """The instances and the balancer. The first instance always runs, so that its memory can be measured."""

    def __init__(self, folder: Path, settings: str, count: int, balancer: str, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables
        self.keys = folder / "keys"
        self.config = folder / "holdall.toml"
        self.config.write_text(f"keys_file = {toml(str(self.keys))}\n{settings}", encoding="utf-8")
        self._rotate("add", "k0")
        self.ports = [free_port() for _ in range(count)]
        self.instances: list[Server | None] = [None] * count
        # Held while instances start and stop, so that a rotation reaches all of them.
        self.lock = threading.Lock()
        self.balancer: Program | None = None
        self.port = free_port()
        self._balancer = balancer

    def start(self) -> None:
        for at in range(len(self.instances)):
            self.bring_up(at)
        config = self.folder / "balancer"
        if self._balancer == "haproxy":
            servers = "\n".join(f"  server i{at} 127.0.0.1:{port}" for at, port in enumerate(self.ports))
            config.write_text(HAPROXY.format(port=self.port, servers=servers))
            command = ["haproxy", "-db", "-f", str(config)]
        else:
            servers = " ".join(f"server 127.0.0.1:{port} fail_timeout=1s;" for port in self.ports)
            config.write_text(NGINX.format(port=self.port, servers=servers, folder=self.folder))
            command = ["nginx", "-c", str(config)]
        self.balancer = Program(command, self.port)
        # The balancer needs time to see all instances.
        time.sleep(1.0)

    def bring_up(self, at: int) -> None:
        with self.lock:
            self.instances[at] = Server(self.config, None, self.ports[at], **self.variables)

    def take_down(self, at: int, number: signal.Signals) -> None:
        with self.lock:
            instance = self.instances[at]
            self.instances[at] = None
        if instance is None:
            return
        instance.process.send_signal(number)
        try:
            instance.process.wait(END)
        except subprocess.TimeoutExpired:
            instance.kill()
            raise SystemExit(f"an instance does not end on {number.name}") from None

    def rotate(self, step: str, key: str) -> None:
        """Takes one step of a key rotation, and reloads all instances."""
        with self.lock:
            self._rotate(step, key)
            for instance in filter(None, self.instances):
                known = len(instance.log)
                instance.process.send_signal(signal.SIGHUP)
                until = time.monotonic() + START
                while not any("reloaded; keys" in line for line in instance.log[known:]):
                    if time.monotonic() > until:
                        raise SystemExit(f"an instance does not reload: {''.join(instance.log[-5:])}")
                    time.sleep(0.01)

    def _rotate(self, step: str, key: str) -> None:
        command = [str(binary()), "keys", "rotate", step, str(self.keys)]
        command += ["--kid", key] if step == "add" else [key]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")

    def resident_bytes(self, at: int) -> int:
        instance = self.instances[at]
        status = Path(f"/proc/{instance.process.pid}/status").read_text() if instance else ""
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def end(self) -> None:
        if self.balancer is not None:
            self.balancer.end()
        for instance in filter(None, self.instances):
            end(instance.process)


def missing(*programs: str) -> list[str]:
    return [program for program in programs if shutil.which(program) is None]
