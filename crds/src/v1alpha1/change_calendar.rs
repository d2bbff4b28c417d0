//! ChangeCalendar: when changes may be made. Windows open what is closed, freezes close what is open, and a freeze wins.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Requester, schema};

/// When something may be done, and when it may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ChangeCalendar",
    plural = "changecalendars",
    namespaced,
    status = "ChangeCalendarStatus",
    shortname = "ccal",
    category = "pilothouse",
    doc = "ChangeCalendar says when changes may be made: it is open or closed at any instant, by windows and freezes in local time. ScheduledTasks that refer to it fire nothing while it is closed.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Next Flip", type_ = "string", json_path = ".status.nextFlip"),
    printcolumn(name = "Event", type_ = "string", json_path = ".status.event"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = ".spec.timeZone",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("self.default == 'Closed' || (!self.events.exists(e, e.effect == 'Window') && !(has(self.ics) && self.ics.effect == 'Window'))").message("a Window opens what is closed; say default: Closed"),
)]
pub struct ChangeCalendarSpec {
    /// description for people who look for a calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// default is Open or Closed: what the calendar is while no event holds.
    pub default: CalendarState,
    /// timeZone is the IANA name of the zone in which dates and local times are read, such as Asia/Shanghai.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// events are windows and freezes. Where several hold, any Freeze closes; otherwise any Window opens.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub events: Vec<CalendarEvent>,
    /// ics are more events, as other programs export them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ics: Option<Ics>,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What a calendar is: changes may be made, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CalendarState {
    Open,
    Closed,
}

impl CalendarState {
    pub const fn of(open: bool) -> Self {
        if open { Self::Open } else { Self::Closed }
    }
}

impl std::fmt::Display for CalendarState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Closed => "Closed",
        })
    }
}

/// What an event does while it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CalendarEffect {
    Window,
    Freeze,
}

/// A time, or by rrule many of them, in which a calendar is open or closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.end) && has(self.duration))").message("an event has end or duration, not both"),
    validation = Rule::new("has(self.end) || has(self.duration) || self.start.size() == 10").message("an event that starts at a time of day has end or duration"),
    validation = Rule::new("!has(self.end) || ((self.start.size() == 10) == (self.end.size() == 10) && self.start.endsWith('Z') == self.end.endsWith('Z'))").message("start and end are written alike: both are dates, local times or times that end in Z"),
    validation = Rule::new("!has(self.end) || self.start.size() != self.end.size() || self.end > self.start || (self.end == self.start && self.start.size() == 10)").message("end is not after start"),
    validation = Rule::new("!has(self.duration) || (duration(self.duration) > duration('0s') && duration(self.duration) <= duration('8784h'))").message("duration is more than 0s and at most 8784h, which are 366 days"),
    validation = Rule::new("self.exdates.size() == 0 || has(self.rrule)").message("exdates are for rrule"),
)]
pub struct CalendarEvent {
    /// name of the event, other than those of all others of the calendar.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// effect is Window, which opens a calendar that is closed by default, or Freeze, which closes it whatever else holds.
    pub effect: CalendarEffect,
    /// reason for those who ask why. Default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
    /// start is a date (2026-12-24), a local time (2026-12-24T18:00) or a time of UTC (2026-12-24T10:00Z). With rrule it is the time from which occurrences are counted, and their time of day.
    #[schemars(schema_with = "schema::moment")]
    pub start: String,
    /// end is written as start is. A date is the last day, itself within the event; a time is that at which it is over. Each occurrence of an rrule is as long by local time. Default of an event that starts with a date: that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub end: Option<String>,
    /// duration of the event, or of each occurrence, as it elapses; at most 8784h. Fractions of a second do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// rrule repeats the event, as in iCalendar: FREQ=WEEKLY;BYDAY=SA,SU. FREQ is YEARLY, MONTHLY, WEEKLY or DAILY; INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSETPOS and WKST are understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub rrule: Option<String>,
    /// exdates are occurrences that are left out: a date, or the time at which one starts.
    #[serde(default)]
    #[schemars(schema_with = "schema::moments")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exdates: Vec<String>,
}

/// An iCalendar file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ics {
    /// effect of each event of the file: Window or Freeze.
    pub effect: CalendarEffect,
    /// text of the file. Of each VEVENT the times (DTSTART, DTEND, DURATION, RRULE, RDATE, EXDATE, RECURRENCE-ID) and SUMMARY, the reason, are read. At most 32768 characters and 200 events.
    #[schemars(length(min = 1, max = 32768))]
    pub text: String,
}

/// Observed state of a ChangeCalendar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeCalendarStatus {
    /// conditions: Ready is True while the calendar can be read; Stalled is True while something has to be corrected first.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// state is Open or Closed, now; nothing while the calendar cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CalendarState>,
    /// event that makes it so; nothing where the default does. Those of ics are named ics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub event: Option<String>,
    /// reason of that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
    /// nextFlip is when state changes next; nothing where no change is foreseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_flip: Option<Time>,
    /// upcoming are the next five changes of state.
    #[serde(default)]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub upcoming: Vec<CalendarFlip>,
}

/// A change of a calendar's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalendarFlip {
    /// at is when it changes.
    pub at: Time,
    /// state is Open or Closed, from then on.
    pub state: CalendarState,
    /// event that begins or ends then.
    #[schemars(length(max = 63))]
    pub event: String,
    /// reason of that event.
    #[schemars(length(max = 256))]
    pub reason: String,
}
