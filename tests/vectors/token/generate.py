#!/usr/bin/env python3
"""Writes one file a case beside this script: accepted and refused tokens, with the expected verdict in the header.

    pip install -r requirements.txt
    python3 generate.py            # writes the files, and takes away those that are no longer made
    python3 generate.py --check    # exits 1 if a committed file differs from what would be written

README.md says how a file reads. The output is the same on every run.
"""

import gzip
import hashlib
import pathlib
import sys

from writer import *  # the writer is the vocabulary of this file

HERE = pathlib.Path(__file__).parent
KEYS = f"k1:{b64u(K1)},k0:{b64u(K0)}"
CASES = {}


def case(name, comment, token, verdict="token_invalid", check=None, given=None, history=None, **settings):
    """One case. `check` is where a refused token fails; `given` and `history` are what an accepted one says."""
    header_lines = {"verdict": verdict}
    if verdict == "token_invalid":
        header_lines["check"] = check
    header_lines |= {
        "comment": comment,
        "keys": settings.pop("keys", KEYS),
        "issuer": json.dumps(settings.pop("issuer", "holdall")),
        "now": settings.pop("now", NOW),
        "ttl": settings.pop("ttl", TTL),
        "max_age": settings.pop("max_age", MAX_AGE),
        "purpose": settings.pop("purpose", "continue"),
    }
    if settings.pop("bearer", False):
        header_lines["caller"] = "bearer"
    else:
        header_lines["sub"] = json.dumps(settings.pop("sub", "alice"))
        header_lines["idp"] = json.dumps(settings.pop("idp", "none"))
    for limit in ("token_bytes", "history_bytes", "history_items"):
        if limit in settings:
            header_lines[limit] = settings.pop(limit)
    if verdict == "accepted":
        text = lines(TURN if history is None else history)
        header_lines |= {
            "kind": "sealed" if "holdall1s" in decoded_header(token) else "clear",
            "claims": json.dumps(claims() if given is None else given, separators=(",", ":")),
            "items": text.count(b"\n"),
            "frames": settings.pop("frames", 2),
            "history_sha256": hashlib.sha256(text).hexdigest(),
        }
    assert not settings, settings
    assert name not in CASES, name
    assert (verdict == "token_invalid") == (check is not None), name
    head = "".join(f"{key}: {value}\n" for key, value in header_lines.items())
    CASES[name] = head + "\n" + token + "\n"


def decoded_header(token):
    segment = token.split(".")[0]
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()


def good(name, comment, history=None, given=None, frames=None, both=False, **settings):
    """An accepted token with usual frames unless some are given; `both`: once clear, once sealed."""
    payload = [first(given), frame(lines(TURN if history is None else history))] if frames is None else frames
    kinds = {"-clear": clear, "-sealed": sealed} if both else {"": clear}
    for suffix, write in kinds.items():
        case(
            f"accepted-{name}{suffix}",
            comment,
            write(payload),
            "accepted",
            history=history,
            given=given,
            frames=len(payload),
            **settings,
        )


def bad(name, comment, check, frames=None, given=None, history=None, **settings):
    """A refused clear token whose tag is right: it fails for what it holds."""
    if frames is None:
        frames = [first(given), frame(lines(TURN if history is None else history))]
    case(name, comment, clear(frames), check=check, **settings)


H1 = frame(lines(TURN))
PLAIN = clear([first(), H1])
SEALED = sealed([first(), H1])


def accepted():
    good("first-turn", "the first turn of a conversation", both=True)
    good("continued", "a later turn: `par` names the token before", given=claims(par=PAR, turn=2), both=True)
    good("asserted", "a client brought items of the model without proof", given=claims(asserted=True), both=True)
    stored_frames = [stored(compact(claims()) + "\n"), stored(lines(TURN[:1]))]
    good("worked-example", "stored blocks, legible in a dump: the example of docs/token.md", TURN[:1], frames=stored_frames,
         both=True)
    kinds = [
        msg("hello"),
        msg("", "assistant"),
        compact({"t": "msg", "role": "user", "parts": [{"text": ""}, {"image": "https://e.test/a.png"}]}),
        compact({"t": "msg", "role": "user", "parts": [{"image": "data:image/png;base64,iVBORw0KGgo="}]}),
        compact({"t": "think", "by": "anthropic", "blob": '{"type":"thinking","signature":"c2ln"}'}),
        compact({"t": "call", "id": "c1", "name": "add", "args": '{"a": 1,\n "b":2.50e1}'}),
        compact({"t": "call", "id": "c2", "name": "now", "args": "not json"}),
        compact({"t": "result", "id": "c1", "out": "3"}),
        compact({"t": "result", "id": "c2", "out": [{"text": "late"}, {"image": "https://e.test/b.png"}], "error": True}),
        compact({"t": "result", "id": "c2", "out": ""}),
        msg("so f", "assistant", cut=True),
    ]
    good("every-item-kind", "all kinds of item, all optional members", kinds, both=True)
    good("members-any-order", "claims and items with their members in reverse order",
         [compact(dict(reversed(json.loads(item).items()))) for item in kinds],
         frames=[first(dict(reversed(claims().items()))),
                 frame(lines([compact(dict(reversed(json.loads(item).items()))) for item in kinds]))])
    spaced = '{ "parts" :\t[ { "text" : "a" } ] , "role" : "user" , "t" : "msg" } '
    good("white-space", "spaces and tabs where JSON allows them", [" " + spaced],
         frames=[first(json.dumps(claims(), indent=None) + "\t "), frame(lines([" " + spaced]))])
    escaped = r'{"\u0074":"ms\u0067","role":"\u0075ser","parts":[{"text":"\/\ud83d\ude00"}]}'
    good("escapes", "escaped member names and values, a surrogate pair, an escaped solidus", [escaped],
         frames=[first(compact(claims()).replace('"sub":"alice"', r'"s\u0075b":"\u0061lice"')), frame(lines([escaped]))])
    text = "é e\u0301 \u202e \u2028 \ufeff \u7f16\u7801 \U0001f600 \x7f \x00 \r\n"
    good("unicode", "text beyond ASCII; NUL, CR, LF and BOM inside a string", [msg(text)], both=True)
    good("unicode-subject", "a subject beyond ASCII, byte for byte", given=claims(sub="álïce 编\U0001f600"),
         sub="álïce 编\U0001f600")

    good("frames-geometric", "four history frames, each more than twice what follows", frames=[
        first(), *[frame(lines([msg("x" * size)])) for size in (9000, 2500, 600, 100)]],
        history=[msg("x" * size) for size in (9000, 2500, 600, 100)], both=True)
    good("frames-not-merged", "frames of one size: readers check the count alone",
         frames=[first(), *[frame(lines(TURN))] * 5], history=TURN * 5)
    good("frames-64", "the most frames: the claims and 63", frames=[first(), *[frame(lines(TURN[:1]))] * 63],
         history=TURN[:1] * 63, both=True)
    good("frame-checksum", "frames with a content checksum, allowed though never written",
         frames=[frame(compact(claims()) + "\n", checksum=True), frame(lines(TURN), checksum=True)])
    for width in (1, 2, 4, 8):
        text = lines([msg("x" * (20 if width == 1 else 300))])
        good(f"frame-content-size-{width}", f"a content size of {width} bytes",
             frames=[first(), stored(text, width=width)], history=[msg("x" * (20 if width == 1 else 300))])
    good("frame-window-8-mib", "not a single segment, window of exactly 8 MiB",
         frames=[first(), stored(lines(TURN), window=13 << 3, width=4)])
    good("frame-window-1-kib", "not a single segment, the smallest window",
         frames=[first(), stored(lines(TURN), window=0, width=4)])
    good("frame-levels", "compressed at levels 1 and 19",
         frames=[frame(compact(claims()) + "\n", level=19), frame(lines(TURN), level=1)])
    text = lines(TURN)
    many = block(0, 5, text[:5]) + block(0, 0, b"") + block(0, len(text) - 5, text[5:]) + block(0, 0, b"", last=True)
    good("frame-blocks", "several blocks in a frame, empty ones among them",
         frames=[first(), handmade(many, len(text))])
    huge = [msg("a" * (1000 - len(msg("")) - 1))]
    good("history-at-limit", "a history of exactly the limit", huge, history_bytes=1000)
    start, end = msg("").split('""')
    size = (4 << 20) - len(msg("")) - 1
    blocks = block(0, len(start) + 1, start.encode() + b'"') + fill(b"a", size) + \
        block(0, len(end) + 2, b'"' + end.encode() + b"\n", last=True)
    good("history-4-mib", "a whole history of one letter: 4 MiB in a token under 1 KiB", [msg("a" * size)],
         frames=[first(), handmade(blocks, 4 << 20)])
    good("items-at-limit", "as many items as allowed", TURN * 2, history_items=4)
    good("token-at-limit", "token text of exactly the limit", token_bytes=len(PLAIN))
    room = 4096 - len(compact(claims(model=""))) - 1
    good("claims-4096-bytes", "a claims line of exactly 4 KiB, line end included", given=claims(model="m" * room))

    for size, secret in ((32, K1), (64, K0)):
        case(f"accepted-key-{size}-bytes", f"a secret of {size} bytes", clear([first(), H1], "k9", secret), "accepted",
             keys=f"k9:{b64u(secret)}")
    for write in (clear, sealed):
        case(f"accepted-retired-key-{write.__name__}", "signed by a key that is not the first", 
             write([first(), H1], "k0", K0), "accepted")
    for kid in ("k", "Az09_-Az09_-Az09_-Az09_-Az09_-Az"):
        case(f"accepted-kid-{len(kid)}", f"a key id of {len(kid)} characters", clear([first(), H1], kid), "accepted",
             keys=f"{kid}:{b64u(K1)}")

    top = 253_402_300_799
    good("numbers-largest", "every count at its largest",
         given=claims(turn=top, use={"in": top, "out": top, "cached": top, "ms": top}))
    good("numbers-smallest", "every count at its smallest",
         given=claims(turn=1, use={"in": 0, "out": 0, "cached": 0, "ms": 0}))
    good("subject-256-bytes", "the longest subject", given=claims(sub="é" * 128), sub="é" * 128)
    good("idp-512-bytes", "the longest identity source", given=claims(idp="jwt:" + "i" * 508), idp="jwt:" + "i" * 508)
    good("idp-jwt", "a user vouched for by an issuer of JWTs", given=claims(idp="jwt:https://id.test/"),
         idp="jwt:https://id.test/")
    good("issuer-unicode", "a deployment's name is compared byte for byte", given=claims(iss="Chat é"), issuer="Chat é")
    anon = "anon-00112233445566778899aabbccddeeff"
    good("bearer", "an anonymous user's token speaks for its bearer", given=claims(sub=anon), bearer=True, both=True)
    good("anonymous-named", "the anonymous user, known by other means", given=claims(sub=anon), sub=anon)


