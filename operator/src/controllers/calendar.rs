//! ChangeCalendar: says whether it is open or closed, why, and when that changes.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{CalendarState, ChangeCalendar, ChangeCalendarStatus};
use decide::calendar::{self, Calendar};
use jiff::Timestamp;
use kube::{Resource as _, core::DeserializeGuard, runtime::controller::Action};

use super::valid;
use crate::{context::Context, error::Result, report};

/// Turns without a flip: which event holds may change meanwhile, and so may the clock.
const CALM: Duration = Duration::from_mins(1);

pub async fn reconcile(
    calendar: Arc<DeserializeGuard<ChangeCalendar>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let calendar = valid(&calendar)?;
    if calendar.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let read = Calendar::read(&calendar.spec);
    let status = calendar::status(calendar, &read, now);
    if calendar.status.as_ref() != Some(&status) {
        report::status(&ctx.client, calendar, "pilothouse-changecalendar", &status).await?;
        tell(&ctx, calendar, &status).await;
    }
    ctx.succeeded(calendar);
    if read.is_err() {
        return Ok(Action::await_change());
    }
    let flip = status.next_flip.map(|at| at.0.duration_since(now));
    let flip = flip.and_then(|wait| Duration::try_from(wait).ok());
    let wait = flip.unwrap_or(CALM);
    Ok(Action::requeue(wait.clamp(Duration::from_millis(1), CALM)))
}

/// Tells of a flip.
async fn tell(ctx: &Context, calendar: &ChangeCalendar, status: &ChangeCalendarStatus) {
    let before = calendar.status.as_ref().and_then(|s| s.state);
    let (Some(before), Some(now)) = (before, status.state) else {
        return;
    };
    if before == now {
        return;
    }
    let word = match now {
        CalendarState::Open => "Opened",
        CalendarState::Closed => "Closed",
    };
    let why = match (&status.event, &status.reason) {
        (Some(event), Some(reason)) => format!("{event}: {reason}"),
        _ => "no event holds".to_owned(),
    };
    let until = status.next_flip.as_ref();
    let until = until.map(|at| format!(", until {:.0}", at.0));
    let note = format!("{why}{}", until.unwrap_or_default());
    let about = calendar.object_ref(&());
    ctx.events.tell(&about, false, word, "Flip", &note).await;
}
