//! The story of a run in words: where it stands, its conditions in order, who failed and why, and what to do next.

use std::fmt::Write as _;

use crds::v1alpha1::{DecisionTaken, StepApproval, StepStatus, find_condition};
use jiff::Timestamp;

use crate::{
    age, approve,
    cluster::command,
    known::{Acted, Failure, Known},
    table::table,
};

/// Conditions in the order in which a run goes through them.
const ORDER: [&str; 8] = [
    "Planned",
    "Running",
    "Suspended",
    "Complete",
    "Failed",
    "Ready",
    "Reconciling",
    "Stalled",
];
/// Failures that are listed.
const LISTED: usize = 20;
/// Seconds after which a run that nobody has looked at is worth a word.
const UNSEEN: i64 = 10;

/// The whole story.
pub fn text(known: &Known, now: Timestamp) -> String {
    let parts = [
        headline(known, now),
        conditions(known, now),
        decisions(known),
        failures(known),
        actions(known, now),
        unknown(known),
        next_text(known),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn headline(known: &Known, now: Timestamp) -> String {
    let status = &known.status;
    let summary = status.summary.as_deref().unwrap_or("New");
    let progress = status
        .progress
        .as_ref()
        .map(|p| format!(", {p} targets have ended"))
        .unwrap_or_default();
    let mut out = format!(
        "JobRun {}/{}: {summary}{progress}\n",
        known.namespace, known.name
    );
    let job = known.job.as_ref().map_or_else(
        || "a job written in the run".to_owned(),
        |job| format!("Job {job}"),
    );
    let by = known.requested_by.as_deref().unwrap_or("nobody known");
    let since = known
        .created
        .map(|at| format!(", {} ago", age::between(at, now)))
        .unwrap_or_default();
    let _ = writeln!(out, "{job}, asked for by {by} as {}{since}", known.account);
    let unseen = known
        .created
        .is_some_and(|at| at.duration_until(now).as_secs() > UNSEEN);
    match &status.message {
        Some(message) if !message.is_empty() => out.push_str(&format!("{message}\n")),
        None if status.conditions.is_empty() && unseen => {
            out.push_str("the operator has not looked at it yet; is it running?\n");
        }
        _ => {}
    }
    status
        .notes
        .iter()
        .for_each(|note| out.push_str(&format!("note: {note}\n")));
    out
}

fn conditions(known: &Known, now: Timestamp) -> String {
    let row = |type_: &&str| {
        let condition = find_condition(&known.status.conditions, type_)?;
        let since = age::between(condition.last_transition_time.0, now);
        // The message of the run stands above already.
        let message = if Some(&condition.message) == known.status.message.as_ref() {
            String::new()
        } else {
            condition.message.clone()
        };
        Some(vec![
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            since,
            message,
        ])
    };
    let rows: Vec<_> = ORDER.iter().filter_map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(
            &["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"],
            &rows,
        )
    }
}

/// What people were asked by steps, and what they have decided.
fn decisions(known: &Known) -> String {
    let steps = known.status.steps.iter();
    let asked = steps.filter_map(|step| Some((step, step.approval.as_ref()?)));
    let row = |(step, approval): (&StepStatus, &StepApproval)| {
        let outcome = approval.outcome.map(|outcome| format!("{outcome:?}"));
        let by = |d: &DecisionTaken| format!("{} ({:?})", d.by, d.decision);
        let by: Vec<_> = approval.decisions.iter().map(by).collect();
        vec![
            step.name.clone(),
            outcome.unwrap_or_else(|| "waits".to_owned()),
            by.join(", "),
            approval.message.clone(),
        ]
    };
    let rows: Vec<_> = asked.map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["APPROVAL", "OUTCOME", "BY", "MESSAGE"], &rows)
    }
}

fn failures(known: &Known) -> String {
    if known.failures.is_empty() {
        return String::new();
    }
    let row = |f: &Failure| {
        let exit = f.exit_code.map(|code| code.to_string()).unwrap_or_default();
        vec![
            f.step.clone(),
            f.target.clone(),
            f.attempt.to_string(),
            f.state.to_owned(),
            f.reason.clone(),
            exit,
            f.message.clone(),
        ]
    };
    let rows: Vec<_> = known.failures.iter().take(LISTED).map(row).collect();
    let mut out = table(
        &[
            "STEP", "TARGET", "ATTEMPT", "STATE", "REASON", "EXIT", "MESSAGE",
        ],
        &rows,
    );
    if known.failures.len() > LISTED {
        let _ = writeln!(out, "and {} more", known.failures.len() - LISTED);
    }
    out
}

fn actions(known: &Known, now: Timestamp) -> String {
    let row = |acted: &Acted| {
        let since = acted.at.map(|at| age::between(at, now)).unwrap_or_default();
        vec![
            acted.action.clone(),
            acted.by.clone(),
            since,
            acted.reason.clone(),
        ]
    };
    let rows: Vec<_> = known.actions.iter().map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["ACTION", "BY", "AGO", "WHY"], &rows)
    }
}

fn unknown(known: &Known) -> String {
    known
        .unknown
        .iter()
        .map(|why| format!("not known: {}\n", why.trim_start_matches("error: ")))
        .collect()
}

fn next_text(known: &Known) -> String {
    let lines: String = known
        .next
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect();
    if lines.is_empty() {
        lines
    } else {
        format!("What to do next:\n{lines}")
    }
}

