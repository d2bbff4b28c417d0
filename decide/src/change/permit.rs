//! What a live ticket lets its implementers do by hand, and which runs it covers. Whatever is not known to be live covers nothing.

use std::collections::BTreeSet;

use crds::{
    execution::TargetKind,
    names::GROUP,
    v1alpha1::{
        Allowed, ChangeTicket, ChangeTicketStatus, Implementers, JobRun, Origin,
        ProtectedOperation, Requester,
    },
};
use jiff::Timestamp;

use super::review;
use crate::plan::Plan;

/// Kinds of what a run comes from.
const TICKET: &str = "ChangeTicket";
const RUN: &str = "JobRun";
const SOLUTION: &str = "ChangeSolution";

/// A live ticket, and what its implementers may do until its window ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    pub ticket: String,
    pub until: Timestamp,
    implementers: Implementers,
    /// Who wrote it or has agreed to it: requester, reviewer and implementer are three people.
    others: BTreeSet<String>,
    allow: Vec<Allowed>,
}

/// Something that somebody does to an object; one whose name is not known yet has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed<'a> {
    pub group: &'a str,
    pub resource: &'a str,
    pub name: &'a str,
    pub operation: ProtectedOperation,
}

impl Permit {
    /// None of a ticket that is not live, as it says itself.
    pub fn of(ticket: &ChangeTicket) -> Option<Self> {
        let status = ticket.status.as_ref()?;
        if !says_live(ticket, status) {
            return None;
        }
        Some(Self {
            ticket: ticket.metadata.name.clone().unwrap_or_default(),
            until: ticket.spec.window.end.0,
            implementers: ticket.spec.implementers.clone(),
            others: others(ticket),
            allow: ticket.spec.allow.clone(),
        })
    }

    /// The name of the first of these under which somebody may do something now; or why they may not, where one allows it that they wrote or have agreed to.
    pub fn under<'a>(
        permits: impl IntoIterator<Item = &'a Self>,
        by: &Requester,
        deed: Deed<'_>,
        now: Timestamp,
    ) -> Result<String, Option<String>> {
        let mut own = None;
        for permit in permits.into_iter().filter(|permit| now < permit.until) {
            let is_own = permit.others.contains(&by.user);
            if (is_own || permit.is_for(by)) && permit.lists(deed) {
                if !is_own {
                    return Ok(permit.ticket.clone());
                }
                own.get_or_insert_with(|| own_ticket(&by.user, &permit.ticket));
            }
        }
        Err(own)
    }

    /// Why somebody does not carry the change out.
    fn bars(&self, by: &Requester) -> Option<String> {
        let (user, ticket) = (&by.user, &self.ticket);
        if !self.is_for(by) {
            return Some(format!(
                "{user} is not among spec.implementers of ChangeTicket {ticket}"
            ));
        }
        let own = self.others.contains(user);
        own.then(|| own_ticket(user, ticket))
    }

    fn is_for(&self, by: &Requester) -> bool {
        review::is_among(&self.implementers.users, &self.implementers.groups, by)
    }

    fn lists(&self, deed: Deed<'_>) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|each| each == one);
        let is_named = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => deed.name.starts_with(start),
            None => deed.name == pattern,
        };
        self.allow.iter().any(|allowed| {
            allowed.operations.contains(&deed.operation)
                && has(&allowed.groups, deed.group)
                && has(&allowed.resources, deed.resource)
                && allowed.names.iter().any(is_named)
        })
    }
}

/// Who does not carry a ticket out, whatever groups they are in: who wrote it or has agreed to it.
pub fn others(ticket: &ChangeTicket) -> BTreeSet<String> {
    let wrote = ticket.spec.requested_by.iter().map(|by| &by.user);
    let told = ticket.status.iter();
    let told = told.flat_map(|told| {
        let agreed = told.levels.iter().flat_map(|level| &level.by);
        told.writers.iter().chain(agreed)
    });
    wrote.chain(told).cloned().collect()
}

