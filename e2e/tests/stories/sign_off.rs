//! Story: a run waits at a step until people have decided: so many of those who are asked, each once, none of them on their own work, and in time.

use crds::v1alpha1::{Approval, ApprovalOutcome, JobRun, StepApproval, find_condition};
use e2e::{
    Guest, Manifest, Replica, Stage, Terminal, accepted, eventually,
    health::{Expected, assert_told},
    rights,
    stage::{PATIENCE, row},
    wait_for,
};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};

/// The group that is asked.
const MANAGERS: &str = "release-managers";

/// People: ann asks for runs and may decide too, bob and carol are asked, dan is not.
struct Scene {
    stage: Stage,
    ann: Client,
    bob: Client,
    carol: Client,
    dan: Client,
}

async fn scene(story: &str) -> Scene {
    let stage = Stage::set(story).await;
    let person = async |name: &str, groups: &[&str]| {
        let role = json!({"kind": "ClusterRole", "name": "pilothouse-approver"});
        rights::bind(&stage.client, stage.name(), name, &role).await;
        let client = stage.cluster.as_user(name, groups);
        rights::hold(&client, stage.name(), ("approve", "jobruns"), None, true).await;
        client
    };
    let ann = person("ann", &[MANAGERS]).await;
    let role = json!({"kind": "ClusterRole", "name": "pilothouse-admin"});
    rights::bind(&stage.client, stage.name(), "ann", &role).await;
    rights::hold(&ann, stage.name(), ("create", "jobruns"), None, true).await;
    let bob = person("bob", &[MANAGERS]).await;
    let carol = person("carol", &[MANAGERS]).await;
    let dan = person("dan", &["testers"]).await;
    Scene {
        stage,
        ann,
        bob,
        carol,
        dan,
    }
}

/// A step that asks people.
fn gate(name: &str, needs: &[&str], asked: &Value) -> Value {
    json!({"name": name, "needs": needs, "approval": asked})
}

/// A step that does nothing, and that it was taken can be seen.
fn rest(name: &str, needs: &[&str]) -> Value {
    json!({"name": name, "needs": needs, "pause": {"duration": "1ms"}})
}

fn two_managers() -> Value {
    json!({"approvals": 2, "groups": [MANAGERS], "message": "canary looks fine?"})
}

impl Scene {
    /// A run of ann's with these steps, on no machine.
    async fn runs(&self, name: &str, steps: &[Value]) {
        self.runs_job(name, json!({"steps": steps})).await;
    }

    async fn runs_job(&self, name: &str, job: Value) {
        let run = Manifest::of("JobRun", name, &json!({"job": job})).within(self.stage.name());
        accepted(run.create(&self.ann).await);
    }

    /// What a run says of a step once this is true of it.
    async fn says(
        &self,
        run: &str,
        step: &str,
        what: &str,
        is: impl Fn(&StepApproval) -> bool,
    ) -> StepApproval {
        let told = |run: Option<&JobRun>| {
            let status = run.and_then(|run| run.status.as_ref());
            let steps = status.map(|status| status.steps.as_slice());
            let mut steps = steps.unwrap_or_default().iter();
            steps.find(|s| s.name == step)?.approval.clone()
        };
        let seen = wait_for(
            self.stage.runs(),
            run,
            what,
            PATIENCE,
            |r: Option<&JobRun>| told(r).is_some_and(|approval| is(&approval)),
        );
        told(Some(&seen.await)).expect("it was seen")
    }

    /// Waits until a step asks people.
    async fn asks(&self, run: &str, step: &str) -> StepApproval {
        let is = |approval: &StepApproval| approval.outcome.is_none();
        self.says(run, step, "that it asks", is).await
    }

    /// Waits until a step was decided on.
    async fn comes_to(&self, run: &str, step: &str, outcome: ApprovalOutcome) -> StepApproval {
        let is = |approval: &StepApproval| approval.outcome == Some(outcome);
        let what = format!("{outcome:?}");
        self.says(run, step, &what, is).await
    }

    /// Creates an Approval of a step, with what differs from the usual one.
    async fn decides(&self, by: &Client, name: &str, (run, step): (&str, &str), more: &Value) {
        let found = self.stage.runs().get(run).await.expect("it is there");
        let hash = found.status.and_then(|s| s.plan_hash).expect("a plan");
        let mut spec = json!({"subject": {"kind": "JobRun", "name": run, "step": step}, "digest": hash, "decision": "Approve"});
        let fields = spec.as_object_mut().expect("a spec");
        fields.extend(more.as_object().expect("fields").clone());
        let approval = Manifest::of("Approval", name, &spec).within(self.stage.name());
        accepted(approval.create(by).await);
    }

