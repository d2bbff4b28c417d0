//! Whatever a ScheduledTask says of when, its moments come in order and once, and asking later gives the rest; a turn settles what is due and its status stays within bounds.
#![no_main]

use crds::v1alpha1::{ScheduledTask, ScheduledTaskSpec};
use decide::schedule::{self, Timetable, Told, World};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use libfuzzer_sys::fuzz_target;

/// Moments that are looked at.
const MANY: usize = 40;

fuzz_target!(|text: &str| {
    let (now, spec) = text.split_once('\n').unwrap_or(("0", text));
    let Ok(spec) = serde_json::from_str::<ScheduledTaskSpec>(spec) else {
        return;
    };
    let now = Timestamp::from_second(i64::from(now.parse::<u32>().unwrap_or(0)));
    let now = now.expect("32 bits of seconds");
    let created = Timestamp::UNIX_EPOCH.max(now.saturating_sub(DAY).expect("a fixed length"));
    if let Ok(table) = Timetable::read(&spec, created) {
        moments(&table, now);
        // A day of seconds, which the schema allows, is only slower.
        if spec.misfire.deadline.get() <= HOUR.unsigned_abs() {
            turns(&table, spec, created, now);
        }
    }
});

const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn moments(table: &Timetable, now: Timestamp) {
    let all: Vec<_> = table.after(now).take(MANY).collect();
    for pair in all.windows(2) {
        let same = pair[0].at == pair[1].at && pair[0].closed.is_some();
        assert!(pair[0].at < pair[1].at || same, "{pair:?}");
    }
    if let Some(half) = all.get(MANY / 2) {
        let rest = all.iter().filter(|moment| moment.at > half.at);
        let asked: Vec<_> = table.after(half.at).take(MANY).collect();
        // Of a stretch of closed dates only the first moment is told.
        let open = rest.filter(|m| m.closed.is_none()).map(|m| m.at);
        let also = asked.iter().filter(|m| m.closed.is_none()).map(|m| m.at);
        assert!(open.zip(also).all(|(a, b)| a == b), "{all:?} and {asked:?}");
    }
}

fn turns(table: &Timetable, spec: ScheduledTaskSpec, created: Timestamp, now: Timestamp) {
    let mut task = ScheduledTask::new("task", spec);
    task.metadata.creation_timestamp = Some(Time(created));
    let world = World::default();
    for hour in 0..3 {
        let now = now + SignedDuration::from_hours(hour);
        let next = schedule::next(&task, schedule::due(&task, table, now), &world, now);
        assert!(next.start.iter().all(|at| *at <= now) && next.settled <= now);
        assert!(next.again.is_none_or(|again| again > now));
        let told = Told {
            table,
            next: &next,
            world: Some(&world),
        };
        let status = schedule::status(&task, &Ok(told), now);
        assert!(status.suppressed.len() <= 10 && status.next_firings.len() <= 5);
        // As the API server gives it back.
        let written = serde_json::to_string(&status).expect("a status is JSON");
        task.status = Some(serde_json::from_str(&written).expect("it was a status"));
        let again = schedule::due(&task, table, now);
        assert!(
            again.is_empty() || task.spec.max_runs.is_some(),
            "{again:?} was settled"
        );
    }
}
