//! Tickets as their controller hears of them, for other tickets that may conflict with them, or of the same people.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crds::v1alpha1::ChangeTicket;
use decide::change::{
    conflict::{Booking, Span},
    risk::Past,
};
use kube::{
    ResourceExt as _,
    core::DeserializeGuard,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use crate::{
    context::Context,
    error::Result,
    heard::{self, Known},
    scope::EVERY,
};

/// What is known, by part of the scope.
#[derive(Default)]
pub struct Bookings(Mutex<HashMap<String, Known<ChangeTicket>>>);

impl Bookings {
    /// Says where tickets of a part of the scope are known.
    pub fn are_known(&self, part: &str, tickets: Known<ChangeTicket>) {
        let mut all = self.0.lock().expect("no holder panics");
        all.insert(part.to_owned(), tickets);
    }

    /// Those of a namespace that plan something in the time of a ticket, once all are known.
    pub async fn meeting(&self, namespace: &str, own: &[Booking]) -> Result<Vec<Booking>> {
        let all = self.here(namespace).await?;
        let at_once = readable(&all).filter(|ticket| {
            let mut own = own.iter();
            own.any(|own| window(ticket).overlap(own.window).is_some())
        });
        let others = at_once.flat_map(Booking::each);
        let meets = |other: &Booking| own.iter().any(|own| own.meets(other));
        Ok(others.filter(meets).collect())
    }

    /// Whether something is true of a ticket of a namespace, as far as tickets are known.
    pub async fn any(&self, namespace: &str, is: impl Fn(&ChangeTicket) -> bool) -> Result<bool> {
        Ok(readable(&self.here(namespace).await?).any(is))
    }

    /// How changes of a namespace have ended, once all are known.
    pub async fn past(&self, namespace: &str) -> Result<Vec<Past>> {
        let all = self.here(namespace).await?;
        Ok(readable(&all).filter_map(Past::of).collect())
    }

    async fn here(&self, namespace: &str) -> Result<Vec<Arc<DeserializeGuard<ChangeTicket>>>> {
        let Some(known) = self.known(namespace) else {
            return Ok(Vec::new());
        };
        let mut all = heard::all(&known).await?;
        all.retain(|ticket| ticket.namespace().as_deref() == Some(namespace));
        Ok(all)
    }

    fn known(&self, namespace: &str) -> Option<Known<ChangeTicket>> {
        let all = self.0.lock().expect("no holder panics");
        all.get(namespace).or_else(|| all.get(EVERY)).cloned()
    }
}

fn readable(all: &[Arc<DeserializeGuard<ChangeTicket>>]) -> impl Iterator<Item = &ChangeTicket> {
    all.iter().filter_map(|ticket| ticket.0.as_ref().ok())
}

fn window(ticket: &ChangeTicket) -> Span {
    let window = &ticket.spec.window;
    Span {
        start: window.start.0,
        end: window.end.0,
    }
}

/// Has tickets looked at that have not started, and that overlap with one that was written, as it is or as it was.
pub fn hear(ctx: &Context, _: &str, event: &Event<DeserializeGuard<ChangeTicket>>) {
    let (Event::Apply(written) | Event::Delete(written)) = event else {
        return;
    };
    let (namespace, name) = (written.namespace().unwrap_or_default(), written.name_any());
    let Some(known) = ctx.bookings.known(&namespace) else {
        return;
    };
    let before = known.get(&ObjectRef::from_obj(written));
    let before = before.and_then(|before| before.0.as_ref().ok().map(window));
    let now = written.0.as_ref().ok().map(window);
    for other in known.state() {
        let Ok(other) = &other.0 else {
            continue;
        };
        let is_other = other.metadata.namespace.as_ref() == Some(&namespace)
            && other.metadata.name.as_ref() != Some(&name);
        let mut windows = now.iter().chain(&before);
        if is_other && waits(other) && windows.any(|one| one.overlap(window(other)).is_some()) {
            ctx.wake_ticket(&namespace, &other.name_any());
        }
    }
}

/// Whether it is handed in and has not started.
fn waits(ticket: &ChangeTicket) -> bool {
    let started = ticket.status.as_ref().is_some_and(|s| s.started.is_some());
    ticket.spec.submit && !started && !ticket.is_finished()
}
