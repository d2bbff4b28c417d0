//! What the audit says of decisions: which one it was, by which rule, and why, in words without the commands themselves.

use crds::{
    audit::{AuditDecision, AuditSubject, Statement},
    names::GROUP,
    v1alpha1::{Approval, CommandAction, Decision, JobRun, find_condition},
};
use jiff::Timestamp;

use crate::{
    Refusal,
    command::Finding,
    gate::{AWAITING_TICKET, Answer, DENIED, Found},
};

/// Findings that a reason names.
const NAMED: usize = 3;

/// What the gate of a run has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub decision: AuditDecision,
    /// The policy and its rule that decided: the first of the strictest.
    pub policy: String,
    pub rule: String,
    pub reason: String,
}

/// The ruling in an answer; none where no policy would have done anything about the run.
pub fn ruling(answer: &Answer, found: &[Found<'_>]) -> Option<Ruling> {
    use CommandAction::{Deny, RequireApproval, RequireTicket, Warn};

    let done = |found: &Found<'_>| found.finding.effect;
    let asked = |found: &Found<'_>| found.finding.action;
    let of = |decision, wanted: CommandAction, what: &dyn Fn(&Found<'_>) -> CommandAction| {
        let by: Vec<_> = found.iter().filter(|found| what(found) == wanted).collect();
        let first = &by.first()?.finding;
        Some(Ruling {
            decision,
            policy: first.policy.clone(),
            rule: first.rule.clone(),
            reason: words(&by),
        })
    };
    match answer {
        Answer::Held { reason, .. } if *reason == AWAITING_TICKET => {
            of(AuditDecision::Held, RequireTicket, &done)
        }
        Answer::Held { .. } => of(AuditDecision::Held, RequireApproval, &done),
        Answer::Never(refusal) if refusal.reason == DENIED => {
            of(AuditDecision::Denied, Deny, &done)
        }
        Answer::Never(refusal) => {
            let rejected = of(AuditDecision::Rejected, RequireApproval, &done)?;
            Some(Ruling {
                reason: refusal.message.clone(),
                ..rejected
            })
        }
        Answer::Open { ticket, .. } => of(AuditDecision::Allowed, RequireApproval, &done)
            .or_else(|| of(AuditDecision::Allowed, RequireTicket, &done))
            .map(|ruling| under(ticket.as_deref(), ruling))
            .or_else(|| of(AuditDecision::Warned, Warn, &done))
            .or_else(|| of(AuditDecision::WouldDeny, Deny, &asked))
            .or_else(|| of(AuditDecision::WouldHold, RequireApproval, &asked))
            .or_else(|| of(AuditDecision::WouldHold, RequireTicket, &asked)),
    }
}

/// A ruling with the ticket under which it lets pass.
fn under(ticket: Option<&str>, ruling: Ruling) -> Ruling {
    let Some(ticket) = ticket else {
        return ruling;
    };
    Ruling {
        reason: format!("under ChangeTicket {ticket}: {}", ruling.reason),
        ..ruling
    }
}

/// The ruling in what policies find in a request at a door of the API server, which nobody can approve later, and the ticket under which it passes; none where none would have done anything about it.
pub fn at_the_door(findings: &[Finding], refused: bool, ticket: Option<&str>) -> Option<Ruling> {
    let done = findings.iter().map(|finding| finding.effect).max()?;
    let asked = findings.iter().map(|finding| finding.action).max()?;
    let decision = match (done, asked) {
        _ if refused => AuditDecision::Denied,
        (CommandAction::Allow, CommandAction::Allow | CommandAction::Warn) => return None,
        (CommandAction::Allow, CommandAction::Deny) => AuditDecision::WouldDeny,
        (CommandAction::Allow, _) => AuditDecision::WouldHold,
        _ => AuditDecision::Warned,
    };
    let decided = |finding: &&Finding| match done {
        CommandAction::Allow => finding.action == asked,
        _ => finding.effect == done,
    };
    let mut by: Vec<_> = findings.iter().filter(decided).collect();
    by.dedup_by(|a, b| a.rule == b.rule);
    let first = by.first()?;
    let ruling = Ruling {
        decision,
        policy: first.policy.clone(),
        rule: first.rule.clone(),
        reason: named(&by, |finding| why(finding)),
    };
    Some(under(ticket, ruling))
}

/// Why, and what to do instead, without the command.
fn why(finding: &Finding) -> String {
    let reason = finding.reason.trim_end_matches('.');
    let safer = finding.safer.as_ref();
    let safer = safer.map(|safer| format!("; instead: {}", safer.trim_end_matches('.')));
    format!(
        "rule {}: {reason}{}",
        finding.rule,
        safer.unwrap_or_default()
    )
}

/// The first ones, and how many more there are.
fn named<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    let more = all.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("{more} more"));
    let first = all.iter().take(NAMED).map(one);
    first.chain(more).collect::<Vec<_>>().join("; and ")
}

