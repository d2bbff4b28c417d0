//! What a ChangeCalendar's status says: open or closed, why, and what comes.

use crds::v1alpha1::{CalendarState, ChangeCalendar, ChangeCalendarStatus, Verdict, set_condition};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Calendar;
use crate::Refusal;

/// Flips that are foretold.
const FORETOLD: usize = 5;

/// The status at an instant; refusals say what has to be corrected in the spec.
pub fn status(
    calendar: &ChangeCalendar,
    read: &Result<Calendar, Vec<Refusal>>,
    now: Timestamp,
) -> ChangeCalendarStatus {
    let generation = calendar.metadata.generation;
    let mut status = ChangeCalendarStatus {
        observed_generation: generation,
        conditions: calendar.status.clone().unwrap_or_default().conditions,
        ..ChangeCalendarStatus::default()
    };
    let ready = match read {
        Ok(read) => {
            tell(&mut status, read, now);
            let events = read.events().len();
            let message = format!("{events} windows and freezes");
            Verdict::yes("Ready", "Read", message)
        }
        Err(refused) => {
            let told: Vec<_> = refused.iter().map(|r| r.message.as_str()).collect();
            let reason = refused.first().map_or("EventInvalid", |r| r.reason);
            Verdict::no("Ready", reason, told.join("; "))
        }
    };
    if ready.status == "False" {
        let stalled = Verdict::yes("Stalled", ready.reason, &ready.message);
        set_condition(&mut status.conditions, &stalled, generation, now);
    } else {
        status.conditions.retain(|c| c.type_ != "Stalled");
    }
    set_condition(&mut status.conditions, &ready, generation, now);
    status
}

fn tell(status: &mut ChangeCalendarStatus, calendar: &Calendar, now: Timestamp) {
    let state = calendar.at(now);
    status.state = Some(CalendarState::of(state.open));
    status.event = state.event.map(|event| event.name.clone());
    status.reason = state.event.map(|event| event.reason.clone());
    status.next_flip = state.until.map(Time);
    let flips = calendar.flips(now).take(FORETOLD);
    status.upcoming = flips.map(|flip| flip.told()).collect();
}