/// Commands that help, with what they are for.
pub fn next(known: &Known) -> Vec<String> {
    let conditions = &known.status.conditions;
    let reason = |type_| find_condition(conditions, type_).map_or("", |c| c.reason.as_str());
    let is = |type_, status| find_condition(conditions, type_).is_some_and(|c| c.status == status);
    if is("Complete", "True") {
        return see_failures(known);
    }
    if is("Failed", "True") {
        return after_failure(known, is("Planned", "True"));
    }
    if is("Suspended", "True") {
        let mut lines = see_failures(known);
        lines.push(say(known, "resume", "to go on"));
        lines.push(say(known, "cancel", "to end it"));
        return lines;
    }
    let give_up = || vec![say(known, "cancel", "to give up waiting")];
    match reason("Running") {
        "" => vec![with(known, "doctor", "to see whether the operator runs")],
        "AccountForbidden" => {
            let account = &known.account;
            let why = format!("to see which rights {account} and the operator lack");
            let grant = "grant what the message names; the run goes on by itself";
            vec![with(known, "doctor", &why), grant.to_owned()]
        }
        "AwaitingApproval" => deciding(known),
        "AwaitingTicket" => ticketing(known),
        "WaitingForPlace" => give_up(),
        "WaitingForMachine" => [blocker(known), give_up()].concat(),
        "WaitingForRecords" => vec![with(
            known,
            "doctor",
            "to see what is wrong with records; the run goes on by itself when they answer",
        )],
        _ => [
            see_failures(known),
            vec![say(known, "watch", "to see it through")],
        ]
        .concat(),
    }
}

/// What somebody else types who decides.
fn deciding(known: &Known) -> Vec<String> {
    let steps = approve::waiting(&known.status).map(|(step, _)| {
        with(
            known,
            &format!("approve run/{} --step {step}", known.name),
            "to let it go on, by somebody who wrote none of it; reject fails the step",
        )
    });
    let mut lines = vec![say(known, "plan", "to see all that would be done")];
    lines.extend(steps);
    if lines.len() == 1 {
        lines.push(with(
            known,
            &format!("approve run/{}", known.name),
            "to let it begin, by somebody who wrote none of it; reject refuses it",
        ));
    }
    lines
}

/// What has it go on, or takes its place.
fn ticketing(known: &Known) -> Vec<String> {
    let anew = match &known.job {
        Some(job) => format!("run {job} --ticket NAME"),
        None => "exec COMMAND --ticket NAME".to_owned(),
    };
    let under = with(
        known,
        &anew,
        "for a new run under a ticket of which you are an implementer",
    );
    let mut lines = vec![
        "have a ticket come to be live that covers it, of those that the message speaks of; the run goes on by itself"
            .to_owned(),
    ];
    lines.extend([under, say(known, "cancel", "to give up waiting")]);
    lines
}

fn after_failure(known: &Known, planned: bool) -> Vec<String> {
    let again = match &known.job {
        Some(job) => with(
            known,
            &format!("run {job}"),
            "with the same parameters, for a new run",
        ),
        None => "create the run anew".to_owned(),
    };
    if planned {
        let left = say(known, "retry", "for a new run on the targets that are left");
        return [see_failures(known), vec![left, again]].concat();
    }
    vec![
        "correct what the message names; nothing was done".to_owned(),
        again,
    ]
}

/// The output of what failed; of what never ran there is none, and its message says what to do.
fn see_failures(known: &Known) -> Vec<String> {
    let ran = |f: &&Failure| !matches!(f.state, "Undeliverable" | "DeliveryTimedOut");
    let asked = known.status.steps.iter().filter(|s| s.approval.is_some());
    let asked: Vec<_> = asked.map(|s| s.name.as_str()).collect();
    let printed = |f: &&Failure| ran(f) && !asked.contains(&f.step.as_str());
    let mut lines = Vec::new();
    if let Some(first) = known.failures.iter().find(printed) {
        let target = if first.target.is_empty() {
            format!("--step {}", first.step)
        } else {
            format!("--target {}", first.target)
        };
        lines.push(with(
            known,
            &format!("logs {} {target}", known.name),
            "to read what it printed",
        ));
    }
    if known.failures.iter().any(|f| f.state == "Unknown") {
        lines.push("look at the targets whose state is Unknown: it may have taken effect there, and is not repeated by itself".to_owned());
    }
    if let Some(lost) = known.failures.iter().find(|f| !ran(f)) {
        lines.push(format!(
            "kubectl describe host {} -n {}   if it is a host, to see how it answers",
            lost.target, known.namespace
        ));
    }
    lines
}

/// The run that holds the machines, where the message may name it.
fn blocker(known: &Known) -> Vec<String> {
    let message = known.status.message.as_deref().unwrap_or_default();
    let name = message
        .strip_prefix("JobRun ")
        .and_then(|rest| rest.split_whitespace().next());
    name.map(|name| {
        with(
            known,
            &format!("watch {name}"),
            "to see the run that holds the machines",
        )
    })
    .into_iter()
    .collect()
}

fn say(known: &Known, verb: &str, purpose: &str) -> String {
    with(known, &format!("{verb} {}", known.name), purpose)
}

fn with(known: &Known, rest: &str, purpose: &str) -> String {
    format!("{}   {purpose}", command(&known.namespace, rest))
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
