//! What a ticket's turn sees: its Job or its solution and who wrote that, what people have said, its calendars, and its run.

use crds::v1alpha1::{
    Approval, ChangeAction, ChangeSolution, ChangeTicket, JobRun, PlannedSolution, Requester,
    SubjectKind, find_condition,
};
use decide::{
    Refusal,
    change::{self, Content, SolutionSeen, World, risk::Weighed},
    schedule::Gate,
    solution,
};
use jiff::Timestamp;
use kube::{Api, Resource as _, ResourceExt as _};

use super::{
    super::schedule,
    bound::Bound,
    conflicts::{self, Conflicts},
    region, risk,
};
use crate::{
    context::Context,
    entitled::Writer,
    error::{Result, observing},
    planned::{self, Planned},
};

/// Everything that there is besides the ticket.
pub struct Seen {
    plan: Planned,
    told: bool,
    approvals: Vec<Approval>,
    calendars: Gate,
    conflicts: Conflicts,
    risk: Weighed,
    pub run: Option<JobRun>,
    pub actions: Vec<ChangeAction>,
    /// The ticket that it is a part of, and what has the names of its own parts.
    pub whole: Option<ChangeTicket>,
    pub parts: Vec<ChangeTicket>,
}

impl Seen {
    pub fn world(&self) -> World<'_> {
        World {
            job: self.plan.job.clone(),
            solution: self.solution(),
            told: self.told,
            barred: self.plan.barred.clone(),
            approvals: &self.approvals,
            calendars: &self.calendars,
            conflicts: &self.conflicts.found,
            on_conflict: self.conflicts.on_conflict,
            risk: &self.risk,
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

    pub fn solution(&self) -> Option<&SolutionSeen> {
        self.plan.solution.as_ref()
    }
}

pub async fn look(ctx: &Context, ticket: &ChangeTicket, now: Timestamp) -> Result<Seen> {
    let mut seen = Seen {
        plan: Planned::GUIDE,
        told: told(ctx, ticket).await?,
        approvals: Vec::new(),
        calendars: Gate::default(),
        conflicts: Conflicts::default(),
        risk: Weighed::default(),
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
    seen.approvals = approvals(ctx, &namespace, SubjectKind::ChangeTicket, &decided_on).await?;
    let writer = (!started).then(|| Writer::new("ChangeTicket", &decided_on, seen.author(ticket)));
    seen.plan = plan(ctx, ticket, writer, now).await?;
    seen.run = run(ctx, ticket).await?;
    if !started {
        seen.calendars = schedule::gate(ctx, &namespace, &ticket.spec.calendar_refs).await?;
    }
    // What is made of a ticket after its start is as risky as if it had said so before.
    if !started || changes(&seen.plan, ticket) {
        let (bound, whole) = (Bound::look(ctx, &namespace).await?, seen.whole.as_ref());
        seen.conflicts = conflicts::look(ctx, ticket, (&bound, whole), now).await?;
        let found = (seen.plan.says.as_ref(), &seen.conflicts.found[..]);
        // A part is as risky as what people decide on.
        seen.risk = risk::look(ctx, whole.unwrap_or(ticket), &bound, found, now).await?;
    }
    Ok(seen)
}

/// Whether the ticket says something else than what was started.
fn changes(plan: &Planned, ticket: &ChangeTicket) -> bool {
    let job = plan.job.as_ref().ok().and_then(Option::as_ref);
    change::is_changed(ticket, &Content::of(ticket, job, plan.solution.as_ref()))
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

/// Those about an object.
pub async fn approvals(
    ctx: &Context,
    namespace: &str,
    kind: SubjectKind,
    name: &str,
) -> Result<Vec<Approval>> {
    let about = |approval: &Approval| {
        let subject = &approval.spec.subject;
        subject.kind == kind && subject.name == name
    };
    ctx.approvals.within(namespace, about).await
}

/// What a ticket plans; and why a run of that would be refused, where somebody answers for it.
async fn plan(
    ctx: &Context,
    ticket: &ChangeTicket,
    writer: Option<Writer>,
    now: Timestamp,
) -> Result<Planned> {
    let behind = writer.map(|writer| vec![writer]);
    let namespace = ticket.namespace().unwrap_or_default();
    if let Some(planned) = &ticket.spec.plan.solution {
        return of_solution(ctx, &namespace, planned, behind, now).await;
    }
    let job = ticket.spec.plan.job.as_ref();
    planned::look(ctx, &namespace, job, behind).await
}

/// A solution as a ticket uses it. Its writers have to be entitled as the ticket's are.
async fn of_solution(
    ctx: &Context,
    namespace: &str,
    planned: &PlannedSolution,
    mut behind: Option<Vec<Writer>>,
    now: Timestamp,
) -> Result<Planned> {
    let name = &planned.name;
    let Some(solution) = named(ctx, namespace, name).await? else {
        let message = format!(
            "spec.plan.solution.name: there is no ChangeSolution {name}; create it, or name another"
        );
        return Ok(Refusal::new("SolutionNotFound", message).into());
    };
    let own = solution.spec.requested_by.as_ref();
    if let Some(behind) = &mut behind {
        behind.push(Writer::new("ChangeSolution", name, own));
    }
    let job = solution.spec.plan.job.as_ref();
    let found = planned::look(ctx, namespace, job, behind).await?;
    let approvals = approvals(ctx, namespace, SubjectKind::ChangeSolution, name).await?;
    let usable = found.job.as_ref().map_err(|refusal| {
        let message = format!("ChangeSolution {name}: {}", refusal.message);
        Refusal::new(refusal.reason, message)
    });
    let usable =
        usable.and_then(|job| solution::usable(&solution, job.as_ref(), &approvals, planned, now));
    Ok(match usable {
        Ok(seen) => Planned {
            solution: Some(seen),
            ..found
        },
        Err(refusal) => refusal.into(),
    })
}

async fn named(ctx: &Context, namespace: &str, name: &str) -> Result<Option<ChangeSolution>> {
    let solutions = Api::<ChangeSolution>::namespaced(ctx.prompt.clone(), namespace);
    let found = solutions.get_opt(name).await;
    found.map_err(observing(format!("ChangeSolution {name}")))
}

/// Whether the solution that a ticket owes its end knows it, or is gone; one that does not is woken.
async fn told(ctx: &Context, ticket: &ChangeTicket) -> Result<bool> {
    let Some(used) = solution::owing(ticket) else {
        return Ok(false);
    };
    let namespace = ticket.namespace().unwrap_or_default();
    let found = named(ctx, &namespace, &used.name).await?;
    let own = found.filter(|found| found.uid().as_ref() == Some(&used.uid));
    let is_told = own.is_none_or(|own| solution::knows(&own, ticket));
    if !is_told {
        ctx.wake_solution(&namespace, &used.name);
    }
    Ok(is_told)
}

/// What is decided on by Approvals of the ticket; none where what it plans cannot be done.
pub async fn content(
    ctx: &Context,
    ticket: &ChangeTicket,
    now: Timestamp,
) -> Result<Option<Content>> {
    let plan = plan(ctx, ticket, None, now).await?;
    let solution = plan.solution.as_ref();
    let job = plan.job.ok();
    Ok(job.map(|job| Content::of(ticket, job.as_ref(), solution)))
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
