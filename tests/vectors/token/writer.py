"""A second writer of holdall tokens, from docs/token.md alone; shares nothing with the Rust code.

Every function takes what a hostile writer would want to get wrong as an argument.
"""

import base64
import hashlib
import hmac
import json
import struct

import zstandard
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha20_poly1305

# The published test keys. Never to be used for anything else.
K1 = bytes(range(32))  # the current key, of the least length
K0 = bytes(range(64, 128))  # the retired key, of the greatest length

NOW = 1_795_000_000
TTL = 7 * 86_400
MAX_AGE = 30 * 86_400

CID = "019eeb1e-1c80-7000-8000-00000000c1d0"
JTI = "019eeb1e-1c80-7000-8000-000000000001"
PAR = "019eeb1e-1c80-7000-8000-000000000000"


def b64u(data):
    """Base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value):
    """JSON without white space, escaping only what must be."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- header and tag ---------------------------------------------------------------------------------------------------


def header(kid="k1", typ="holdall1"):
    return '{"alg":"HS256","kid":"%s","typ":"%s"}' % (kid, typ)


def tag(secret, signed, digest=hashlib.sha256):
    return hmac.new(secret, signed.encode(), digest).digest()


def join(payload, head=None, secret=K1, digest=hashlib.sha256):
    """The token text; `head` is the header's text, its bytes, or an already encoded segment in a list."""
    head = header() if head is None else head
    if isinstance(head, list):
        segment = head[0]
    else:
        segment = b64u(head.encode() if isinstance(head, str) else head)
    signed = segment + "." + (payload if isinstance(payload, str) else b64u(payload))
    return signed + "." + b64u(tag(secret, signed, digest))


# --- claims and items -------------------------------------------------------------------------------------------------


def claims(**change):
    """Claims in the order of writing; a change to `...` takes a member out."""
    members = {
        "iss": "holdall",
        "sub": "alice",
        "idp": "none",
        "cid": CID,
        "jti": JTI,
        "par": ...,
        "born": NOW,
        "iat": NOW,
        "exp": NOW + TTL,
        "turn": 1,
        "model": "default",
        "use": {"in": 12, "out": 8, "cached": 0, "ms": 340},
    }
    members.update(change)
    return {name: value for name, value in members.items() if value is not ...}


def msg(text, role="user", **more):
    return compact({"t": "msg", "role": role, "parts": [{"text": text}], **more})


TURN = [msg("hello"), msg("Hi! What shall I call you?", "assistant")]


def lines(items):
    return "".join(item + "\n" for item in items).encode()


# --- frames (RFC 8878) ------------------------------------------------------------------------------------------------

MAGIC = bytes.fromhex("28b52ffd")
BLOCK = 128 << 10


def frame(text, checksum=False, level=3):
    """A frame as an issuer writes it."""
    text = text.encode() if isinstance(text, str) else text
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_dict_id=False).compress(text)


def raw(text):
    """Blocks that are stored: readable by eye in a dump."""
    text = text.encode() if isinstance(text, str) else text
    pieces = [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)] or [b""]
    return b"".join(
        block(0, len(piece), piece, last=at + 1 == len(pieces)) for at, piece in enumerate(pieces)
    )


def block(kind, size, body, last=False):
    """One block: kind 0 stored, 1 one byte repeated `size` times, 2 compressed, 3 reserved (section 3.1.1.2)."""
    return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + body


def fill(byte, count, last=False):
    """Blocks of one repeated byte: 4 bytes stand for 128 KiB."""
    sizes = [BLOCK] * (count // BLOCK) + ([count % BLOCK] if count % BLOCK else [])
    return b"".join(block(1, size, byte, last and at + 1 == len(sizes)) for at, size in enumerate(sizes))


def handmade(blocks, size, window=None, width=None, bits=0, dictionary=b""):
    """A frame with a head of our choice: declared `size` (None: not declared) in `width` bytes, `window` byte
    (None: single segment), further descriptor `bits`."""
    if size is None:
        flag, field = 0, b""
    elif width == 1 or (width is None and window is None and size < 256):
        flag, field = 0, struct.pack("<B", size)
    elif width == 2 or (width is None and 256 <= size < 65_792):
        flag, field = 1, struct.pack("<H", size - 256)
    elif width == 4 or (width is None and size < 1 << 32):
        flag, field = 2, struct.pack("<I", size)
    else:
        flag, field = 3, struct.pack("<Q", size)
    descriptor = flag << 6 | (window is None) << 5 | bits
    return MAGIC + bytes([descriptor]) + (b"" if window is None else bytes([window])) + dictionary + field + blocks


def stored(text, **head):
    """A frame of stored blocks that says the truth about its size, unless told otherwise."""
    text = text.encode() if isinstance(text, str) else text
    return handmade(raw(text), **{"size": len(text), **head})


def first(given=None):
    """The claims frame."""
    given = claims() if given is None else given
    return frame((given if isinstance(given, str) else compact(given)) + "\n")


# --- payloads ---------------------------------------------------------------------------------------------------------


def hkdf(secret):
    """HKDF-SHA256 (RFC 5869) for 32 bytes: one block of output."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, b"holdall1 seal" + b"\x01", hashlib.sha256).digest()


def padded_length(length):
    """At least one byte more, up to a multiple of 256, then up to the next Padmé length."""
    blocks = (length // 256 + 1) * 256
    exponent = blocks.bit_length() - 1
    cleared = exponent - exponent.bit_length()
    step = 1 << cleared
    return -(-blocks // step) * step


def pad(frames):
    return frames + b"\x80" + bytes(padded_length(len(frames)) - len(frames) - 1)


def seal(padded, kid="k1", secret=K1, head=None, key=None, nonce=None):
    """Nonce, ciphertext, tag. A real issuer draws the nonce; here it follows from the text, so that this file is
    deterministic."""
    head = header(kid, "holdall1s") if head is None else head
    nonce = hashlib.sha256(padded).digest()[:24] if nonce is None else nonce
    return nonce + xchacha20_poly1305(padded, b64u(head.encode()).encode(), nonce, key or hkdf(secret))


def clear(frames, kid="k1", secret=K1):
    return join(b"".join(frames), header(kid), secret)


def sealed(frames, kid="k1", secret=K1):
    return join(seal(pad(b"".join(frames)), kid, secret), header(kid, "holdall1s"), secret)
