//! What a ProtectionPolicy's status says. Whatever cannot be known closes it.

use crds::v1alpha1::{
    CalendarRef, CalendarState, ChangeCalendarSpec, ChangeTicket, Pass, ProtectionPolicy,
    ProtectionPolicyStatus, Verdict, clip, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    Refusal,
    calendar::{Calendar, Calendars},
    change,
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

/// Tickets that can let somebody pass at once, and bytes that they take together: a status that is too large to be written would keep what has ended.
const PASSES: usize = 64;
const PASSES_BYTES: usize = 48 << 10;

/// What holds at an instant.
#[derive(Default)]
struct Standing {
    open: bool,
    reason: Option<String>,
    flip: Option<Timestamp>,
    again: Option<Timestamp>,
    passes: Vec<Pass>,
}

/// The status at an instant, by the calendars that the policy refers to, in their order there, and by all tickets.
pub fn status<'a>(
    policy: &ProtectionPolicy,
    found: impl IntoIterator<Item = (&'a CalendarRef, Found<'a>)>,
    tickets: impl IntoIterator<Item = &'a ChangeTicket>,
    now: Timestamp,
) -> Told {
    let read = calendars(found);
    let require = &policy.spec.require;
    let standing = match &read {
        _ if require.nobody.is_some() => closed("spec.require.nobody: it is never open"),
        _ if require.ticket.is_some() => with_tickets(policy, tickets, now),
        Ok(calendars) => by(calendars, now),
        Err(refusal) => closed(&refusal.message),
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
        passes: standing.passes,
    };
    // Nothing of the policy itself has to be corrected, so it is not stalled: it waits.
    let ready = match lacking {
        None => Verdict::yes("Ready", "InForce", ""),
        Some(refusal) => Verdict::no("Ready", refusal.reason, refusal.message),
    };
    set_condition(&mut status.conditions, &ready, generation, now);
    status
}

fn closed(reason: &str) -> Standing {
    Standing {
        reason: Some(reason.to_owned()),
        ..Standing::default()
    }
}

/// What live tickets let pass; the end of a window is kept to also by those whose status is behind.
fn with_tickets<'a>(
    policy: &ProtectionPolicy,
    tickets: impl IntoIterator<Item = &'a ChangeTicket>,
    now: Timestamp,
) -> Standing {
    let spec = &policy.spec;
    let named = |namespace: &String| {
        spec.namespace_selector.is_some()
            || spec.namespaces.is_empty()
            || spec.namespaces.contains(namespace)
    };
    let live = |ticket: &&ChangeTicket| {
        change::is_live(ticket, now)
            && ticket.metadata.namespace.as_ref().is_some_and(named)
            && !ticket.spec.allow.is_empty()
    };
    let mut live: Vec<_> = tickets.into_iter().filter(live).collect();
    live.sort_by_key(|ticket| (&ticket.metadata.namespace, &ticket.metadata.name));
    let again = live.iter().map(|ticket| ticket.spec.window.end.0).min();
    let (passes, left_out) = fitting(live.into_iter().map(pass));
    if let Some(first) = left_out {
        let reason = format!(
            "ChangeTicket {first} lets nobody pass: live tickets are too many or list too much in allow; shorten it, or wait until others are complete"
        );
        return Standing {
            again,
            passes,
            ..closed(&reason)
        };
    }
    Standing {
        again,
        passes,
        ..closed(
            "only what a live ChangeTicket of the namespace allows is done, by its implementers",
        )
    }
}

/// As many as there is room for, and the first for which there is none.
fn fitting(all: impl Iterator<Item = Pass>) -> (Vec<Pass>, Option<String>) {
    let (mut passes, mut room, mut left_out) = (Vec::new(), PASSES_BYTES, None);
    for pass in all {
        let size = serde_json::to_vec(&pass).map_or(usize::MAX, |text| text.len());
        if passes.len() < PASSES && size <= room {
            room -= size;
            passes.push(pass);
        } else {
            left_out.get_or_insert(format!("{}/{}", pass.namespace, pass.ticket));
        }
    }
    (passes, left_out)
}

fn pass(ticket: &ChangeTicket) -> Pass {
    let implementers = &ticket.spec.implementers;
    Pass {
        namespace: ticket.metadata.namespace.clone().unwrap_or_default(),
        ticket: ticket.metadata.name.clone().unwrap_or_default(),
        users: implementers.users.clone(),
        groups: implementers.groups.clone(),
        allow: ticket.spec.allow.clone(),
    }
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
            flip: again,
            again,
            ..Standing::default()
        },
        Some(closed) => Standing {
            open: false,
            reason: Some(closed.to_string()),
            flip: closed.opens,
            again,
            ..Standing::default()
        },
    }
}
