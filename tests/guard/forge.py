"""Tokens that a server with these keys would never issue, written only from docs/token.md."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time


def damaged_history(keys: str, user: str) -> str:
    """A clear token with valid claims, and with a history whose only line is not an item."""
    kid, secret = keys.split(":")
    now = int(time.time())
    claims = {
        "iss": "holdall",
        "sub": user,
        "idp": "none",
        "cid": "01890a5d-ac96-774b-bcce-b302099a8057",
        "jti": "01890a5d-ac96-774b-bcce-b302099a8058",
        "born": now,
        "iat": now,
        "exp": now + 3_600,
        "turn": 1,
        "model": "m",
        "use": {"in": 0, "out": 0, "cached": 0, "ms": 0},
    }
    header = compact({"alg": "HS256", "kid": kid, "typ": "holdall1"})
    signed = b64u(header) + "." + b64u(frame(compact(claims)) + frame(b"not an item"))
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    return signed + "." + b64u(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def frame(line: bytes) -> bytes:
    """A zstd frame (RFC 8878): a single segment, with its line in one raw block."""
    text = line + b"\n"
    last_raw_block = (len(text) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\xa0" + len(text).to_bytes(4, "little") + last_raw_block + text


def compact(value: dict) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
