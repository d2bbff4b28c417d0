//! A ticket by region and its parts, turn by turn: what is approved, what is made at most once, and how it ends.

mod part;
mod whole;

use std::collections::BTreeMap;

use crds::v1alpha1::{
    Approval, ChangeAction, ChangeTicketStatus, JobRun, JobRunStatus, OnConflict, Verdict,
    find_condition, set_condition,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    change::{Effect, SolutionSeen, Turn, risk::Weighed, turn},
    schedule::Gate,
};

const UID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const EU: &str = "move-eu-3f2504e0";
const US: &str = "move-us-3f2504e0";

fn at(second: i64) -> Timestamp {
    Timestamp::constant(second, 0)
}

fn window(start: i64, end: i64) -> Value {
    json!({"start": at(start).to_string(), "end": at(end).to_string()})
}

/// A ticket of rita's from 100 to 400: eu on h1 from 100 to 200, us on h2 by uma from 300 to 400; bob agrees.
struct Floor {
    whole: ChangeTicket,
    parts: BTreeMap<String, ChangeTicket>,
    runs: BTreeMap<String, JobRun>,
    approvals: Vec<Approval>,
    actions: Vec<ChangeAction>,
    job: JobSeen,
    solution: Option<SolutionSeen>,
    created: usize,
}

impl Floor {
    fn set(over: &Value) -> Self {
        let mut spec = json!({
            "title": "t", "type": "Regular", "level": "C", "submit": true, "window": window(100, 400),
            "plan": {"job": {"jobRef": {"name": "j"}, "parameters": {"to": "db", "size": "1"}}},
            "scope": {"hosts": ["h1", "h2"]}, "implementers": {"users": ["ivan"]},
            "review": [{"name": "leads", "users": ["bob", "uma"]}], "requestedBy": {"user": "rita"},
            "regions": [{"name": "eu", "window": window(100, 200), "hosts": ["h1"], "parameters": {"to": "eu-db"}},
                {"name": "us", "window": window(300, 400), "hosts": ["h2"], "implementers": {"users": ["uma"]}}],
        });
        let over = over.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(over);
        let spec = serde_json::from_value(spec).expect("a spec");
        let mut whole = ChangeTicket::new("move", spec);
        whole.metadata.uid = Some(UID.into());
        whole.metadata.generation = Some(1);
        Self {
            whole,
            parts: BTreeMap::new(),
            runs: BTreeMap::new(),
            approvals: Vec::new(),
            actions: Vec::new(),
            job: JobSeen {
                revision: "sha256:first".into(),
                writers: BTreeSet::from(["wanda".to_owned()]),
            },
            solution: None,
            created: 0,
        }
    }

    /// Agreed to as it is now.
    fn agreed(mut self) -> Self {
        self.says("bob", "Approve");
        self
    }

    fn says(&mut self, user: &str, decision: &str) {
        let digest = Content::of(&self.whole, Some(&self.job), self.solution.as_ref()).digest;
        let spec = json!({"subject": {"kind": "ChangeTicket", "name": "move"}, "digest": digest, "decision": decision,
            "reason": "r", "requestedBy": {"user": user, "groups": []}});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.approvals.push(Approval::new("a", spec));
    }

    fn does(&mut self, action: &str) {
        let spec = json!({"ticketRef": {"name": "move"}, "action": action, "reason": "because",
            "requestedBy": {"user": "ivan", "groups": []}});
        let mut action = ChangeAction::new("a", serde_json::from_value(spec).expect("a spec"));
        action.metadata.uid = Some("action".into());
        self.actions.push(action);
    }

    fn look(&self, ticket: &ChangeTicket, second: i64) -> Turn {
        let is_part = ticket.spec.part_of.is_some();
        let name = ticket.metadata.name.as_deref().unwrap_or_default();
        let parts: Vec<_> = self.parts.values().cloned().collect();
        let world = World {
            job: Ok(Some(self.job.clone())),
            solution: self.solution.as_ref(),
            told: false,
            barred: None,
            approvals: &self.approvals,
            calendars: &Gate::default(),
            conflicts: &[],
            on_conflict: OnConflict::default(),
            risk: &Weighed::default(),
            run: self.runs.get(name),
            actions: if is_part { &[] } else { &self.actions },
            whole: is_part.then_some(&self.whole),
            parts: if is_part { &[] } else { &parts },
        };
        turn(ticket, &world, at(second))
    }

    /// Turns of the whole and of each part, until all is at rest; answers of the whole.
    fn turns(&mut self, second: i64) -> Vec<Result<(), &'static str>> {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let before = json!([self.whole, self.parts]);
            let looked = self.look(&self.whole, second);
            for one in &looked.for_parts {
                self.carry_out(one);
            }
            let answered = looked.answers.into_iter();
            answers.extend(answered.map(|a| a.map_err(|refusal| refusal.reason)));
            self.actions.clear();
            self.whole.status = Some(looked.status);
            let names: Vec<_> = self.parts.keys().cloned().collect();
            for name in names {
                self.turn_of(&name, second);
            }
            if before == json!([self.whole, self.parts]) {
                return answers;
            }
        }
        panic!("it comes to no rest");
    }

    fn turn_of(&mut self, name: &str, second: i64) {
        let looked = self.look(&self.parts[name], second);
        if looked.effect == Some(Effect::Create) {
            self.created += 1;
            let spec = serde_json::from_value(json!({"jobRef": {"name": "j"}}));
            let run = JobRun::new("run", spec.expect("a spec"));
            let before = self.runs.insert(name.to_owned(), run);
            assert!(before.is_none(), "it is there already");
        }
        let part = self.parts.get_mut(name).expect("it is there");
        part.status = Some(looked.status);
    }

    fn carry_out(&mut self, one: &ForPart) {
        match one {
            ForPart::Create(name, spec) => {
                let mut part = ChangeTicket::new(name, (**spec).clone());
                part.metadata.uid = Some(format!("uid-of-{name}"));
                part.metadata.generation = Some(1);
                let operator = json!({"user": "operator", "groups": []});
                part.spec.requested_by = serde_json::from_value(operator).expect("somebody");
                let before = self.parts.insert(name.clone(), part);
                assert!(before.is_none(), "it is there already");
            }
            ForPart::Write(name, spec) => {
                self.edit(name, |part| part.spec = (**spec).clone());
            }
        }
    }

    fn edit(&mut self, name: &str, edit: impl Fn(&mut ChangeTicket)) {
        let part = self.parts.get_mut(name).expect("it is there");
        edit(part);
        part.metadata.generation = part.metadata.generation.map(|one| one + 1);
    }

    fn run_ends(&mut self, name: &str, how: &'static str) {
        let mut status = JobRunStatus::default();
        set_condition(
            &mut status.conditions,
            &Verdict::yes(how, "Ended", ""),
            None,
            at(0),
        );
        self.runs.get_mut(name).expect("a run").status = Some(status);
    }

    fn of(&self, name: &str) -> &ChangeTicketStatus {
        let ticket = self.parts.get(name).unwrap_or(&self.whole);
        ticket.status.as_ref().expect("it was looked at")
    }

    /// Why a ticket is ready or not, and whether it is live.
    fn told(&self, name: &str) -> (&str, Option<bool>) {
        let status = self.of(name);
        let ready = find_condition(&status.conditions, "Ready").expect("it says how it is");
        (&ready.reason, status.live)
    }

    /// What the whole says of its regions.
    fn summaries(&self) -> Vec<&str> {
        let regions = self.of("move").regions.iter();
        let summary = regions.map(|region| region.summary.as_deref().unwrap_or_default());
        summary.collect()
    }
}