/// Why somebody does nothing by hand under a ticket that allows it, and who does.
pub fn own_ticket(user: &str, ticket: &str) -> String {
    format!(
        "{user} wrote ChangeTicket {ticket} or has agreed to it, and another implementer has to do it"
    )
}

/// Whether a ticket is live: as its status says of it as it is now, and not past its end, to which those are kept also whose status is behind.
pub fn is_live(ticket: &ChangeTicket, now: Timestamp) -> bool {
    let status = ticket.status.as_ref();
    status.is_some_and(|status| says_live(ticket, status)) && now < ticket.spec.window.end.0
}

fn says_live(ticket: &ChangeTicket, status: &ChangeTicketStatus) -> bool {
    status.observed_generation == ticket.metadata.generation && status.live == Some(true)
}

/// The one ticket that can cover a run: the one that it comes from, or else the one that it names. None where any may.
pub fn of_run(run: &JobRun) -> Option<&str> {
    let origin = origin(run).map(|(of, _)| of.name.as_str());
    origin.or(run.spec.ticket.as_deref())
}

/// The first of these tickets that covers a run, by its name; or in words why none does.
pub fn covering(
    run: &JobRun,
    plan: &Plan,
    tickets: &[ChangeTicket],
    now: Timestamp,
) -> Result<String, String> {
    let name = |ticket: &ChangeTicket| ticket.metadata.name.clone().unwrap_or_default();
    let Some(only) = of_run(run) else {
        let covers = |ticket: &&ChangeTicket| covers(ticket, run, plan, now).is_ok();
        let covering = tickets.iter().filter(covers).map(name).min();
        return covering.ok_or_else(|| "no ticket of the namespace covers it now".to_owned());
    };
    let ticket = tickets.iter().find(|ticket| name(ticket) == only);
    let ticket = ticket.ok_or_else(|| format!("there is no ChangeTicket {only}"))?;
    covers(ticket, run, plan, now).map(|()| only.to_owned())
}

/// What a run has come from that a ticket has started: the ticket, and the name of the run that it was started as. The operator alone says where a run comes from.
fn origin(run: &JobRun) -> Option<(&Origin, &str)> {
    let own = run.metadata.name.as_deref().unwrap_or_default();
    let chain = &run.spec.on_behalf_of;
    // What a ticket uses stands behind it.
    let used = chain.last().is_some_and(|last| last.kind == SOLUTION);
    let (ticket, parts) = chain[..chain.len() - usize::from(used)].split_last()?;
    let is_of_parts = parts.iter().all(|part| part.kind == RUN);
    let is_ticket = ticket.kind == TICKET && is_of_parts;
    let whole = parts.last().map_or(own, |part| &part.name);
    is_ticket.then_some((ticket, whole))
}

/// Who asked for a run or for the run that it is a part of; nobody where something else than a person has.
fn asker(run: &JobRun) -> Option<&Requester> {
    let chain = &run.spec.on_behalf_of;
    if chain.iter().any(|origin| origin.kind != RUN) {
        return None;
    }
    let first = chain.last().map(|origin| &origin.requested_by);
    first.or(run.spec.requested_by.as_ref())
}

fn covers(ticket: &ChangeTicket, run: &JobRun, plan: &Plan, now: Timestamp) -> Result<(), String> {
    let name = ticket.metadata.name.as_deref().unwrap_or_default();
    let permit = Permit::of(ticket).filter(|permit| now < permit.until);
    let Some(permit) = permit else {
        let status = ticket.status.as_ref();
        let summary = status.and_then(|status| status.summary.as_deref());
        let summary = summary.unwrap_or("not looked at yet");
        return Err(format!("ChangeTicket {name} is not live ({summary})"));
    };
    if let Some((origin, whole)) = origin(run) {
        return has_started(ticket, origin, whole);
    }
    let by = asker(run).ok_or("a ticket covers what a person has asked for, and a schedule did")?;
    permit.bars(by).map_or(Ok(()), Err)?;
    let deed = Deed {
        group: GROUP,
        resource: "jobruns",
        name: &plan.job,
        operation: ProtectedOperation::Create,
    };
    if !permit.lists(deed) {
        let job = match plan.job.as_str() {
            "" => "a job that is written in the run (names: ['*'])".to_owned(),
            job => format!("Job {job}"),
        };
        return Err(format!(
            "ChangeTicket {name} does not have Create on jobruns in allow for {job}"
        ));
    }
    match beyond(&ticket.spec.scope.hosts, plan) {
        Some(machine) => Err(format!(
            "ChangeTicket {name} is not about {machine} (spec.scope.hosts)"
        )),
        None => Ok(()),
    }
}

