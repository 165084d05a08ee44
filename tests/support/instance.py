"""Starts `holdall serve` as a platform does, by a command and variables. Uses Python's standard library only."""

from __future__ import annotations

import re
import signal
import subprocess
import threading

# The seconds that a process may take to end after SIGTERM. Platforms have figures of their own.
END = 30.0


class Instance:
    """A server under test. `host` and `port` are the address that it reports."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        self.host, self.port = self._read_address()
        # A full pipe would block the server.
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        """The address on the loopback interface."""
        return f"127.0.0.1:{self.port}"

    def terminate(self) -> None:
        """Sends SIGTERM, as platforms do."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within: float = END) -> int:
        """The exit code. A server that does not end in time is killed, and the test fails."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {within} s: {''.join(self.log[-5:])}") from None
        self._reader.join(END)
        self.process.stderr.close()
        return self.process.returncode

    def kill(self) -> None:
        """Ends it without a warning, as a crash does."""
        self.process.kill()
        self.process.wait()
        self._reader.join(END)
        self.process.stderr.close()

    def _read_address(self) -> tuple[str, int]:
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"listens on http://(\S+):(\d+)$", line.rstrip())
            if found:
                return found[1], int(found[2])
        self.process.wait()
        raise AssertionError(f"holdall did not start: {''.join(self.log)}")