def times():
    for name, comment, given, settings in [
        ("last-second", "59 s past expiry, within the leeway", {}, {"now": NOW + TTL + 59}),
        ("iat-ahead", "issued 60 s ahead of our clock", {"born": NOW + 60, "iat": NOW + 60, "exp": NOW + 61}, {}),
        ("all-equal", "born, issued and expiring in one second", {"exp": NOW}, {"now": NOW + 59}),
        ("exp-far", "an expiry beyond ours is cut to iat + ttl", {"exp": 253_402_300_799}, {"now": NOW + TTL + 59}),
        ("exp-own", "an expiry before ours stands", {"exp": NOW + 10}, {"now": NOW + 69}),
        ("max-age", "iat + ttl lies beyond born + max_age", {"born": NOW - MAX_AGE + 100}, {"now": NOW + 159}),
        ("ttl-longer", "a longer ttl now does not revive", {}, {"ttl": 2 * TTL, "now": NOW + TTL + 59}),
        ("zero", "the least times there are, under short terms", {"born": 0, "iat": 0, "exp": 100},
         {"now": 159, "ttl": 1000, "max_age": 1000}),
        ("read-expired", "reading is good until born + max_age", {}, {"now": NOW + MAX_AGE + 59, "purpose": "read"}),
    ]:
        good("times-" + name, comment, given=claims(**given), **settings)
    for name, comment, given, settings in [
        ("last-second", "60 s past expiry", {}, {"now": NOW + TTL + 60}),
        ("exp-far", "an expiry beyond ours is cut to iat + ttl", {"exp": 253_402_300_799}, {"now": NOW + TTL + 60}),
        ("exp-own", "an expiry before ours stands", {"exp": NOW + 10}, {"now": NOW + 70}),
        ("ttl-shortened", "a shorter ttl takes effect at once", {}, {"ttl": 100, "now": NOW + 160}),
        ("max-age-shortened", "a shorter max_age takes effect at once", {"born": NOW - 1000}, {"max_age": 500}),
        ("max-age", "born + max_age is past", {"born": NOW - MAX_AGE + 100}, {"now": NOW + 160}),
        ("long-ago", "times at zero", {"born": 0, "iat": 0, "exp": 0}, {}),
        ("read", "reading ends at born + max_age", {}, {"now": NOW + MAX_AGE + 60, "purpose": "read"}),
    ]:
        case("expired-" + name, comment, clear([first(claims(**given)), H1]), "token_expired", **settings)
    case("expired-sealed", "the same for a sealed token", SEALED, "token_expired", now=NOW + TTL + 60)
    for name, comment, damaged in damaged_histories():
        case("expired-before-" + name, f"the times are checked before {comment}",
             clear([first(), damaged]), "token_expired", now=NOW + TTL + 60)
    for name, comment, given in [
        ("born-after-iat", "born after it was issued", {"born": NOW + 1}),
        ("iat-after-exp", "issued after it expires", {"exp": NOW - 1}),
        ("iat-ahead", "issued 61 s ahead of our clock", {"born": NOW, "iat": NOW + 61}),
        ("iat-far-ahead", "issued in the year 9999", {"iat": 253_402_300_799, "exp": 253_402_300_799}),
    ]:
        bad("times-" + name, comment, "times", given=claims(**given))
    for name, comment, damaged in damaged_histories():
        case("times-before-" + name, f"the times are checked before {comment}",
             clear([first(claims(exp=NOW - 1)), damaged]), check="times")
    bad("times-read-ahead", "reading an expired token still needs times in order", "times",
        given=claims(exp=NOW - 1), purpose="read")


def damaged_histories():
    """Histories with a fault that is found last: after claims, issuer, caller and times."""
    with_checksum = frame(lines(TURN), checksum=True)
    return [
        ("frame-content", "the content of the history's frames", with_checksum[:-1] + bytes([with_checksum[-1] ^ 1])),
        ("lines", "the lines of the history", frame(b"\r" + lines(TURN))),
        ("items", "the items", frame("{}\n")),
    ]