/// Where, which rule and why, of the first ones.
fn words(found: &[&Found<'_>]) -> String {
    let one = |found: &&Found<'_>| {
        let (step, finding) = (&found.step.name, &found.finding);
        let at = finding.at;
        format!(
            "steps.{step} at {}:{}, rule {} of CommandPolicy {}: {}",
            at.line, at.column, finding.rule, finding.policy, finding.reason
        )
    };
    named(found, one)
}

/// A ruling about a run and its plan. Who asked is who wrote the schedule, or whatever else made the run, where it was not a person.
pub fn of_run(
    run: &JobRun,
    hash: &str,
    ruling: Ruling,
    namespace_uid: String,
    at: Timestamp,
) -> Statement {
    let nearest = run.spec.on_behalf_of.first();
    let actor = nearest.map(|origin| &origin.requested_by);
    let actor = actor.or(run.spec.requested_by.as_ref());
    let meta = run.metadata.clone();
    Statement {
        at,
        decision: ruling.decision,
        actor: actor.cloned().unwrap_or_default(),
        verb: "run".to_owned(),
        subject: AuditSubject {
            group: GROUP.to_owned(),
            kind: "JobRun".to_owned(),
            namespace: meta.namespace.unwrap_or_default(),
            namespace_uid,
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
        },
        policy: ruling.policy,
        rule: ruling.rule,
        reason: ruling.reason,
        digest: hash.to_owned(),
    }
}

/// Somebody's decision, and whether it counts.
pub fn of_approval(
    approval: &Approval,
    counts: &Result<(), Refusal>,
    namespace_uid: String,
    at: Timestamp,
) -> Statement {
    let (spec, meta) = (&approval.spec, approval.metadata.clone());
    let (decision, reason) = match (counts, spec.decision) {
        (Ok(()), Decision::Approve) => (AuditDecision::Approved, None),
        (Ok(()), Decision::Reject) => (AuditDecision::Rejected, None),
        (Err(refusal), _) => {
            let why = format!("{}: {}", refusal.reason, refusal.message);
            (AuditDecision::Refused, Some(why))
        }
    };
    let verb = match spec.decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    };
    Statement {
        at,
        decision,
        actor: spec.requested_by.clone().unwrap_or_default(),
        verb: verb.to_owned(),
        subject: AuditSubject {
            group: GROUP.to_owned(),
            kind: format!("{:?}", spec.subject.kind),
            namespace: meta.namespace.unwrap_or_default(),
            namespace_uid,
            name: spec.subject.name.clone(),
            uid: String::new(),
        },
        policy: String::new(),
        rule: String::new(),
        reason: reason.or(spec.reason.clone()).unwrap_or_default(),
        digest: spec.digest.clone(),
    }
}

/// Whether that somebody's decision counts, or why not, is not what its status says already.
pub fn is_news(approval: &Approval, counts: &Result<(), Refusal>) -> bool {
    let status = approval.status.as_ref();
    let told = status.and_then(|status| find_condition(&status.conditions, "Counts"));
    told.is_none_or(|told| match counts {
        Ok(()) => told.status != "True",
        Err(refusal) => told.status == "True" || told.reason != refusal.reason,
    })
}

