#!/usr/bin/env python3
"""Writes cases.json: JWT credentials with the verdict that Holdall must reach, made by other people's code.

    pip install 'pyjwt==2.15.1' 'cryptography==48.0.0' && ./generate.py

Every key is public: the RSA keys are those of ../wycheproof, the others follow from the constants below. Never use one.
PS* and ES* signatures are randomised, so a second run changes those bytes, and no verdict.

A case is {"name", "keys", "token"} and either {"verdict": "accepted", "subject"} or {"verdict": "refused", "cause"},
where the operator's log line must contain `cause`: a case refused for another reason proves nothing.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import RSAAlgorithm, get_default_algorithms

HERE = pathlib.Path(__file__).parent
NOW = 1_795_241_520  # 2026-11-21T06:12:00Z
ISSUER = "https://issuer.example"
AUDIENCE = ["holdall", "holdall-staging"]
ALGORITHMS = get_default_algorithms()
LAST_SECOND = 253_402_300_799  # the end of the year 9999

SECRET_64 = bytes(range(64))
SECRET_32 = bytes(range(32))


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def wycheproof_rsa(comment):
    groups = json.loads((HERE / "../wycheproof/json_web_signature_test.json").read_text())["testGroups"]
    return RSAAlgorithm.from_jwk(next(g["private"] for g in groups if g["comment"] == comment and "p" in g["private"]))


RSA = wycheproof_rsa("rs256")
OTHER_RSA = wycheproof_rsa("rs384")
P256 = ec.derive_private_key(0x484F4C44414C4C, ec.SECP256R1())
P384 = ec.derive_private_key(0x484F4C44414C4C, ec.SECP384R1())
OTHER_P256 = [ec.derive_private_key(1000 + n, ec.SECP256R1()) for n in range(17)]
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET_32)


def jwk(key, alg, /, **members):
    """The public JWK of a key (the whole one of a secret), as PyJWT writes it."""
    public = key if isinstance(key, bytes) else key.public_key()
    made = json.loads(ALGORITHMS[alg].to_jwk(public))
    made.pop("key_ops", None)
    return {**made, **members}


def pem(key, fmt=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(serialization.Encoding.PEM, fmt).decode()


def jwks(*keys):
    return {"jwks": {"keys": list(keys)}}


KEYS = {
    "public": jwks(
        jwk(RSA, "RS256", kid="rsa-1", use="sig"),
        jwk(P256, "ES256", kid="p256-1", key_ops=["verify"]),
        jwk(P384, "ES384", kid="p384-1", alg="ES384"),
        jwk(ED25519, "EdDSA", kid="ed-1", alg="EdDSA"),
    ),
    "rs256-only": jwks(jwk(RSA, "RS256", kid="rsa-1", alg="RS256")),
    "ed25519-by-its-new-name": jwks(jwk(ED25519, "EdDSA", kid="ed-1", alg="Ed25519")),
    "secrets": jwks(jwk(SECRET_64, "HS256", kid="oct-1", alg="HS256"), jwk(SECRET_32, "HS256", kid="oct-2")),
    "without-kids": jwks(*(jwk(key, "ES256") for key in OTHER_P256)),
    "secret-64": {"secret_hex": SECRET_64.hex()},
    "secret-32": {"secret_hex": SECRET_32.hex()},
    "rsa-pem": {"pem": pem(RSA)},
    "rsa-pkcs1-pem": {"pem": pem(RSA, serialization.PublicFormat.PKCS1)},
    "p256-pem": {"pem": pem(P256)},
    "p384-pem": {"pem": pem(P384)},
    "ed25519-pem": {"pem": pem(ED25519)},
}

CLAIMS = {"iss": ISSUER, "aud": "holdall", "sub": "alice", "iat": NOW - 10, "exp": NOW + 600}
CASES = []


def but(*without, **changed):
    return {name: value for name, value in {**CLAIMS, **changed}.items() if name not in without}


def accepted(name, keys, token, subject="alice"):
    CASES.append({"name": name, "keys": keys, "token": token, "verdict": "accepted", "subject": subject})


def refused(name, cause, keys, token):
    CASES.append({"name": name, "keys": keys, "token": token, "verdict": "refused", "cause": cause})


def signed(alg, key, claims=CLAIMS, **headers):
    """As an honest issuer does it; a header member set to None is left out."""
    return jwt.PyJWS().encode(json.dumps(claims, separators=(",", ":")).encode(), key, alg, headers=headers or None)


def hostile(header, payload, alg="HS256", key=SECRET_64):
    """A right signature over any bytes at all."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    message = ".".join(b64u(part.encode()) for part in parts)
    return f"{message}.{b64u(ALGORITHMS[alg].sign(message.encode(), key))}"


