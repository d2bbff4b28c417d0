//! What a Parameter's status says: its versions, who reads it, and whether the Parameters that are to be the same are.

use crds::v1alpha1::{
    Parameter, ParameterStatus, ParameterUser, ParameterVersion, Twin, Verdict, set_condition,
};
use jiff::Timestamp;

use crate::Refusal;

/// Versions that a status shows.
const SHOWN: usize = 10;
/// Users that a status names.
const NAMED: usize = 50;

/// What was found of a Parameter whose value is stored.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest first, and it is the current one.
    pub versions: Vec<ParameterVersion>,
    /// None while not everything was heard of that may name it.
    pub users: Option<Vec<ParameterUser>>,
    pub twins: Vec<(Twin, Likeness)>,
}

/// How another Parameter compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Likeness {
    Same,
    Differs,
    Absent,
    /// It may not be read, and why.
    Hidden(String),
}

/// How a Parameter compares to the one whose twin it is to be: plain values, or the places of secret ones.
pub fn likeness(parameter: &Parameter, twin: Option<&Parameter>) -> Likeness {
    let held = |p: &Parameter| (p.spec.value.clone(), p.spec.secret_ref.clone());
    match twin {
        None => Likeness::Absent,
        Some(twin) if held(twin) == held(parameter) => Likeness::Same,
        Some(_) => Likeness::Differs,
    }
}

/// The status after a look.
pub fn status(
    parameter: &Parameter,
    found: &Result<Found, Refusal>,
    now: Timestamp,
) -> ParameterStatus {
    let generation = parameter.metadata.generation;
    let mut status = parameter.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    let ready = match found {
        Ok(found) => {
            tell(&mut status, parameter, found, now);
            let version = status.version.unwrap_or_default();
            Verdict::yes("Ready", "Stored", format!("version {version}"))
        }
        Err(refusal) => {
            status.version = None;
            Verdict::no("Ready", refusal.reason, &refusal.message)
        }
    };
    set_condition(&mut status.conditions, &ready, generation, now);
    status
}

fn tell(status: &mut ParameterStatus, parameter: &Parameter, found: &Found, now: Timestamp) {
    status.version = found.versions.first().map(|newest| newest.version);
    status.versions = found.versions.iter().take(SHOWN).cloned().collect();
    if let Some(users) = &found.users {
        status.users = i32::try_from(users.len()).ok();
        status.used_by = users.iter().take(NAMED).cloned().collect();
    }
    match consistent(parameter, &found.twins) {
        None => status.conditions.retain(|c| c.type_ != "Consistent"),
        Some(verdict) => {
            let generation = parameter.metadata.generation;
            set_condition(&mut status.conditions, &verdict, generation, now);
        }
    }
}

fn consistent(parameter: &Parameter, twins: &[(Twin, Likeness)]) -> Option<Verdict> {
    let own = parameter.metadata.name.as_deref().unwrap_or_default();
    let name = |twin: &Twin| {
        let name = twin.name.as_deref().unwrap_or(own);
        format!("{}/{name}", twin.namespace)
    };
    let of = |what: &str, wanted: &Likeness| {
        let these = twins.iter().filter(|(_, likeness)| likeness == wanted);
        let these: Vec<_> = these.map(|(twin, _)| name(twin)).collect();
        (!these.is_empty()).then(|| format!("{what}: {}", these.join(", ")))
    };
    let drift = [
        of("another value", &Likeness::Differs),
        of("not there", &Likeness::Absent),
    ];
    let drift: Vec<_> = drift.into_iter().flatten().collect();
    let mut hidden = twins.iter().filter_map(|(twin, likeness)| match likeness {
        Likeness::Hidden(why) => Some(format!("{}: {why}", name(twin))),
        _ => None,
    });
    match (twins.len(), drift.is_empty(), hidden.next()) {
        (0, _, _) => None,
        (_, false, _) => Some(Verdict::no("Consistent", "Drift", drift.join("; "))),
        (_, true, Some(why)) => Some(Verdict::unknown("Consistent", "TwinHidden", why)),
        (many, true, None) => {
            let message = format!("{many} others hold the same");
            Some(Verdict::yes("Consistent", "Same", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::{condition_is_true, find_condition};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn parameter(value: &str) -> Parameter {
        let spec = serde_json::json!({"value": value});
        Parameter::new("mode", serde_json::from_value(spec).expect("a spec"))
    }

    fn twin(namespace: &str) -> Twin {
        Twin {
            namespace: namespace.into(),
            name: None,
        }
    }

    fn told(twins: &[(&str, Likeness)]) -> (String, String) {
        let twins = twins.iter().map(|(n, l)| (twin(n), l.clone()));
        let found = Found {
            twins: twins.collect(),
            ..Found::default()
        };
        let status = status(&parameter("a"), &Ok(found), Timestamp::UNIX_EPOCH);
        let told = find_condition(&status.conditions, "Consistent");
        told.map_or_else(Default::default, |c| (c.reason.clone(), c.message.clone()))
    }

    #[test]
    fn drift_is_named_and_what_cannot_be_read_is_no_drift() {
        let hidden = Likeness::Hidden("may not".into());
        assert_eq!(told(&[]), Default::default());
        let same = ("Same".to_owned(), "1 others hold the same".to_owned());
        assert_eq!(told(&[("eu", Likeness::Same)]), same);
        let two = [("eu", Likeness::Same), ("us", hidden.clone())];
        let unread = ("TwinHidden".to_owned(), "us/mode: may not".to_owned());
        assert_eq!(told(&two), unread);
        let drift = told(&[
            ("eu", Likeness::Differs),
            ("us", hidden),
            ("cn", Likeness::Absent),
        ]);
        let message = "another value: eu/mode; not there: cn/mode".to_owned();
        assert_eq!(drift, ("Drift".to_owned(), message));
    }

    #[test]
    fn a_twin_is_compared_by_what_it_holds() {
        let (one, other) = (parameter("a"), parameter("b"));
        assert_eq!(likeness(&one, Some(&one)), Likeness::Same);
        assert_eq!(likeness(&one, Some(&other)), Likeness::Differs);
        assert_eq!(likeness(&one, None), Likeness::Absent);
    }

    #[test]
    fn who_reads_it_stays_told_until_more_is_known() {
        let mut parameter = parameter("a");
        let version = |version| ParameterVersion {
            version,
            revision_name: format!("mode-{version}"),
            changed_by: "alice".into(),
            changed_at: Time(Timestamp::UNIX_EPOCH),
        };
        let user = |n: usize| ParameterUser {
            kind: "Job".into(),
            name: format!("job-{n}"),
            version: None,
        };
        let found = Found {
            versions: (1..=12).rev().map(version).collect(),
            users: Some((0..60).map(user).collect()),
            twins: Vec::new(),
        };
        let first = status(&parameter, &Ok(found.clone()), Timestamp::UNIX_EPOCH);
        let shown = (first.version, first.versions.len(), first.users);
        assert_eq!(shown, (Some(12), 10, Some(60)));
        assert!(first.used_by.len() == 50 && condition_is_true(&first.conditions, "Ready"));
        parameter.status = Some(first.clone());
        let unheard = Found {
            users: None,
            ..found
        };
        let again = status(&parameter, &Ok(unheard), Timestamp::MAX);
        assert_eq!(again, first, "there is nothing new to write");
    }
}
