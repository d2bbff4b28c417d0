//! Why a request was refused at the door of the API server, as the audit has it, and what its sender can do now. Read with the caller's rights.

use crds::{
    audit::{AuditDecision, AuditEntry, Statement},
    v1alpha1::{CommandAction, CommandPolicy, GlassRecord, PolicyMode, Requester},
};
use decide::command::Rulebook;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde::{Deserialize, Serialize};

use crate::{
    caller,
    cluster::{self, Cluster},
    error::{self, Error, Result, doing},
    output::{self, Format},
};

/// What was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Denial {
    id: String,
    sequence: i64,
    entry: AuditEntry,
    /// What can be done now.
    next: Vec<String>,
    unknown: Vec<String>,
}

/// An entry as it is served.
#[derive(Deserialize)]
struct Placed {
    sequence: i64,
    entry: AuditEntry,
}

pub async fn explain(cluster: &Cluster, id: &str, format: Option<Format>) -> Result<u8> {
    let Placed { sequence, entry } = found(cluster, id).await?;
    let mut denial = Denial {
        id: entry.id(),
        sequence,
        next: Vec::new(),
        unknown: Vec::new(),
        entry,
    };
    match look(cluster, &denial.entry.statement).await {
        Ok((policy, by)) => denial.next = next(&denial.entry, policy.as_ref(), &by),
        Err(error) => denial.unknown.push(error::report(&error)),
    }
    let name = format!("auditentry.records.pilothouse.dev/{sequence:012}");
    output::result(&denial, format, &name, |_| denial.page())?;
    Ok(0)
}

/// The entry of this ID. What is no ID is in no entry, and would be another question.
async fn found(cluster: &Cluster, id: &str) -> Result<Placed> {
    let not_found = || cluster.not_found("denial", id);
    let is_one = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_one(id) {
        return Err(not_found());
    }
    let kind = GroupVersionKind::gvk("records.pilothouse.dev", "v1alpha1", "AuditEntry");
    let kind = ApiResource::from_gvk_with_plural(&kind, "auditentries");
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
    let chosen = ListParams::default().fields(&format!("id={id}"));
    let list = api.list(&chosen).await;
    let list = list.map_err(doing(format!("look for the AuditEntry of {id}")))?;
    let object = list.items.into_iter().next().ok_or_else(not_found)?;
    serde_json::from_value(object.data).map_err(|source| Error::Answer {
        what: format!("the AuditEntry of {id}"),
        source,
    })
}

/// The policy as it is now, if it still is, and who asks; of what was not refused there is nothing to look up.
async fn look(cluster: &Cluster, told: &Statement) -> Result<(Option<CommandPolicy>, Requester)> {
    if told.decision != AuditDecision::Denied {
        return Ok((None, Requester::default()));
    }
    let policy = &told.policy;
    let policies: Api<CommandPolicy> = Api::all(cluster.client.clone());
    let found = policies.get_opt(policy).await;
    let found = found.map_err(doing(format!("read CommandPolicy {policy}")))?;
    Ok((found, caller::requester(cluster).await?))
}

fn next(entry: &AuditEntry, policy: Option<&CommandPolicy>, by: &Requester) -> Vec<String> {
    let told = &entry.statement;
    let name = &told.policy;
    if told.decision != AuditDecision::Denied {
        return vec!["nothing: the request passed".to_owned()];
    }
    let Some(policy) = policy else {
        return vec![format!(
            "try it again: there is no CommandPolicy {name} any more"
        )];
    };
    let mode = policy.spec.mode;
    if mode != PolicyMode::Enforce {
        return vec![format!(
            "try it again: CommandPolicy {name} refuses nothing in mode {mode:?}"
        )];
    }
    let book = Rulebook::of(name, &policy.spec).ok();
    let asks = book.and_then(|book| book.action(&told.rule));
    let mut next = match asks {
        None => vec![format!(
            "try it again: CommandPolicy {name} has no rule {} any more",
            told.rule
        )],
        Some(CommandAction::Allow | CommandAction::Warn) => {
            vec![format!(
                "try it again: rule {} refuses nothing any more",
                told.rule
            )]
        }
        Some(CommandAction::RequireTicket) => vec![UNDER_A_TICKET.to_owned()],
        Some(_) => ways(entry),
    };
    next.extend(in_an_emergency(policy, by));
    next
}