/// Whether a run's status says already that it waits for this reason, in these words: whoever wrote that has told the audit before.
pub fn is_told(run: &JobRun, reason: &str, message: &str) -> bool {
    let status = run.status.as_ref();
    let running = status.and_then(|status| find_condition(&status.conditions, "Running"));
    // A long message is cut in a status.
    running.is_some_and(|told| {
        told.reason == reason && message.starts_with(told.message.trim_end_matches('…'))
    })
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::{ApprovalStatus, JobRunStatus, Verdict, set_condition};
    use serde_json::json;

    use super::*;
    use crate::{
        command::{At, Finding},
        plan::PlannedStep,
    };

    fn step() -> PlannedStep {
        let body =
            json!({"script": {"interpreter": "Shell", "content": "knock s3cret", "env": {}}});
        let step = json!({"name": "one", "lane": 0, "stage": 0, "needs": [], "body": body,
            "timeout": "1m", "deliveryTimeout": "1m", "retries": 0, "backoff": "1s"});
        serde_json::from_value(step).expect("a step")
    }

    /// A finding by what its rule asks for and what is done.
    fn finding(rule: &str, action: CommandAction, effect: CommandAction) -> Finding {
        Finding {
            policy: "house".into(),
            rule: rule.into(),
            action,
            effect,
            severity: crds::v1alpha1::CommandSeverity::Low,
            reason: "it is late".into(),
            safer: None,
            command: "knock s3cret".into(),
            at: At { line: 2, column: 7 },
        }
    }

    fn waiting(reason: &'static str) -> Answer {
        Answer::Held {
            reason,
            message: "x".into(),
        }
    }

    #[test]
    fn what_passes_under_a_ticket_names_it() {
        let (step, needed) = (step(), CommandAction::RequireTicket);
        let found = Found {
            step: &step,
            finding: finding("ring", needed, needed),
        };
        let open = Answer::Open {
            warnings: vec![],
            ticket: Some("move".into()),
        };
        let ruling = ruling(&open, &[found]).expect("it is let through");
        assert_eq!(ruling.decision, AuditDecision::Allowed);
        let first = "under ChangeTicket move: steps.one at 2:7, rule ring";
        assert!(ruling.reason.starts_with(first), "{}", ruling.reason);
    }

    #[test]
    fn a_ruling_names_the_decision_and_the_first_of_the_strictest_rules() {
        use CommandAction::{Allow, Deny, RequireApproval, RequireTicket, Warn};
        let step = step();
        let told = |answer: &Answer, findings: &[(&str, CommandAction, CommandAction)]| {
            let found: Vec<_> = findings
                .iter()
                .map(|(rule, action, effect)| Found {
                    step: &step,
                    finding: finding(rule, *action, *effect),
                })
                .collect();
            ruling(answer, &found).map(|ruling| (ruling.decision.as_str(), ruling.rule))
        };
        let open = Answer::Open {
            warnings: vec![],
            ticket: None,
        };
        let (held, unticketed) = (waiting("AwaitingApproval"), waiting(AWAITING_TICKET));
        let never = |reason| Answer::Never(Refusal::new(reason, "why"));
        let hum = ("hum", Warn, Warn);
        let knock = ("knock", RequireApproval, RequireApproval);
        let beep = ("beep", Deny, Deny);
        let ring = ("ring", RequireTicket, RequireTicket);
        for (answer, findings, wanted) in [
            (&open, vec![], None),
            (&open, vec![hum], Some(("Warned", "hum"))),
            (&open, vec![hum, knock], Some(("Allowed", "knock"))),
            (
                &open,
                vec![("a", RequireApproval, Allow), ("b", Deny, Allow)],
                Some(("WouldDeny", "b")),
            ),
            (
                &open,
                vec![("a", RequireApproval, Allow)],
                Some(("WouldHold", "a")),
            ),
            (&open, vec![("a", Warn, Allow)], None),
            (&open, vec![hum, ring], Some(("Allowed", "ring"))),
            (
                &open,
                vec![("a", RequireTicket, Allow)],
                Some(("WouldHold", "a")),
            ),
            (&held, vec![hum, knock], Some(("Held", "knock"))),
            (&held, vec![ring, knock], Some(("Held", "knock"))),
            (&unticketed, vec![knock, ring], Some(("Held", "ring"))),
            (&never(DENIED), vec![knock, beep], Some(("Denied", "beep"))),
            (
                &never("Rejected"),
                vec![hum, knock],
                Some(("Rejected", "knock")),
            ),
        ] {
            let wanted = wanted.map(|(decision, rule)| (decision, rule.to_owned()));
            assert_eq!(told(answer, &findings), wanted, "{answer:?} {findings:?}");
        }
    }

    #[test]
    fn a_reason_says_where_and_why_and_not_what_the_command_says() {
        let step = step();
        let held = CommandAction::RequireApproval;
        let found = Found {
            step: &step,
            finding: finding("knock", held, held),
        };
        let all = vec![found; 5];
        let ruling = ruling(&waiting("AwaitingApproval"), &all).expect("it is held");
        let first = "steps.one at 2:7, rule knock of CommandPolicy house: it is late; and ";
        assert!(ruling.reason.starts_with(first), "{}", ruling.reason);
        assert!(ruling.reason.ends_with("; and 2 more"), "{}", ruling.reason);
        assert!(!ruling.reason.contains("s3cret"));
    }

    #[test]
    fn who_asked_is_who_wrote_what_made_the_run() {
        let by = |user: &str| json!({"user": user, "groups": []});
        let origin =
            json!({"kind": "ScheduledTask", "name": "t", "uid": "u", "requestedBy": by("ann")});
        let spec =
            json!({"jobRef": {"name": "j"}, "requestedBy": by("robot"), "onBehalfOf": [origin]});
        let mut run = JobRun::new("r", serde_json::from_value(spec).expect("a spec"));
        let told = |run: &JobRun| {
            let held = Ruling {
                decision: AuditDecision::Held,
                policy: "p".into(),
                rule: "r".into(),
                reason: String::new(),
            };
            let at = Timestamp::UNIX_EPOCH;
            of_run(run, "sha256:0", held, "n-uid".into(), at).actor.user
        };
        assert_eq!(told(&run), "ann");
        run.spec.on_behalf_of.clear();
        assert_eq!(told(&run), "robot");
    }

    #[test]
    fn what_a_status_says_already_is_no_news() {
        let spec = json!({"jobRef": {"name": "j"}});
        let mut run = JobRun::new("r", serde_json::from_value(spec).expect("a spec"));
        let reason = "AwaitingApproval";
        assert!(!is_told(&run, reason, "a"));
        let mut status = JobRunStatus::default();
        let long = "long ".repeat(1_000);
        let verdict = Verdict::no("Running", reason, long.clone());
        set_condition(
            &mut status.conditions,
            &verdict,
            None,
            Timestamp::UNIX_EPOCH,
        );
        run.status = Some(status);
        assert!(is_told(&run, reason, &long));
        assert!(!is_told(&run, reason, "another") && !is_told(&run, "Other", &long));

        let spec = json!({"subject": {"kind": "Script", "name": "s"}, "digest": "sha256:0", "decision": "Reject"});
        let mut approval = Approval::new("a", serde_json::from_value(spec).expect("a spec"));
        let no = |reason| Err(Refusal::new(reason, "why"));
        assert!(is_news(&approval, &Ok(())) && is_news(&approval, &no("Changed")));
        let said = |verdict: &Verdict| {
            let mut status = ApprovalStatus::default();
            set_condition(&mut status.conditions, verdict, None, Timestamp::UNIX_EPOCH);
            status
        };
        approval.status = Some(said(&Verdict::yes("Counts", "Valid", "")));
        assert!(!is_news(&approval, &Ok(())) && is_news(&approval, &no("Changed")));
        approval.status = Some(said(&Verdict::no("Counts", "Changed", "")));
        assert!(is_news(&approval, &Ok(())) && is_news(&approval, &no("Expired")));
        assert!(!is_news(&approval, &no("Changed")));
    }

    #[test]
    fn a_decision_that_does_not_count_is_told_as_refused_with_the_reason() {
        let spec = json!({"subject": {"kind": "Script", "name": "s"}, "digest": "sha256:0", "decision": "Approve",
            "reason": "looked", "requestedBy": {"user": "bob", "groups": []}});
        let approval = Approval::new("a", serde_json::from_value(spec).expect("a spec"));
        let told = |counts| of_approval(&approval, &counts, String::new(), Timestamp::UNIX_EPOCH);
        let good = told(Ok(()));
        assert_eq!(
            (
                good.decision,
                &*good.actor.user,
                &*good.verb,
                &*good.reason,
                &*good.subject.kind
            ),
            (
                AuditDecision::Approved,
                "bob",
                "approve",
                "looked",
                "Script"
            )
        );
        let bad = told(Err(Refusal::new("OwnWork", "bob wrote it")));
        assert_eq!(
            (bad.decision, &*bad.reason),
            (AuditDecision::Refused, "OwnWork: bob wrote it")
        );
    }
}
