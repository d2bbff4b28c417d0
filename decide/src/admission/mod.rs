//! What is said at the door of the API server to one request, by one CommandPolicy. It is asked beneath the API server's own authorisation, and about what is in the request
//! alone: what is typed later into a terminal that was let in is seen by nobody.

mod door;
mod exec;
mod memory;
mod risk;
mod script;
mod task;
mod ticket;
mod webhooks;
mod work;
mod workload;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod work_tests;

pub use door::{Door, JUDGED, NoDoor};
pub use exec::Exec;
pub use memory::Memory;
pub use risk::refused_risks;
pub use script::Written;
pub use task::closed;
pub use ticket::warnings;
pub use webhooks::{FREE, Place, asks, of_risks, of_tickets, webhooks};
pub use work::Work;
pub use workload::Workload;

use crds::{
    audit::AuditDecision,
    v1alpha1::{CommandAction, ProtectedOperation},
};
use serde::de::DeserializeOwned;

use crate::{
    audit::{self, Ruling},
    command::{Finding, Rulebook},
};

/// Warnings that an answer has; kubectl prints each on a line of its own.
const WARNINGS: usize = 5;

/// What is written, in JSON: the object as it would be, and as it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    pub object: &'a str,
    pub before: Option<&'a str>,
}

/// What comes to one of the doors, as much of it as is judged there.
pub trait Matter: DeserializeOwned + Send + 'static {
    const DOOR: Door;

    /// Bytes of commands, about: so much longer takes the judgement.
    fn length(&self) -> usize;

    /// What a policy says of it, or of what is not as it was.
    fn findings(asked: Asked<'_, Self>, book: &Rulebook, memory: &Memory) -> Vec<Finding>;
}

/// What is asked of a policy at a door.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a, M> {
    pub subresource: &'a str,
    pub matter: M,
    /// The same as it was.
    pub before: Option<M>,
    /// The live ticket under which whoever makes it may do so, by its name.
    pub ticket: Option<&'a str>,
    /// Why they may not under one of their own that allows it, where there is one.
    pub own: Option<&'a str>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why the request is refused, and what can be done instead.
    pub refused: Option<String>,
    /// What the caller is told besides.
    pub warnings: Vec<String>,
    /// What was found that decided: rules by their names, for the audit log.
    pub rules: Vec<String>,
    /// What the strictest of them asks for, whatever the mode of the policy makes of it.
    pub asked: CommandAction,
    /// What the audit is told; nothing where no policy would do anything about it.
    pub ruling: Option<Ruling>,
    /// The ticket under which something passes that needs one.
    pub ticket: Option<String>,
}

/// The object is not what the API server said it was.
#[derive(Debug, thiserror::Error)]
#[error("the object of the request is not a {0}")]
pub struct Unreadable(pub &'static str, #[source] pub serde_json::Error);

/// What a policy says of what came to one of its doors; the memory is of this policy alone.
pub fn answer<M: Matter>(asked: Asked<'_, M>, book: &Rulebook, memory: &Memory) -> Answer {
    let (ticket, own) = (asked.ticket, asked.own);
    let findings = M::findings(asked, book, memory);
    M::DOOR.answer(&findings, ticket, own)
}

/// What a request does to its object, as tickets list it.
pub fn operation(subresource: &str, is_update: bool) -> ProtectedOperation {
    match (subresource, is_update) {
        ("exec", _) => ProtectedOperation::Exec,
        ("attach", _) => ProtectedOperation::Attach,
        ("ephemeralcontainers", _) => ProtectedOperation::EphemeralContainers,
        (_, true) => ProtectedOperation::Update,
        (_, false) => ProtectedOperation::Create,
    }
}

impl Answer {
    /// The same to somebody who breaks the glass: they pass, are told so, and it is noted.
    #[must_use]
    pub fn through_glass(mut self) -> Self {
        if let Some(refused) = self.refused.take() {
            self.warnings = vec![format!("passed by breaking the glass: {refused}")];
            if let Some(ruling) = &mut self.ruling {
                ruling.decision = AuditDecision::BrokeGlass;
            }
        }
        self
    }
}

impl Door {
    fn answer(self, findings: &[Finding], ticket: Option<&str>, own: Option<&str>) -> Answer {
        let passes = |f: &Finding| f.effect == CommandAction::RequireTicket && ticket.is_some();
        // What passes under a ticket is told of, as a warning is.
        let done = |f: &Finding| {
            if passes(f) {
                CommandAction::Warn
            } else {
                f.effect
            }
        };
        let strictest = findings.iter().map(done).max();
        let asked = findings.iter().map(|finding| finding.action).max();
        let worst = findings.iter().filter(|f| Some(done(f)) == strictest);
        let refused = match strictest.unwrap_or(CommandAction::Allow) {
            CommandAction::Allow | CommandAction::Warn => None,
            effect => worst
                .clone()
                .next()
                .and_then(|first| self.refusal(effect, first, own)),
        };
        let warned = |f: &&Finding| refused.is_none() && f.effect >= CommandAction::Warn;
        let warning = |f: &Finding| self.warning(f, ticket);
        let under = ticket.filter(|_| refused.is_none() && findings.iter().any(passes));
        Answer {
            warnings: findings
                .iter()
                .filter(warned)
                .take(WARNINGS)
                .map(warning)
                .collect(),
            rules: worst.map(|finding| finding.rule.clone()).collect(),
            asked: asked.unwrap_or(CommandAction::Allow),
            ruling: audit::at_the_door(findings, refused.is_some(), under),
            ticket: under.map(str::to_owned),
            refused,
        }
    }
}
