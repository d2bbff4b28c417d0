//! Times of whole seconds. A status can hold no others, so one of a spec that was later than that would never be over for who reads it there.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize as _, Deserializer};

/// The second that an instant is in.
pub fn whole_second(at: Timestamp) -> Timestamp {
    let before = i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(at.as_second() - before).expect("all times begin with a whole second")
}

/// Reads a time of a spec.
pub(super) fn read<'de, D: Deserializer<'de>>(written: D) -> Result<Time, D::Error> {
    Time::deserialize(written).map(|at| Time(whole_second(at.0)))
}

/// Reads a time that a spec may have.
pub(super) fn read_any<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Time>, D::Error> {
    let read = Option::<Time>::deserialize(written)?;
    Ok(read.map(|at| Time(whole_second(at.0))))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::whole_second;
    use crate::v1alpha1::{ApprovalSpec, ChangeWindow, Origin, ScheduledTaskSpec};

    #[test]
    fn an_instant_is_in_the_second_that_has_begun_also_before_1970() {
        for (at, second) in [
            ("2026-12-01T10:00:00.999Z", "2026-12-01T10:00:00Z"),
            ("2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
        ] {
            let [at, second] = [at, second].map(|text| text.parse::<Timestamp>().expect(text));
            assert_eq!(whole_second(at), second);
        }
        assert_eq!(whole_second(Timestamp::MIN), Timestamp::MIN);
    }

    /// What is read again as it is written is what a status says of it.
    #[test]
    fn no_time_of_a_spec_has_a_fraction() {
        let (half, digest) = (
            "2026-12-01T10:00:00.5Z",
            format!("sha256:{}", "0".repeat(64)),
        );
        let task = json!({"schedule": {"at": half, "from": half}, "expires": half, "jobRef": {"name": "j"}});
        let window = json!({"start": half, "end": half});
        let approval = json!({"subject": {"kind": "Job", "name": "j"}, "digest": digest, "decision": "Approve", "expires": half});
        let origin = json!({"kind": "ScheduledTask", "name": "t", "uid": "u", "at": half, "requestedBy": {"user": "ann"}});
        let task: ScheduledTaskSpec = serde_json::from_value(task).expect("a task");
        let window: ChangeWindow = serde_json::from_value(window).expect("a window");
        let approval: ApprovalSpec = serde_json::from_value(approval).expect("an approval");
        let origin: Origin = serde_json::from_value(origin).expect("an origin");
        let read = [
            task.schedule.at,
            task.schedule.from,
            task.expires,
            Some(window.start),
            Some(window.end),
            approval.expires,
            origin.at,
        ];
        for at in read {
            let at = at.expect("it was written").0;
            assert_eq!(at, whole_second(at));
        }
    }
}
