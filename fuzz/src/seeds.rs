//! The seeds of the token targets: one for each thing that a token may have, and for most that it
//! may not.
//!
//! `cargo run --example seeds` writes them to `corpus/`.

use super::{echo, reference, token_payload};

/// The target, the file name and the contents of each seed.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, _, texts) in texts() {
        let frames = token_payload::frames(&texts);
        seeds.push(("token_text", name.to_owned(), unsigned(&texts).into_bytes()));
        seeds.push(("token_payload", format!("{name}-0"), [b"0", frames.as_slice()].concat()));
        seeds.push(("token_payload", format!("{name}-3"), [b"3", texts.as_slice()].concat()));
    }
    for (name, text) in foreign_texts() {
        seeds.push(("token_text", name.to_owned(), text.into_bytes()));
    }
    let texts = input(&[CLAIMS, USER]);
    let frames = token_payload::frames(&texts);
    let padded = reference::pad(&frames);
    for (name, mode, rest) in [
        ("sealed-1", b"1", &frames),
        ("padded-2", b"2", &padded),
        ("unpadded-2", b"2", &frames),
        ("sealed-4", b"4", &texts),
    ] {
        seeds.push(("token_payload", name.to_owned(), [mode, rest.as_slice()].concat()));
    }
    seeds
}

/// Panics if the reference accepts a seed that is meant to be invalid, or the reverse. Two readers
/// that agree may both be wrong.
pub fn check() {
    for (name, is_valid, texts) in texts() {
        let history = reference::read(&reference::sign(&unsigned(&texts))).and_then(|token| reference::history(&token));
        assert_eq!(history.is_some_and(|history| reference::items(&history).is_some()), is_valid, "{name}");
    }
    for (name, text) in foreign_texts() {
        assert!(reference::read(&reference::sign(&text)).is_none(), "{name}");
    }
    let seeds: [(bool, &[u8]); 6] = [
        (true, include_bytes!("../corpus/echo/chat")),
        (true, include_bytes!("../corpus/echo/chat_system")),
        (true, include_bytes!("../corpus/echo/messages")),
        (true, include_bytes!("../corpus/echo/native")),
        (true, include_bytes!("../corpus/echo/responses")),
        (false, include_bytes!("../corpus/echo/chat_forged")),
    ];
    for (is_taken, seed) in seeds {
        assert_eq!(echo::is_taken(seed), is_taken, "{}", String::from_utf8_lossy(seed));
    }
}

/// The clear token of these texts, without its tag.
fn unsigned(texts: &[u8]) -> String {
    let token = reference::issue_clear(&token_payload::frames(texts));
    token.rsplit_once('.').map_or_else(String::new, |(unsigned, _)| unsigned.to_owned())
}

