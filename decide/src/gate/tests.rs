//! Which runs begin, which wait and for whom, by what policies say and what people decided.

use super::*;
use serde_json::{Value, json};

/// A plan of ann's with these steps.
fn plan(steps: &[(&str, Value)]) -> Plan {
    let step = |(name, body): &(&str, Value)| {
        json!({"name": name, "lane": 0, "stage": 0, "needs": [], "body": body,
            "timeout": "1m", "deliveryTimeout": "1m", "retries": 0, "backoff": "1s"})
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    let plan = json!({"version": 1, "job": "j", "revision": "sha256:job", "writers": ["ann"], "account": "a",
        "frozenAt": "2026-01-01T00:00:00Z", "sharing": "Exclusive", "strategy": {}, "lanes": [{"kind": "Host", "targets": []}],
        "steps": steps, "params": {}, "secrets": {}});
    serde_json::from_value(plan).expect("a plan")
}

fn inline(content: &str) -> Value {
    json!({"script": {"interpreter": "Shell", "content": content, "env": {}}})
}

fn of_script(content: &str) -> Value {
    json!({"script": {"interpreter": "Shell", "content": content, "env": {}, "script": "s", "revision": "sha256:script"}})
}

fn books(policy: Value) -> Vec<Rulebook> {
    let spec = serde_json::from_value(policy).expect("a policy");
    vec![Rulebook::of("p", &spec).expect("it can be used")]
}

/// Beeps are denied, knocks are held.
fn house() -> Vec<Rulebook> {
    let rule = |command: &str, action: &str| json!({"name": command, "match": {"commands": [command]}, "action": action, "why": "w"});
    books(
        json!({"builtIn": {"packs": []}, "rules": [rule("beep", "Deny"), rule("knock", "RequireApproval"), rule("hum", "Warn"), rule("ring", "RequireTicket")]}),
    )
}

fn approval(kind: &str, name: &str, digest: &str, decision: &str) -> Approval {
    let spec = json!({"subject": {"kind": kind, "name": name}, "digest": digest, "decision": decision, "reason": "r",
        "requestedBy": {"user": "bob", "groups": []}});
    Approval::new("a", serde_json::from_value(spec).expect("a spec"))
}

/// What becomes of a run of the plan.
fn asked(plan: &Plan, books: &[Rulebook], approvals: &[Approval]) -> String {
    let ticket = Err("there is none".to_owned());
    match answered(plan, books, approvals, &ticket) {
        Answer::Open { warnings, .. } => format!("open {}", warnings.len()),
        Answer::Held { reason, .. } if reason == AWAITING_TICKET => "ticket".to_owned(),
        Answer::Held { .. } => "held".to_owned(),
        Answer::Never(refusal) => refusal.reason.to_owned(),
    }
}

fn answered(
    plan: &Plan,
    books: &[Rulebook],
    approvals: &[Approval],
    ticket: &Result<String, String>,
) -> Answer {
    let question = Question {
        run: "r",
        plan,
        hash: "sha256:plan",
        approvals,
        ticket,
        now: Timestamp::UNIX_EPOCH,
    };
    answer(&question, &findings(plan, books))
}

#[test]
fn a_policy_holds_where_its_selector_says_and_one_that_cannot_be_used_is_named() {
    let policy =
        |spec: Value| CommandPolicy::new("p", serde_json::from_value(spec).expect("a spec"));
    let shop = policy(json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}}));
    let of = |team: &str| [("team".to_owned(), team.to_owned())].into();
    let count = |policy, team: &str| super::books([policy], &of(team)).map(|books| books.len());
    assert_eq!(count(&shop, "shop"), Ok(1));
    assert_eq!(count(&shop, "bank"), Ok(0));
    let wrong = policy(json!({"builtIn": {"exclude": ["no-such-rule"]}}));
    let refused = count(&wrong, "shop").expect_err("there is no such rule");
    assert!(
        refused.message.starts_with("CommandPolicy p: "),
        "{refused}"
    );
}

#[test]
fn the_strictest_of_what_is_found_decides() {
    let of = |content: &str| asked(&plan(&[("a", inline(content))]), &house(), &[]);
    assert_eq!(of("true"), "open 0");
    assert_eq!(of("hum"), "open 1");
    assert_eq!(of("hum; knock"), "held");
    assert_eq!(of("hum; ring"), "ticket");
    assert_eq!(of("ring; knock"), "held", "people first");
    assert_eq!(of("ring; beep"), "CommandDenied");
    assert_eq!(of("knock; beep"), "CommandDenied");
    assert_eq!(of("$X"), "held", "nobody knows what it is");
    let quiet = asked(&plan(&[("a", inline("beep"))]), &[], &[]);
    assert_eq!(quiet, "open 0", "there is no policy");
}

#[test]
fn every_body_that_runs_commands_is_judged_and_what_we_wrote_for_an_action_is_not() {
    let of = |body: Value| asked(&plan(&[("a", body)]), &house(), &[]);
    assert_eq!(
        of(json!({"exec": {"command": ["env", "beep"]}})),
        "CommandDenied"
    );
    let pod = json!({"image": "i", "command": ["sh", "-c"], "args": ["beep"]});
    assert_eq!(
        of(json!({"pod": {"step": pod, "env": {}}})),
        "CommandDenied"
    );
    assert_eq!(
        of(json!({"pod": {"step": {"image": "i"}, "env": {}}})),
        "open 0"
    );
    assert_eq!(
        of(json!({"exec": {"command": ["sh", "-c", "{{ params.x }}"]}})),
        "held"
    );
    assert_eq!(
        of(json!({"exec": {"command": ["echo", "{{ params.x }}"]}})),
        "open 0"
    );
    let mut loads = inline("true");
    loads["script"]["env"] = json!({"LD_PRELOAD": {"text": "/tmp/x.so"}});
    let usual = books(json!({}));
    assert_eq!(asked(&plan(&[("a", loads)]), &usual, &[]), "held");
    let mut ours = inline("beep");
    ours["script"]["ofAction"] = json!(true);
    assert_eq!(of(ours), "open 0");
}