/// Who gets past the policy, a line for each group.
fn in_an_emergency(policy: &CommandPolicy, by: &Requester) -> Vec<String> {
    let glass = policy.spec.break_glass.as_ref();
    let needs_record = glass.is_some_and(|glass| glass.record == GlassRecord::Required);
    let line = |group: &String| {
        let who = match (needs_record, by.groups.contains(group)) {
            (true, true) => "break the glass (kubectl pilothouse break-glass), as a member of",
            (true, false) => "have somebody break the glass who is in",
            (false, true) => "you pass as a member of",
            (false, false) => "have somebody do it who is in",
        };
        format!("in an emergency: {who} group {group}, which the audit log of the API server notes")
    };
    let groups = glass.into_iter().flat_map(|glass| &glass.groups);
    groups.map(line).collect()
}

/// What is asked for where a ticket is needed.
const UNDER_A_TICKET: &str = "do it as an implementer of a live ChangeTicket whose allow has it, or have its Job do it: kubectl explain changeticket.spec";

/// Ways around what is still refused; what is run instead is judged too, when it begins.
fn ways(entry: &AuditEntry) -> Vec<String> {
    let told = &entry.statement;
    let namespace = &told.subject.namespace;
    let exception = format!(
        "ask whoever keeps CommandPolicy {} for an exception: a rule of its own with action Allow",
        told.policy
    );
    if told.subject.kind == "JobRun" {
        let explain = cluster::command(namespace, &format!("explain {}", told.subject.name));
        return vec![format!("look at the run: {explain}"), exception];
    }
    if told.subject.kind != "Pod" || !matches!(told.verb.as_str(), "exec" | "attach") {
        return vec![exception];
    }
    let approve = cluster::command(namespace, "approve run/NAME");
    vec![
        format!("run it as a Job with an exec step, and have somebody else approve its run where the rule holds it: {approve}"),
        "or write a ChangeTicket whose Job does it in a window that others agree to: kubectl explain changeticket.spec".to_owned(),
        exception,
    ]
}