/// Texts in the form of `token_payload`. The flag says if they make a valid token.
fn texts() -> Vec<(&'static str, bool, Vec<u8>)> {
    let all = [ASSISTANT, IMAGE, CALL, RESULT, PARTS, THINK, CUT, ESCAPES];
    let claims = |from: &str, to: &str| {
        assert!(CLAIMS.contains(from));
        input(&[&CLAIMS.replace(from, to), USER])
    };
    let history = |line: &str| input(&[CLAIMS, line]);
    vec![
        ("first", true, input(&[CLAIMS, USER])),
        ("every-item", true, input(&[&[CLAIMS][..], &all].concat())),
        ("one-frame-of-many", true, input(&[CLAIMS, &all.concat(), USER])),
        (
            "other-order",
            true,
            claims(r#"{"iss":"holdall","sub":"alice","#, r#"{ "sub" : "alice",	"iss":"hold\u0061ll","#),
        ),
        ("without-parent", true, claims(r#""par":"019a1f3b-5e00-7000-8000-0000000000c1","#, "")),
        ("null-parent", false, claims(r#""019a1f3b-5e00-7000-8000-0000000000c1""#, "null")),
        ("other-id", false, claims("-7000-8000-0000000000a1", "-4000-8000-0000000000a1")),
        ("bob", true, claims("alice", "bob")),
        ("control-in-subject", false, claims("alice", r"ali\u0085ce")),
        ("asserted", true, claims(r#""ms":3}"#, r#""ms":3},"asserted":true"#)),
        ("not-asserted", false, claims(r#""ms":3}"#, r#""ms":3},"asserted":false"#)),
        ("expired", true, claims("1795000000,\"exp\"", "1794000000,\"exp\"")),
        ("from-the-future", true, claims("1795000000,\"exp\"", "1795000061,\"exp\"")),
        ("greatest-number", true, claims("1795604800", "253402300799")),
        ("too-great-a-number", false, claims("1795604800", "253402300800")),
        ("float", false, claims("1795604800", "1795604800.0")),
        ("negative", false, claims(r#""in":1"#, r#""in":-0"#)),
        ("duplicate", false, claims(r#""iss":"holdall""#, r#""iss":"holdall","i\u0073s":"holdall""#)),
        ("unknown", false, claims(r#""iss":"holdall""#, r#""iss":"holdall","nbf":1"#)),
        (
            "surrogate",
            false,
            history("{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"\\ud83d\\ude00 \\ud83d\"}]}\n"),
        ),
        ("carriage-return", false, history("{\"t\":\"msg\",\r\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}\n")),
        ("byte-order-mark", false, history(&["\u{FEFF}", SHORTEST].concat())),
        ("empty-line", false, history(&[SHORTEST, "\n", SHORTEST].concat())),
        ("cut-line", false, history(&[SHORTEST, "{"].concat())),
        ("deep", false, history(&("[".repeat(200) + "\n"))),
        ("frames-64", true, input(&[&[CLAIMS][..], &[SHORTEST; 63]].concat())),
        ("frames-65", false, input(&[&[CLAIMS][..], &[SHORTEST; 64]].concat())),
        ("lines-97", false, input(&[CLAIMS, &SHORTEST.repeat(97)])),
        ("too-much", false, input(&[CLAIMS, &(" ".repeat(reference::HISTORY_BYTES) + "\n")])),
        ("checksum", true, written(b'1', USER.as_bytes())),
        ("no-size", false, written(b'2', USER.as_bytes())),
        ("wide-window", false, written(b'6', USER.as_bytes())),
        ("stored", true, written(b'8', USER.as_bytes())),
        ("no-frame", false, written(b'@', USER.as_bytes())),
        ("skippable", false, written(b'@', b"\x50\x2A\x4D\x18\x04\0\0\0abcd")),
        ("empty-frame", false, written(b'@', b"\x28\xB5\x2F\xFD\x20\0\x01\0\0")),
        ("lying-bomb", false, written(b'@', b"\x28\xB5\x2F\xFD\x20\x02\x03\0\x10\n")),
        ("honest-bomb", false, written(b'@', b"\x28\xB5\x2F\xFD\xA0\0\0\x02\0\x03\0\x10\n")),
        ("raw-block-over-window", false, written(b'@', &over_window(false))),
        ("repeated-block-over-window", false, written(b'@', &over_window(true))),
        ("raw-block", true, written(b'@', &[b"\x28\xB5\x2F\xFD\x20\x20\x01\x01\0", SHORTEST.as_bytes()].concat())),
    ]
}

/// Texts that are not tokens, even with the right tag.
fn foreign_texts() -> Vec<(&'static str, String)> {
    let payload = "KLUv_SADGQAAe30K";
    let header = |json: &str| format!("{}.{payload}", reference::base64url(json.as_bytes()));
    vec![
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("many-dots", ".".repeat(100)),
        ("alg-none", header(r#"{"alg":"none","kid":"k1","typ":"holdall1"}"#)),
        ("crit", header(r#"{"alg":"HS256","crit":["exp"],"kid":"k1","typ":"holdall1"}"#)),
        ("other-kid", header(r#"{"alg":"HS256","kid":"../k1","typ":"holdall1"}"#)),
        ("sealed-header", header(r#"{"alg":"HS256","kid":"k1","typ":"holdall1s"}"#)),
        ("padding", format!("{}==", header(r#"{"alg":"HS256","kid":"k1","typ":"holdall1"}"#))),
    ]
}

/// The texts, separated by the byte FF, each to be written like the crate writes frames.
fn input(texts: &[&str]) -> Vec<u8> {
    texts.iter().map(|text| format!("0{text}").into_bytes()).collect::<Vec<_>>().join(&0xFF)
}

/// The claims, and a frame that is written in another way.
fn written(how: u8, text: &[u8]) -> Vec<u8> {
    [input(&[CLAIMS]), vec![0xFF, how], text.to_vec()].concat()
}

/// A frame with a window of 1 KiB. It has the shortest item 62 times, or once with 1,952 spaces.
/// RFC 8878 §3.1.1.2.4 limits a block to the window.
fn over_window(repeated: bool) -> Vec<u8> {
    const RAW: u32 = 0;
    const REPEATED: u32 = 1;
    let block = |bytes: u32, kind: u32, last: u32, contents: &[u8]| {
        let [head @ .., _] = (bytes << 3 | kind << 1 | last).to_le_bytes();
        [&head, contents].concat()
    };
    let (line, end) = SHORTEST.as_bytes().split_at(31);
    let blocks = if repeated {
        [block(31, RAW, 0, line), block(1_952, REPEATED, 0, b" "), block(1, RAW, 1, end)].concat()
    } else {
        block(1_984, RAW, 1, SHORTEST.repeat(62).as_bytes())
    };
    let size = (1_984_u16 - 256).to_le_bytes();
    [b"\x28\xB5\x2F\xFD\x40\0", &size[..], &blocks].concat()
}

const CLAIMS: &str = concat!(
    r#"{"iss":"holdall","sub":"alice","idp":"none","cid":"019a1f3b-5e00-7000-8000-0000000000a1","#,
    r#""jti":"019a1f3b-5e00-7000-8000-0000000000b1","par":"019a1f3b-5e00-7000-8000-0000000000c1","born":1794000000,"#,
    r#""iat":1795000000,"exp":1795604800,"turn":2,"model":"default","use":{"in":1,"out":2,"cached":0,"ms":3}}"#,
    "\n"
);
/// The shortest item: 32 bytes.
const SHORTEST: &str = "{\"t\":\"think\",\"by\":\"\",\"blob\":\"\"}\n";
const USER: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}\n";
const ASSISTANT: &str = "{\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"Grüße, 你好 \u{1F600}\"}]}\n";
const IMAGE: &str = "{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"\"},{\"image\":\"https://e.test/a\"}]}\n";
const CALL: &str = "{\"t\":\"call\",\"id\":\"c1\",\"name\":\"add\",\"args\":\"{\\\"a\\\": 1}\"}\n";
const RESULT: &str = "{\"t\":\"result\",\"id\":\"c1\",\"out\":\"3\"}\n";
const PARTS: &str = "{\"t\":\"result\",\"id\":\"c1\",\"out\":[{\"text\":\"no\"}],\"error\":true}\n";
const THINK: &str = "{\"t\":\"think\",\"by\":\"anthropic\",\"blob\":\"{}\"}\n";
const CUT: &str = "{\"t\":\"msg\",\"role\":\"assistant\",\"parts\":[{\"text\":\"so f\"}],\"cut\":true}\n";
const ESCAPES: &str =
    "{\"parts\":[{\"text\":\"\\u00e9\\/\\b\\f\\n\\r\\t\\\"\\\\\\u0000\"}],\"role\":\"user\",\"t\":\"msg\"}\n";
