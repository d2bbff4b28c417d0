//! ProtectionPolicy: keeps in its status whether it is open or closed, which is where the API server reads it. It knows no clock, so every flip is written at its instant.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{
    BreakGlass, CalendarRef, CalendarState, ChangeCalendar, ChangeTicket, GlassRecord,
    ProtectionPolicy, ProtectionPolicySpec, ProtectionPolicyStatus,
};
use decide::protection;
use futures::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

use super::valid;
use crate::{
    context::Context,
    error::{Error, Result, chain},
    heard::{self, Known},
    report,
    scope::Scope,
};

/// Turns without a flip, so that a clock that was set is noticed.
const CALM: Duration = Duration::from_mins(1);

/// News of policies, which have to be followed for them to be known, and what is known.
pub type News = (
    BoxStream<'static, Result<DeserializeGuard<ProtectionPolicy>, watcher::Error>>,
    Known<ProtectionPolicy>,
);

/// They are of the whole cluster, so where only some namespaces are served there are none.
pub fn heard(client: &Client, scope: &Scope) -> Option<News> {
    let heard = scope
        .is_every_namespace()
        .then(|| heard::follow(Api::all(client.clone())));
    heard.map(|(known, news)| (news.boxed(), known))
}

/// Drives the policies where there can be any.
pub async fn drive(ctx: &Arc<Context>, news: Option<News>) {
    let Some((news, known)) = news else {
        return;
    };
    let calendars = Api::<DeserializeGuard<ChangeCalendar>>::all(ctx.client.clone());
    let (tickets, news_of_tickets) = heard::follow(Api::all(ctx.client.clone()));
    let (glasses, news_of_glasses) = heard::follow(Api::all(ctx.client.clone()));
    let (policies, ticketed, guarded) = (known.clone(), known.clone(), known.clone());
    let heard = Heard { tickets, glasses };
    let turns = Controller::for_stream(news, known)
        .watches(calendars, watcher::Config::default(), move |calendar| {
            let of = (
                calendar.namespace().unwrap_or_default(),
                calendar.name_any(),
            );
            again(&policies, |spec| {
                let mut refs = refs(spec).iter();
                refs.any(|one| (&one.namespace, &one.name) == (&of.0, &of.1))
            })
        })
        .watches_stream(news_of_tickets, move |_| {
            again(&ticketed, |spec| spec.require.ticket.is_some())
        })
        .watches_stream(news_of_glasses, move |_| {
            again(&guarded, |spec| {
                let glass = spec.break_glass.as_ref();
                glass.is_some_and(|glass| glass.record == GlassRecord::Required)
            })
        })
        .run(
            move |policy, ctx| reconcile(policy, ctx, heard.clone()),
            super::policy,
            ctx.clone(),
        );
    turns
        .for_each(async |turn| {
            if let Err(error) = turn {
                tracing::debug!(%error, "a turn ended with an error");
            }
        })
        .await;
}

/// The policies that have to be looked at again; one that cannot be read says nothing.
fn again(
    known: &Known<ProtectionPolicy>,
    concerns: impl Fn(&ProtectionPolicySpec) -> bool,
) -> Vec<ObjectRef<DeserializeGuard<ProtectionPolicy>>> {
    let all = known.state();
    let concerned = all.iter().filter(|policy| {
        let policy = policy.0.as_ref();
        policy.is_ok_and(|policy| concerns(&policy.spec))
    });
    concerned
        .map(|policy| ObjectRef::from_obj(&**policy))
        .collect()
}

/// What lets somebody pass.
#[derive(Clone)]
struct Heard {
    tickets: Known<ChangeTicket>,
    glasses: Known<BreakGlass>,
}

fn refs(spec: &ProtectionPolicySpec) -> &[CalendarRef] {
    spec.require.open_calendars.as_deref().unwrap_or(&[])
}

async fn reconcile(
    policy: Arc<DeserializeGuard<ProtectionPolicy>>,
    ctx: Arc<Context>,
    heard: Heard,
) -> Result<Action> {
    let policy = valid(&policy)?;
    if policy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let mut found = Vec::new();
    for of in refs(&policy.spec) {
        found.push(look(&ctx, of).await?);
    }
    let found = found.iter().map(|found| match found {
        Ok(calendar) => Ok(calendar.as_ref().map(|calendar| &calendar.spec)),
        Err(why) => Err(why.as_str()),
    });
    let now = Timestamp::now();
    let tickets = heard::all(&heard.tickets).await?;
    let tickets = tickets.iter().filter_map(|ticket| ticket.0.as_ref().ok());
    let glasses = heard::all(&heard.glasses).await?;
    let glasses = glasses.iter().filter_map(|glass| glass.0.as_ref().ok());
    let found = refs(&policy.spec).iter().zip(found);
    let told = protection::status(policy, found, tickets, glasses, now);
    if policy.status.as_ref() != Some(&told.status) {
        let all = Api::all(ctx.client.clone());
        report::status_of(&all, policy, "pilothouse-protectionpolicy", &told.status).await?;
        tell(&ctx, policy, &told.status).await;
    }
    ctx.succeeded(policy);
    let wait = told.again.map(|at| at.duration_since(now));
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
    let wait = wait.unwrap_or(CALM);
    Ok(Action::requeue(wait.clamp(Duration::from_millis(1), CALM)))
}

/// A calendar, or why what is stored of it cannot be read; where nobody answers, the last state stands and the turn is taken again.
async fn look(
    ctx: &Context,
    of: &CalendarRef,
) -> Result<std::result::Result<Option<Arc<ChangeCalendar>>, String>> {
    match ctx.calendar(&of.namespace, &of.name).await {
        Ok(calendar) => Ok(Ok(calendar)),
        Err(error) if matches!(*error, kube::Error::SerdeError(_)) => Ok(Err(chain(&*error))),
        Err(source) => Err(Error::Observe {
            what: format!("ChangeCalendar {}/{}", of.namespace, of.name),
            source,
        }),
    }
}

/// Tells of a flip.
async fn tell(ctx: &Context, policy: &ProtectionPolicy, status: &ProtectionPolicyStatus) {
    let before = policy.status.as_ref().and_then(|s| s.state);
    let (Some(before), Some(now)) = (before, status.state) else {
        return;
    };
    if before == now {
        return;
    }
    let (word, why) = match now {
        CalendarState::Open => ("Opened", "its calendars are open"),
        CalendarState::Closed => ("Closed", status.reason.as_deref().unwrap_or_default()),
    };
    let until = status.next_flip.as_ref();
    let until = until.map(|at| format!("; {} {:.0}", next(now), at.0));
    let note = format!("{why}{}", until.unwrap_or_default());
    let about = policy.object_ref(&());
    ctx.events.tell(&about, false, word, "Flip", &note).await;
}

/// What comes next.
const fn next(now: CalendarState) -> &'static str {
    match now {
        CalendarState::Open => "it closes at",
        CalendarState::Closed => "it opens at",
    }
}
