//! What a ticket's turn sees: its Job and who wrote it, what people have said, its calendars, and its run.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    Approval, ChangeAction, ChangeTicket, JobRun, JobSpec, SubjectKind, find_condition,
};
use decide::{
    Refusal, calls,
    change::{self, Content, JobSeen, World, risk::Weighed},
    schedule::Gate,
};
use jiff::Timestamp;
use kube::{Api, Resource as _, ResourceExt as _};

use super::{
    super::schedule,
    bound::Bound,
    conflicts::{self, Conflicts},
    risk,
};
use crate::{
    context::Context,
    entitled::{self, Writer},
    error::{Error, Result, observing},
    reached::{self, Definition},
    resolve::Gap,
};

/// Everything that there is besides the ticket.
pub struct Seen {
    job: Result<Option<JobSeen>, Refusal>,
    barred: Option<Refusal>,
    approvals: Vec<Approval>,
    calendars: Gate,
    conflicts: Conflicts,
    risk: Weighed,
    pub run: Option<JobRun>,
    pub actions: Vec<ChangeAction>,
}

impl Seen {
    pub fn world(&self) -> World<'_> {
        World {
            job: self.job.clone(),
            barred: self.barred.clone(),
            approvals: &self.approvals,
            calendars: &self.calendars,
            conflicts: &self.conflicts.found,
            on_conflict: self.conflicts.on_conflict,
            risk: &self.risk,
            run: self.run.as_ref(),
            actions: &self.actions,
        }
    }
}

pub async fn look(ctx: &Context, ticket: &ChangeTicket, now: Timestamp) -> Result<Seen> {
    let mut seen = Seen {
        job: Ok(None),
        barred: None,
        approvals: Vec::new(),
        calendars: Gate::default(),
        conflicts: Conflicts::default(),
        risk: Weighed::default(),
        run: None,
        actions: actions(ctx, ticket).await?,
    };
    let started = ticket.status.as_ref().is_some_and(|s| s.started.is_some());
    if ticket.is_finished() || !ticket.spec.submit && !started {
        return Ok(seen);
    }
    let (namespace, name) = (ticket.namespace().unwrap_or_default(), ticket.name_any());
    let about = |approval: &Approval| {
        let subject = &approval.spec.subject;
        subject.kind == SubjectKind::ChangeTicket && subject.name == name
    };
    seen.approvals = ctx.approvals.within(&namespace, about).await?;
    let plan = plan(ctx, ticket, !started).await?;
    seen.run = run(ctx, ticket).await?;
    if !started {
        seen.calendars = schedule::gate(ctx, &namespace, &ticket.spec.calendar_refs).await?;
    }
    // What is made of a ticket after its start is as risky as if it had said so before.
    if !started || plan.changes(ticket) {
        let bound = Bound::look(ctx, &namespace).await?;
        seen.conflicts = conflicts::look(ctx, ticket, &bound, now).await?;
        let found = (plan.says.as_ref(), &seen.conflicts.found[..]);
        seen.risk = risk::look(ctx, ticket, &bound, found, now).await?;
    }
    (seen.job, seen.barred) = (plan.job, plan.barred);
    Ok(seen)
}

/// Those about a ticket that nobody has answered, in the order in which they were written.
async fn actions(ctx: &Context, ticket: &ChangeTicket) -> Result<Vec<ChangeAction>> {
    let open = |action: &ChangeAction| {
        let told = action.status.as_ref().map(|s| &s.conditions);
        action.spec.ticket_ref.name == ticket.name_any()
            && action.creation_timestamp() >= ticket.creation_timestamp()
            && action.spec.requested_by.is_some()
            && told.is_none_or(|told| find_condition(told, "Applied").is_none())
    };
    let namespace = ticket.namespace().unwrap_or_default();
    let mut actions = ctx.change_actions.within(&namespace, open).await?;
    // Creation times are whole seconds; the API server counts versions in the order of writes.
    actions.sort_by_key(|a| a.resource_version().and_then(|v| v.parse::<u64>().ok()));
    Ok(actions)
}

/// What the Job of a ticket is, as far as it can be run.
struct Plan {
    job: Result<Option<JobSeen>, Refusal>,
    /// Why a run of it would be refused, as far as that is asked.
    barred: Option<Refusal>,
    says: Option<JobSpec>,
}

impl Plan {
    /// Whether the ticket says something else than what was started.
    fn changes(&self, ticket: &ChangeTicket) -> bool {
        let job = self.job.as_ref().ok().and_then(Option::as_ref);
        change::is_changed(ticket, &Content::of(ticket, job))
    }

