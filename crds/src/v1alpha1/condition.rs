//! Conditions: the list that every status carries, and the one way to change it.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// One condition as a decision words it; time and generation are added when it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: "True",
            reason,
            message: message.into(),
        }
    }

    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: "False",
            reason,
            message: message.into(),
        }
    }

    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: "Unknown",
            reason,
            message: message.into(),
        }
    }
}

/// Sets one condition; its transition time moves only when its status does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    verdict: &Verdict,
    generation: Option<i64>,
    now: Timestamp,
) {
    let changed = Condition {
        type_: verdict.type_.to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: clip(&verdict.message, 1024),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|c| c.type_ == verdict.type_) {
        Some(old) if old.status == changed.status => {
            let since = old.last_transition_time.clone();
            *old = Condition {
                last_transition_time: since,
                ..changed
            };
        }
        Some(old) => *old = changed,
        None => conditions.push(changed),
    }
}

/// Whether the condition of this type is `True`.
pub fn condition_is_true(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(|c| c.status == "True")
}

/// The condition of this type.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Text cut at a character boundary, with an ellipsis where something was cut.
pub fn clip(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes - 3)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{Verdict, clip, set_condition};
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let (early, late) = (
            Timestamp::from_second(1).expect("valid"),
            Timestamp::from_second(9).expect("valid"),
        );
        let mut conditions = Vec::new();
        set_condition(
            &mut conditions,
            &Verdict::no("Ready", "Starting", ""),
            Some(1),
            early,
        );
        set_condition(
            &mut conditions,
            &Verdict::no("Ready", "Waiting", "for a host"),
            Some(2),
            late,
        );
        assert_eq!(
            (
                conditions[0].last_transition_time.0,
                conditions[0].reason.as_str()
            ),
            (early, "Waiting")
        );
        set_condition(
            &mut conditions,
            &Verdict::yes("Ready", "Done", ""),
            Some(2),
            late,
        );
        assert_eq!(
            (conditions.len(), conditions[0].last_transition_time.0),
            (1, late)
        );
    }

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("ääääää", 8), "ää…");
    }
}