def hs256(claims=CLAIMS, **headers):
    return signed("HS256", SECRET_64, claims, **headers)


def algorithms():
    for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        accepted(f"{alg} with a kid", "public", jwt.encode(CLAIMS, RSA, alg, headers={"kid": "rsa-1"}))
        accepted(f"{alg} without a kid", "public", jwt.encode(CLAIMS, RSA, alg))
        accepted(f"{alg} with a PEM key", "rsa-pem", jwt.encode(CLAIMS, RSA, alg))
    for alg, key, kid in (("ES256", P256, "p256-1"), ("ES384", P384, "p384-1"), ("EdDSA", ED25519, "ed-1")):
        accepted(f"{alg} with a kid", "public", jwt.encode(CLAIMS, key, alg, headers={"kid": kid}))
        accepted(f"{alg} without a kid", "public", jwt.encode(CLAIMS, key, alg))
    for alg in ("HS256", "HS384", "HS512"):
        accepted(f"{alg} with a fixed secret", "secret-64", jwt.encode(CLAIMS, SECRET_64, alg))
    accepted("RS256 with a PKCS#1 PEM key", "rsa-pkcs1-pem", jwt.encode(CLAIMS, RSA, "RS256"))
    accepted("ES256 with a PEM key", "p256-pem", jwt.encode(CLAIMS, P256, "ES256"))
    accepted("ES384 with a PEM key", "p384-pem", jwt.encode(CLAIMS, P384, "ES384"))
    accepted("EdDSA with a PEM key", "ed25519-pem", jwt.encode(CLAIMS, ED25519, "EdDSA"))
    accepted("HS256 with a set of secrets", "secrets", hs256(kid="oct-1"))
    accepted("HS256 with the second secret", "secrets", signed("HS256", SECRET_32, kid="oct-2"))
    accepted("Ed25519, as RFC 9864 calls EdDSA", "ed25519-by-its-new-name",
             hostile({"alg": "Ed25519", "kid": "ed-1"}, CLAIMS, "EdDSA", ED25519))
    accepted("EdDSA, where the key says Ed25519", "ed25519-by-its-new-name", jwt.encode(CLAIMS, ED25519, "EdDSA"))
    accepted("a kid beside a fixed key", "secret-64", hs256(kid="anything"))
    accepted("a kid that no key of a set without kids has", "without-kids", signed("ES256", OTHER_P256[0], kid="x"))
    accepted("the sixteenth key of a set without kids", "without-kids", signed("ES256", OTHER_P256[15]))