    async fn approves(&self, by: &Client, name: &str, (run, step): (&str, &str)) {
        self.decides(by, name, (run, step), &json!({})).await;
    }

    fn approvals(&self) -> Api<Approval> {
        Api::namespaced(self.stage.client.clone(), self.stage.name())
    }

    async fn counts(&self, approval: &str, reason: &str) {
        let says = |approval: Option<&Approval>| {
            let status = approval.and_then(|a| a.status.as_ref());
            let counts = status.and_then(|s| find_condition(&s.conditions, "Counts"));
            counts.is_some_and(|c| c.reason == reason)
        };
        wait_for(self.approvals(), approval, reason, PATIENCE, says).await;
    }

    async fn ends_as(&self, run: &str, summary: &str) -> JobRun {
        let ended = self.stage.ends(run).await;
        let told = ended.status.as_ref().and_then(|s| s.summary.as_deref());
        assert_eq!(told, Some(summary), "{:#?}", ended.status);
        ended
    }
}

/// Waits for the next second, since Approvals are dated in whole ones.
async fn next_second() {
    let now = Timestamp::now().as_second();
    eventually("the next second", PATIENCE, || async move {
        (Timestamp::now().as_second() > now).then_some(())
    })
    .await;
}

#[tokio::test]
async fn so_many_of_those_who_are_asked_let_it_go_on_and_each_counts_once() {
    let scene = scene("sign-off").await;
    let steps = [
        gate("sign-off", &[], &two_managers()),
        rest("after", &["sign-off"]),
    ];
    scene.runs("run", &steps).await;
    let told = scene.stage.waits("run", "AwaitingApproval").await;
    for word in ["0 of 2", MANAGERS, "canary looks fine?", "--step sign-off"] {
        assert!(told.contains(word), "no {word:?} in {told:?}");
    }
    let waits = scene.stage.runs().get("run").await.expect("it is there");
    assert_told(&[Expected {
        title: "a run that waits for people".into(),
        object: serde_json::to_value(waits).expect("an object is plain data"),
        kstatus: "InProgress",
        argo: "Suspended",
    }]);

    let of = ("run", "sign-off");
    let forged = json!({"requestedBy": {"user": "carol", "groups": [MANAGERS]}});
    scene.decides(&scene.ann, "own", of, &forged).await;
    scene.counts("own", "OwnWork").await;
    scene.approves(&scene.dan, "dans", of).await;
    scene.counts("dans", "NotEntitled").await;
    let whole = json!({"subject": {"kind": "JobRun", "name": "run"}});
    scene.decides(&scene.bob, "whole", of, &whole).await;
    scene.counts("whole", "Valid").await;
    scene.approves(&scene.bob, "bobs", of).await;
    scene.approves(&scene.bob, "bobs-again", of).await;
    scene.counts("bobs-again", "Valid").await;
    let once = |approval: &StepApproval| approval.message.contains("1 of 2 approvals (bob)");
    let half = scene.says("run", "sign-off", "one of two", once).await;
    assert_eq!((half.outcome, half.decisions.len()), (None, 1), "{half:#?}");

    scene.approves(&scene.carol, "carols", of).await;
    scene.ends_as("run", "Succeeded").await;
    let decided = scene
        .comes_to("run", "sign-off", ApprovalOutcome::Approved)
        .await;
    // Approvals of one second have no order.
    let told = decided.message.strip_prefix("approved by ");
    assert!(
        matches!(told, Some("bob, carol" | "carol, bob")),
        "{decided:#?}"
    );
    let rows = scene.stage.executions("run").await;
    let row = row(&rows, "sign-off", "");
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("Succeeded"), &json!("Approved"))
    );
    scene.counts("carols", "Valid").await;
    scene.approves(&scene.bob, "late", of).await;
    scene.counts("late", "TooLate").await;
}

