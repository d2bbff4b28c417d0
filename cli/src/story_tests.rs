use super::*;
use crate::explain::tests::of;

fn failure(target: &str, state: &'static str) -> Failure {
    Failure {
        step: "s".into(),
        target: target.into(),
        attempt: 1,
        state,
        reason: "ExitCode".into(),
        exit_code: Some(1),
        message: String::new(),
    }
}

fn commands(known: &Known) -> Vec<String> {
    next(known)
        .iter()
        .map(|line| line.split("   ").next().expect("a line").to_owned())
        .collect()
}

#[test]
fn a_run_that_waits_for_a_machine_names_the_run_that_holds_it() {
    let mut known = of(&["Planned=True/Frozen", "Running=False/WaitingForMachine"]);
    known.status.message = Some(
        "JobRun other works on 2 of the same machines; this run starts when it has ended".into(),
    );
    assert_eq!(
        commands(&known),
        [
            "kubectl pilothouse watch other -n n",
            "kubectl pilothouse cancel r -n n"
        ]
    );
    known.status.message =
        Some("a run of another namespace works on 1 of the same machines".into());
    assert_eq!(commands(&known), ["kubectl pilothouse cancel r -n n"]);
}

#[test]
fn a_run_that_waits_at_a_step_names_the_step_that_is_decided_on() {
    let mut known = of(&["Planned=True/Frozen", "Running=False/AwaitingApproval"]);
    let plan = "kubectl pilothouse plan r -n n";
    assert_eq!(
        commands(&known),
        [plan, "kubectl pilothouse approve run/r -n n"]
    );
    let step = serde_json::json!({"name": "sign-off", "pending": 0, "running": 1, "succeeded": 0, "failed": 0, "skipped": 0,
        "approval": {"attempt": 1, "needed": 2, "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z",
            "decisions": [{"approval": "a", "uid": "u", "decision": "Approve", "by": "bob", "at": "2026-01-01T00:00:01Z"}],
            "message": "1 of 2 approvals (bob)"}});
    known.status.steps = vec![serde_json::from_value(step).expect("a step")];
    assert_eq!(
        commands(&known),
        [
            plan,
            "kubectl pilothouse approve run/r --step sign-off -n n"
        ]
    );
    let told = text(&known, Timestamp::UNIX_EPOCH);
    for word in ["waits", "bob (Approve)", "1 of 2 approvals (bob)"] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
}

#[test]
fn a_run_that_waits_for_a_ticket_names_the_line_that_runs_it_under_one() {
    let mut known = of(&["Planned=True/Frozen", "Running=False/AwaitingTicket"]);
    let cancel = "kubectl pilothouse cancel r -n n";
    let anew = "kubectl pilothouse run j --ticket NAME -n n";
    assert_eq!(commands(&known)[1..], [anew, cancel]);
    known.job = None;
    let anew = "kubectl pilothouse exec COMMAND --ticket NAME -n n";
    assert_eq!(commands(&known)[1..], [anew, cancel]);
}

#[test]
fn a_suspended_run_is_looked_at_then_resumed_or_cancelled() {
    let mut known = of(&[
        "Planned=True/Frozen",
        "Running=False/Suspended",
        "Suspended=True/ThresholdExceeded",
    ]);
    known.failures = vec![failure("vm1", "Failed")];
    assert_eq!(
        commands(&known),
        [
            "kubectl pilothouse logs r --target vm1 -n n",
            "kubectl pilothouse resume r -n n",
            "kubectl pilothouse cancel r -n n"
        ]
    );
}

#[test]
fn a_refused_run_is_corrected_and_created_anew() {
    let known = of(&["Planned=False/CycleInNeeds", "Failed=True/CycleInNeeds"]);
    assert_eq!(
        commands(&known),
        [
            "correct what the message names; nothing was done",
            "kubectl pilothouse run j -n n"
        ]
    );
}

#[test]
fn what_never_ran_has_no_output_to_read() {
    let mut known = of(&["Planned=True/Frozen", "Failed=True/StepsFailed"]);
    known.failures = vec![failure("vm1", "Undeliverable")];
    assert_eq!(commands(&known)[0], "kubectl describe host vm1 -n n");
}

#[test]
fn a_run_that_nobody_looked_at_leads_to_the_doctor() {
    let known = of(&[]);
    assert_eq!(commands(&known), ["kubectl pilothouse doctor -n n"]);
    let late = "2026-01-01T00:01:00Z".parse().expect("a time");
    assert!(text(&known, late).contains("has not looked at it"));
}

#[test]
fn the_story_is_told_in_order() {
    let mut known = of(&[
        "Failed=True/StepsFailed",
        "Planned=True/Frozen",
        "Running=False/Ended",
    ]);
    known.status.summary = Some("Failed".into());
    known.status.progress = Some("2/2".into());
    known.status.message = Some("1 of 2 targets failed".into());
    known.failures = vec![failure("vm1", "Failed")];
    known.actions = vec![Acted {
        action: "Resume".into(),
        by: "bob".into(),
        reason: "go".into(),
        at: None,
    }];
    known.next = next(&known);
    let text = text(&known, "2026-01-01T00:01:00Z".parse().expect("a time"));
    let wanted = "\
JobRun n/r: Failed, 2/2 targets have ended
Job j, asked for by alice as pilothouse-runner, 60s ago
1 of 2 targets failed

CONDITION   STATUS   REASON        SINCE   MESSAGE
Planned     True     Frozen        60s
Running     False    Ended         60s
Failed      True     StepsFailed   60s

STEP   TARGET   ATTEMPT   STATE    REASON     EXIT   MESSAGE
s      vm1      1         Failed   ExitCode   1

ACTION   BY    AGO   WHY
Resume   bob         go

What to do next:
  kubectl pilothouse logs r --target vm1 -n n   to read what it printed
  kubectl pilothouse retry r -n n   for a new run on the targets that are left
  kubectl pilothouse run j -n n   with the same parameters, for a new run
";
    assert_eq!(text, wanted);
}