def keys_and_signatures():
    no_key, bad = "key: none", "signature: does not match"
    refused("the seventeenth key of a set without kids", bad, "without-kids", signed("ES256", OTHER_P256[16]))
    refused("an algorithm that the key does not name", no_key, "rs256-only", signed("PS256", RSA, kid="rsa-1"))
    refused("an algorithm that the secret is too short for", no_key, "secret-32", signed("HS384", SECRET_32))
    refused("a kid of another key", no_key, "public", signed("RS256", RSA, kid="p256-1"))
    refused("a kid that is not in the set", no_key, "public", signed("RS256", RSA, kid="rsa-2"))
    refused("a kid in another case", no_key, "public", signed("RS256", RSA, kid="RSA-1"))
    refused("another secret under a known kid", bad, "secrets", signed("HS256", SECRET_32, kid="oct-1"))
    refused("another RSA key", bad, "public", signed("RS256", OTHER_RSA, kid="rsa-1"))
    refused("another EC key", bad, "p256-pem", signed("ES256", OTHER_P256[0]))
    refused("another curve", no_key, "p384-pem", signed("ES256", P256))

    for case, key in (("the PEM text", KEYS["rsa-pem"]["pem"].encode()),
                      ("the PEM text without its newline", KEYS["rsa-pem"]["pem"].strip().encode()),
                      ("the modulus", RSA.public_key().public_numbers().n.to_bytes(256, "big"))):
        message = f"{b64u(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{b64u(json.dumps(CLAIMS).encode())}"
        tag = b64u(hmac.new(key, message.encode(), hashlib.sha256).digest())
        for keys in ("rsa-pem", "public"):
            refused(f"HS256 keyed with {case} of the public key, against {keys}", no_key, keys, f"{message}.{tag}")

    for alg in ("none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "ES512", "ES256K", "dir", "HS1"):
        refused(f"alg `{alg}`", "header: `alg`", "secret-64", hostile({"alg": alg}, CLAIMS))
    for alg in (None, 1, True, ["HS256"], {"HS256": 1}):
        refused(f"alg {json.dumps(alg)}", "header: `alg` is not a string", "secret-64", hostile({"alg": alg}, CLAIMS))
    refused("no alg", "header: `alg` is missing", "secret-64", hostile({"typ": "JWT"}, CLAIMS))
    refused("alg none and no signature", "header: `alg`", "secret-64", jwt.encode(CLAIMS, None, "none"))

    good = hs256()
    head, payload, tag = good.split(".")
    refused("no signature", bad, "secret-64", f"{head}.{payload}.")
    refused("a truncated signature", bad, "secret-64", good[:-22])
    refused("a doubled signature", bad, "secret-64", good + tag)
    refused("an HS512 tag under HS256", bad, "secret-64",
            f"{head}.{payload}.{b64u(hmac.new(SECRET_64, f'{head}.{payload}'.encode(), hashlib.sha512).digest())}")
    refused("a changed payload", bad, "secret-64", f"{head}.{b64u(json.dumps(but(sub='mallory')).encode())}.{tag}")
    refused("one part", "layout", "secret-64", head)
    refused("two parts", "layout", "secret-64", f"{head}.{payload}")
    refused("four parts", "layout", "secret-64", good + ".")
    refused("five parts", "layout", "secret-64", f"{head}.{tag}.{tag}.{payload}.{tag}")
    refused("only dots", "header", "secret-64", "..")
    refused("padding", bad, "secret-64", good + "=")
    refused("a padded header", "header: not canonical", "secret-64", f"{head}=.{payload}.{tag}")
    refused("trailing bits in the signature", bad, "secret-64", good[:-1] + chr(ord(good[-1]) + 1))
    refused("percent-encoding", bad, "secret-64", good[:-1] + "%41")
    text = json.dumps(CLAIMS)
    sloppy = base64.urlsafe_b64encode(text.ljust(len(text) // 3 * 3 + 4).encode()).decode()
    assert sloppy.endswith("==")
    refused("a padded payload, rightly signed", "payload: not canonical", "secret-64",
            f"{head}.{sloppy}.{b64u(hmac.new(SECRET_64, f'{head}.{sloppy}'.encode(), hashlib.sha256).digest())}")


def headers():
    base = {"alg": "HS256", "typ": "JWT"}
    accepted("no typ", "secret-64", hostile({"alg": "HS256"}, CLAIMS))
    for typ in ("jwt", "at+jwt", "AT+JWT"):
        accepted(f"typ `{typ}`", "secret-64", hostile({**base, "typ": typ}, CLAIMS))
    for typ in ("", "JWS", "JOSE", "dpop+jwt", "logout+jwt", "secevent+jwt", "JWT ", "holdall2"):
        refused(f"typ `{typ}`", "header: `typ`", "secret-64", hostile({**base, "typ": typ}, CLAIMS))
    refused("typ null", "header: `typ` is not a string", "secret-64", hostile({**base, "typ": None}, CLAIMS))
    refused("typ array", "header: `typ` is not a string", "secret-64", hostile({**base, "typ": ["JWT"]}, CLAIMS))
    for typ in ("holdall1", "holdall1s"):
        token = {"alg": "HS256", "kid": "k1", "typ": typ}
        refused(f"a conversation token of typ {typ}, under the same secret", "conversation token", "secret-64",
                hostile(token, CLAIMS))
        refused(f"a long conversation token of typ {typ}", "conversation token", "secret-64",
                hostile(token, but(pad="x" * 20_000)))

    ours = jwk(SECRET_64, "HS256")
    evil = jwk(OTHER_RSA, "RS256")
    for name, value in (("crit", ["exp"]), ("crit", []), ("b64", True), ("b64", False), ("zip", "DEF"), ("jwk", ours),
                        ("jku", "https://evil.example/jwks"), ("x5u", "https://evil.example/x5u"), ("x5c", ["MII"])):
        refused(f"header member {name} {json.dumps(value)[:20]}", f"header: `{name}` is not accepted", "secret-64",
                hostile({**base, name: value}, CLAIMS))
    refused("an embedded key that signed", "header: `jwk` is not accepted", "public",
            hostile({"alg": "RS256", "jwk": evil}, CLAIMS, "RS256", OTHER_RSA))
    refused("a header member with its name escaped", "header: `crit` is not accepted", "secret-64",
            hostile('{"alg":"HS256","\\u0063rit":["exp"]}', CLAIMS))
    accepted("unknown header members", "secret-64", hs256(x5t="abc", nonce="n", cty="json", ver=1, o={"a": [None]}))
    accepted("white space in the header", "secret-64", hostile(' {\n "alg" : "HS256" }\t', CLAIMS))

    broken = "header: not a JSON object of unique members"
    for name, text in (
        ("twice alg", '{"alg":"none","alg":"HS256"}'),
        ("twice alg, once escaped", '{"alg":"HS256","\\u0061lg":"HS256"}'),
        ("twice an unknown member", '{"alg":"HS256","x":1,"x":1}'), ("an array", '["HS256"]'), ("a string", '"HS256"'),
        ("null", "null"), ("empty", ""), ("a byte order mark", '\ufeff{"alg":"HS256"}'),
        ("a comment", '{"alg":"HS256"}//'),
        ("two objects", '{"alg":"HS256"}{"alg":"HS256"}'), ("a trailing comma", '{"alg":"HS256",}'),
        ("a raw control character", '{"alg":"HS256","x":"\n"}'),
    ):
        refused(f"header: {name}", broken, "secret-64", hostile(text, CLAIMS))
    refused("a lone surrogate in kid", "header: `kid` is not a string", "secret-64",
            hostile('{"alg":"HS256","kid":"\\ud800"}', CLAIMS))
    for kid in (None, 1, ["oct-1"], {"a": 1}):
        refused(f"kid {json.dumps(kid)}", "header: `kid` is not a string", "secrets",
                hostile({**base, "kid": kid}, CLAIMS))
    for kid in ("../../../dev/null", "oct-1' OR '1'='1", "oct-1\x00", "oct-1\r\n", "", "o\u0441t-1", "oct-1" * 400):
        refused(f"kid {json.dumps(kid)[:30]}", "key: none", "secrets", hs256(kid=kid))
    refused("a long header", "header: 5", "secret-64", hs256(pad="x" * 4000))


def named(text):
    return json.dumps(text) if len(text) < 32 else f"{json.dumps(text)[:12]}… of {len(text.encode())} bytes"


def claims():
    for claim in ("iss", "aud", "sub", "exp"):
        refused(f"no {claim}", f"claims: `{claim}` is missing", "secret-64", hs256(but(claim)))
        refused(f"{claim} null", f"claims: `{claim}` is not", "secret-64", hs256(but(**{claim: None})))
    accepted("no iat", "secret-64", hs256(but("iat")))
    accepted("unknown claims", "secret-64", hs256(but(jti="1", scope="a b", nested={"a": [1, 2.5, None]})))

    for iss in ("https://issuer.example/", "https://ISSUER.example", "", "https://issuer.example\x00",
                " https://issuer.example"):
        refused(f"iss {json.dumps(iss)}", "iss: not", "secret-64", hs256(but(iss=iss)))
    for iss in (1, [ISSUER], {ISSUER: 1}, True):
        refused(f"iss {json.dumps(iss)}", "claims: `iss` is not a string", "secret-64", hs256(but(iss=iss)))

    for aud in (["holdall"], ["other", "holdall-staging"], "holdall-staging", ["holdall"] * 100):
        accepted(f"aud {json.dumps(aud)[:40]}", "secret-64", hs256(but(aud=aud)))
    for aud in ("other", "holdal", "holdall ", "Holdall", "", [], ["other"], ["holdall,other"], "holdall holdall"):
        refused(f"aud {json.dumps(aud)}", "aud: none", "secret-64", hs256(but(aud=aud)))
    for aud in (1, ["holdall", 1], [["holdall"]], {"holdall": 1}, [None]):
        refused(f"aud {json.dumps(aud)}", "claims: `aud` is not", "secret-64", hs256(but(aud=aud)))

    for sub in ("a", "x" * 256, "\u00e9" * 128, "a b", " alice", "alice ", "Al\u0131ce",
                "user@example.com", "auth0|5f", "\U0001f600"):
        accepted(f"sub {named(sub)}", "secret-64", hs256(but(sub=sub)), sub)
    for sub in ("", "x" * 257, "\u00e9" * 129, "alice\x00", "al\nice", "al\x1bice", "alice\x7f", "alice\x85"):
        refused(f"sub {named(sub)}", "sub: subject", "secret-64", hs256(but(sub=sub)))
    for sub in (0, 42, 1.5, True, ["alice"], {"alice": 1}):
        refused(f"sub {json.dumps(sub)}", "claims: `sub` is not a string", "secret-64", hs256(but(sub=sub)))
    refused("sub with a lone surrogate", "claims: `sub` is not a string", "secret-64",
            hostile({"alg": "HS256"}, json.dumps(CLAIMS).replace('"alice"', '"\\ud800"')))

    accepted("exp at the edge of the leeway", "secret-64", hs256(but(exp=NOW - 59)))
    accepted("exp in the last second there is", "secret-64", hs256(but(exp=LAST_SECOND)))
    for exp in (NOW - 60, NOW - 61, NOW - 3600, 1, 0):
        refused(f"exp {exp - NOW:+} s", "exp: expired", "secret-64", hs256(but("iat", exp=exp)))
    for name in ("nbf", "iat"):
        for late in (0, 59, 60):
            accepted(f"{name} {late} s ahead", "secret-64", hs256(but(**{name: NOW + late})))
        for late in (61, 3600):
            refused(f"{name} {late} s ahead", f"{name}: in the future", "secret-64", hs256(but(**{name: NOW + late})))
        refused(f"{name} null", f"claims: `{name}` is not", "secret-64", hs256(but(**{name: None})))
    for name in ("exp", "nbf", "iat"):
        for text in (f"{NOW}.0", f"{NOW}.5", "1.795e9", "1e400", "-1", "-0", str(LAST_SECOND + 1), str(NOW * 1000),
                     str(2**53 + 1), str(2**63), str(2**64), "9" * 400, f'"{NOW}"', "true", "[]", "{}"):
            token = hostile({"alg": "HS256"}, json.dumps(but(**{name: "@"})).replace('"@"', text))
            refused(f"{name} {text[:24]}", f"claims: `{name}` is not", "secret-64", token)

    broken = "claims: not a JSON object of unique members"
    text = json.dumps(CLAIMS)
    for name in ("iss", "aud", "sub", "exp", "nbf", "x"):
        value = json.dumps(CLAIMS.get(name, NOW))
        twice = f'{text[:-1]},"{name}":{value},"{name}":{value}}}'
        refused(f"twice {name}", broken, "secret-64", hostile({"alg": "HS256"}, twice))
    refused("twice sub, once escaped", broken, "secret-64",
            hostile({"alg": "HS256"}, text[:-1] + ',"\\u0073ub":"mallory"}'))
    for name, payload in (("empty", ""), ("null", "null"), ("an array", f"[{text}]"), ("a string", '"alice"'),
                          ("not JSON", "foo"), ("trailing text", text + "x"), ("a byte order mark", "\ufeff" + text),
                          ("NaN", text[:-1] + ',"x":NaN}')):
        refused(f"claims: {name}", broken, "secret-64", hostile({"alg": "HS256"}, payload))
    deep = "[" * 2000 + "]" * 2000
    accepted("an unknown claim 2000 deep", "secret-64", hostile({"alg": "HS256"}, text[:-1] + f',"x":{deep}}}'))
    refused("aud 2000 deep", "claims: `aud` is not", "secret-64",
            hostile({"alg": "HS256"}, text.replace('"holdall"', deep)))
    head = b64u(b'{"alg":"HS256"}')
    latin = b64u(json.dumps(CLAIMS).encode().replace(b"alice", b"al\xefce"))
    refused("invalid UTF-8", broken, "secret-64",
            f"{head}.{latin}.{b64u(hmac.new(SECRET_64, f'{head}.{latin}'.encode(), hashlib.sha256).digest())}")


def sizes():
    def of(length):
        sizes = ((pad, kid) for pad in range(length * 3 // 4 - 400, length) for kid in range(4))
        made = (hs256(but(pad="x" * pad), kid="k" * kid) for pad, kid in sizes)
        return next(token for token in made if len(token) == length)

    accepted("as long as the limit", "secret-64", of(16_384))
    refused("one byte over the limit", "credential is 16385 bytes, limit 16384", "secret-64", of(16_385))
    refused("far over the limit", "limit 16384", "secret-64", of(24_000))


for chapter in (algorithms, keys_and_signatures, headers, claims, sizes):
    chapter()
names = [case["name"] for case in CASES]
assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
document = {"now": NOW, "issuer": ISSUER, "audience": AUDIENCE, "keys": KEYS, "cases": CASES}
(HERE / "cases.json").write_text(json.dumps(document, indent=1) + "\n")
print(f"{len(CASES)} cases")