#[tokio::test]
async fn two_steps_side_by_side_each_need_a_word_of_their_own() {
    let scene = scene("side-by-side").await;
    let open = json!({"message": "go on?"});
    let steps = [
        gate("left", &[], &open),
        gate("right", &[], &open),
        gate("later", &["left", "right"], &open),
    ];
    scene.runs("run", &steps).await;
    scene.asks("run", "left").await;
    scene.asks("run", "right").await;
    let bob = Terminal::of("bob", scene.stage.name());
    let said = bob.pilothouse(&["approve", "run/run"]).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    for word in ["--step left", "--step right", "go on?"] {
        assert!(said.err.contains(word), "no {word:?} in {said:#?}");
    }
    let early = ("run", "later");
    scene.approves(&scene.bob, "early", early).await;
    scene.counts("early", "TooEarly").await;
    next_second().await;
    let said = bob
        .pilothouse(&["approve", "run/run", "--step", "left", "--reason", "fine"])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    scene
        .comes_to("run", "left", ApprovalOutcome::Approved)
        .await;
    let another = json!({"digest": format!("sha256:{}", "0".repeat(64))});
    let right = ("run", "right");
    scene.decides(&scene.bob, "wrong", right, &another).await;
    scene.counts("wrong", "Changed").await;
    scene
        .approves(&scene.bob, "nowhere", ("run", "middle"))
        .await;
    scene.counts("nowhere", "NotFound").await;
    let right_waits = scene.asks("run", "right").await;
    assert!(right_waits.decisions.is_empty(), "{right_waits:#?}");

    scene.approves(&scene.bob, "rights", right).await;
    let later = scene.asks("run", "later").await;
    assert!(later.decisions.is_empty(), "{later:#?}");
    // A plan is read by whoever may read ControllerRevisions.
    let said = Terminal::of_the_administrator(scene.stage.name())
        .pilothouse(&["plan", "run/run"])
        .await;
    for word in ["approval by 1", "asks: go on?", "approved by bob"] {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    scene.approves(&scene.carol, "laters", early).await;
    scene.ends_as("run", "Succeeded").await;
}

#[tokio::test]
async fn a_rejection_fails_the_step_at_once_and_it_can_be_asked_anew() {
    let scene = scene("rejected").await;
    let steps = [
        gate("sign-off", &[], &json!({"approvals": 2})),
        rest("after", &["sign-off"]),
    ];
    let job = json!({"strategy": {"onThreshold": "Pause"}, "steps": steps});
    scene.runs_job("run", job).await;
    let first = scene.asks("run", "sign-off").await;
    let of = ("run", "sign-off");
    scene.approves(&scene.bob, "bobs", of).await;
    let carol = Terminal::of("carol", scene.stage.name());
    let no = [
        "reject",
        "run/run",
        "--step",
        "sign-off",
        "--reason",
        "p99 has doubled",
    ];
    let said = carol.pilothouse(&no).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let rejected = scene
        .comes_to("run", "sign-off", ApprovalOutcome::Rejected)
        .await;
    assert_eq!(rejected.message, "rejected by carol: p99 has doubled");
    scene.stage.becomes("run", &["Suspended"]).await;
    let said = carol.pilothouse(&["explain", "run"]).await;
    for word in ["Rejected", "carol (Reject)", "p99 has doubled"] {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }

    scene.stage.act("run", "RetryFailed").await;
    let anew = |approval: &StepApproval| approval.attempt == 2;
    let second = scene
        .says("run", "sign-off", "a second attempt", anew)
        .await;
    assert!(
        second.decisions.is_empty() && second.since > first.since,
        "{second:#?}"
    );
    next_second().await;
    scene.approves(&scene.bob, "bobs-second", of).await;
    scene.approves(&scene.carol, "carols-second", of).await;
    scene.ends_as("run", "Succeeded").await;
}

#[tokio::test]
async fn where_nobody_decides_in_time_the_step_fails_or_goes_on_as_it_says() {
    let scene = scene("expired").await;
    let run = |on_expiry: &str| {
        let asked = json!({"expiresAfter": "2s", "onExpiry": on_expiry});
        [gate("sign-off", &[], &asked), rest("after", &["sign-off"])]
    };
    scene.runs("fails", &run("Fail")).await;
    scene.runs("goes-on", &run("Continue")).await;
    scene.ends_as("fails", "Failed").await;
    scene.ends_as("goes-on", "Succeeded").await;
    for (run, state) in [("fails", "TimedOut"), ("goes-on", "Succeeded")] {
        let expired = scene
            .comes_to(run, "sign-off", ApprovalOutcome::Expired)
            .await;
        assert!(expired.message.contains("0 of 1"), "{expired:#?}");
        let rows = scene.stage.executions(run).await;
        let row = row(&rows, "sign-off", "");
        assert_eq!(
            (&row["state"], &row["reason"]),
            (&json!(state), &json!("Expired"))
        );
    }
    scene
        .approves(&scene.bob, "late", ("fails", "sign-off"))
        .await;
    scene.counts("late", "TooLate").await;
}

#[tokio::test]
async fn an_operator_that_is_killed_while_people_think_forgets_nothing() {
    let scene = scene("asked-on").await;
    let steps = [
        gate("sign-off", &[], &two_managers()),
        rest("after", &["sign-off"]),
    ];
    scene.runs("run", &steps).await;
    let before = scene.asks("run", "sign-off").await;
    let of = ("run", "sign-off");
    scene.approves(&scene.bob, "taken-back", of).await;
    let one = |approval: &StepApproval| approval.decisions.len() == 1;
    scene.says("run", "sign-off", "bob's word", one).await;
    let approvals = scene.approvals();
    let gone = approvals
        .delete("taken-back", &DeleteParams::default())
        .await;
    gone.expect("an administrator deletes");
    let none = |approval: &StepApproval| approval.decisions.is_empty();
    scene.says("run", "sign-off", "that it is gone", none).await;
    scene.approves(&scene.bob, "bobs", of).await;
    let leader = Replica::leader(&scene.stage.client).await;
    assert!(leader.killed().await, "it was there");
    scene.approves(&scene.carol, "carols", of).await;
    scene.ends_as("run", "Succeeded").await;
    let after = scene
        .comes_to("run", "sign-off", ApprovalOutcome::Approved)
        .await;
    assert_eq!((after.since, after.until), (before.since, before.until));
    assert_eq!(scene.stage.executions("run").await.len(), 2, "each once");
}

#[tokio::test]
async fn a_run_that_is_cancelled_led_around_or_suspended_is_so_at_this_step_too() {
    let scene = scene("controlled").await;
    let steps = [
        gate("sign-off", &[], &json!({})),
        rest("after", &["sign-off"]),
    ];
    for run in ["cancelled", "skipped", "suspended"] {
        scene.runs(run, &steps).await;
        scene.asks(run, "sign-off").await;
    }
    scene.stage.act("cancelled", "Cancel").await;
    scene.ends_as("cancelled", "Cancelled").await;
    scene
        .comes_to("cancelled", "sign-off", ApprovalOutcome::Withdrawn)
        .await;
    let ann = Terminal::of("ann", scene.stage.name());
    let said = ann
        .pilothouse(&["skip", "skipped", "--step", "sign-off"])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    scene.ends_as("skipped", "Succeeded").await;

    scene.stage.act("suspended", "Suspend").await;
    scene.stage.becomes("suspended", &["Suspended"]).await;
    scene
        .approves(&scene.bob, "bobs", ("suspended", "sign-off"))
        .await;
    scene
        .comes_to("suspended", "sign-off", ApprovalOutcome::Approved)
        .await;
    scene.stage.becomes("suspended", &["Suspended"]).await;
    scene.stage.act("suspended", "Resume").await;
    scene.ends_as("suspended", "Succeeded").await;
}

#[tokio::test]
async fn others_work_on_its_machines_while_people_think() {
    let scene = scene("released").await;
    scene.stage.hosts_seen().await;
    let says = |name: &str, needs: &[&str], content: &str| json!({"name": name, "needs": needs, "inline": {"content": content}});
    let on_pm1 =
        |steps: &[Value]| json!({"targets": {"hosts": {"names": ["pm1"]}}, "steps": steps});
    let steps = [
        says("canary", &[], "true"),
        gate("sign-off", &["canary"], &json!({})),
        says("rest", &["sign-off"], "true"),
    ];
    scene.runs_job("first", on_pm1(&steps)).await;
    scene.stage.waits("first", "AwaitingApproval").await;
    scene
        .runs_job("second", on_pm1(&[says("one", &[], "true")]))
        .await;
    scene.ends_as("second", "Succeeded").await;

    let go = format!("/var/tmp/{}-go", scene.stage.name());
    let waits = format!("while test ! -e {go}; do sleep 0.2; done");
    scene
        .runs_job("third", on_pm1(&[says("one", &[], &waits)]))
        .await;
    scene.stage.becomes("third", &["Running"]).await;
    scene
        .approves(&scene.bob, "bobs", ("first", "sign-off"))
        .await;
    let told = scene.stage.waits("first", "WaitingForMachine").await;
    assert!(told.contains("third"), "{told}");
    Guest("pm1").sh(&format!("touch {go}"));
    scene.ends_as("third", "Succeeded").await;
    let first = scene.ends_as("first", "Succeeded").await;
    let status = first.status.as_ref().expect("a status");
    assert!(
        status.released_at.is_none(),
        "{}: {status:#?}",
        first.name_any()
    );
}
