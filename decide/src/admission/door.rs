//! The doors of the API server at which a policy is asked, and the words that are said there.

use std::{fmt, str::FromStr};

use crds::v1alpha1::{CommandAction, CommandPlace};

use crate::command::Finding;

/// Extra of a user, by which the API server knows what the operator does for a run: that was judged when the run began. Only the operator may impersonate it.
pub const JUDGED: &str = "pilothouse.dev/judged";

/// Where a request comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// A command or a terminal in a container.
    Exec,
    /// Containers, by themselves or in what makes pods.
    Workload,
    /// A Script: everything is let in, with warnings.
    Script,
}

impl Door {
    pub const ALL: [Self; 3] = [Self::Exec, Self::Workload, Self::Script];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Workload => "workload",
            Self::Script => "script",
        }
    }

    /// What a policy applies to that has this door.
    pub const fn place(self) -> CommandPlace {
        match self {
            Self::Exec => CommandPlace::PodExec,
            Self::Workload => CommandPlace::Workloads,
            Self::Script => CommandPlace::Scripts,
        }
    }

    pub(super) fn refusal(
        self,
        effect: CommandAction,
        finding: &Finding,
        own: Option<&str>,
    ) -> Option<String> {
        let told = finding.told();
        match (self, effect, own) {
            (Self::Script, ..) => None,
            (Self::Exec, CommandAction::RequireApproval, _) => Some(format!(
                "{told}; a Job with an exec step can do it, once somebody else has approved its run"
            )),
            (Self::Workload, CommandAction::RequireApproval, _) => Some(format!(
                "{told}; whoever keeps the CommandPolicy can make an exception, a rule of its own with action Allow"
            )),
            (_, CommandAction::RequireTicket, Some(why)) => Some(format!("{told}; {why}")),
            (Self::Exec, CommandAction::RequireTicket, None) => Some(format!(
                "{told}; an implementer of a live ChangeTicket of the namespace can do it whose allow has it, or a Job that a ticket runs"
            )),
            (Self::Workload, CommandAction::RequireTicket, None) => Some(format!(
                "{told}; an implementer of a live ChangeTicket of the namespace can do it whose allow has it"
            )),
            _ => Some(told),
        }
    }

    /// kubectl cuts off what is long, so that what matters stands first.
    pub(super) fn warning(self, finding: &Finding, ticket: Option<&str>) -> String {
        let told = finding.told();
        let at = finding.at;
        match (self, finding.effect) {
            (Self::Script, CommandAction::RequireTicket) => {
                format!(
                    "{}:{}: runs wait for a ChangeTicket: {told}",
                    at.line, at.column
                )
            }
            (_, CommandAction::RequireTicket) => match ticket {
                Some(ticket) => format!("under ChangeTicket {ticket}: {told}"),
                None => told,
            },
            (Self::Script, CommandAction::Deny) => {
                format!("{}:{}: no run may use it: {told}", at.line, at.column)
            }
            (Self::Script, CommandAction::RequireApproval) => {
                format!(
                    "{}:{}: runs wait for an approval: {told}",
                    at.line, at.column
                )
            }
            _ => told,
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such door.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no door {0:?}")]
pub struct NoDoor(String);

impl FromStr for Door {
    type Err = NoDoor;

    fn from_str(text: &str) -> Result<Self, NoDoor> {
        let door = Self::ALL.into_iter().find(|door| door.name() == text);
        door.ok_or_else(|| NoDoor(text.to_owned()))
    }
}
