//! What is known of plans where nobody looks at a ticket's objects: tickets, calendars and ProtectionPolicies, as they are heard of. Of tickets it keeps no more than what others have to know: what they take while they go on, and who had a part in how they ended.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::{ChangeCalendar, ChangeTicket, ProtectionPolicy};
use jiff::Timestamp;

use super::{Applied, Around, Booking, Found, Graph, applied, conflicts_of_all, is_about};
use crate::{
    calendar::{Calendar, Closed},
    change::risk::{self, Facts, Past, Scale, Weighed},
};

type Named<T> = BTreeMap<String, T>;

#[derive(Debug, Default)]
pub struct Diary {
    /// By namespace and name.
    tickets: Named<Named<Vec<Booking>>>,
    past: Named<Named<Past>>,
    calendars: Named<Named<Arc<Calendar>>>,
    policies: Named<Ruling>,
}

/// A policy, and how it weighs where it does.
#[derive(Debug)]
struct Ruling {
    policy: ProtectionPolicy,
    scale: Option<Scale>,
}

/// Something of which a diary is kept.
pub trait Kept {
    fn forget_all(diary: &mut Diary);
    fn forget(diary: &mut Diary, namespace: &str, name: &str);
    /// Takes it in, in place of what was known by its name.
    fn keep(&self, diary: &mut Diary);
}

impl Diary {
    /// What a ticket conflicts with, but for what is related to its objects, and for policies that choose namespaces by labels: these are known once it is handed in.
    pub fn conflicts(&self, ticket: &ChangeTicket, now: Timestamp) -> Vec<Found> {
        let own = Booking::each(ticket);
        let Some(first) = own.first() else {
            return Vec::new();
        };
        let others = self.tickets.get(&first.namespace).into_iter().flatten();
        let others = others.flat_map(|(_, all)| all);
        let others = others.filter(|other| own.iter().any(|own| own.meets(other)));
        let around = Around {
            others: others.cloned().collect(),
            calendars: self.calendars(first),
            graph: Graph::default(),
        };
        conflicts_of_all(&own, &around, now)
    }

    /// By what a calendar is closed, where it is known to be, and until when.
    pub fn closed(&self, namespace: &str, name: &str, now: Timestamp) -> Option<String> {
        let calendar = self.calendars.get(namespace)?.get(name)?;
        let closed = Closed {
            calendar: name,
            state: calendar.at(now),
            opens: None,
        };
        (!closed.state.open).then(|| closed.to_string())
    }

    /// How risky a ticket is that conflicts with these, but for rules that ask for its Job or its namespace, and for policies that choose namespaces by labels: what these say is known once it is handed in.
    pub fn risk(&self, ticket: &ChangeTicket, conflicts: &[Found], now: Timestamp) -> Weighed {
        let namespace = ticket.metadata.namespace.as_deref().unwrap_or_default();
        let scales = || self.about(namespace).filter_map(|one| one.scale.as_ref());
        let hours = scales().filter_map(Scale::hours).filter_map(|of| {
            let calendar = self.calendars.get(&of.namespace)?.get(&of.name)?;
            Some((of.clone(), calendar.clone()))
        });
        let past = self.past.get(namespace).into_iter().flatten();
        let past: Vec<_> = past.map(|(_, past)| past.clone()).collect();
        let facts = Facts {
            labels: None,
            job: None,
            conflicts,
            past: &past,
            calendars: &hours.collect(),
        };
        risk::weigh(ticket, scales(), &facts, now)
    }

    /// Policies about a namespace, as far as they name it.
    fn about(&self, namespace: &str) -> impl Iterator<Item = &Ruling> {
        let all = self.policies.values();
        all.filter(move |one| is_about(&one.policy, namespace, None))
    }

    fn calendars(&self, own: &Booking) -> Vec<Applied> {
        let about = self.about(&own.namespace).map(|one| &one.policy);
        let of_policies = applied(about)
            .into_iter()
            .map(|(of, rules)| (&of.namespace, &of.name, Some(rules.to_vec())));
        let of_ticket = own.calendars.iter();
        let of_ticket = of_ticket.map(|name| (&own.namespace, name, None));
        let all = of_ticket.chain(of_policies);
        all.filter_map(|(namespace, name, rules)| {
            let calendar = self.calendars.get(namespace)?.get(name)?.clone();
            Some(Applied {
                namespace: namespace.clone(),
                name: name.clone(),
                calendar,
                rules,
            })
        })
        .collect()
    }
}

fn forget<T>(all: &mut Named<Named<T>>, namespace: &str, name: &str) {
    if let Some(here) = all.get_mut(namespace) {
        here.remove(name);
        if here.is_empty() {
            all.remove(namespace);
        }
    }
}

fn keep<T>(all: &mut Named<Named<T>>, namespace: &str, name: &str, what: T) {
    let here = all.entry(namespace.to_owned()).or_default();
    here.insert(name.to_owned(), what);
}

impl Kept for ChangeTicket {
    fn forget_all(diary: &mut Diary) {
        diary.tickets.clear();
        diary.past.clear();
    }

    fn forget(diary: &mut Diary, namespace: &str, name: &str) {
        forget(&mut diary.tickets, namespace, name);
        forget(&mut diary.past, namespace, name);
    }

    fn keep(&self, diary: &mut Diary) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let booked = Booking::each(self).into_iter();
        let booked: Vec<_> = booked.filter(|b| b.since.is_some()).collect();
        if booked.is_empty() {
            forget(&mut diary.tickets, namespace, name);
        } else {
            keep(&mut diary.tickets, namespace, name, booked);
        }
        match Past::of(self) {
            Some(past) => keep(&mut diary.past, namespace, name, past),
            None => forget(&mut diary.past, namespace, name),
        }
    }
}

impl Kept for ChangeCalendar {
    fn forget_all(diary: &mut Diary) {
        diary.calendars.clear();
    }

    fn forget(diary: &mut Diary, namespace: &str, name: &str) {
        forget(&mut diary.calendars, namespace, name);
    }

    fn keep(&self, diary: &mut Diary) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        match Calendar::read(&self.spec) {
            Ok(read) => keep(&mut diary.calendars, namespace, name, Arc::new(read)),
            Err(_) => forget(&mut diary.calendars, namespace, name),
        }
    }
}

impl Kept for ProtectionPolicy {
    fn forget_all(diary: &mut Diary) {
        diary.policies.clear();
    }

    fn forget(diary: &mut Diary, _: &str, name: &str) {
        diary.policies.remove(name);
    }

    fn keep(&self, diary: &mut Diary) {
        let name = self.metadata.name.clone().unwrap_or_default();
        let known = diary.policies.get(&name);
        if known.is_some_and(|known| known.policy.spec == self.spec) {
            // That it has opened or closed is no news here, and its rules are compiled.
            return;
        }
        let policy = ProtectionPolicy::new(&name, self.spec.clone());
        let scale = Scale::of(&policy);
        diary.policies.insert(name, Ruling { policy, scale });
    }
}
