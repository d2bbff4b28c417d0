//! Calendars that a ticket has to keep to: those that it refers to, and those of ProtectionPolicies that are about its objects or what is related to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crds::v1alpha1::{CalendarEffect, CalendarRef, PolicyMode, ProtectionPolicy, ProtectionRule};
use jiff::Timestamp;

use super::{Item, Span, Touched};
use crate::calendar::{Calendar, Event};

/// Changes of a calendar's state that are followed within a window.
const FOLLOWED: usize = 100;

/// A calendar, and what of a ticket it is about.
#[derive(Clone, Debug)]
pub struct Applied {
    pub namespace: String,
    pub name: String,
    pub calendar: Arc<Calendar>,
    /// Rules of a policy; none where the ticket itself refers to the calendar.
    pub rules: Option<Vec<ProtectionRule>>,
}

/// The calendars of policies, with their rules. A policy of mode Disabled keeps nobody from anything.
pub fn applied<'a>(
    policies: impl IntoIterator<Item = &'a ProtectionPolicy>,
) -> Vec<(&'a CalendarRef, &'a [ProtectionRule])> {
    let asked = policies.into_iter();
    let asked = asked.filter(|policy| policy.spec.mode != PolicyMode::Disabled);
    asked
        .flat_map(|policy| {
            let calendars = policy.spec.require.open_calendars.iter().flatten();
            calendars.map(|of| (of, policy.spec.rules.as_slice()))
        })
        .collect()
}

/// Whether a policy is about a namespace; where labels are not known, one that chooses by them is not.
pub fn is_about(
    policy: &ProtectionPolicy,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let spec = &policy.spec;
    let by_name = spec.namespaces.iter().any(|name| name == namespace);
    match &spec.namespace_selector {
        Some(selector) => by_name || labels.is_some_and(|labels| selector.matches(labels)),
        None => by_name || spec.namespaces.is_empty(),
    }
}

impl Applied {
    /// What it is about: an object, none where it is all of the ticket, and whether that is the ticket's own.
    pub(super) fn about(
        &self,
        own: &[Touched],
        related: &BTreeSet<Item>,
    ) -> Option<(Option<String>, bool)> {
        let Some(rules) = &self.rules else {
            return Some((None, true));
        };
        if rules.iter().any(is_of_all) {
            return Some((None, true));
        }
        let plain = rules.iter().filter(|rule| rule.selector.is_none());
        let ruled = |touched: &Touched| plain.clone().find_map(|rule| touched.ruled(rule));
        if let Some(item) = own.iter().find_map(ruled) {
            return Some((Some(item), true));
        }
        let item = related.iter().find_map(|item| ruled(&item.into()))?;
        Some((Some(item), false))
    }

    /// Since when it has been as it is, within a window that starts there and as far as that is followed.
    fn since(&self, start: Timestamp, now: Timestamp) -> Timestamp {
        let flips = self.calendar.flips(start).take(FOLLOWED);
        let past = flips.take_while(|flip| flip.at <= now);
        past.last().map_or(start, |flip| flip.at)
    }

    /// When and why it is closed within a window, once by a freeze and once for want of a window, as far as that is not over yet.
    pub(super) fn closed(
        &self,
        window: Span,
        now: Timestamp,
    ) -> Vec<(CalendarEffect, Span, String)> {
        let now = now.max(window.start);
        let first = self.calendar.at(now);
        let mut states = vec![(self.since(window.start, now), first.open, first.event)];
        let flips = self.calendar.flips(now).take(FOLLOWED);
        let within = flips.take_while(|flip| flip.at < window.end);
        states.extend(within.map(|flip| {
            // What closes a calendar when a window ends is that nothing holds.
            let closes = Some(flip.event).filter(|event| event.effect == CalendarEffect::Freeze);
            (flip.at, flip.open, closes)
        }));
        let ends = states.iter().skip(1).map(|(at, ..)| *at);
        let ends: Vec<_> = ends.chain([window.end]).collect();
        let mut found: Vec<(CalendarEffect, Span, String)> = Vec::new();
        for ((start, open, event), end) in states.into_iter().zip(ends) {
            let effect = event.map_or(CalendarEffect::Window, |event| event.effect);
            if !open && found.iter().all(|(seen, ..)| *seen != effect) {
                found.push((effect, Span { start, end }, why(event)));
            }
        }
        found
    }
}

/// Whether a rule is about every object of its namespaces.
fn is_of_all(rule: &ProtectionRule) -> bool {
    let any = |list: &[String]| list.iter().any(|one| one == "*");
    any(&rule.groups) && any(&rule.resources) && rule.names.is_empty() && rule.selector.is_none()
}

fn why(event: Option<&Event>) -> String {
    match event {
        None => "by default".to_owned(),
        Some(event) if event.reason == event.name => format!("by {}", event.name),
        Some(event) => format!("by {} ({})", event.name, event.reason),
    }
}
