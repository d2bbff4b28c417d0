use crate::journal::Stream::{self, Stderr, Stdout};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::{Masks, pattern::Patterns};

fn masked(secrets: &[&str], writes: &[(Stream, &[u8])]) -> Vec<u8> {
    let mut masks = Masks::new(secrets.iter().copied());
    let mut out = Vec::new();
    for (stream, bytes) in writes {
        masks.push(*stream, bytes, &mut |_, part| out.extend_from_slice(part));
    }
    masks.finish(&mut |_, part| out.extend_from_slice(part));
    out
}

fn text(secrets: &[&str], input: &str) -> String {
    let bytes: Vec<(Stream, &[u8])> = input.as_bytes().chunks(1).map(|b| (Stdout, b)).collect();
    let one_by_one = masked(secrets, &bytes);
    assert_eq!(
        one_by_one,
        masked(secrets, &[(Stdout, input.as_bytes())]),
        "writes do not matter"
    );
    String::from_utf8(one_by_one).expect("utf-8")
}

#[test]
fn plain_secrets_go_and_the_rest_stays() {
    assert_eq!(text(&["hunter2"], "a hunter2 b hunter"), "a *** b hunter");
    assert_eq!(text(&["hunter2"], "hunter2hunter2"), "***");
    assert_eq!(text(&[], "hunter2"), "hunter2");
    assert_eq!(text(&[""], "hunter2"), "hunter2");
}

#[test]
fn overlapping_secrets_leave_nothing() {
    assert_eq!(text(&["abcdef", "defghi"], "xabcdefghix"), "x***x");
    assert_eq!(text(&["abcdef", "bcde"], "abcde abcdef"), "a*** ***");
    assert_eq!(text(&["aaaa"], &"a".repeat(1000)), "***");
}

#[test]
fn encodings_go_too_where_an_encoder_broke_the_line() {
    let secret = "s3cr3t/with+sign and a long tail that wraps";
    let wrapped: Vec<String> = STANDARD
        .encode(format!("xy{secret}"))
        .as_bytes()
        .chunks(20)
        .map(|l| String::from_utf8_lossy(l).into())
        .collect();
    let out = text(&[secret], &wrapped.join("\n"));
    assert!(out.len() < 12 && out.contains("***"), "{out}");
    let hex: Vec<String> = hex::encode(secret)
        .as_bytes()
        .chunks(30)
        .map(|l| String::from_utf8_lossy(l).into())
        .collect();
    assert_eq!(text(&[secret], &hex.join("\r\n")), "***");
    assert_eq!(
        text(
            &[secret],
            "q=s3cr3t%2Fwith%2Bsign+and+a+long+tail+that+wraps&"
        ),
        "q=***&"
    );
}

#[test]
fn endless_line_breaks_are_not_held_back() {
    let mut masks = Masks::new(["hunter2"]);
    let mut released = 0;
    masks.push(Stdout, b"68756e", &mut |_, part| released += part.len());
    masks.push(Stdout, &vec![b'\n'; 100_000], &mut |_, part| {
        released += part.len();
    });
    assert_eq!(released, 100_006);
}

#[test]
fn the_two_streams_together_spell_no_secret() {
    assert_eq!(
        masked(
            &["hunter2"],
            &[(Stdout, b"hun"), (Stderr, b"ter2 "), (Stdout, b"!")]
        ),
        b"ter2 hun!"
    );
    assert_eq!(
        masked(
            &["hunter2"],
            &[(Stdout, b"hun"), (Stderr, b"--"), (Stdout, b"ter2")]
        ),
        b"--***"
    );
}

#[test]
fn bytes_keep_their_stream() {
    let mut masks = Masks::new(["hunter2"]);
    let mut out = Vec::new();
    let mut keep =
        |stream, part: &[u8]| out.push((stream, String::from_utf8_lossy(part).into_owned()));
    masks.push(Stdout, b"one hunter", &mut keep);
    masks.push(Stderr, b"two\n", &mut keep);
    masks.push(Stdout, b"2 three", &mut keep);
    masks.finish(&mut keep);
    let of = |stream| {
        out.iter()
            .filter(|(s, _)| *s == stream)
            .map(|(_, text)| text.as_str())
            .collect::<String>()
    };
    assert_eq!(of(Stdout), "one *** three");
    assert_eq!(of(Stderr), "two\n");
}

#[test]
fn a_secret_cut_off_by_the_end_is_masked() {
    assert_eq!(
        text(&["correct horse battery"], "> correct horse b"),
        "> ***"
    );
    assert_eq!(
        text(&["correct horse battery"], "> correct"),
        "> correct",
        "a beginning shorter than 8 bytes says little"
    );
}

/// Every way in which the property test writes a secret.
fn encodings(secret: &str, before: &str) -> Vec<Vec<u8>> {
    let joined = format!("{before}{secret}");
    let url = |upper: bool| {
        let digits = |b: &u8| {
            if upper {
                format!("%{b:02X}")
            } else {
                format!("%{b:02x}")
            }
        };
        let keep = |b: &u8| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(b) {
                char::from(*b).to_string()
            } else {
                digits(b)
            }
        };
        secret.as_bytes().iter().map(keep).collect::<String>()
    };
    vec![
        secret.into(),
        STANDARD.encode(&joined).into(),
        URL_SAFE.encode(&joined).into(),
        hex::encode(secret).into(),
        hex::encode_upper(secret).into(),
        url(true).into(),
        url(false).into(),
        serde_json::to_string(secret).expect("json").into(),
    ]
}

fn secret() -> impl Strategy<Value = String> {
    // The mark itself is left out: text next to a mark could spell a secret of asterisks, which tells nobody anything.
    prop_oneof![
        "[a-c]{4,9}",
        "[ -)+-~]{4,40}",
        "[a-z\"'/\\\\ é<>\n%+]{4,20}"
    ]
    .prop_filter("long enough", |s| s.trim().len() >= 4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_variant_is_in_the_output(
        secrets in prop::collection::vec(secret(), 1..4),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[a-c \n]{0,5}"), 1..12),
        sizes in prop::collection::vec((1_usize..9, any::<bool>()), 1..20),
    ) {
        let mut input = Vec::new();
        for (which, how, noise) in &pieces {
            let secret = which.get(&secrets);
            let all = encodings(secret, noise);
            let shown = how.get(&all);
            input.extend_from_slice(shown);
            input.extend_from_slice(noise.as_bytes());
        }
        let mut writes = Vec::new();
        let mut rest = input.as_slice();
        for (size, error) in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            writes.push((if *error { Stderr } else { Stdout }, now));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let patterns = Patterns::of(secrets.iter().copied());
        let one_stream: Vec<_> = writes.iter().map(|(_, bytes)| (Stdout, *bytes)).collect();
        for (name, out) in [("one", masked(&secrets, &one_stream)), ("two", masked(&secrets, &writes))] {
            for pattern in patterns.exact.iter().chain(&patterns.wrapped) {
                let found = out.windows(pattern.len()).any(|w| w == pattern.as_slice());
                prop_assert!(!found, "{name}: {:?} in {:?}", String::from_utf8_lossy(pattern), String::from_utf8_lossy(&out));
            }
        }
    }

    #[test]
    fn output_without_a_secret_is_untouched(input in "[d-z \n]{0,200}", sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut writes = Vec::new();
        let mut rest = input.as_bytes();
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            writes.push((Stdout, now));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let out = masked(&["ABCABCABC", "d1d2d3"], &writes);
        prop_assert_eq!(out, input.as_bytes());
    }
}
