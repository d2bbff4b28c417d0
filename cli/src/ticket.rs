//! A change as it stands, and acting on it: a ChangeAction in the caller's name, created once, and what the ticket answers.

use std::time::Duration;

use crds::v1alpha1::{
    ChangeAction, ChangeActionSpec, ChangeOutcome, ChangeResult, ChangeRisk, ChangeTicket,
    ChangeTicketSpec, ChangeTicketStatus, ChangeVerb, LocalRef, Requester, find_condition,
};
use kube::{ResourceExt as _, api::PostParams};
use tokio::time::{Instant, sleep};

use crate::{
    archives,
    args::{CompleteArgs, TicketAct, TicketArgs, TicketCommand},
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
    table::table,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub async fn ticket(
    cluster: &Cluster,
    asked: &TicketCommand,
    format: Option<Format>,
) -> Result<u8> {
    match asked {
        TicketCommand::Show { ticket } => show(cluster, ticket, format).await,
        TicketCommand::Act(asked) => act(cluster, asked, format).await,
    }
}

async fn show(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<u8> {
    let ticket = archives::ticket(cluster, name).await?;
    let named = format!("changeticket.pilothouse.dev/{name}");
    output::result(&ticket, format, &named, |_| page(&ticket))?;
    Ok(0)
}

/// For people: how it stands, when it may be made, how risky it is, and what is in its way.
fn page(ticket: &ChangeTicket) -> String {
    let status = ticket.status.clone().unwrap_or_default();
    let ready = find_condition(&status.conditions, "Ready");
    let why = ready.map_or("", |ready| &ready.message);
    let summary = status.summary.as_deref().unwrap_or("not looked at yet");
    let (spec, window) = (&ticket.spec, &ticket.spec.window);
    let mut page = format!(
        "{}\n{summary}: {why}\nlevel {:?}, from {:.0} until {:.0}\n",
        spec.title, spec.level, window.start.0, window.end.0
    );
    if !spec.regions.is_empty() {
        page.push('\n');
        page.push_str(&regions(spec, &status));
    }
    if let Some(risk) = &status.risk {
        page.push_str(&weighed(risk));
    }
    if status.conflicts.is_empty() {
        return page;
    }
    let rows = status.conflicts.iter().map(|conflict| {
        vec![
            conflict.reason.name().to_owned(),
            format!("{:?}", conflict.severity),
            conflict.item.clone().unwrap_or_default(),
            conflict.message.clone(),
        ]
    });
    let head = ["CONFLICT", "SEVERITY", "ITEM", "MESSAGE"];
    page.push('\n');
    page.push_str(&table(&head, &rows.collect::<Vec<_>>()));
    page
}

/// A line for each region: its ticket, how far that is, when it may be made, and whom to talk to.
fn regions(spec: &ChangeTicketSpec, status: &ChangeTicketStatus) -> String {
    let rows = spec.regions.iter().map(|region| {
        let mut told = status.regions.iter();
        let told = told.find(|told| told.name == region.name);
        let coordinators = region.coordinators.iter();
        let people: Vec<_> = coordinators
            .flat_map(|of| of.users.iter().chain(&of.groups))
            .map(String::as_str)
            .collect();
        vec![
            region.name.clone(),
            told.map_or_else(String::new, |told| told.ticket.clone()),
            told.and_then(|told| told.summary.clone())
                .unwrap_or_default(),
            format!("{:.0}", region.window.start.0),
            format!("{:.0}", region.window.end.0),
            people.join(", "),
        ]
    });
    let head = [
        "REGION",
        "TICKET",
        "STATUS",
        "FROM",
        "UNTIL",
        "COORDINATORS",
    ];
    table(&head, &rows.collect::<Vec<_>>())
}

/// How risky it is, what that comes from, and what it lacks for that.
fn weighed(risk: &ChangeRisk) -> String {
    let lacks = risk.lacks.as_ref();
    let lacks = lacks.map(|lacks| format!("lacks: {lacks}\n"));
    let mut page = format!(
        "risk {} of 100, by ProtectionPolicy {}\n{}",
        risk.score,
        risk.policy,
        lacks.unwrap_or_default()
    );
    if risk.reasons.is_empty() {
        return page;
    }
    let rows = risk.reasons.iter().map(|reason| {
        vec![
            reason.rule.clone(),
            format!("{:?}", reason.sort),
            reason.score.to_string(),
            reason.why.clone(),
        ]
    });
    let head = ["RISK", "SORT", "SCORE", "WHY"];
    page.push('\n');
    page.push_str(&table(&head, &rows.collect::<Vec<_>>()));
    page
}

async fn act(cluster: &Cluster, asked: &TicketAct, format: Option<Format>) -> Result<u8> {
    let by = caller::requester(cluster).await?;
    let (name, wanted) = wanted(asked, by);
    // Whoever mistypes its name is told at once.
    cluster.get::<ChangeTicket>("ChangeTicket", name).await?;
    let created = cluster
        .api::<ChangeAction>()
        .create(&PostParams::default(), &wanted)
        .await
        .map_err(doing("create the ChangeAction"))?;
    let answered = answered(cluster, &created.name_any()).await?;
    let named = format!("changeaction.pilothouse.dev/{}", created.name_any());
    let applied = answered.status.as_ref();
    let applied = applied.and_then(|s| find_condition(&s.conditions, "Applied"));
    if let Some(refused) = applied.filter(|applied| applied.status == "False") {
        return Err(Error::NotTaken {
            reason: refused.reason.clone(),
            message: refused.message.clone(),
        });
    }
    let told = match applied {
        Some(_) => "taken in",
        None => "created; the operator has not answered yet",
    };
    output::result(&answered, format, &named, |_| format!("{named} {told}\n"))?;
    Ok(0)
}

/// What is typed, as an object whose name the API server makes.
fn wanted(asked: &TicketAct, by: Requester) -> (&str, ChangeAction) {
    let (ticket, reason, verb, result) = match asked {
        TicketAct::Start(TicketArgs { ticket, reason }) => {
            (ticket, reason, ChangeVerb::Start, None)
        }
        TicketAct::Cancel(TicketArgs { ticket, reason }) => {
            (ticket, reason, ChangeVerb::Cancel, None)
        }
        TicketAct::Complete(asked) => {
            let result = Some(result(asked));
            (&asked.ticket, &None, ChangeVerb::Complete, result)
        }
    };
    let spec = ChangeActionSpec {
        ticket_ref: LocalRef {
            name: ticket.clone(),
        },
        action: verb,
        reason: reason.clone(),
        result,
        requested_by: Some(by),
    };
    let mut wanted = ChangeAction::new("", spec);
    wanted.metadata.name = None;
    let word = format!("{verb:?}").to_lowercase();
    wanted.metadata.generate_name = Some(format!("{ticket}-{word}-"));
    (ticket, wanted)
}

fn result(asked: &CompleteArgs) -> ChangeResult {
    ChangeResult {
        outcome: if asked.failed {
            ChangeOutcome::Failed
        } else {
            ChangeOutcome::Success
        },
        verified: asked.verified.map(Into::into),
        note: asked.note.clone(),
    }
}

/// The action once the ticket has answered it, or as it is when that takes too long.
async fn answered(cluster: &Cluster, name: &str) -> Result<ChangeAction> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let action: ChangeAction = cluster.get("ChangeAction", name).await?;
        let told = action.status.as_ref().map(|s| &s.conditions);
        let is_told = told.is_some_and(|told| find_condition(told, "Applied").is_some());
        if is_told || Instant::now() >= deadline {
            return Ok(action);
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use crds::v1alpha1::Verified;

    use super::*;
    use crate::args::{Args, Command};

    fn typed(words: &[&str]) -> Option<ChangeAction> {
        let words = ["k", "ticket"].iter().chain(words);
        let asked = match Args::try_parse_from(words).ok()?.command {
            Command::Ticket(TicketCommand::Act(asked)) => asked,
            other => panic!("{other:?}"),
        };
        Some(wanted(&asked, Requester::default()).1)
    }

    #[test]
    fn an_action_is_of_its_ticket_and_a_result_says_how_it_is_known() {
        let start = typed(&["start", "move", "--reason", "all are here"]).expect("valid");
        assert_eq!(start.spec.action, ChangeVerb::Start);
        assert_eq!(start.spec.reason.as_deref(), Some("all are here"));
        assert_eq!(start.metadata.generate_name.as_deref(), Some("move-start-"));
        let well = typed(&["complete", "move", "--verified", "in-window"]).expect("valid");
        let well = well.spec.result.expect("a result");
        assert_eq!(
            (well.outcome, well.verified),
            (ChangeOutcome::Success, Some(Verified::InWindow))
        );
        let bad = typed(&["complete", "move", "--failed", "--note", "taken back"]);
        let bad = bad.expect("valid").spec.result.expect("a result");
        assert_eq!((bad.outcome, bad.verified), (ChangeOutcome::Failed, None));
        for lacking in [&["complete", "move"][..], &["complete", "move", "--failed"]] {
            assert!(typed(lacking).is_none(), "{lacking:?}");
        }
    }
    #[test]
    fn a_change_is_shown_with_its_risk_and_what_is_in_its_way() {
        let ticket = serde_json::json!({"metadata": {"name": "move"}, "spec": {"title": "Move it", "type": "Regular", "level": "C", "plan": {"guide": "g"},
            "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"}, "implementers": {"users": ["i"]}, "review": [{"name": "l", "users": ["bob"]}]},
            "status": {"summary": "Blocked", "conditions": [],
                "risk": {"score": 90, "policy": "shop", "lacks": "it asks for 2 levels", "reasons": [{"rule": "sale", "sort": "Business", "score": 90, "why": "the shop sells"}]}, "conflicts": [{"reason": "ItemBooked", "severity": "High", "with": {"kind": "ChangeTicket", "namespace": "n", "name": "other"},
                "item": "hosts/h1", "from": "2026-12-05T10:00:00Z", "until": "2026-12-05T12:00:00Z", "message": "ChangeTicket other also changes hosts/h1"}]}});
        let page = page(&serde_json::from_value(ticket).expect("a ticket"));
        for told in [
            "Move it\nBlocked: ",
            "from 2026-12-05T10:00:00Z until",
            "risk 90 of 100, by ProtectionPolicy shop\nlacks: it asks for 2 levels\n",
            "Business",
            "the shop sells",
            "ItemBooked",
            "hosts/h1",
            "other also changes",
        ] {
            assert!(page.contains(told), "no {told:?} in {page}");
        }
    }

    #[test]
    fn regions_are_shown_with_their_tickets_and_whom_to_talk_to() {
        let ticket = serde_json::json!({"metadata": {"name": "move"}, "spec": {"title": "Move it", "type": "Regular", "level": "C", "plan": {"guide": "g"},
            "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"}, "implementers": {"users": ["i"]}, "review": [{"name": "l", "users": ["bob"]}],
            "regions": [{"name": "eu", "window": {"start": "2026-12-05T10:30:00Z", "end": "2026-12-05T12:00:00Z"}, "coordinators": {"users": ["ann"], "groups": ["noc"]}}]},
            "status": {"summary": "Scheduled", "conditions": [], "regions": [{"name": "eu", "ticket": "move-eu-3f2504e0", "summary": "Scheduled"}]}});
        let page = page(&serde_json::from_value(ticket).expect("a ticket"));
        for told in ["move-eu-3f2504e0", "2026-12-05T10:30:00Z", "ann, noc"] {
            assert!(page.contains(told), "no {told:?} in {page}");
        }
    }
}