def callers():
    anon = "anon-00112233445566778899aabbccddeeff"
    for name, comment, given, settings in [
        ("other", "another user's token", {}, {"sub": "bob"}),
        ("case", "another case", {"sub": "Alice"}, {}),
        ("trailing-space", "a trailing space", {"sub": "alice "}, {}),
        ("prefix", "a prefix of the caller's name", {"sub": "alic"}, {}),
        ("longer", "the caller's name is a prefix", {"sub": "alice2"}, {}),
        ("combining", "a combining mark for a composed letter", {"sub": "ali\u0301ce"}, {"sub": "al\u00edce"}),
        ("full-width", "full-width letters", {"sub": "\uff41lice"}, {}),
        ("homoglyph", "a Cyrillic letter", {"sub": "\u0430lice"}, {}),
        ("zero-width", "a zero-width joiner", {"sub": "alice\u200d"}, {}),
        ("idp", "one name of two identity sources", {"idp": "header"}, {}),
        ("idp-jwt", "one name of two issuers", {"idp": "jwt:https://a.test"}, {"idp": "jwt:https://b.test"}),
        ("idp-swapped", "subject and source change places", {"sub": "none", "idp": "alice"}, {}),
        ("bearer-named", "a named user's token does not speak for its bearer", {}, {"bearer": True}),
        ("bearer-vouched", "nor one of somebody vouched for", {"sub": anon, "idp": "key"}, {"bearer": True}),
        ("anonymous", "a named caller with an anonymous token", {"sub": anon}, {}),
        ("expired", "another user does not learn of the expiry", {}, {"sub": "bob", "now": NOW + TTL + 60}),
        ("read", "nor reads", {}, {"sub": "bob", "purpose": "read"}),
    ]:
        bad("caller-" + name, comment, "subject", given=claims(**given), **settings)
    for name, issuer in [("other", "holdall2"), ("case", "Holdall"), ("empty", ""), ("trailing", "holdall ")]:
        bad("issuer-" + name, "another deployment's token", "issuer", given=claims(iss=issuer))
    for name, comment, damaged in damaged_histories():
        frames = [first(), damaged]
        case("caller-before-" + name, f"the caller is checked before {comment}", clear(frames), check="subject", sub="bob")
        case("issuer-before-" + name, f"the deployment is checked before {comment}", clear(frames), check="issuer",
             issuer="x")
    bad("caller-before-item-count", "the caller is checked before the number of items", "subject", sub="bob",
        history_items=1)
    bad("caller-after-frame-heads", "the heads of all frames are checked before the caller", "frames", sub="bob",
        frames=[first(), H1[:-1]])
    bad("caller-after-frame-sizes", "the sizes of all frames are checked before the caller", "frames", sub="bob",
        history_bytes=len(lines(TURN)) - 1)
    bad("issuer-before-caller", "the deployment is checked before the caller", "issuer", given=claims(iss="x"), sub="bob")


def headers():
    """The tag is right for what stands there; the header is not one that we would write."""
    payload = first() + H1
    sha512 = hashlib.sha512
    for name, comment, head in [
        ("alg-case", "alg in lower case", '{"alg":"hs256","kid":"k1","typ":"holdall1"}'),
        ("alg-null", "alg null", '{"alg":null,"kid":"k1","typ":"holdall1"}'),
        ("alg-array", "alg a list", '{"alg":["HS256"],"kid":"k1","typ":"holdall1"}'),
        ("alg-rs256", "alg RS256", '{"alg":"RS256","kid":"k1","typ":"holdall1"}'),
        ("alg-missing", "no alg", '{"kid":"k1","typ":"holdall1"}'),
        ("alg-twice", "alg stands twice", '{"alg":"HS256","alg":"HS256","kid":"k1","typ":"holdall1"}'),
        ("alg-none-then-hs256", "alg none, then HS256", '{"alg":"none","alg":"HS256","kid":"k1","typ":"holdall1"}'),
        ("escaped-name", "an escape in a member's name", r'{"\u0061lg":"HS256","kid":"k1","typ":"holdall1"}'),
        ("escaped-value", "an escape in a value", r'{"alg":"HS256","kid":"\u006b1","typ":"holdall1"}'),
        ("order", "another order", '{"typ":"holdall1","alg":"HS256","kid":"k1"}'),
        ("space", "a space", '{"alg":"HS256", "kid":"k1","typ":"holdall1"}'),
        ("line-end", "a line end after it", header() + "\n"),
        ("empty-object", "no member", "{}"),
        ("empty", "nothing", ""),
        ("array", "a list", '["HS256","k1","holdall1"]'),
        ("bom", "a byte order mark", "\ufeff" + header()),
        ("utf-16", "UTF-16", header().encode("utf-16-le")),
        ("trailing-nul", "a NUL after it", header() + "\0"),
        ("doubled", "twice in a row", header() * 2),
        ("crit", "crit", '{"alg":"HS256","crit":["exp"],"kid":"k1","typ":"holdall1"}'),
        ("crit-empty", "crit, empty", '{"alg":"HS256","crit":[],"kid":"k1","typ":"holdall1"}'),
        ("b64-false", "an unencoded payload", '{"alg":"HS256","b64":false,"crit":["b64"],"kid":"k1","typ":"holdall1"}'),
        ("jwk", "a key inside", '{"alg":"HS256","jwk":{"kty":"oct","k":"AA"},"kid":"k1","typ":"holdall1"}'),
        ("jku", "a key's address", '{"alg":"HS256","jku":"https://e.test/k","kid":"k1","typ":"holdall1"}'),
        ("x5u", "a certificate's address", '{"alg":"HS256","kid":"k1","typ":"holdall1","x5u":"https://e.test/c"}'),
        ("zip", "compression", '{"alg":"HS256","kid":"k1","typ":"holdall1","zip":"DEF"}'),
        ("cty", "a content type", '{"alg":"HS256","cty":"JWT","kid":"k1","typ":"holdall1"}'),
        ("unknown", "an unknown member", '{"alg":"HS256","kid":"k1","typ":"holdall1","x":1}'),
        ("typ-missing", "no typ", '{"alg":"HS256","kid":"k1"}'),
        ("typ-jwt", "typ of a credential", '{"alg":"HS256","kid":"k1","typ":"JWT"}'),
        ("typ-case", "typ in capitals", '{"alg":"HS256","kid":"k1","typ":"HOLDALL1"}'),
        ("typ-next", "typ of a later version", '{"alg":"HS256","kid":"k1","typ":"holdall2"}'),
        ("typ-null", "typ null", '{"alg":"HS256","kid":"k1","typ":null}'),
        ("typ-media", "typ as a media type", '{"alg":"HS256","kid":"k1","typ":"application/holdall1"}'),
        ("kid-missing", "no kid", '{"alg":"HS256","typ":"holdall1"}'),
        ("kid-null", "kid null", '{"alg":"HS256","kid":null,"typ":"holdall1"}'),
        ("kid-number", "kid a number", '{"alg":"HS256","kid":1,"typ":"holdall1"}'),
        ("kid-array", "kid a list", '{"alg":"HS256","kid":["k1"],"typ":"holdall1"}'),
        ("kid-empty", "kid empty", header("")),
        ("kid-unknown", "kid of no key", header("k2")),
        ("kid-case", "kid in capitals", header("K1")),
        ("kid-space", "kid with a space", header("k1 ")),
        ("kid-path", "kid a path", header("../../../dev/null")),
        ("kid-sql", "kid SQL", header("k1' OR '1'='1")),
        ("kid-crlf", "kid with a header line", header(r"k1\r\nx-a: b")),
        ("kid-crlf-raw", "kid with a raw line end", header("k1\r\n")),
        ("kid-nul", "kid with a NUL", header("k1\0")),
        ("kid-long", "kid of 2,000 characters", header("k" * 2000)),
        ("kid-homoglyph", "kid with a Cyrillic letter", header("\u043a1")),
        ("kid-quote", "kid that closes its string", header('k1","x":"')),
    ]:
        case("header-" + name, comment, join(payload, head), check="header")
    case("header-alg-none", "alg none and no tag", join(payload, '{"alg":"none"}').rsplit(".", 1)[0] + ".", check="header")
    case("header-alg-none-kid", "alg none, the rest as ours, no tag",
         join(payload, header().replace("HS256", "none")).rsplit(".", 1)[0] + ".", check="header")
    case("header-alg-hs512", "HS512, with its tag",
         join(payload, header().replace("HS256", "HS512"), digest=sha512), check="header")
    segment = b64u(header().encode())
    case("header-trailing-bits", "the header's base64url with trailing bits set",
         join(payload, [segment[:-1] + chr(ord(segment[-1]) + 1)]), check="header")
    case("header-missing", "nothing before the first dot", join(payload, [""]), check="header")
    case("header-resp-prefix", "the prefix of the Responses door is not part of the token", "resp_" + PLAIN, check="header")
    case("header-retired", "signed by a key that was taken out of the ring", clear([first(), H1], "k0", K0),
         check="header", keys=f"k1:{b64u(K1)}")
    case("header-credential", "a JWT of the same user under the same secret",
         join(compact({"sub": "alice", "exp": NOW + TTL}).encode(), '{"alg":"HS256","typ":"JWT"}'), check="header")


