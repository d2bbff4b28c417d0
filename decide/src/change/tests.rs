//! A ticket from draft to end: review, window, by whom, and what is started at most once whatever is lost on the way.

mod conflicts;
mod end;
mod events;
mod reviews;
mod risks;
mod solutions;
mod start;

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangeTicketSpec, JobRunStatus, condition_is_true, find_condition, set_condition,
};
use serde_json::{Value, json};

use super::*;

/// The window is open from 100 to 200, and the last 20 are kept.
const START: i64 = 100;
const CLOSES: i64 = 180;
const END: i64 = 200;

fn at(second: i64) -> Timestamp {
    Timestamp::constant(second, 0)
}

/// A ticket of rita's, and the world around it.
struct Desk {
    ticket: ChangeTicket,
    job: Result<Option<JobSeen>, Refusal>,
    solution: Option<SolutionSeen>,
    told: bool,
    barred: Option<Refusal>,
    approvals: Vec<Approval>,
    calendars: Gate,
    conflicts: Vec<conflict::Found>,
    on_conflict: OnConflict,
    risk: risk::Weighed,
    actions: Vec<ChangeAction>,
    run: Option<JobRun>,
    created: usize,
    acted: usize,
}

impl Desk {
    /// Leads bob or someone of the board, and every one of the cab; ivan and the crew carry it out.
    fn with(over: &Value) -> Self {
        let mut spec = json!({
            "title": "t", "type": "Regular", "level": "C", "submit": true,
            "window": {"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s"},
            "plan": {"job": {"jobRef": {"name": "j"}}},
            "implementers": {"users": ["ivan", "rita"], "groups": ["crew"]},
            "review": [{"name": "leads", "users": ["bob"], "groups": ["board"]},
                {"name": "cab", "users": ["carol", "dave"], "rule": "All"}],
            "requestedBy": {"user": "rita"},
        });
        let over = over.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(over);
        let spec: ChangeTicketSpec = serde_json::from_value(spec).expect("a spec");
        let mut ticket = ChangeTicket::new("move", spec);
        ticket.metadata.uid = Some("3f2504e0-4f89-11d3-9a0c-0305e82c3301".into());
        ticket.metadata.generation = Some(1);
        let job = ticket.spec.plan.job.as_ref().map(|_| JobSeen {
            revision: "sha256:first".into(),
            writers: BTreeSet::from(["wanda".to_owned()]),
        });
        Self {
            ticket,
            job: Ok(job),
            solution: None,
            told: false,
            barred: None,
            approvals: Vec::new(),
            calendars: Gate::default(),
            conflicts: Vec::new(),
            on_conflict: OnConflict::default(),
            risk: risk::Weighed::default(),
            actions: Vec::new(),
            run: None,
            created: 0,
            acted: 0,
        }
    }

    fn guide(over: &Value) -> Self {
        let mut all = json!({"plan": {"guide": "by hand"}});
        let over = over.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(over);
        Self::with(&all)
    }

    fn digest(&self) -> String {
        let job = self.job.as_ref().ok().and_then(Option::as_ref);
        Content::of(&self.ticket, job, self.solution.as_ref()).digest
    }

    fn says(&mut self, user: &str, groups: &[&str], decision: &str) {
        let spec = json!({"subject": {"kind": "ChangeTicket", "name": "move"}, "digest": self.digest(), "decision": decision,
            "reason": "r", "requestedBy": {"user": user, "groups": groups}});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.approvals.push(Approval::new("a", spec));
    }

    fn agreed(mut self) -> Self {
        for user in ["bob", "carol", "dave"] {
            self.says(user, &[], "Approve");
        }
        self
    }

    fn does(&mut self, user: &str, action: &str, result: Option<&str>) {
        let result =
            result.map(|outcome| json!({"outcome": outcome, "verified": "InWindow", "note": "n"}));
        let mut spec = json!({"ticketRef": {"name": "move"}, "action": action, "reason": "because",
            "requestedBy": {"user": user, "groups": []}});
        if let Some(result) = result {
            spec["result"] = result;
        }
        let mut action = ChangeAction::new("a", serde_json::from_value(spec).expect("a spec"));
        self.acted += 1;
        action.metadata.uid = Some(format!("action-{}", self.acted));
        self.actions.push(action);
    }

    fn look(&self, second: i64) -> Turn {
        let world = World {
            job: self.job.clone(),
            solution: self.solution.as_ref(),
            told: self.told,
            barred: self.barred.clone(),
            approvals: &self.approvals,
            calendars: &self.calendars,
            conflicts: &self.conflicts,
            on_conflict: self.on_conflict,
            risk: &self.risk,
            run: self.run.as_ref(),
            actions: &self.actions,
            whole: None,
            parts: &[],
        };
        turn(&self.ticket, &world, at(second))
    }

    /// Takes turns until nothing is left to do at this moment; what actions were answered.
    fn turns(&mut self, second: i64) -> Vec<Result<(), &'static str>> {
        let mut answers = Vec::new();
        for _ in 0..5 {
            let turn = self.look(second);
            self.carry_out(turn.effect);
            let answered = turn.answers.into_iter();
            answers.extend(answered.map(|a| a.map_err(|refusal| refusal.reason)));
            self.actions.clear();
            self.ticket.status = Some(turn.status);
            if turn.again != Some(at(second)) {
                return answers;
            }
        }
        panic!("it comes to no rest");
    }

    fn carry_out(&mut self, effect: Option<Effect>) {
        if effect == Some(Effect::Create) {
            assert!(self.run.is_none(), "it is there already");
            let spec = json!({"jobRef": {"name": "j"}});
            let run = JobRun::new(
                "move-3f2504e0",
                serde_json::from_value(spec).expect("a spec"),
            );
            self.run = Some(run);
            self.created += 1;
        }
    }

    fn run_ends(&mut self, how: &'static str, summary: &str) {
        let mut status = JobRunStatus {
            summary: Some(summary.to_owned()),
            ..JobRunStatus::default()
        };
        let ended = crds::v1alpha1::Verdict::yes(how, "Ended", "");
        set_condition(&mut status.conditions, &ended, None, at(0));
        self.run.as_mut().expect("a run").status = Some(status);
    }

    fn reason(&self) -> &str {
        let status = self.ticket.status.as_ref().expect("a status");
        let ready = find_condition(&status.conditions, "Ready").expect("it says how it is");
        &ready.reason
    }

    fn status(&self) -> &ChangeTicketStatus {
        self.ticket.status.as_ref().expect("a status")
    }
}
