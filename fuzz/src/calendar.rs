//! Whatever a ChangeCalendar or a file of another program says, it is read or refused with a reason, and what it is at an instant agrees with its flips.
#![no_main]

use crds::v1alpha1::ChangeCalendarSpec;
use decide::calendar::Calendar;
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Flips that are looked at.
const MANY: usize = 6;

// An instant, and on the lines after it a spec, or the text of a file.
fuzz_target!(|text: &str| {
    let (now, said) = text.split_once('\n').unwrap_or(("0", text));
    let now = Timestamp::from_second(i64::from(now.parse::<u32>().unwrap_or(0)));
    let now = now.expect("32 bits of seconds");
    let spec = serde_json::from_str(said).unwrap_or_else(|_| of_file(said));
    match Calendar::read(&spec) {
        Ok(calendar) => flips(&calendar, now),
        Err(refused) => {
            let mut all = refused.iter();
            assert!(!refused.is_empty() && all.all(|r| !r.message.is_empty()));
        }
    }
});

fn of_file(text: &str) -> ChangeCalendarSpec {
    let spec = json!({"default": "Closed", "timeZone": "Europe/Berlin", "ics": {"effect": "Window", "text": text}});
    serde_json::from_value(spec).expect("a spec")
}

fn flips(calendar: &Calendar, now: Timestamp) {
    let state = calendar.at(now);
    let flips: Vec<_> = calendar.flips(now).take(MANY).collect();
    assert_eq!(state.until, flips.first().map(|flip| flip.at));
    let (mut open, mut since) = (state.open, now);
    for flip in flips {
        assert!(flip.at > since && flip.open != open, "{flip:?}");
        let before = flip.at - SignedDuration::from_nanos(1);
        assert_eq!(calendar.is_open(before), open, "{flip:?}");
        assert_eq!(calendar.is_open(flip.at), flip.open, "{flip:?}");
        (open, since) = (flip.open, flip.at);
    }
}