def tags():
    payload = first() + H1
    for name, comment, secret in [
        ("key-other", "another secret", bytes(32)),
        ("key-empty", "an empty secret", b""),
        ("key-sample", "a secret out of a manual", b"your-256-bit-secret"),
        ("key-base64", "the secret's base64url text as the secret", b64u(K1).encode()),
        ("key-hex", "the secret's hexadecimal text as the secret", K1.hex().encode()),
        ("key-of-other-kid", "the secret of the ring's other key", K0),
        ("key-seal", "the sealing key", hkdf(K1)),
        ("key-cut", "the secret without its last byte", K1[:-1]),
    ]:
        case("tag-" + name, comment, join(payload, secret=secret), check="tag")
    signed, right = PLAIN.rsplit(".", 1)
    code = tag(K1, signed)
    for name, comment, other in [
        ("missing", "no tag", b""),
        ("first-bit", "the first bit flipped", bytes([code[0] ^ 0x80]) + code[1:]),
        ("last-bit", "the last bit flipped", code[:-1] + bytes([code[-1] ^ 1])),
        ("zeros", "all zeros", bytes(32)),
        ("truncated-16", "the first half", code[:16]),
        ("truncated-31", "one byte short", code[:31]),
        ("extended", "one byte more", code + b"\0"),
        ("doubled", "twice in a row", code * 2),
        ("sha512", "HMAC-SHA512", tag(K1, signed, hashlib.sha512)),
        ("sha512-256", "HMAC-SHA512, cut to 32 bytes", tag(K1, signed, hashlib.sha512)[:32]),
        ("sha1", "HMAC-SHA1", tag(K1, signed, hashlib.sha1)),
        ("hash", "no key: SHA-256 of secret and text", hashlib.sha256(K1 + signed.encode()).digest()),
        ("payload-only", "over the payload alone", tag(K1, signed.split(".")[1])),
        ("decoded", "over the decoded payload", hmac.new(K1, payload, hashlib.sha256).digest()),
        ("of-other-token", "another token's", tag(K1, SEALED.rsplit(".", 1)[0])),
        ("reversed", "its bytes in reverse", code[::-1]),
    ]:
        case("tag-" + name, comment, signed + "." + b64u(other), check="tag")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    case("tag-trailing-bits", "the right bytes, written with trailing bits set",
         PLAIN[:-1] + last[last.index(PLAIN[-1]) + 1], check="tag")
    case("tag-length-1", "a tag of one character more, which no bytes have", PLAIN + "A" * 2, check="tag")
    case("tag-kind-swapped", "the header of a sealed token before a clear payload, tag kept",
         b64u(header(typ="holdall1s").encode()) + PLAIN[PLAIN.index("."):], check="tag")
    case("tag-kid-swapped", "another key's header, tag kept",
         b64u(header("k0").encode()) + PLAIN[PLAIN.index("."):], check="tag")
    head, body, end = PLAIN.split(".")
    for name, comment, text in [
        ("first", "its first character changed", "A" + body[1:]),
        ("cut", "its last four characters missing", body[:-4]),
        ("extended", "four characters more", body + "AAAA"),
        ("doubled", "twice in a row", body * 2),
        ("empty", "missing", ""),
        ("of-other-token", "another token's", SEALED.split(".")[1]),
    ]:
        case("tag-payload-" + name, "the payload: " + comment, f"{head}.{text}.{end}", check="tag")


def texts():
    head, body, end = PLAIN.split(".")
    for name, comment, text, check in [
        ("padding", "base64 padding", PLAIN + "=", "charset"),
        ("padding-payload", "base64 padding in the payload", join(body + "=="), "charset"),
        ("padding-header", "base64 padding in the header", join(body, [b64u(header().encode()) + "="]), "charset"),
        ("plus", "the alphabet of plain base64", join(body[:-4] + "+/+/"), "charset"),
        ("space-before", "a space before it", " " + PLAIN, "charset"),
        ("space-after", "a space after it", PLAIN + " ", "charset"),
        ("line-end", "a line end after it", PLAIN + "\n", "charset"),
        ("folded", "folded", PLAIN[:76] + "\n" + PLAIN[76:], "charset"),
        ("percent", "a percent-encoded dot", head + "%2E" + body + "." + end, "charset"),
        ("nul", "a NUL after it", PLAIN + "\0", "charset"),
        ("not-ascii", "a full-width dot", head + "\uff0e" + body + "." + end, "charset"),
        ("letter-not-ascii", "a Cyrillic letter", PLAIN.replace("e", "\u0435", 1), "charset"),
        ("bearer", "with the word Bearer", "Bearer " + PLAIN, "charset"),
        ("quoted", "in quotation marks", f'"{PLAIN}"', "charset"),
        ("json", "a JWS in JSON", compact({"protected": head, "payload": body, "signature": end}), "charset"),
        ("empty", "nothing at all", "", "layout"),
        ("no-dot", "no dot", head + body + end, "layout"),
        ("one-dot", "one dot", head + "." + body, "layout"),
        ("three-dots", "three dots", PLAIN + ".", "layout"),
        ("leading-dot", "a dot before it", "." + PLAIN, "layout"),
        ("five-parts", "five parts, as a JWE has", f"{head}.{body}.{body}.{body}.{end}", "layout"),
        ("dots", "5,000 dots", "." * 5000, "layout"),
        ("two-dots", "two dots alone", "..", "header"),
        ("two-tokens", "two tokens in a row", PLAIN + PLAIN, "layout"),
    ]:
        case("text-" + name, comment, text, check=check)
    case("text-over-limit", "one character over the limit", PLAIN, "token_too_large", token_bytes=len(PLAIN) - 1)
    case("text-over-limit-forged", "the length is checked before all else", "%" * 101, "token_too_large", token_bytes=100)
    for name, comment, payload in [
        ("trailing-bits", "trailing bits set in the payload, rightly signed", b64u(first() + H1 + b"\0")[:-1] + "B"),
        ("length-1", "a payload length that no bytes have, rightly signed", "A" * 5),
    ]:
        case("payload-" + name, comment, join(payload), check="payload")