/// What a ticket has started is in its status before there is a run.
fn has_started(ticket: &ChangeTicket, origin: &Origin, whole: &str) -> Result<(), String> {
    let started = ticket.status.as_ref().and_then(|s| s.started.as_ref());
    let started = started.and_then(|started| started.run.as_deref());
    if Some(&origin.uid) == ticket.metadata.uid.as_ref() && started == Some(whole) {
        return Ok(());
    }
    let name = &origin.name;
    Err(format!(
        "ChangeTicket {name} is another than the one that has started it"
    ))
}

/// The first machine of a plan that is not among hosts, where any are named. Pods and what makes them are of the namespace, which a ticket always is about.
fn beyond(hosts: &[String], plan: &Plan) -> Option<String> {
    let mut lanes = plan.lanes.iter().filter(|_| !hosts.is_empty());
    lanes.find_map(|lane| {
        let mut names = lane.targets.iter().map(|target| &target.name);
        let (kind, beyond) = match lane.kind {
            TargetKind::Host => ("Host", names.find(|name| !hosts.contains(name))),
            TargetKind::Node => ("Node", names.next()),
            _ => return None,
        };
        beyond.map(|name| format!("{kind} {name}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::constant(150, 0);

    fn merged(mut into: Value, over: &Value) -> Value {
        let fields = into.as_object_mut().expect("an object");
        fields.extend(over.as_object().expect("an object").clone());
        into
    }

    /// A live one of rita's, to which bob has agreed; ivan and the crew run Job j and enter db-0.
    fn ticket(spec: &Value, status: &Value) -> ChangeTicket {
        let allow = json!([
            {"groups": ["pilothouse.dev"], "resources": ["jobruns"], "names": ["j", "tidy-*"], "operations": ["Create"]},
            {"groups": [""], "resources": ["pods"], "names": ["db-0"], "operations": ["Exec"]}]);
        let usual = json!({"title": "t", "type": "Regular", "level": "C", "submit": true,
            "window": {"start": "1970-01-01T00:01:40Z", "end": "1970-01-01T00:03:20Z"}, "plan": {"guide": "g"}, "allow": allow,
            "implementers": {"users": ["ivan", "rita", "bob"], "groups": ["crew"]}, "review": [{"name": "leads", "users": ["bob"]}],
            "requestedBy": {"user": "rita"}});
        let told = json!({"observedGeneration": 1, "live": true, "summary": "Executing", "writers": ["rita"],
            "levels": [{"name": "leads", "approved": 1, "needed": 1, "by": ["bob"]}]});
        let of = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket",
            "metadata": {"name": "move", "uid": "u-1", "generation": 1}, "spec": merged(usual, spec), "status": merged(told, status)});
        serde_json::from_value(of).expect("a ticket")
    }

    fn run(spec: &Value) -> JobRun {
        let usual =
            json!({"jobRef": {"name": "j"}, "requestedBy": {"user": "ivan", "groups": ["staff"]}});
        let of = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": "move-1"}, "spec": merged(usual, spec)});
        serde_json::from_value(of).expect("a run")
    }

    fn plan(job: &str, lanes: &Value) -> Plan {
        let plan = json!({"version": 1, "job": job, "account": "a", "frozenAt": "1970-01-01T00:00:00Z", "sharing": "Exclusive",
            "strategy": {}, "lanes": lanes, "steps": [], "params": {}, "secrets": {}});
        serde_json::from_value(plan).expect("a plan")
    }

    /// Whether the ticket covers a run of Job j, and why not.
    fn asked(ticket: ChangeTicket, run: &JobRun) -> Result<String, String> {
        covering(run, &plan("j", &json!([])), &[ticket], NOW)
    }

    fn origin_of(kind: &str, name: &str, uid: &str) -> Value {
        json!({"kind": kind, "name": name, "uid": uid, "requestedBy": {"user": "ivan", "groups": []}})
    }

    #[test]
    fn an_implementer_is_covered_by_a_live_ticket_that_lists_the_job() {
        let nothing = json!({});
        let named = json!({"ticket": "move"});
        let yes = Ok("move".to_owned());
        assert_eq!(asked(ticket(&nothing, &nothing), &run(&named)), yes);
        assert_eq!(
            asked(ticket(&nothing, &nothing), &run(&nothing)),
            yes,
            "any that does"
        );
        let by = |user: &str, groups: Value| {
            let by = json!({"ticket": "move", "requestedBy": {"user": user, "groups": groups}});
            asked(ticket(&nothing, &nothing), &run(&by))
        };
        assert!(by("mia", json!(["crew"])).is_ok());
        for (user, why) in [
            ("mallory", "not among spec.implementers"),
            ("rita", "wrote"),
            ("bob", "has agreed"),
        ] {
            let told = by(user, json!([])).expect_err(user);
            assert!(told.contains(why) && told.contains(user), "{told}");
        }
        let told = asked(ticket(&nothing, &nothing), &run(&json!({"ticket": "x"})));
        assert_eq!(told, Err("there is no ChangeTicket x".to_owned()));
    }

    #[test]
    fn only_a_ticket_that_is_live_as_it_is_now_covers_anything() {
        let named = run(&json!({"ticket": "move"}));
        let not = |spec: Value, status: Value| {
            let of = ticket(&spec, &status);
            assert_eq!(
                is_live(&of, NOW),
                Permit::of(&of).is_some_and(|p| NOW < p.until)
            );
            asked(of, &named).expect_err("it is not live")
        };
        let told = not(json!({}), json!({"live": false, "summary": "Scheduled"}));
        assert_eq!(told, "ChangeTicket move is not live (Scheduled)");
        not(json!({}), json!({"observedGeneration": 0}));
        let over =
            json!({"window": {"start": "1970-01-01T00:01:40Z", "end": "1970-01-01T00:02:30Z"}});
        not(over, json!({}));
        let told = asked(
            ticket(&json!({}), &json!({"live": false})),
            &run(&json!({})),
        );
        assert_eq!(told, Err("no ticket of the namespace covers it now".into()));
    }

    #[test]
    fn a_ticket_covers_the_jobs_and_hosts_that_it_names_and_no_others() {
        let of = |job: &str, scope: Value, lanes: Value| {
            let ticket = ticket(&json!({"scope": {"hosts": scope}}), &json!({}));
            let run = run(&json!({"ticket": "move"}));
            covering(&run, &plan(job, &lanes), &[ticket], NOW)
        };
        let lane = |kind: &str, name: &str| json!([{"kind": kind, "targets": [{"name": name, "uid": "u"}]}]);
        let (any, one) = (json!([]), json!(["db-7"]));
        assert!(of("tidy-logs", any.clone(), json!([])).is_ok());
        let told = of("k", any.clone(), json!([])).expect_err("it is not listed");
        assert!(told.contains("in allow for Job k"), "{told}");
        let told = of("", any.clone(), json!([])).expect_err("it has no name");
        assert!(told.contains("written in the run"), "{told}");
        assert!(of("j", any, lane("Host", "db-8")).is_ok());
        assert!(of("j", one.clone(), lane("Host", "db-7")).is_ok());
        assert!(of("j", one.clone(), lane("Pod", "web-0")).is_ok());
        let told = of("j", one.clone(), lane("Host", "db-8")).expect_err("another host");
        assert!(told.contains("Host db-8"), "{told}");
        assert!(of("j", one, lane("Node", "db-7")).is_err());
    }

    #[test]
    fn what_a_ticket_has_started_is_covered_with_all_its_parts_and_what_says_so_otherwise_is_not() {
        let started = json!({"started": {"at": "1970-01-01T00:02:00Z", "digest": "d", "closes": "1970-01-01T00:03:20Z", "onClose": "Finish", "level": "C", "run": "move-1"}});
        let of = |chain: Value| {
            let run = run(
                &json!({"requestedBy": {"user": "operator", "groups": []}, "onBehalfOf": chain}),
            );
            asked(ticket(&json!({"allow": []}), &started), &run)
        };
        let own = origin_of("ChangeTicket", "move", "u-1");
        let whole = |name: &str| origin_of("JobRun", name, "u-2");
        assert!(of(json!([own])).is_ok());
        assert!(of(json!([whole("part"), whole("move-1"), own])).is_ok());
        assert!(of(json!([whole("move-1"), whole("other"), own])).is_err());
        let anew = origin_of("ChangeTicket", "move", "u-3");
        assert!(of(json!([anew])).is_err(), "another of its name");
        let schedule = origin_of("ScheduledTask", "nightly", "u-4");
        assert!(of(json!([schedule, own])).is_err());
    }

    #[test]
    fn a_part_is_of_whoever_asked_for_the_whole_and_a_schedule_is_nobody() {
        let of = |chain: Value| {
            let robot = json!({"user": "operator", "groups": []});
            let run = run(&json!({"ticket": "move", "requestedBy": robot, "onBehalfOf": chain}));
            asked(ticket(&json!({}), &json!({})), &run)
        };
        assert!(of(json!([origin_of("JobRun", "whole", "u-2")])).is_ok());
        let told = of(json!([origin_of("ScheduledTask", "nightly", "u-3")]));
        assert!(told.is_err_and(|told| told.contains("a schedule")));
    }

    #[test]
    fn by_hand_is_done_what_is_listed_until_the_end_and_nothing_else() {
        use ProtectedOperation::{Attach, Exec};

        let permit = Permit::of(&ticket(&json!({}), &json!({}))).expect("it is live");
        let asks = |user: &str, name: &str, operation, now: i64| {
            let (by, now) = (
                json!({"user": user, "groups": ["staff"]}),
                Timestamp::constant(now, 0),
            );
            let by = serde_json::from_value(by).expect("somebody");
            let deed = Deed {
                group: "",
                resource: "pods",
                name,
                operation,
            };
            Permit::under([&permit], &by, deed, now)
        };
        assert_eq!(asks("ivan", "db-0", Exec, 150), Ok("move".to_owned()));
        for (user, name, operation, now, why) in [
            ("ivan", "db-0", Attach, 150, "it is not listed"),
            ("ivan", "db-1", Exec, 150, "another pod"),
            ("ivan", "", Exec, 150, "it has no name yet"),
            ("ivan", "db-0", Exec, 200, "the window is over"),
            ("mallory", "db-0", Exec, 150, "no implementer"),
            ("rita", "db-1", Exec, 150, "nobody does that"),
        ] {
            assert_eq!(asks(user, name, operation, now), Err(None), "{why}");
        }
        for user in ["bob", "rita"] {
            let told = asks(user, "db-0", Exec, 150).expect_err("it is their own");
            assert_eq!(told, Some(own_ticket(user, "move")));
        }
    }

    #[test]
    fn whoever_wrote_a_ticket_or_agreed_to_it_passes_neither_by_name_nor_by_group() {
        let told = json!({"writers": ["rita", "dora"]});
        let of = ticket(&json!({"implementers": {"groups": ["crew"]}}), &told);
        assert_eq!(others(&of), ["bob", "dora", "rita"].map(Into::into).into());
        let permits = [Permit::of(&of).expect("it is live")];
        let deed = Deed {
            group: "",
            resource: "pods",
            name: "db-0",
            operation: ProtectedOperation::Exec,
        };
        for (user, passes) in [
            ("mia", true),
            ("rita", false),
            ("dora", false),
            ("bob", false),
        ] {
            let by = Requester {
                user: user.into(),
                groups: vec!["crew".into()],
            };
            let under = Permit::under(&permits, &by, deed, NOW);
            assert_eq!(under.is_ok(), passes, "{user}");
        }
    }
}
