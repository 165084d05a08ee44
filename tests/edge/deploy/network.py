"""What is around a server that a platform starts: a network that is nobody else's, and who vouches for its callers."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import platforms
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER, AUDIENCE = "https://login.example", "chat"


def own_network() -> None:
    """Brings up the loopback of the network that `run` made, with the addresses that proxies call from."""
    if "HOLDALL_OWN_NETWORK" not in os.environ:
        raise unittest.SkipTest("there is no network of its own")
    flags = struct.pack("16sh14x", b"lo", 1 | 64)
    with socket.socket() as control:
        fcntl.ioctl(control, 0x8914, flags)  # SIOCSIFFLAGS
        for at, make in enumerate((platforms.kubernetes, platforms.cloud_run, platforms.fly)):
            address = struct.pack("H2x4s8x", socket.AF_INET, socket.inet_aton(make("").proxy))
            fcntl.ioctl(control, 0x8916, struct.pack("16s", f"lo:{at}".encode()) + address)  # SIOCSIFADDR


class Issuer:
    """An identity issuer with one key; its key set cannot be had before `open`."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        document = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        keys = json.dumps({"keys": [{**document, "kid": "k1", "alg": "ES256", "use": "sig"}]}).encode()
        self.is_open = threading.Event()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if issuer.is_open.is_set() else 503)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Servers that are killed hear no answer.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/.well-known/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def open(self) -> None:
        self.is_open.set()

    def credential(self, user: str) -> str:
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "exp": int(time.time()) + 600}
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "k1"})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