    /// Without a Job that can be run, or for want of one.
    fn without(job: Result<Option<JobSeen>, Refusal>) -> Self {
        Self {
            job,
            barred: None,
            says: None,
        }
    }
}

async fn plan(ctx: &Context, ticket: &ChangeTicket, asks_rights: bool) -> Result<Plan> {
    let Some(planned) = &ticket.spec.plan.job else {
        return Ok(Plan::without(Ok(None)));
    };
    let (namespace, name) = (
        ticket.namespace().unwrap_or_default(),
        &planned.job_ref.name,
    );
    let asked = async {
        let found = reached::definition(ctx, &namespace, name).await?;
        let Some(found) = found else {
            let message = format!("spec.plan.job.jobRef.name: there is no Job {name}; create it");
            return Err(Gap::Refused(Refusal::new("JobNotFound", message)));
        };
        let mut plan = Plan {
            job: Ok(Some(seen(name, &found).map_err(Gap::Refused)?)),
            barred: None,
            says: Some(found.job.spec.clone()),
        };
        if !asks_rights {
            return Ok(plan);
        }
        let own = ticket.spec.requested_by.as_ref();
        let mut writers = vec![Writer::new("ChangeTicket", &ticket.name_any(), own)];
        writers.extend(found.writers());
        let account = &planned.service_account_name;
        match entitled::all(ctx, &namespace, account, writers).await {
            Ok(()) => Ok(plan),
            Err(Gap::Refused(barred)) => {
                plan.barred = Some(barred);
                Ok(plan)
            }
            Err(gap) => Err(gap),
        }
    };
    match asked.await {
        Ok(plan) => Ok(plan),
        Err(Gap::Refused(refusal)) => Ok(Plan::without(Err(refusal))),
        Err(Gap::Failed { what, source }) => Err(Error::Observe { what, source }),
        Err(Gap::Forbidden(why) | Gap::Unseen(_, why)) => {
            Ok(Plan::without(Err(Refusal::new("Forbidden", why))))
        }
    }
}

fn seen(name: &str, found: &Definition) -> Result<JobSeen, Refusal> {
    let revisions = calls::revisions(name, &found.job.spec, &found.reached.contents());
    let revision = revisions.map_err(|refusal| {
        let message = format!("Job {name} cannot be run: {}", refusal.message);
        Refusal::new(refusal.reason, message)
    })?;
    let writers = found.writers();
    let writers = writers.filter_map(|writer| writer.by().map(|by| by.user.clone()));
    Ok(JobSeen {
        revision: revision.own,
        writers: writers.collect::<BTreeSet<_>>(),
    })
}

/// What is decided on by Approvals of the ticket; none where its Job cannot be run.
pub async fn content(ctx: &Context, ticket: &ChangeTicket) -> Result<Option<Content>> {
    let plan = plan(ctx, ticket, false).await?;
    Ok(plan.job.ok().map(|job| Content::of(ticket, job.as_ref())))
}

/// The run of this very ticket, where it has started one.
async fn run(ctx: &Context, ticket: &ChangeTicket) -> Result<Option<JobRun>> {
    let started = ticket.status.as_ref().and_then(|s| s.started.as_ref());
    let Some(name) = started.and_then(|started| started.run.as_ref()) else {
        return Ok(None);
    };
    let namespace = ticket.namespace().unwrap_or_default();
    let runs = Api::<JobRun>::namespaced(ctx.prompt.clone(), &namespace);
    let found = runs.get_opt(name).await;
    let found = found.map_err(observing(format!("JobRun {name}")))?;
    Ok(found.filter(|run| change::is_own(run, ticket)))
}

/// Whether the ticket that a run comes from, if it is still there, has seen how it ended.
pub async fn knows(ctx: &Context, run: &JobRun) -> Result<bool> {
    let nearest = run.spec.on_behalf_of.first();
    let Some(origin) = nearest.filter(|of| of.kind == ChangeTicket::kind(&())) else {
        return Ok(true);
    };
    let namespace = run.namespace().unwrap_or_default();
    let tickets = Api::<ChangeTicket>::namespaced(ctx.client.clone(), &namespace);
    let ticket = tickets.get_opt(&origin.name).await;
    let ticket = ticket.map_err(observing(format!("ChangeTicket {}", origin.name)))?;
    let ticket = ticket.filter(|ticket| ticket.uid().as_ref() == Some(&origin.uid));
    let knows = ticket.is_none_or(|ticket| {
        let told = ticket.status.as_ref().map(|s| s.conditions.as_slice());
        let executing = find_condition(told.unwrap_or_default(), "Executing");
        executing.is_some_and(|c| c.reason == "Ended")
    });
    if !knows {
        ctx.wake_ticket(&namespace, &origin.name);
    }
    Ok(knows)
}
