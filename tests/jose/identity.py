#!/usr/bin/env python3
"""Sends JSON Web Tokens from PyJWT and the npm package jose to a real `holdall serve`.

    python3 identity.py     # JOSE_MODULES: a folder whose node_modules has jose

The issuer's keys are first served on the loopback, where they change, and then read from files. The
valid tokens of each algorithm are accepted. Expired, foreign, tampered and confused tokens are
refused. Exits with 1 and names the failures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from holdall import Server, new_keys, toml  # noqa: E402

ISSUER, AUDIENCE = "https://issuer.example", "chat"
FAMILIES = {
    "rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "p256": ["ES256"],
    "p384": ["ES384"],
    "ed25519": ["EdDSA"],
    "secret": ["HS256", "HS384", "HS512"],
}


def private_keys() -> dict:
    return {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }


def jwk(key) -> dict:
    kinds = [(rsa.RSAPrivateKey, RSAAlgorithm), (rsa.RSAPublicKey, RSAAlgorithm)]
    kinds += [(ec.EllipticCurvePrivateKey, ECAlgorithm), (ec.EllipticCurvePublicKey, ECAlgorithm)]
    for kind, algorithm in kinds:
        if isinstance(key, kind):
            return algorithm.to_jwk(key, as_dict=True)
    return OKPAlgorithm.to_jwk(key, as_dict=True)


def pem(key) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def key_set(keys: dict) -> dict:
    """The public keys, each with its name as the kid."""
    return {"keys": [dict(jwk(key.public_key()), kid=name, use="sig") for name, key in keys.items()]}


def claims(**changes) -> dict:
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, **changes}
    return {name: value for name, value in whole.items() if value is not None}


# The claims of the tokens, and whether such a token is accepted.
CLAIMS = {
    "valid": (claims(), True),
    "for several audiences": (claims(aud=["other", AUDIENCE]), True),
    "expired": (claims(iat=1_700_000_000, exp=1_700_000_600), False),
    "without an expiry": (claims(exp=None), False),
    "not valid yet": (claims(nbf=int(time.time()) + 3_600), False),
    "of another issuer": (claims(iss=ISSUER + "/"), False),
    "for another audience": (claims(aud="other"), False),
    "without a user": (claims(sub=None), False),
}


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def tampered(token: str) -> str:
    head, _, tag = token.split(".")
    return f"{head}.{b64u(json.dumps(claims(sub='eve')).encode())}.{tag}"


def confused(public_pem: bytes, kid: str | None) -> str:
    """HS256 with a public key as the secret. PyJWT refuses to create it, so this function does."""
    header = {"alg": "HS256", "typ": "JWT"} | ({"kid": kid} if kid else {})
    signed = f"{b64u(json.dumps(header).encode())}.{b64u(json.dumps(claims()).encode())}"
    return f"{signed}.{b64u(hmac.new(public_pem, signed.encode(), hashlib.sha256).digest())}"


def python_tokens(keys: dict, secret: bytes, others: dict) -> list[dict]:
    tokens = []

    def add(name, family, algorithm, token, accepted):
        tokens.append({"name": f"PyJWT: {algorithm}, {name}", "family": family, "token": token, "accepted": accepted})

    for family, algorithms in FAMILIES.items():
        key, headers = (secret, {}) if family == "secret" else (keys[family], {"kid": family})
        for algorithm in algorithms:
            for name, (payload, accepted) in CLAIMS.items():
                add(name, family, algorithm, jwt.encode(payload, key, algorithm, headers=headers), accepted)
            valid = jwt.encode(claims(), key, algorithm, headers=headers)
            add("tampered", family, algorithm, tampered(valid), False)
            add("cut", family, algorithm, valid[:-4], False)
            other = secrets.token_bytes(64) if family == "secret" else others[family]
            add("signed with another key", family, algorithm, jwt.encode(claims(), other, algorithm, headers=headers), False)
        add("unsigned", family, "none", jwt.encode(claims(), None, "none", headers=headers), False)
        if family != "secret":
            for kid in (family, None):
                add("signed with the public key as a secret", family, "HS256", confused(pem(keys[family]), kid), False)
    return tokens


def node_tokens(keys: dict, secret: bytes, others: dict) -> list[dict]:
    work = {
        "families": FAMILIES,
        "keys": {name: jwk(key) for name, key in keys.items()},
        "others": {name: jwk(key) for name, key in others.items()},
        "pems": {name: pem(key).decode() for name, key in keys.items()},
        "secret": b64u(secret),
        "claims": [{"name": name, "payload": payload, "accepted": accepted} for name, (payload, accepted) in CLAIMS.items()],
    }
    made = subprocess.run(["node", str(HERE / "identity.mjs")], input=json.dumps(work), capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stderr)
    return json.loads(made.stdout)


class Issuer:
    """Serves a key set on the loopback, and counts the requests."""

    def __init__(self, keys: dict) -> None:
        self.keys, self.requests = keys, 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                body = json.dumps(key_set(issuer.keys)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def turn(server: Server, token: str) -> tuple[int, dict]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    body = json.dumps({"input": "My name is Ada."}).encode()
    request = urllib.request.Request(f"http://{server.address}/v1/turns", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Check:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.accepted = self.refused = 0

    def token(self, server: Server, source: str, case: dict, accepted: bool) -> None:
        status, answer = turn(server, case["token"])
        if accepted:
            self.accepted += 1
            fits = status == 200 and answer.get("user_id") == "ada"
        else:
            self.refused += 1
            fits = (status, answer.get("code")) == (401, "unauthenticated")
        if not fits:
            self.failures.append(f"{source}: {case['name']}: {status} {json.dumps(answer)[:200]}")


def serve(folder: pathlib.Path, keys: str) -> Server:
    path = folder / "holdall.toml"
    path.write_text(
        f"[identity]\nmode = \"jwt\"\n[identity.jwt]\nissuer = {toml(ISSUER)}\naudience = [{toml(AUDIENCE)}]\n{keys}\n"
    )
    return Server(path, new_keys())


def main() -> None:
    keys, others, secret = private_keys(), private_keys(), secrets.token_bytes(48).hex().encode()
    cases = python_tokens(keys, secret, others) + node_tokens(keys, secret, others)
    check = Check()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        remote(folder, cases, keys, others, check)
        for family in FAMILIES:
            file = folder / family
            file.write_bytes(secret + b"\n" if family == "secret" else pem(keys[family]))
            server = serve(folder, f"key_file = {toml(str(file))}")
            for case in cases:
                check.token(server, f"key file {family}", case, case["accepted"] and case["family"] == family)
            server.kill()
    print("identity: PyJWT", jwt.__version__, f"and jose: {check.accepted} turns accepted, {check.refused} refused")
    if check.failures or check.accepted < 80 or check.refused < 1_500:
        sys.exit("\n".join(check.failures or ["too few cases were checked"]))


def remote(folder: pathlib.Path, cases: list[dict], keys: dict, others: dict, check: Check) -> None:
    """Keys from an issuer: first all except the RSA key, then all, and last none because the issuer is down."""
    issuer = Issuer({name: key for name, key in keys.items() if name != "rsa"})
    server = serve(folder, f"jwks_url = {toml(issuer.url)}")
    known = next(case for case in cases if case["accepted"] and case["family"] == "p256")
    check.token(server, "remote, at the start", known, True)
    issuer.keys = keys
    for case in cases:
        # A secret is never accepted from a published key set.
        check.token(server, "remote", case, case["accepted"] and case["family"] != "secret")
    if issuer.requests != 2:
        check.failures.append(f"remote: the issuer got {issuer.requests} requests, expected one at the start and one for the new key")
    issuer.server.shutdown()
    issuer.server.server_close()
    check.token(server, "remote, with the issuer down", known, True)
    server.kill()


main()
