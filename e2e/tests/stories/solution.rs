//! Story: a way to make a change is reviewed once, run by tickets that give what it leaves open, and keeps how each of them ended; when what it does changes, tickets wait until others have agreed to that.

use crds::v1alpha1::{
    Approval, ChangeSolution, ChangeSolutionStatus, ChangeTicket, find_condition,
};
use e2e::{
    Guest, Manifest, People, Replica, Stage, Terminal, accepted, eventually, rights, soon,
    stage::PATIENCE, tickets, wait_for,
};
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};

const WORK: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Script
metadata: {name: move}
spec: {content: 'echo "$RUN to $TO" >> /var/tmp/NAMESPACE', parameters: [{name: RUN}, {name: TO}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: move}
spec:
  sharing: Shared
  parameters: [{name: to, required: true}, {name: how}]
  targets: {hosts: {names: [vm1]}}
  steps: [{name: move, script: {name: move, parameters: {RUN: "{{ run.name }}", TO: "{{ params.to }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: rest}
spec: {steps: [{name: rest, pause: {duration: 2s}}]}
"#;

/// Rita writes solutions and tickets; bob agrees to solutions, carol to tickets.
struct Scene {
    stage: Stage,
    tickets: Api<ChangeTicket>,
    solutions: Api<ChangeSolution>,
    rita: Client,
    bob: Terminal,
    carol: Terminal,
}

async fn scene(stage: Stage) -> Scene {
    let rita = stage
        .person("rita", "pilothouse-admin", ("create", "changesolutions"))
        .await;
    let decides = ("approve", "changesolutions");
    stage.person("bob", "pilothouse-approver", decides).await;
    let decides = ("approve", "changetickets");
    stage.person("carol", "pilothouse-approver", decides).await;
    stage.hosts_seen().await;
    let scene = Scene {
        tickets: Api::namespaced(stage.client.clone(), stage.name()),
        solutions: Api::namespaced(stage.client.clone(), stage.name()),
        bob: Terminal::of("bob", stage.name()),
        carol: Terminal::of("carol", stage.name()),
        stage,
        rita,
    };
    scene.works(WORK).await;
    scene
}

fn solution(job: &str, over: &Value) -> Value {
    let mut spec = json!({
        "title": "Move the shop", "submit": true, "plan": {"job": {"jobRef": {"name": job}}},
        "review": [{"name": "leads", "users": ["bob"]}],
    });
    let over = over.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(over);
    spec
}

/// A ticket of level C whose window is open, reviewed by carol.
fn ticket(uses: &str, parameters: &Value) -> Value {
    json!({
        "title": "Move the shop", "type": "Regular", "level": "C", "submit": true,
        "window": {"start": soon(-60), "end": soon(900)},
        "plan": {"solution": {"name": uses, "parameters": parameters}},
        "implementers": {"users": ["ivan"]}, "review": [{"name": "cab", "users": ["carol"]}],
    })
}

impl Scene {
    async fn works(&self, yaml: &str) {
        let yaml = yaml.replace("NAMESPACE", self.stage.name());
        for manifest in Manifest::read(&yaml) {
            let manifest = manifest.within(self.stage.name());
            accepted(manifest.apply(&self.rita).await);
        }
    }

    async fn writes(&self, kind: &str, name: &str, spec: &Value) {
        let object = Manifest::of(kind, name, spec).within(self.stage.name());
        accepted(object.apply(&self.rita).await);
    }

    /// Waits until the operator has looked at a solution as it is now, and says this of it.
    async fn solved(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ChangeSolutionStatus) -> bool,
    ) -> ChangeSolutionStatus {
        let seen = |solution: Option<&ChangeSolution>| {
            let told = solution.and_then(|s| Some((s.metadata.generation, s.status.as_ref()?)));
            told.is_some_and(|(generation, status)| {
                status.observed_generation == generation && is(status)
            })
        };
        let found = wait_for(self.solutions.clone(), name, what, PATIENCE, seen).await;
        found.status.expect("it was looked at")
    }

    async fn ready(&self, name: &str, reason: &str) -> ChangeSolutionStatus {
        let is = |status: &ChangeSolutionStatus| {
            find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == reason)
        };
        self.solved(name, reason, is).await
    }

    /// How a ticket stands, and in which words.
    async fn stands(&self, name: &str, reason: &str) -> String {
        let status = tickets::ready(&self.tickets, name, reason).await;
        let ready = find_condition(&status.conditions, "Ready");
        ready.expect("it says so").message.clone()
    }

    async fn agrees(&self, person: &Terminal, to: &str) {
        // What there is to decide on stands in its status, which a change empties for a moment.
        eventually("a decision", PATIENCE, || async {
            let said = person.pilothouse(&["approve", to]).await;
            (said.code == Some(0)).then_some(())
        })
        .await;
    }

    /// Rita, who may decide by the role, agrees to a solution that she wrote.
    async fn agrees_in_vain(&self, name: &str, digest: &str) {
        let role = json!({"kind": "ClusterRole", "name": "pilothouse-approver"});
        rights::bind(&self.stage.client, self.stage.name(), "rita", &role).await;
        let may = ("approve", "changesolutions");
        rights::hold(&self.rita, self.stage.name(), may, None, true).await;
        let spec = json!({"subject": {"kind": "ChangeSolution", "name": name}, "digest": digest, "decision": "Approve"});
        let given = Manifest::of("Approval", "own", &spec).within(self.stage.name());
        accepted(given.create(&self.rita).await);
        let approvals: Api<Approval> =
            Api::namespaced(self.stage.client.clone(), self.stage.name());
        let says = |approval: Option<&Approval>| {
            let status = approval.and_then(|a| a.status.as_ref());
            let counts = status.and_then(|s| find_condition(&s.conditions, "Counts"));
            counts.is_some_and(|c| c.reason == "OwnWork")
        };
        wait_for(approvals, "own", "OwnWork", PATIENCE, says).await;
    }

    /// What was left on the host.
    fn lines(&self) -> Vec<String> {
        let file = format!("cat /var/tmp/{} 2>/dev/null; true", self.stage.name());
        let lines = Guest("vm1").sh(&file);
        lines.lines().map(str::to_owned).collect()
    }

    async fn deleted(&self, ticket: &str) {
        let deleted = self.tickets.delete(ticket, &DeleteParams::default()).await;
        deleted.expect("an administrator deletes");
        eventually("its end", PATIENCE, || async {
            let left = self.tickets.get_opt(ticket).await.ok()?;
            left.is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_others_have_agreed_to_is_run_by_a_ticket_and_keeps_how_that_ended() {
    let scene = scene(Stage::set("solution").await).await;
    let open = json!({"openParameters": ["to"]});
    let spec = solution("move", &open);
    scene.writes("ChangeSolution", "move", &spec).await;
    let before = scene.ready("move", "AwaitingApproval").await;
    let digest = before
        .digest
        .clone()
        .expect("there is something to decide on");
    scene.agrees_in_vain("move", &digest).await;
    let one = ticket("move", &json!({"to": "db-8"}));
    scene.writes("ChangeTicket", "one", &one).await;
    let told = scene.stands("one", "SolutionNotApproved").await;
    for word in ["ChangeSolution move", "InReview", "approve solution/move"] {
        assert!(told.contains(word), "no {word:?} in {told:?}");
    }

    scene.agrees(&scene.bob, "solution/move").await;
    let agreed = scene.ready("move", "Approved").await;
    assert_eq!(agreed.digest.as_ref(), Some(&digest));
    assert_eq!(agreed.levels[0].by, ["bob"]);
    let closed = ticket("move", &json!({"to": "db-8", "how": "hard"}));
    scene.writes("ChangeTicket", "closed", &closed).await;
    let told = scene.stands("closed", "ParameterNotOpen").await;
    assert!(told.contains("leaves how to no ticket"), "{told}");
    scene.stands("one", "AwaitingApproval").await;
    assert!(scene.lines().is_empty(), "nobody has agreed to the ticket");
    scene.agrees(&scene.carol, "ticket/one").await;

    let ended = tickets::ready(&scene.tickets, "one", "Succeeded").await;
    let name = ended.run.clone().expect("a run");
    let run = scene.stage.ends(&name).await;
    let chain = run.spec.on_behalf_of.iter();
    let chain: Vec<_> = chain.map(|of| (&*of.kind, &*of.name)).collect();
    assert_eq!(chain, [("ChangeTicket", "one"), ("ChangeSolution", "move")]);
    assert_eq!(scene.lines(), [format!("{name} to db-8")]);
    scene.keeps(&digest).await;
    scene.deleted("one").await;
    scene.falls(&digest).await;
}

impl Scene {
    /// The end of ticket one stands in the solution, and the ticket knows.
    async fn keeps(&self, digest: &str) {
        let kept = self
            .solved("move", "a result", |s| !s.results.is_empty())
            .await;
        assert_eq!((kept.succeeded, kept.failed), (1, 0));
        let [result] = &kept.results[..] else {
            panic!("one ticket has ended: {kept:#?}");
        };
        assert_eq!((&*result.ticket, &*result.result), ("one", "Succeeded"));
        assert_eq!(result.digest, digest);
        assert!(kept.last_used.is_some());
        let told = |status: &crds::v1alpha1::ChangeTicketStatus| {
            status.solution.as_ref().is_some_and(|used| used.told)
        };
        tickets::until(&self.tickets, "one", "the solution's word", told).await;
    }

    /// Its script says something else: nobody has agreed to that, and a new ticket waits.
    async fn falls(&self, digest: &str) {
        self.works(&WORK.replace("echo", "echo -n; echo")).await;
        let fell = |s: &ChangeSolutionStatus| {
            s.summary.as_deref() == Some("InReview") && s.digest.as_deref() != Some(digest)
        };
        let fallen = self.solved("move", "another review", fell).await;
        assert_eq!(fallen.levels[0].approved, 0);
        assert_eq!((fallen.succeeded, fallen.results.len()), (1, 1), "it stays");
        let two = ticket("move", &json!({"to": "db-9"}));
        self.writes("ChangeTicket", "two", &two).await;
        self.stands("two", "SolutionNotApproved").await;
        assert_eq!(self.lines().len(), 1);
    }
}

#[tokio::test]
async fn each_end_is_counted_once_whoever_leads_and_whoever_deletes_the_tickets() {
    let scene = scene(Stage::set("ends").await).await;
    let spec = solution("rest", &json!({}));
    scene.writes("ChangeSolution", "rest", &spec).await;
    scene.agrees(&scene.bob, "solution/rest").await;
    scene.ready("rest", "Approved").await;
    let names: Vec<_> = (0..12).map(|n| format!("t{n}")).collect();
    for name in &names {
        let uses = ticket("rest", &json!({}));
        scene.writes("ChangeTicket", name, &uses).await;
    }
    for (n, name) in names.iter().enumerate() {
        scene.agrees(&scene.carol, &format!("ticket/{name}")).await;
        if n % 4 == 3 {
            Replica::leader(&scene.stage.client).await.killed().await;
        }
    }
    for name in &names {
        tickets::ready(&scene.tickets, name, "Succeeded").await;
        scene.deleted(name).await;
    }
    let kept = scene
        .solved("rest", "every end", |s| s.succeeded >= 12)
        .await;
    assert_eq!((kept.succeeded, kept.failed), (12, 0));
    assert_eq!(kept.results.len(), 10);
}

#[tokio::test]
async fn a_solution_lends_no_account_to_whoever_may_not_act_as_it() {
    let people = People::new("lends").await;
    let rules = json!([{"apiGroups": ["pilothouse.dev"], "resources": ["changetickets", "jobruns"], "verbs": ["get", "create", "patch"]}]);
    let may = ("create", "changetickets");
    let dora = people.person_with("dora", rules, may, None).await;
    let scene = scene(Stage::within(people.cluster, people.namespace).await).await;
    let spec = solution("rest", &json!({}));
    scene.writes("ChangeSolution", "rest", &spec).await;
    scene.agrees(&scene.bob, "solution/rest").await;
    scene.ready("rest", "Approved").await;
    let hers = Manifest::of("ChangeTicket", "hers", &ticket("rest", &json!({})));
    let hers = hers.within(scene.stage.name());
    accepted(hers.apply(&dora).await);
    let told = scene.stands("hers", "WriterNotEntitled").await;
    assert!(told.contains("dora"), "{told}");
}
