//! What a ProtectionPolicy's status says. Whatever cannot be known closes it.

use crds::v1alpha1::{
    BreakGlass, Broken, CalendarRef, CalendarState, ChangeCalendarSpec, ChangeTicket, GlassRecord,
    Pass, ProtectionPolicy, ProtectionPolicyStatus, Verdict, clip, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use crate::{
    Refusal, break_glass,
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

/// BreakGlasses that can let somebody pass at once, and bytes that they take together.
const BROKEN: usize = 64;
const BROKEN_BYTES: usize = 8 << 10;

/// What holds at an instant.
#[derive(Default)]
struct Standing {
    open: bool,
    reason: Option<String>,
    flip: Option<Timestamp>,
    again: Option<Timestamp>,
    passes: Vec<Pass>,
}

/// The status at an instant, by the calendars that the policy refers to, in their order there, by all tickets, and by all that is known of broken glass.
pub fn status<'a>(
    policy: &ProtectionPolicy,
    found: impl IntoIterator<Item = (&'a CalendarRef, Found<'a>)>,
    tickets: impl IntoIterator<Item = &'a ChangeTicket>,
    glasses: impl IntoIterator<Item = &'a BreakGlass>,
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
    let broken = broken(policy, glasses, now);
    let ends = broken.iter().map(|one| one.until.0).min();
    let again = standing.again.into_iter().chain(ends).min();
    let mut status = worded(policy, standing, read.err(), now);
    status.broken = broken;
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
        broken: Vec::new(),
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

/// Whom a live BreakGlass lets pass, each once, and those that end first where there is no room for all.
fn broken<'a>(
    policy: &ProtectionPolicy,
    glasses: impl IntoIterator<Item = &'a BreakGlass>,
    now: Timestamp,
) -> Vec<Broken> {
    let needs = policy.spec.break_glass.as_ref();
    let Some(needs) = needs.filter(|needs| needs.record == GlassRecord::Required) else {
        return Vec::new();
    };
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    // Who is in none of the groups takes no place from others.
    let is_of_group = |glass: &&BreakGlass| {
        let by = glass.spec.requested_by.as_ref();
        by.is_some_and(|by| needs.groups.iter().any(|group| by.groups.contains(group)))
    };
    let glasses = glasses.into_iter().filter(is_of_group);
    let mut live: Vec<_> = glasses
        .filter_map(|glass| break_glass::broken(glass, name, now))
        .filter(|broken| may_be_in(policy, &broken.namespace))
        .collect();
    live.sort_by(|a, b| {
        (&a.namespace, &a.user, b.until.0).cmp(&(&b.namespace, &b.user, a.until.0))
    });
    live.dedup_by(|a, b| (&a.namespace, &a.user) == (&b.namespace, &b.user));
    live.sort_by_key(|broken| broken.until.0);
    fitting(live, BROKEN, BROKEN_BYTES).0
}

/// Whether the policy can be about a namespace, as far as its names say.
fn may_be_in(policy: &ProtectionPolicy, namespace: &String) -> bool {
    let spec = &policy.spec;
    spec.namespace_selector.is_some()
        || spec.namespaces.is_empty()
        || spec.namespaces.contains(namespace)
}

/// What live tickets let pass; the end of a window is kept to also by those whose status is behind.
fn with_tickets<'a>(
    policy: &ProtectionPolicy,
    tickets: impl IntoIterator<Item = &'a ChangeTicket>,
    now: Timestamp,
) -> Standing {
    let named = |namespace: &String| may_be_in(policy, namespace);
    let live = |ticket: &&ChangeTicket| {
        change::is_live(ticket, now)
            && ticket.metadata.namespace.as_ref().is_some_and(named)
            && !ticket.spec.allow.is_empty()
    };
    let mut live: Vec<_> = tickets.into_iter().filter(live).collect();
    live.sort_by_key(|ticket| (&ticket.metadata.namespace, &ticket.metadata.name));
    let again = live.iter().map(|ticket| ticket.spec.window.end.0).min();
    let (passes, left_out) = fitting(live.into_iter().map(pass), PASSES, PASSES_BYTES);
    if let Some(first) = left_out {
        let first = format!("{}/{}", first.namespace, first.ticket);
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
fn fitting<T: Serialize>(
    all: impl IntoIterator<Item = T>,
    most: usize,
    mut room: usize,
) -> (Vec<T>, Option<T>) {
    let (mut fitting, mut left_out) = (Vec::new(), None);
    for one in all {
        let size = serde_json::to_vec(&one).map_or(usize::MAX, |text| text.len());
        if fitting.len() < most && size <= room {
            room -= size;
            fitting.push(one);
        } else {
            left_out.get_or_insert(one);
        }
    }
    (fitting, left_out)
}

/// Whoever is kept out stands there by name, since a group may have them too.
fn pass(ticket: &ChangeTicket) -> Pass {
    let implementers = &ticket.spec.implementers;
    let except = change::others(ticket);
    let users = implementers.users.iter();
    Pass {
        namespace: ticket.metadata.namespace.clone().unwrap_or_default(),
        ticket: ticket.metadata.name.clone().unwrap_or_default(),
        users: users.filter(|u| !except.contains(*u)).cloned().collect(),
        groups: implementers.groups.clone(),
        except: except.into_iter().collect(),
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
