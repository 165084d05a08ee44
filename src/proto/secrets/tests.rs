//! Quotations of secrets, and the guesses of callers.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::*;

const KEY: &str = "sk-live-Zx81Qm0pLr5TnW3e";
const PROMPT: &str = "You are Ada, the gardener of ACME.\n  Say \"moon\" to nobody: Ärger is 100% a\tword.";

/// `words` as a caller sees them who sent `request`.
fn shown(words: &str, request: &str) -> String {
    let keys = StretchIndex::new([KEY, "hunter2"], KEY_STRETCH_CHARS);
    let prompts = StretchIndex::new([PROMPT], PROMPT_STRETCH_CHARS);
    without_secrets(words, &[&keys, &prompts], &[request]).into_owned()
}

/// The ways in which services quote a text.
fn quotes(text: &str) -> Vec<String> {
    let json = |text: &str| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let html = text.replace('&', "&amp;").replace('"', "&quot;").replace('-', "&#45;").replace('a', "&#x61;");
    let mut quotes =
        vec![text.to_owned(), text.to_uppercase(), text.to_lowercase(), json(text), json(&json(text)), units, html];
    quotes.extend([percent(text), percent(&percent(text)), json(&percent(text)), text.replace('%', "%25")]);
    for before in ["", "a", "ab"] {
        let encoded = base64(&format!("{before}{text}"));
        quotes.extend([encoded.replace('+', "-").replace('/', "_"), percent(&encoded), format!("x{encoded}"), encoded]);
    }
    quotes.push(base64(&json(text)));
    quotes
}

fn base64(text: &str) -> String {
    BASE64_STANDARD_NO_PAD.encode(text)
}

#[test]
fn a_quotation_is_cut_out_in_every_form_and_place() {
    for secret in [KEY, &KEY[5..], &KEY[..19], PROMPT, &PROMPT[10..59], &PROMPT[30..]] {
        for quote in quotes(secret) {
            for (before, after) in
                [("", ""), ("bad value '", "' was sent"), ("(", ")"), ("key=", "&x=1"), ("a: ", ", b")]
            {
                let shown = shown(&format!("{before}{quote}{after}"), "{}");
                let rest = shown.strip_prefix(before.trim_end()).and_then(|rest| rest.strip_suffix(after.trim_start()));
                let rest = rest.unwrap_or_else(|| panic!("{quote} became {shown}"));
                // Base64 has bits of a character next to the stretch, and of what comes before it.
                assert!(rest.contains(REDACTED) && rest.len() <= REDACTED.len() + 12, "{quote} became {shown}");
            }
        }
    }
}

#[test]
fn stretches_of_the_least_length_are_cut_out() {
    for start in 0..=KEY.len() - 8 {
        assert_eq!(shown(&format!("<{}>", &KEY[start..start + 8]), ""), "<[redacted]>");
        assert_eq!(shown(&format!("<{}>", &KEY[start..start + 7]), ""), format!("<{}>", &KEY[start..start + 7]));
    }
    assert_eq!(shown("<the gardener of ACME. S>", ""), "<the gardener of ACME. S>", "23 characters");
    assert_eq!(shown("<the gardener of ACME. Sa>", ""), "<[redacted]>", "24 characters");
    for (words, expected) in [
        ("key hunter2 is bad", "key [redacted] is bad"),
        ("key HUNTER2", "key [redacted]"),
        ("key hunter is bad", "key hunter is bad"),
        ("You are Ada, the gardener of ACME. X you are ada,  the gardener", "[redacted] X [redacted]"),
        ("sk-live-Zx81Qm0p and Lr5TnW3e", "[redacted] and [redacted]"),
        ("`temperature` is 100% too high & \\q", "`temperature` is 100% too high & \\q"),
        ("", ""),
    ] {
        assert_eq!(shown(words, ""), expected);
    }
}

#[test]
fn short_secrets_count_as_one_stretch_and_very_short_ones_as_none() {
    let index = StretchIndex::new(["EMPTY", "Be brief.", "", "   "], PROMPT_STRETCH_CHARS);
    let shown = |words| without_secrets(words, &[&index], &[]).into_owned();
    assert_eq!(shown("EMPTY: be  brief. be brief"), "EMPTY: [redacted] be brief");
}

/// The request of a caller that guesses, in each form, and what a service may quote of it.
#[test]
fn what_the_request_contains_is_never_cut_in_any_form() {
    for stretch in [&KEY[..8], &KEY[8..], KEY, &PROMPT[..30], PROMPT] {
        for sent in quotes(stretch) {
            let body = serde_json::json!({ "tools": [{ "name": sent }] }).to_string();
            for quoted in [sent.as_str(), stretch, &stretch.to_uppercase()] {
                let words = format!("bad name '{quoted}'.");
                assert_eq!(shown(&words, &body), words, "{sent}");
            }
        }
    }
}

#[test]
fn a_right_guess_gets_the_same_answer_as_a_wrong_one() {
    // The service quotes the guess, and the key and the prompt as well.
    let words = |guess: &str| format!("bad tool '{guess}'; sent {KEY}, '{PROMPT}' and ***{}", &KEY[12..]);
    let shown = |guess: &str| {
        let request = serde_json::json!({ "name": guess, "schema": { "enum": [base64(guess)] } }).to_string();
        shown(&words(guess), &request).replace(guess, "GUESS")
    };
    let answer = "bad tool 'GUESS'; sent [redacted], '[redacted]' and ***[redacted]";
    for (right, wrong) in [
        (&KEY[..9], "sk-live-a"),
        (&KEY[..8], "sk-test-"),
        (&KEY[10..20], "81Qm0pLr5x"),
        (&KEY[..23], "sk-live-Zx81Qm0pLr5TnWx"),
        (&PROMPT[..34], "You are Ada, the gardener of ICME."),
        ("the gardener of ACME. Say", "the gardener of ACME. See"),
    ] {
        assert_eq!((shown(right).as_str(), shown(wrong).as_str()), (answer, answer), "{right}");
    }
}

#[test]
fn a_request_is_searched_across_its_pieces() {
    let words = format!("bad: {KEY}");
    for at in [0, PIECE_BYTES - 12, PIECE_BYTES, PIECE_BYTES + OVERLAP_BYTES - 5, 3 * PIECE_BYTES - 1] {
        let request = format!("{}{KEY}{}", "é ".repeat(at / 3), "é".repeat(9));
        assert_eq!(shown(&words, &request), words, "{at}");
    }
    assert_eq!(shown(&words, &format!("{}{}", &KEY[..12], "é".repeat(PIECE_BYTES))), "bad: [redacted]");
}

#[test]
fn the_request_is_read_only_if_the_words_quote_a_secret() {
    // Hostile words and a hostile request of the greatest lengths.
    let hostile = "\\\\\\\\u0025\\u0034%2541&amp;QUJDREVGR0hJSktMTU5P".repeat(90);
    assert_eq!(shown(&hostile, &"%25".repeat(1 << 20)), hostile);
    assert!(shown(&format!("{KEY} {hostile}"), &hostile.repeat(40)).starts_with(REDACTED));
}
