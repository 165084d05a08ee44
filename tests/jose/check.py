#!/usr/bin/env python3
"""Checks that PyJWT agrees with Holdall on every tag, and that `zstd -dc | jq` reads every clear payload.

    python3 check.py FRESH     # FRESH: the output of the test `jose::fresh_tokens`

Exits with 1 and names the cases in which they disagree.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys

import jwt

VECTORS = pathlib.Path(__file__).parent.parent / "vectors" / "token"
# Libraries accept base64url that is not canonical. Holdall does not.
LENIENT = {"tag-trailing-bits", "tag-length-1"}
SIGNED = {"seal", "padding", "frames", "lines", "claims", "issuer", "subject", "times", "items"}


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vectors():
    for path in sorted(VECTORS.glob("*.txt")):
        if path.name == "requirements.txt":
            continue
        head, token = path.read_bytes().decode().split("\n\n", 1)
        yield path.stem, dict(line.split(": ", 1) for line in head.split("\n")), token[:-1]


def verifies(token, keys):
    try:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        jwt.PyJWS().decode(token, key, algorithms=["HS256"])
        return True
    except jwt.InvalidTokenError:
        return False


def read_as_lines(token):
    """The lines of a clear token, read with two common tools."""
    inflated = subprocess.run(["zstd", "-dc"], input=decode(token.split(".")[1]), capture_output=True, check=True).stdout
    objects = subprocess.run(["jq", "-c", "."], input=inflated, capture_output=True, check=True).stdout
    return inflated, [json.loads(line) for line in objects.splitlines()]


def main(fresh):
    failures, counts = [], {"verified": 0, "refused": 0, "read": 0, "fresh": 0}
    for name, fields, token in vectors():
        keys = {kid: decode(secret) for kid, secret in (entry.split(":") for entry in fields["keys"].split(","))}
        check = fields.get("check")
        if fields["verdict"] in ("accepted", "token_expired") or check in SIGNED:
            counts["verified"] += 1
            verifies(token, keys) or failures.append(f"{name}: PyJWT refuses the tag")
        elif check == "tag" and name not in LENIENT:
            counts["refused"] += 1
            verifies(token, keys) and failures.append(f"{name}: PyJWT accepts the tag")
        if fields.get("kind") == "clear":
            counts["read"] += 1
            inflated, objects = read_as_lines(token)
            history = inflated.split(b"\n", 1)[1]
            if objects[0] != json.loads(fields["claims"]) or len(objects) != int(fields["items"]) + 1:
                failures.append(f"{name}: zstd and jq read other items")
            if hashlib.sha256(history).hexdigest() != fields["history_sha256"]:
                failures.append(f"{name}: zstd decompresses to other lines")
    for line in pathlib.Path(fresh).read_text().splitlines():
        if line.startswith("token "):
            _, secret, token = line.split(" ")
            counts["fresh"] += 1
            verifies(token, {"k1": decode(secret)}) or failures.append("PyJWT refuses a fresh token")
            verifies(token, {"k1": bytes(32)}) and failures.append("PyJWT accepts a fresh token with another key")
    print("PyJWT", jwt.__version__, counts)
    if failures or 0 in counts.values():
        sys.exit("\n".join(failures or ["nothing was checked"]))


main(sys.argv[1])
