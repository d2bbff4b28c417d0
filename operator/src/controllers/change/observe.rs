//! What a ticket's turn sees: its Job and who wrote it, what people have said, its calendars, and its run.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    Approval, ChangeAction, ChangeTicket, JobRun, Requester, SubjectKind, find_condition,
};
use decide::{
    Refusal, calls,
    change::{self, Content, JobSeen, World},
    schedule::Gate,
};
use jiff::Timestamp;
use kube::{Api, Resource as _, ResourceExt as _};

use super::{
    super::schedule,
    conflicts::{self, Conflicts},
    region,
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
    pub run: Option<JobRun>,
    pub actions: Vec<ChangeAction>,
    /// The ticket that it is a part of, and what has the names of its own parts.
    pub whole: Option<ChangeTicket>,
    pub parts: Vec<ChangeTicket>,
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
            run: self.run.as_ref(),
            actions: &self.actions,
            whole: self.whole.as_ref(),
            parts: &self.parts,
        }
    }

    /// Whoever answers for what a ticket has done: of a part, whoever wrote the whole.
    pub fn author<'a>(&'a self, ticket: &'a ChangeTicket) -> Option<&'a Requester> {
        let wrote = self.whole.as_ref().unwrap_or(ticket);
        wrote.spec.requested_by.as_ref()
    }
}

pub async fn look(ctx: &Context, ticket: &ChangeTicket, now: Timestamp) -> Result<Seen> {
    let mut seen = Seen {
        job: Ok(None),
        barred: None,
        approvals: Vec::new(),
        calendars: Gate::default(),
        conflicts: Conflicts::default(),
        run: None,
        actions: actions(ctx, ticket).await?,
        whole: region::whole(ctx, ticket).await?,
        parts: region::parts(ctx, ticket).await?,
    };
    let started = ticket.status.as_ref().is_some_and(|s| s.started.is_some());
    let begun = started || change::region::has_begun(ticket);
    if ticket.is_finished() || !ticket.spec.submit && !begun {
        return Ok(seen);
    }
    let namespace = ticket.namespace().unwrap_or_default();
    let decided_on = seen.whole.as_ref().unwrap_or(ticket).name_any();
    let about = |approval: &Approval| {
        let subject = &approval.spec.subject;
        subject.kind == SubjectKind::ChangeTicket && subject.name == decided_on
    };
    seen.approvals = ctx.approvals.within(&namespace, about).await?;
    let writer = (!started).then(|| Writer::new("ChangeTicket", &decided_on, seen.author(ticket)));
    let (job, barred) = job(ctx, ticket, writer).await?;
    (seen.job, seen.barred) = (job, barred);
    seen.run = run(ctx, ticket).await?;
    if !started {
        seen.calendars = schedule::gate(ctx, &namespace, &ticket.spec.calendar_refs).await?;
        seen.conflicts = conflicts::look(ctx, ticket, seen.whole.as_ref(), now).await?;
    }
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

/// What the Job of a ticket is; and why a run of it would be refused, where somebody answers for it.
async fn job(
    ctx: &Context,
    ticket: &ChangeTicket,
    writer: Option<Writer>,
) -> Result<(Result<Option<JobSeen>, Refusal>, Option<Refusal>)> {
    let Some(planned) = &ticket.spec.plan.job else {
        return Ok((Ok(None), None));
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
        let seen = seen(name, &found).map_err(Gap::Refused)?;
        let Some(writer) = writer else {
            return Ok((seen, None));
        };
        let mut writers = vec![writer];
        writers.extend(found.writers());
        let account = &planned.service_account_name;
        match entitled::all(ctx, &namespace, account, writers).await {
            Ok(()) => Ok((seen, None)),
            Err(Gap::Refused(barred)) => Ok((seen, Some(barred))),
            Err(gap) => Err(gap),
        }
    };
    match asked.await {
        Ok((seen, barred)) => Ok((Ok(Some(seen)), barred)),
        Err(Gap::Refused(refusal)) => Ok((Err(refusal), None)),
        Err(Gap::Failed { what, source }) => Err(Error::Observe { what, source }),
        Err(Gap::Forbidden(why) | Gap::Unseen(_, why)) => {
            Ok((Err(Refusal::new("Forbidden", why)), None))
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
    let (job, _) = job(ctx, ticket, None).await?;
    Ok(job.ok().map(|job| Content::of(ticket, job.as_ref())))
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