#[test]
fn an_approval_of_the_run_the_job_or_the_script_lets_begin_what_it_is_about() {
    let plan = plan(&[("a", of_script("knock")), ("b", inline("true"))]);
    let with = |approvals: &[Approval]| asked(&plan, &house(), approvals);
    let yes =
        |kind: &str, name: &str, digest: &str| with(&[approval(kind, name, digest, "Approve")]);
    assert_eq!(yes("JobRun", "r", "sha256:plan"), "open 0");
    assert_eq!(yes("Job", "j", "sha256:job"), "open 0");
    assert_eq!(yes("Script", "s", "sha256:script"), "open 0");
    assert_eq!(yes("JobRun", "r", "sha256:other"), "held");
    assert_eq!(yes("Script", "t", "sha256:script"), "held");
    let no = approval("Script", "s", "sha256:script", "Reject");
    let run = approval("JobRun", "r", "sha256:plan", "Approve");
    assert_eq!(with(&[run, no]), "Rejected");
}

#[test]
fn what_needs_a_ticket_begins_under_one_and_an_approval_is_none() {
    let both = plan(&[("a", inline("ring")), ("b", inline("knock"))]);
    let yes = || approval("JobRun", "r", "sha256:plan", "Approve");
    let under = |plan: &Plan, approvals: &[Approval]| {
        answered(plan, &house(), approvals, &Ok("move".to_owned()))
    };
    assert_eq!(asked(&both, &house(), &[yes()]), "ticket");
    assert!(matches!(
        under(&both, &[]),
        Answer::Held {
            reason: AWAITING_APPROVAL,
            ..
        }
    ));
    let open = |ticket: Option<&str>| Answer::Open {
        warnings: Vec::new(),
        ticket: ticket.map(str::to_owned),
    };
    assert_eq!(under(&both, &[yes()]), open(Some("move")));
    let quiet = plan(&[("a", inline("true"))]);
    assert_eq!(under(&quiet, &[]), open(None), "it needs none");
    let no = Err("there is no ChangeTicket move".to_owned());
    let Answer::Held { message, .. } = answered(&both, &house(), &[yes()], &no) else {
        panic!("it waits");
    };
    for word in [
        "there is no ChangeTicket move",
        "run j --ticket NAME",
        "steps.a at 1:1",
        "rule ring",
    ] {
        assert!(message.contains(word), "no {word:?} in {message:?}");
    }
    assert!(!message.contains("steps.b"), "{message}");
}

#[test]
fn an_approved_script_speaks_for_no_other_step() {
    let plan = plan(&[("a", of_script("knock")), ("b", inline("knock"))]);
    let script = approval("Script", "s", "sha256:script", "Approve");
    assert_eq!(asked(&plan, &house(), &[script]), "held");
}

#[test]
fn a_policy_is_asked_where_it_applies_and_does_what_its_mode_says() {
    let of = |more: Value, body: Value| {
        let mut policy = json!({"builtIn": {"packs": []}, "rules": [{"name": "beep", "match": {"commands": ["beep"]}, "action": "Deny", "why": "w"}]});
        policy
            .as_object_mut()
            .expect("fields")
            .extend(more.as_object().expect("fields").clone());
        asked(&plan(&[("a", body)]), &books(policy), &[])
    };
    let (scripts, runs) = (
        json!({"applyTo": ["Scripts"]}),
        json!({"applyTo": ["Runs"]}),
    );
    assert_eq!(of(scripts.clone(), inline("beep")), "open 0");
    assert_eq!(of(scripts, of_script("beep")), "CommandDenied");
    assert_eq!(of(runs.clone(), inline("beep")), "CommandDenied");
    assert_eq!(of(runs, of_script("beep")), "open 0");
    assert_eq!(of(json!({"mode": "Audit"}), inline("beep")), "open 0");
    assert_eq!(of(json!({"mode": "Warn"}), inline("beep")), "open 1");
    assert_eq!(of(json!({"mode": "Disabled"}), inline("beep")), "open 0");
}

#[test]
fn a_script_says_whether_it_may_be_run_and_why_not() {
    let spec = |content: &str| serde_json::from_value(json!({"content": content})).expect("a spec");
    let told = |content: &str, decided| {
        let verdict = allowed(&super::of_script(&spec(content), &house()), decided);
        format!("{}/{}", verdict.status, verdict.reason)
    };
    let no = || Some(Err(Refusal::new("Rejected", "no")));
    assert_eq!(told("true", None), "True/NothingHeld");
    assert_eq!(told("hum", None), "True/Warned");
    assert_eq!(told("knock", None), "False/ApprovalRequired");
    assert_eq!(told("knock", Some(Ok(()))), "True/Approved");
    assert_eq!(told("knock", no()), "False/Rejected");
    assert_eq!(told("beep", Some(Ok(()))), "False/Denied");
    assert_eq!(told("ring", Some(Ok(()))), "False/TicketRequired");
    assert_eq!(told("ring; knock", None), "False/ApprovalRequired");
    assert_eq!(told("ring; knock", Some(Ok(()))), "False/TicketRequired");
}
