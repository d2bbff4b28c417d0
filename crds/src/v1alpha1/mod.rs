//! Version `v1alpha1` of the API group `pilothouse.dev`: one module a kind, and the parts that kinds share.

mod action;
mod approval;
mod break_glass;
mod change_action;
mod change_calendar;
mod change_conflict;
mod change_region;
mod change_risk;
mod change_solution;
mod change_ticket;
mod command_policy;
mod condition;
mod declared_parameter;
mod duration;
mod glass;
mod host;
mod job;
mod job_run;
mod parameter;
mod protection_policy;
mod reference;
mod scheduled_task;
mod schema;
mod script;
mod share;
mod step;
mod target;
mod whole;

pub use action::*;
pub use approval::*;
pub use break_glass::*;
pub use change_action::*;
pub use change_calendar::*;
pub use change_conflict::*;
pub use change_region::*;
pub use change_risk::*;
pub use change_solution::*;
pub use change_ticket::*;
pub use command_policy::*;
pub use condition::*;
pub use declared_parameter::*;
pub use duration::*;
pub use glass::*;
pub use host::*;
pub use job::*;
pub use job_run::*;
pub use parameter::*;
pub use protection_policy::*;
pub use reference::*;
pub use scheduled_task::*;
pub use script::*;
pub use share::*;
pub use step::*;
pub use target::*;
pub use whole::whole_second;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every kind of this version, in the order in which people meet them.
pub fn all() -> Vec<CustomResourceDefinition> {
    [
        Host::crd(),
        Script::crd(),
        Job::crd(),
        JobRun::crd(),
        RunAction::crd(),
        ScheduledTask::crd(),
        Parameter::crd(),
        ChangeCalendar::crd(),
        ChangeTicket::crd(),
        ChangeSolution::crd(),
        ChangeAction::crd(),
        Approval::crd(),
        CommandPolicy::crd(),
        ProtectionPolicy::crd(),
        BreakGlass::crd(),
    ]
    .map(schema::without_null)
    .map(schema::with_unseen_status)
    .into()
}