def seals():
    frames = first() + H1
    head = header(typ="holdall1s")
    right = pad(frames)

    def refused(name, comment, payload, check="seal", head=head):
        case("seal-" + name, comment, join(payload, head), check=check)

    refused("clear-inside", "a clear payload under a sealed header", frames)
    refused("under-clear-header", "a sealed payload under a clear header", seal(right), "frames", header())
    refused("bound-to-clear", "encrypted for the clear header", seal(right, head=header()))
    refused("bound-to-kid", "encrypted for another key's header", seal(right, head=header("k0", "holdall1s")))
    refused("other-key", "encrypted with the key of another secret", seal(right, key=hkdf(K0)))
    refused("raw-secret", "encrypted with the secret itself", seal(right, key=K1))
    good_payload = seal(right)
    refused("cut", "its last byte missing", good_payload[:-1])
    refused("nonce-changed", "one bit of the nonce changed", bytes([good_payload[0] ^ 1]) + good_payload[1:])
    refused("text-changed", "one bit of the text changed",
            good_payload[:40] + bytes([good_payload[40] ^ 1]) + good_payload[41:])
    refused("empty", "no payload", b"")
    refused("nonce-only", "a nonce and nothing else", good_payload[:24])
    refused("short", "shorter than nonce and tag", good_payload[:39])
    refused("no-text", "nonce and tag of an empty text", seal(b""), "padding")
    for name, comment, padded in [
        ("none", "no padding", frames + b"\x80"),
        ("block-more", "256 zeros too many", right + bytes(256)),
        ("block-less", "not a multiple of 256", right[:-1]),
        ("zeros", "zeros alone", bytes(256)),
        ("mark-other", "another mark than 0x80", frames + b"\x81" + right[len(frames) + 1:]),
        ("mark-missing", "zeros without the mark", frames + bytes(len(right) - len(frames))),
        ("random", "bytes other than zero after the mark", right[:-1] + b"\x01"),
        ("pkcs7", "the padding of PKCS #7", frames + bytes([len(right) - len(frames)]) * (len(right) - len(frames))),
    ]:
        refused("padding-" + name, comment, seal(padded), "padding")
    long = first() + stored(lines([msg("x" * 9000)]))
    assert padded_length(len(long)) > -(-(len(long) + 1) // 256) * 256
    refused("padding-256-only", "rounded up to 256, not to the Padmé length",
            seal(long + b"\x80" + bytes(-(len(long) + 1) % 256)), "padding")
    refused("no-frames", "rightly padded, no frames", seal(pad(b"")), "frames")
    refused("doubly", "sealed twice", seal(pad(seal(right))), "frames")
    for size in (9000, 20_000):
        case(f"accepted-padding-{size}", "a length at which Padmé rounds further than 256",
             sealed([first(), handmade(fill_line(size), size)]), "accepted", history=[line_of(size)])
    for total, comment in [(255, "frames of 256n - 1 bytes: one byte of padding"),
                           (256, "frames of 256n bytes: 256 bytes of padding")]:
        body = stored(lines(TURN))
        room = (total - len(body) - len(stored(compact(claims(model="m" * 40)) + "\n"))) % 256 + 40
        given = claims(model="m" * room)
        whole = [stored(compact(given) + "\n"), body]
        assert len(b"".join(whole)) % 256 == total % 256
        case(f"accepted-padding-{total}", comment, sealed(whole), "accepted", given=given)


def line_of(size):
    return msg("x" * (size - len(msg("")) - 1))


def fill_line(size):
    """The blocks of a line of `size` bytes, stored: what does not compress."""
    return raw(line_of(size) + "\n")


def frame_rules():
    claim, text = first(), lines(TURN)

    def refused(name, comment, *frames, check="frames", **settings):
        case("frames-" + name, comment, clear(frames), check=check, **settings)

    refused("none", "an empty payload")
    refused("one", "the claims frame alone", claim)
    refused("65", "one frame too many", claim, *[frame(lines(TURN[:1]))] * 64)
    refused("empty-last", "an empty frame at the end", claim, H1, frame(b""))
    refused("empty-first", "an empty frame at the start", frame(b""), claim, H1)
    refused("empty-between", "an empty frame in between", claim, handmade(block(0, 0, b"", True), 0), H1)
    skippable = bytes.fromhex("502a4d18") + struct.pack("<I", 4) + b"skip"
    refused("skippable-first", "a skippable frame at the start", skippable, claim, H1)
    refused("skippable-between", "a skippable frame in between", claim, skippable, H1)
    refused("skippable-last", "a skippable frame at the end", claim, H1, skippable)
    refused("trailing-byte", "one byte after the last frame", claim, H1, b"\0")
    refused("trailing-magic", "a frame's first four bytes after the last", claim, H1, MAGIC)
    refused("trailing-text", "text after the last frame", claim, H1, b"{}\n")
    refused("cut-head", "a frame's head cut", claim, H1[:5])
    refused("cut-block", "a frame without its last byte", claim, H1[:-1])
    refused("cut-checksum", "a checksum of three bytes", claim, frame(text, checksum=True)[:-1])
    refused("no-last-block", "no block is marked as the last", claim, handmade(block(0, len(text), text), len(text)))
    refused("plain-json", "not compressed", compact(claims()).encode() + b"\n" + text)
    refused("gzip", "compressed with gzip", gzip.compress(compact(claims()).encode() + b"\n" + text, mtime=0))
    refused("gzip-second", "the history compressed with gzip", claim, gzip.compress(text, mtime=0))
    refused("legacy", "the magic number of zstd 0.7", claim, b"\x27" + H1[1:])
    refused("without-magic", "frames without their magic number", claim, H1[4:])
    refused("big-endian-magic", "the magic number reversed", claim, MAGIC[::-1] + H1[4:])
    refused("nested", "a frame within a frame", claim, frame(H1 + b"\n"), check="lines")
    refused("doubly-compressed", "frames within a frame", frame(claim + H1))

    refused("no-size", "no content size", claim, handmade(raw(text), None, window=13 << 3))
    refused("no-size-claims", "no content size in the claims frame",
            handmade(raw(compact(claims()) + "\n"), None, window=13 << 3), H1)
    refused("size-larger", "a size one more than the truth", claim, stored(text, size=len(text) + 1))
    refused("size-smaller", "a size one less than the truth", claim, stored(text, size=len(text) - 1))
    refused("size-half", "a size of half the truth", claim, stored(text, size=len(text) // 2))
    compressed = lines([msg("x" * 600)])
    body = frame(compressed)
    assert body[4] == 0x60, body[:8].hex()
    refused("size-smaller-compressed", "the same within a compressed block",
            claim, MAGIC + b"\x60" + struct.pack("<H", len(compressed) - 257) + body[7:])
    refused("size-larger-compressed", "a larger size on a compressed block",
            claim, MAGIC + b"\x60" + struct.pack("<H", len(compressed) - 255) + body[7:])
    refused("size-max", "a size of 2^64 - 1", claim, stored(text, size=(1 << 64) - 1))
    refused("size-max-but-one", "a size of 2^64 - 2", claim, stored(text, size=(1 << 64) - 2))
    refused("size-2-63", "two sizes of 2^63, whose sum wraps to 0",
            claim, stored(text, size=1 << 63), stored(text, size=1 << 63))
    refused("size-2-32", "a size of 2^32 more than the truth", claim, stored(text, size=(1 << 32) + len(text)))

    over = (4 << 20) + 1
    refused("bomb-true", "one byte over the history's limit, truly said", claim, handmade(fill(b"\n", over, True), over))
    refused("bomb-128-mib", "128 MiB, truly said", claim, handmade(fill(b"a", 1 << 27, True), 1 << 27))
    refused("bomb-false", "64 MiB that say they are 100 bytes", claim, handmade(fill(b"a", 1 << 26, True), 100))
    refused("bomb-false-within", "64 MiB that say they are 4 MiB", claim, handmade(fill(b"a", 1 << 26, True), 4 << 20))
    refused("bomb-silent", "64 MiB that do not say", claim, handmade(fill(b"a", 1 << 26, True), None, window=13 << 3))
    refused("bomb-promise", "100 bytes that say they are 4 MiB", claim, handmade(raw("a" * 100), 4 << 20))
    refused("bomb-sum", "each frame within the limit, the sum over it", claim,
            *[handmade(fill(b"a", 1 << 20, True), 1 << 20)] * 5)
    refused("bomb-claims", "64 MiB in the claims frame", handmade(fill(b"a", 1 << 26, True), 1 << 26), H1)
    refused("bomb-claims-false", "64 MiB in the claims frame that say they are 300 bytes",
            handmade(fill(b"a", 1 << 26, True), 300), H1)
    refused("claims-4097-bytes", "a claims line of 4 KiB and one byte",
            first(claims(model="m" * (4097 - len(compact(claims(model=""))) - 1))), H1)
    refused("history-over-limit", "one byte over a set limit", claim, H1, history_bytes=len(text) - 1)

    for log, name in [(24, "2-24"), (27, "2-27"), (30, "2-30"), (31, "2-31"), (41, "2-41")]:
        refused(f"window-{name}", f"a window of 2^{log} bytes", claim, stored(text, window=(log - 10) << 3, width=4))
    refused("window-9-mib", "a window of 8 MiB and an eighth", claim, stored(text, window=13 << 3 | 1, width=4))
    refused("window-largest", "the largest window", claim, stored(text, window=0xFF, width=4))
    refused("window-claims", "a window of 16 MiB in the claims frame",
            stored(compact(claims()) + "\n", window=14 << 3, width=4), H1)
    for flag, size in [(1, 1), (2, 2), (3, 4)]:
        refused(f"dictionary-{size}", f"a dictionary id of {size} bytes", claim,
                stored(text, bits=flag, dictionary=b"\x07" + bytes(size - 1)))
    refused("dictionary-zero", "a dictionary id of zero", claim, stored(text, bits=1, dictionary=b"\0"))
    refused("reserved-bit", "the descriptor's reserved bit", claim, stored(text, bits=0x08))
    refused("unused-bit", "the descriptor's unused bit", claim, stored(text, bits=0x10))
    refused("reserved-block", "a block of the reserved kind", claim, handmade(block(3, len(text), text, True), len(text)))
    refused("garbage-block", "a compressed block of garbage", claim, handmade(block(2, 64, b"\xA5" * 64, True), 256))
    flipped = frame(text, checksum=True)
    refused("bad-checksum", "a wrong checksum", claim, flipped[:-1] + bytes([flipped[-1] ^ 1]))
    refused("bad-checksum-claims", "a wrong checksum on the claims",
            (lambda whole: whole[:-4] + bytes(4))(frame(compact(claims()) + "\n", checksum=True)), H1)


def line_rules():
    claim_line = (compact(claims()) + "\n").encode()

    def refused(name, comment, *texts, check="lines", **settings):
        case("lines-" + name, comment, clear([frame(text) for text in texts]), check=check, **settings)

    history = lines(TURN)
    refused("no-final-end", "the history lacks its last line end", claim_line, history[:-1])
    refused("no-claims-end", "the claims line lacks its end", claim_line[:-1], history)
    refused("empty-first", "the history begins with an empty line", claim_line, b"\n" + history)
    refused("empty-last", "the history ends with an empty line", claim_line, history + b"\n")
    refused("empty-between", "an empty line in between", claim_line, history.replace(b"\n", b"\n\n", 1))
    refused("empty-frame", "a frame of one empty line", claim_line, history, b"\n")
    refused("empty-claims", "an empty claims line", b"\n", history)
    refused("claims-led-by-empty", "an empty line before the claims", b"\n" + claim_line, history)
    refused("crlf", "CR LF", claim_line, history.replace(b"\n", b"\r\n"))
    refused("crlf-claims", "CR LF after the claims", claim_line[:-1] + b"\r\n", history)
    refused("cr", "CR as white space", claim_line, history.replace(b"{", b"{\r", 1))
    refused("claims-two-lines", "claims and an item in the first frame", claim_line + history, history)
    refused("claims-broken", "claims broken over two lines", claim_line.replace(b",", b",\n", 1), history)
    refused("split-claims", "the claims line split over two frames", claim_line[:50], claim_line[50:], history)
    refused("split-item", "an item split over two frames", claim_line, history[:20], history[20:])
    refused("bom-claims", "a byte order mark before the claims", b"\xef\xbb\xbf" + claim_line, history)
    refused("bom-history", "a byte order mark before the history", claim_line, b"\xef\xbb\xbf" + history)
    refused("bom-later", "a byte order mark before a later item", claim_line, history, b"\xef\xbb\xbf" + history,
            check="items")
    refused("utf-16-claims", "claims in UTF-16 with its mark", compact(claims()).encode("utf-16") + b"\n", history)
    refused("utf-16-history", "the history in UTF-16", claim_line, TURN[0].encode("utf-16-le") + b"\n", check="items")
    refused("utf-8-overlong", "an overlong NUL", claim_line, history.replace(b"hello", b"\xc0\x80"))
    refused("utf-8-surrogate", "a surrogate in UTF-8", claim_line, history.replace(b"hello", b"\xed\xa0\x80"))
    refused("utf-8-beyond", "a character beyond U+10FFFF", claim_line, history.replace(b"hello", b"\xf4\x90\x80\x80"))
    refused("utf-8-cut", "a character cut", claim_line, history.replace(b"hello", b"\xc3"))
    refused("utf-8-split", "a character split over two frames", claim_line,
            history.replace(b"hello", b"\xc3\n"), b"\xa9" + history)
    refused("latin-1-claims", "claims in Latin-1", compact(claims(sub="\xe9")).encode("latin-1") + b"\n", history)
    refused("too-many-items", "one item over a set limit", claim_line, history, history_items=1)
    refused("white-line", "a line of one space", claim_line, history + b" \n", check="items")
    refused("nul-line", "a line of one NUL", claim_line, history + b"\0\n", check="items")
    refused("form-feed", "a form feed is no white space in JSON", claim_line, b"\x0c" + history, check="items")
    refused("two-on-a-line", "two items on a line", claim_line, history.replace(b"\n", b" ", 1), check="items")


def claim_rules():
    def refused(name, comment, given, **settings):
        bad("claims-" + name, comment, "claims", given=given, **settings)

    right = compact(claims(par=PAR))

    def swap(old, new):
        assert right.count(old) == 1, old
        return right.replace(old, new)

    for member in ("iss", "sub", "idp", "cid", "jti", "born", "iat", "exp", "turn", "model", "use"):
        refused(f"{member}-missing", f"no `{member}`", claims(**{member: ...}))
        refused(f"{member}-null", f"`{member}` null", claims(**{member: None}))
        refused(f"{member}-twice", f"`{member}` twice, equal",
                right[:-1] + "," + compact({member: claims()[member]})[1:])
    for member in ("iss", "sub", "idp", "cid", "jti", "par", "model"):
        refused(f"{member}-number", f"`{member}` a number", claims(**{member: 7}))
        refused(f"{member}-array", f"`{member}` a list", claims(**{member: [claims(par=PAR)[member]]}))
        refused(f"{member}-object", f"`{member}` an object", claims(**{member: {"a": "b"}}))
    for member in ("in", "out", "cached", "ms"):
        used = claims()["use"]
        refused(f"use-{member}-missing", f"no `use.{member}`",
                claims(use={name: used[name] for name in used if name != member}))
        refused(f"use-{member}-negative", f"`use.{member}` negative", claims(use={**used, member: -1}))
    for name, comment, damaged in damaged_histories():
        bad("claims-before-" + name, f"the claims are checked before {comment}", "claims",
            frames=[first(claims(iss=...)), damaged])
    refused("use-unknown", "an unknown member of `use`", claims(use={**claims()["use"], "cost": 1}))
    refused("use-twice-in", "a member of `use` twice", swap('"in":12', '"in":12,"in":12'))
    refused("use-array", "`use` as the list of its values", claims(use=[12, 8, 0, 340]))
    refused("use-number", "`use` a number", claims(use=1))
    refused("use-empty", "`use` empty", claims(use={}))
    refused("par-null", "`par` is absent or an id, never null", claims(par=None))
    refused("par-empty", "`par` empty", claims(par=""))
    for name, value in [("false", False), ("null", None), ("number", 1), ("text", "true"), ("array", [True]), ("object", {})]:
        refused(f"asserted-{name}", f"`asserted` {compact(value)}: it is `true` or absent", claims(asserted=value))
    refused("asserted-twice", "`asserted` twice, equal", right[:-1] + ',"asserted":true,"asserted":true}')
    refused("asserted-in-use", "`asserted` as a member of `use`", claims(use={**claims()["use"], "asserted": True}))
    refused("turn-zero", "`turn` 0: turns are counted from 1", claims(turn=0))
    refused("model-empty", "`model` empty", claims(model=""))
    refused("unknown", "an unknown member", claims(admin=True))
    refused("unknown-nbf", "a claim of RFC 7519 that we do not have", claims(nbf=NOW))
    refused("name-case", "a member's name in capitals", swap('"sub"', '"SUB"'))
    refused("twice-differing", "two subjects, the second the caller's", swap('"sub":"alice"', '"sub":"bob","sub":"alice"'))
    refused("twice-escaped", "two subjects, one name escaped",
            swap('"sub":"alice"', r'"sub":"alice","s\u0075b":"alice"'))
    refused("array", "the list of the values", compact(list(claims(par=PAR).values())))
    for name, text in [("null", "null"), ("string", '"a"'), ("number", "1"), ("true", "true"), ("empty", "{}"),
                       ("space", " "), ("cut", right[:-1]), ("trailing-comma", right[:-1] + ",}"),
                       ("trailing-text", right + "x"), ("two", right + right), ("comment", right + "//"),
                       ("single-quotes", right.replace('"', "'")), ("unquoted", right.replace('"sub"', "sub")),
                       ("nested", "[" + right + "]")]:
        refused("text-" + name, "the line is " + name, text)

    for member in ("born", "iat", "exp", "turn"):
        value = claims()[member]
        old = f'"{member}":{value}'
        for name, text in [("string", f'"{value}"'), ("float", f"{value}.0"), ("exponent", "1e9"),
                           ("leading-zero", f"0{value}"), ("negative", f"-{value}")]:
            refused(f"{member}-{name}", f"`{member}` {text}", swap(old, f'"{member}":{text}'))
    for name, text in [
        ("1e400", "1e400"), ("minus-1e400", "-1e400"), ("2-53-and-1", str(2**53 + 1)), ("2-63", str(2**63)), ("2-64", str(2**64)),
        ("2-64-and-exp", str(2**64 + NOW + TTL)), ("digits-1000", "9" * 1000), ("nan", "NaN"), ("infinity", "Infinity"),
        ("minus-zero", "-0"), ("plus", f"+{NOW + TTL}"), ("hex", "0x6B0"), ("true", "true"), ("array", f"[{NOW + TTL}]"),
        ("object", "{}"), ("milliseconds", str((NOW + TTL) * 1000)), ("year-10000", "253402300800"),
        ("arabic-digits", "\u0661\u0662\u0663"), ("underscore", "1_795_000_000"), ("empty", ""),
        ("rfc-3339", '"2026-11-18T12:26:40Z"'),
    ]:
        refused("exp-" + name, "`exp` " + text[:40], swap(f'"exp":{NOW + TTL}', f'"exp":{text}'))

    for name, text in [
        ("upper-case", JTI.upper()), ("no-hyphens", JTI.replace("-", "")), ("braces", "{" + JTI + "}"), ("urn", "urn:uuid:" + JTI),
        ("version-4", JTI[:14] + "4" + JTI[15:]), ("variant", JTI[:19] + "c" + JTI[20:]), ("empty", ""), ("short", JTI[:-1]),
        ("long", JTI + "0"), ("space", JTI + " "), ("hyphens-moved", JTI.replace("-", "", 1)[:9] + "-" + JTI[10:]),
        ("sign", "+" + JTI[1:]), ("nil", "00000000-0000-0000-0000-000000000000"), ("full-width", "\uff10" + JTI[1:]),
    ]:
        for member in ("cid", "jti"):
            refused(f"{member}-{name}", f"`{member}` {text}", claims(**{member: text}))
    refused("par-upper-case", "`par` in capitals", claims(par=PAR.upper()))

    for name, text in [("empty", ""), ("nul", "alice\0"), ("control", "al\x1fice"), ("del", "alice\x7f"), ("c1", "alice\x85"),
                       ("line-end", "alice\n"), ("257-bytes", "a" * 257), ("129-letters", "é" * 128 + "e")]:
        refused(f"sub-{name}", f"a subject that no caller can have: {name}", claims(sub=text))
    refused("idp-empty", "an empty identity source", claims(idp=""))
    refused("idp-nul", "an identity source with a NUL", claims(idp="none\0"))
    refused("idp-513-bytes", "an identity source of 513 bytes", claims(idp="jwt:" + "i" * 509))
    refused("lone-surrogate", "a lone surrogate, escaped", swap('"alice"', r'"alice\ud800"'))
    refused("lone-low-surrogate", "a lone low surrogate, escaped", swap('"alice"', r'"\udc00alice"'))
    refused("surrogates-swapped", "a pair in the wrong order", swap('"default"', r'"\ude00\ud83d"'))
    refused("lone-surrogate-name", "a lone surrogate in a member's name", swap('"model"', r'"\ud800"'))
    refused("raw-control", "a raw control character in a string", swap('"alice"', '"al\x01ice"'))
    refused("raw-tab", "a raw tab in a string", swap('"default"', '"def\tault"'))
    refused("raw-nul", "a raw NUL in a string", swap('"default"', '"def\0ault"'))
    refused("bad-escape", "an escape that JSON does not have", swap('"default"', r'"\x41"'))
    refused("depth", "3,000 lists in one another", '{"iss":' + "[" * 3000 + "]" * 3 + "}")
    refused("depth-unknown", "the same in an unknown member", '{"x":' + '{"a":' * 600 + "1" + "}" * 601)
    refused("members", "400 unknown members", compact({f"m{at}": 1 for at in range(400)}))


def item_rules():
    user = msg("a")
    for name, text in [
        ("array", '["msg","user",[{"text":"a"}]]'),
        ("null", "null"), ("string", '"a"'), ("number", "1"), ("empty-object", "{}"), ("cut-short", user[:-1]),
        ("trailing-text", user + "x"), ("trailing-comma", user[:-1] + ",}"),
        ("t-unknown", '{"t":"note"}'), ("t-missing", user.replace('"t":"msg",', "")), ("t-null", user.replace('"msg"', "null")),
        ("t-number", user.replace('"msg"', "1")), ("t-case", user.replace('"msg"', '"MSG"')),
        ("t-array", user.replace('"msg"', '["msg"]')),
        ("t-twice", user.replace('"t":"msg"', '"t":"msg","t":"msg"')),
        ("unknown-member", user[:-1] + ',"x":1}'), ("member-case", user.replace('"role"', '"Role"')),
        ("role-system", msg("a", "system")), ("role-developer", msg("a", "developer")), ("role-tool", msg("a", "tool")),
        ("role-case", msg("a", "User")), ("role-null", user.replace('"user"', "null")),
        ("role-missing", user.replace('"role":"user",', "")), ("role-object", user.replace('"user"', '{"user":null}')),
        ("role-array", user.replace('"user"', '["user"]')),
        ("role-twice", user.replace('"role":"user"', '"role":"user","role":"user"')),
        ("role-twice-differing", user.replace('"role":"user"', '"role":"user","role":"assistant"')),
        ("parts-empty", '{"t":"msg","role":"user","parts":[]}'), ("parts-missing", '{"t":"msg","role":"user"}'),
        ("parts-null", '{"t":"msg","role":"user","parts":null}'), ("parts-string", '{"t":"msg","role":"user","parts":"a"}'),
        ("parts-object", '{"t":"msg","role":"user","parts":{"text":"a"}}'),
        ("parts-twice", user[:-1] + ',"parts":[{"text":"b"}]}'),
        ("part-empty", user.replace('"text":"a"', "")), ("part-array", user.replace('{"text":"a"}', '["a"]')),
        ("part-string", user.replace('{"text":"a"}', '"a"')), ("part-null", user.replace('{"text":"a"}', "null")),
        ("part-number", user.replace('"a"', "1")), ("part-text-null", user.replace('"a"', "null")),
        ("part-both", user.replace('"text":"a"', '"text":"a","image":"https://e.test"')),
        ("part-both-null", user.replace('"text":"a"', '"text":"a","image":null')),
        ("part-twice", user.replace('"text":"a"', '"text":"a","text":"b"')),
        ("part-unknown", user.replace('"text":"a"', '"text":"a","type":"text"')),
        ("cut-on-user", msg("a", cut=True)), ("cut-false", msg("a", "assistant", cut=False)),
        ("cut-null", msg("a", "assistant", cut=None)), ("cut-number", msg("a", "assistant", cut=1)),
        ("msg-with-id", user[:-1] + ',"id":"c"}'), ("msg-with-null-id", user[:-1] + ',"id":null}'),
        ("call-args-object", '{"t":"call","id":"c","name":"n","args":{}}'),
        ("call-args-missing", '{"t":"call","id":"c","name":"n"}'), ("call-id-missing", '{"t":"call","name":"n","args":"{}"}'),
        ("call-id-number", '{"t":"call","id":1,"name":"n","args":"{}"}'),
        ("call-name-null", '{"t":"call","id":"c","name":null,"args":"{}"}'),
        ("call-with-role", '{"t":"call","id":"c","name":"n","args":"{}","role":"user"}'),
        ("call-args-twice", '{"t":"call","id":"c","name":"n","args":"{}","args":"{}"}'),
        ("result-out-empty", '{"t":"result","id":"c","out":[]}'), ("result-out-object", '{"t":"result","id":"c","out":{}}'),
        ("result-out-null", '{"t":"result","id":"c","out":null}'), ("result-out-number", '{"t":"result","id":"c","out":1}'),
        ("result-out-missing", '{"t":"result","id":"c"}'), ("result-out-strings", '{"t":"result","id":"c","out":["a"]}'),
        ("result-error-false", '{"t":"result","id":"c","out":"x","error":false}'),
        ("result-error-null", '{"t":"result","id":"c","out":"x","error":null}'),
        ("result-with-name", '{"t":"result","id":"c","out":"x","name":"n"}'),
        ("think-blob-object", '{"t":"think","by":"a","blob":{}}'), ("think-by-missing", '{"t":"think","blob":"{}"}'),
        ("think-blob-missing", '{"t":"think","by":"a"}'),
        ("lone-surrogate", user.replace('"a"', r'"\ud800"')), ("lone-surrogate-image", user.replace('"text":"a"', r'"image":"\udc00"')),
        ("raw-control", user.replace('"a"', '"\x01"')), ("raw-tab", user.replace('"a"', '"\t"')),
        ("bad-escape", user.replace('"a"', r'"\a"')), ("short-escape", user.replace('"a"', r'"\u12"')),
        ("depth-parts", '{"t":"msg","role":"user","parts":' + "[" * 1_000_000 + "}"),
        ("depth-text", user.replace('"a"', '{"a":' * 300_000)), ("depth-out", '{"t":"result","id":"c","out":' + "[" * 1_000_000),
        ("depth-unknown", '{"x":' + "[" * 1_000_000), ("depth-line", "[" * 1_000_000),
        ("members-100000", "{" + ",".join(f'"m{at % 7}":1' for at in range(100_000)) + "}"),
        ("members-100000-known", '{"t":"msg",' + ",".join(['"cut":true'] * 100_000) + "}"),
        ("number-long", user.replace('"a"', "9" * 100_000)),
    ]:
        bad("items-" + name, "an item that is none: " + (text if len(text) < 100 else name.replace("-", " ")).encode(
            "unicode_escape").decode(), "items", history=[user, text])
    bad("items-sealed-first", "the first item is none", "items", history=["{}", user])


for group in (accepted, times, callers, headers, tags, texts, seals, frame_rules, line_rules, claim_rules, item_rules):
    group()

files = {f"{name}.txt": text.encode() for name, text in CASES.items()}
if sys.argv[1:] == ["--check"]:
    found = {path.name: path.read_bytes() for path in HERE.glob("*.txt") if path.name != "requirements.txt"}
    differing = sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))
    sys.exit("differs: " + ", ".join(differing) if differing else 0)
for path in HERE.glob("*.txt"):
    if path.name != "requirements.txt" and path.name not in files:
        path.unlink()
for name, text in files.items():
    (HERE / name).write_bytes(text)
print(f"{len(files)} cases, {sum(map(len, files.values())) // 1024} KiB")
