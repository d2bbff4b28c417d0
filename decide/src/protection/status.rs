//! What a ProtectionPolicy's status says. Whatever cannot be known closes it.

use crds::v1alpha1::{
    CalendarRef, CalendarState, ChangeCalendarSpec, ProtectionPolicy, ProtectionPolicyStatus,
    Verdict, clip, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    Refusal,
    calendar::{Calendar, Calendars},
};

/// Characters that the schema leaves for the reason.
const REASON: usize = 512;

/// A calendar as it was found: none is one that is not there, and a text says why what is there cannot be read.
pub type Found<'a> = Result<Option<&'a ChangeCalendarSpec>, &'a str>;

/// The status at an instant, and when it says something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub status: ProtectionPolicyStatus,
    /// None where nothing is foreseen.
    pub again: Option<Timestamp>,
}

/// What holds at an instant.
struct Standing {
    open: bool,
    reason: Option<String>,
    flip: Option<Timestamp>,
    again: Option<Timestamp>,
}

/// The status at an instant, by the calendars that the policy refers to, in their order there.
pub fn status<'a>(
    policy: &ProtectionPolicy,
    found: impl IntoIterator<Item = (&'a CalendarRef, Found<'a>)>,
    now: Timestamp,
) -> Told {
    let read = calendars(found);
    let standing = match &read {
        _ if policy.spec.require.nobody.is_some() => Standing {
            open: false,
            reason: Some("spec.require.nobody: it is never open".to_owned()),
            flip: None,
            again: None,
        },
        Ok(calendars) => by(calendars, now),
        Err(refusal) => Standing {
            open: false,
            reason: Some(refusal.message.clone()),
            flip: None,
            again: None,
        },
    };
    let again = standing.again;
    let status = worded(policy, standing, read.err(), now);
    Told { status, again }
}

fn worded(
    policy: &ProtectionPolicy,
    standing: Standing,
    lacking: Option<Refusal>,
    now: Timestamp,
) -> ProtectionPolicyStatus {
    let generation = policy.metadata.generation;
    let mut status = ProtectionPolicyStatus {
        conditions: policy.status.clone().unwrap_or_default().conditions,
        observed_generation: generation,
        state: Some(CalendarState::of(standing.open)),
        reason: standing.reason.map(|reason| clip(&reason, REASON)),
        next_flip: standing.flip.map(Time),
    };
    // Nothing of the policy itself has to be corrected, so it is not stalled: it waits.
    let ready = match lacking {
        None => Verdict::yes("Ready", "InForce", ""),
        Some(refusal) => Verdict::no("Ready", refusal.reason, refusal.message),
    };
    set_condition(&mut status.conditions, &ready, generation, now);
    status
}

/// All of them, or the first that is not as it should be.
fn calendars<'a>(
    found: impl IntoIterator<Item = (&'a CalendarRef, Found<'a>)>,
) -> Result<Calendars, Refusal> {
    let read = found.into_iter().map(|(of, found)| {
        let name = format!("{}/{}", of.namespace, of.name);
        let calendar = calendar(&name, found)?;
        Ok((name, calendar))
    });
    read.collect()
}

fn calendar(name: &str, found: Found<'_>) -> Result<Calendar, Refusal> {
    let unreadable = |why: &str| {
        let message = format!(
            "spec.require.openCalendars: ChangeCalendar {name} cannot be read; correct it: {why}"
        );
        Refusal::new("CalendarNotReady", message)
    };
    let spec = found.map_err(unreadable)?.ok_or_else(|| {
        let message =
            format!("spec.require.openCalendars: there is no ChangeCalendar {name}; create it");
        Refusal::new("CalendarNotFound", message)
    })?;
    Calendar::read(spec).map_err(|refused| {
        let why = refused.first().map_or("", |refusal| &refusal.message);
        unreadable(why)
    })
}

fn by(calendars: &Calendars, now: Timestamp) -> Standing {
    // Which calendar closes may change before the policy opens.
    let again = calendars.next_flip(now);
    match calendars.closed(now) {
        None => Standing {
            open: true,
            reason: None,
            flip: again,
            again,
        },
        Some(closed) => Standing {
            open: false,
            reason: Some(closed.to_string()),
            flip: closed.opens,
            again,
        },
    }
}