impl Denial {
    /// Who did what, and what was said to that.
    fn facts(&self) -> [(&'static str, String); 6] {
        let (told, source) = (&self.entry.statement, &self.entry.source);
        let subject = &told.subject;
        let who = match told.actor.groups.as_slice() {
            [] => told.actor.user.clone(),
            groups => format!("{} of {}", told.actor.user, groups.join(", ")),
        };
        [
            (
                "decision",
                format!("{}, at {}", told.decision.as_str(), told.at),
            ),
            ("who", who),
            (
                "what",
                format!(
                    "{} {}/{} in namespace {}",
                    told.verb,
                    subject.kind.to_lowercase(),
                    subject.name,
                    subject.namespace
                ),
            ),
            (
                "rule",
                format!("{} of CommandPolicy {}", told.rule, told.policy),
            ),
            ("because", told.reason.clone()),
            (
                "entry",
                format!(
                    "{:012}, number {} of {}",
                    self.sequence, self.entry.number, source.replica
                ),
            ),
        ]
    }

    fn page(&self) -> String {
        let line = |(name, text): (&str, String)| format!("{name:<8}  {text}\n");
        let mut page: String = self.facts().map(line).concat();
        if !self.next.is_empty() {
            page.push_str("\nwhat you can do now:\n");
        }
        for next in &self.next {
            page.push_str(&format!("  {next}\n"));
        }
        for unknown in &self.unknown {
            page.push_str(&format!("\nnot known: {unknown}\n"));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(over: &Value) -> AuditEntry {
        let mut all = json!({"version": 1, "source": {"replica": "w-1", "start": "a1"}, "number": 7, "at": "2026-12-24T10:00:00Z", "decision": "Denied",
            "actor": {"user": "bob", "groups": ["testers"]}, "verb": "exec", "subject": {"group": "", "kind": "Pod", "namespace": "shop", "name": "db-0"},
            "policy": "house", "rule": "beep", "reason": "rule beep: it wakes everybody; instead: whisper"});
        let fields = all.as_object_mut().expect("fields");
        fields.extend(over.as_object().expect("fields").clone());
        serde_json::from_value(all).expect("an entry")
    }

    fn policy(over: &Value) -> CommandPolicy {
        let mut spec = json!({"applyTo": ["PodExec"], "builtIn": {"packs": []},
            "rules": [{"name": "beep", "match": {"commands": ["beep"]}, "action": "Deny", "why": "w"}]});
        let fields = spec.as_object_mut().expect("fields");
        fields.extend(over.as_object().expect("fields").clone());
        let spec = serde_json::from_value(spec).expect("a spec");
        CommandPolicy::new("house", spec)
    }

    fn told(over: &Value, policy: Option<&CommandPolicy>) -> String {
        let by = Requester {
            user: "bob".into(),
            groups: vec!["night".into()],
        };
        next(&entry(over), policy, &by).join("\n")
    }

    #[test]
    fn what_can_be_done_follows_from_what_the_policy_says_today() {
        let plain = json!({});
        for (over, policy, words) in [
            (
                &plain,
                Some(policy(&plain)),
                &["approve run/NAME -n shop", "a ChangeTicket", "an exception"][..],
            ),
            (&plain, None, &["no CommandPolicy house any more"]),
            (
                &plain,
                Some(policy(&json!({"mode": "Warn"}))),
                &["refuses nothing in mode Warn"],
            ),
            (
                &plain,
                Some(policy(&json!({"rules": []}))),
                &["has no rule beep any more"],
            ),
            (
                &plain,
                Some(policy(&json!({"breakGlass": {"groups": ["night", "day"]}}))),
                &[
                    "you pass as a member of group night",
                    "have somebody do it who is in group day",
                ],
            ),
            (
                &json!({"rule": "unknown"}),
                Some(policy(&plain)),
                &["approve run/NAME"],
            ),
            (
                &json!({"decision": "Warned"}),
                Some(policy(&plain)),
                &["nothing: the request passed"],
            ),
        ] {
            let found = told(over, policy.as_ref());
            for word in words {
                assert!(found.contains(word), "no {word:?} in {found}");
            }
        }
        let run = json!({"verb": "run", "subject": {"group": "pilothouse.dev", "kind": "JobRun", "namespace": "shop", "name": "nightly"}});
        let found = told(&run, Some(&policy(&plain)));
        assert!(found.contains("explain nightly -n shop"), "{found}");
        let deployment = json!({"verb": "update", "subject": {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"}});
        let found = told(&deployment, Some(&policy(&plain)));
        assert!(
            !found.contains("Job") && found.contains("an exception"),
            "{found}"
        );
    }

    #[test]
    fn a_page_says_who_did_what_when_and_by_which_rule() {
        let denial = Denial {
            id: "a1-7".into(),
            sequence: 42,
            entry: entry(&json!({})),
            next: vec!["whisper".into()],
            unknown: Vec::new(),
        };
        let wanted = "decision  Denied, at 2026-12-24T10:00:00Z
who       bob of testers
what      exec pod/db-0 in namespace shop
rule      beep of CommandPolicy house
because   rule beep: it wakes everybody; instead: whisper
entry     000000000042, number 7 of w-1

what you can do now:
  whisper
";
        assert_eq!(denial.page(), wanted);
    }
}
