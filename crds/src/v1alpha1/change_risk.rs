//! How risky a change is: what a ProtectionPolicy weighs and asks of what is risky, and what the status of a ChangeTicket says of it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CalendarRef, Duration};

/// What makes changes risky, and what is asked of those that are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.rules.size() > 0 || has(self.personnel)").message("nothing is weighed; give rules or personnel"))]
pub struct RiskScale {
    /// rules are what counts of a ticket, 20 at most. The scores of all that hold are added up, to 100 at most.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<RiskRule>,
    /// personnel is what counts of those who carry the change out, and of when they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personnel: Option<PersonnelRisk>,
    /// review is how many levels of review a ticket has at least, by its score, 5 entries at most; of those whose score it reaches the one with the most levels holds. A ticket with fewer is not handed in, nor started, while mode is Enforce. Levels that name a user or a group in common count as one.
    #[serde(default)]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub review: Vec<RiskReview>,
    /// blockAt is the score, 1 to 100, from which on a ticket is neither handed in nor started, while mode is Enforce. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub block_at: Option<i32>,
}

/// Something that makes a change riskier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RiskRule {
    /// name of the rule, as status.risk of tickets has it.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// sort is Scenario (what is done, and to what), Process (how it is planned and reviewed), Business (whom it may hurt) or Personnel (who does it). It is for people.
    pub sort: RiskSort,
    /// when is a CEL condition of ticket (its metadata and spec), namespaceObject (metadata: name and labels), job (the spec of its Job as it is now, or null) and conflicts (as status.conflicts), such as 'ticket.spec.level == "A"'. Times are texts. A field that is not set is not there: ask has() first. One that cannot be evaluated counts as true.
    #[schemars(length(min = 1, max = 512))]
    pub when: String,
    /// score that is added where it is true, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub score: i32,
    /// why it is risky, for whoever reads the score.
    #[schemars(length(min = 1, max = 256))]
    pub why: String,
}

/// What a risk comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskSort {
    Scenario,
    Process,
    Business,
    Personnel,
}

/// What counts of people: at least one of three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.firstTime) || has(self.outOfHours) || has(self.recentFailures)").message("personnel is at least one of firstTime, outOfHours and recentFailures"))]
pub struct PersonnelRisk {
    /// firstTime is the score, 1 to 100, of a change of which none of implementers.users (where it names groups alone: whoever wrote it) has had a part in one that ended well in the namespace. Those who wrote, carry out, started or reported a change have a part in it. Tickets that were deleted are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub first_time: Option<i32>,
    /// outOfHours counts a change whose window is not within the hours of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_hours: Option<OutOfHours>,
    /// recentFailures counts a change of people whose last ones failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_failures: Option<RecentFailures>,
}

/// A window that is not within the hours of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutOfHours {
    /// score that is added, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub score: i32,
    /// calendar is a ChangeCalendar that is open in the hours of work. It counts unless that is open throughout what is left of the window; one that is not there or cannot be read is never open.
    pub calendar: CalendarRef,
}

/// People whose last changes failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecentFailures {
    /// score that is added, 1 to 100, however many failed.
    #[schemars(range(min = 1, max = 100))]
    pub score: i32,
    /// within this time before now a change of the namespace failed in which one of implementers.users, or whoever wrote the ticket, had a part. What was cancelled or has expired did not fail. Default 720h.
    #[serde(default = "a_month")]
    pub within: Duration,
}

fn a_month() -> Duration {
    Duration::from_secs(30 * 24 * 3600)
}

/// How many levels of review a risk asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RiskReview {
    /// score from which on it holds, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub score: i32,
    /// levels of spec.review that a ticket has at least, 1 to 5.
    #[schemars(range(min = 1, max = 5))]
    pub levels: i32,
}

/// How risky a change is, by the ProtectionPolicy that gives it the highest score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRisk {
    /// score from 0 to 100.
    pub score: i32,
    /// policy whose score it is.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// reviewLevels are how many levels of review policies in mode Enforce ask for, by their own scores; nothing where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_levels: Option<i32>,
    /// lacks is what a policy asks for that the ticket has not, and what to do, whether or not the policy is enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub lacks: Option<String>,
    /// reasons are what was added up, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 23))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub reasons: Vec<RiskReason>,
}

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RiskReason {
    /// rule by its name, or firstTime, outOfHours or recentFailures.
    #[schemars(length(max = 63))]
    pub rule: String,
    /// sort of the rule.
    pub sort: RiskSort,
    /// score that it has added.
    pub score: i32,
    /// why it counts.
    #[schemars(length(max = 1024))]
    pub why: String,
}
