//! ScheduledTask: creates a JobRun at each firing. A run carries its firing in its name and is held until the task's status knows the firing, so that none begins twice.

use std::{sync::Arc, time::Duration};

use crds::{
    names::{FINALIZER_RUN, LABEL_SCHEDULE},
    v1alpha1::{
        ChangeCalendar, Concurrency, JobRun, JobRunSpec, LocalRef, Origin, ScheduledTask,
        ScheduledTaskStatus, Verdict, condition_is_true, find_condition, set_condition,
    },
};
use decide::{
    Refusal,
    schedule::{self, Due, Gate, Next, Timetable, Told, World},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ListParams, ObjectMeta, PostParams},
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

use super::valid;
use crate::{
    actions, archives,
    context::Context,
    entitled::{self, Writer},
    error::{Error, Result, acting, chain, observing},
    reached::{self, Reached},
    report,
    resolve::Gap,
    scope,
};

/// Turns without a firing, so that a clock that was set is noticed.
const CALM: Duration = Duration::from_mins(1);
/// Turns while a run would be refused.
const BARRED: Duration = Duration::from_secs(30);

/// Has a task looked at when a calendar that it refers to was written, or flips.
pub fn following(
    tasks: Controller<DeserializeGuard<ScheduledTask>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<ScheduledTask>> {
    let known = tasks.store();
    tasks.watches(
        scope::within::<DeserializeGuard<ChangeCalendar>>(&ctx.client, part),
        watcher::Config::default(),
        move |calendar| {
            let (namespace, name) = (calendar.namespace(), calendar.name_any());
            let refers = |task: &Arc<DeserializeGuard<ScheduledTask>>| {
                let mut refs = task.0.as_ref().ok()?.spec.calendar_refs.iter();
                let refers = task.namespace() == namespace && refs.any(|of| of.name == name);
                refers.then(|| ObjectRef::from_obj(&**task))
            };
            known.state().iter().filter_map(refers).collect::<Vec<_>>()
        },
    )
}

pub async fn reconcile(
    task: Arc<DeserializeGuard<ScheduledTask>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let task = valid(&task)?;
    if task.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let created = task.creation_timestamp().map_or(now, |t| t.0);
    let turn = match Timetable::read(&task.spec, created) {
        Ok(table) => Ok(turn(task, &ctx, table, now).await),
        Err(refusal) => Err(refusal),
    };
    let status = match &turn {
        Ok(Ok(turn)) => schedule::status(task, &Ok(turn.told()), now),
        Ok(Err(error)) => unsettled(task, error, now),
        Err(refusal) => schedule::status(task, &Err(refusal.clone()), now),
    };
    if task.status.as_ref() != Some(&status) {
        let _place = ctx.hands.settling.acquire().await;
        report::status(&ctx.client, task, "pilothouse-scheduledtask", &status).await?;
    }
    let Ok(turn) = turn else {
        return Ok(Action::await_change());
    };
    let turn = turn?;
    turn.tell(&ctx, task).await;
    ctx.succeeded(task);
    Ok(turn.again(task, now))
}

/// What a turn came to.
struct Turn {
    table: Timetable,
    next: Next,
    world: Option<World>,
}

async fn turn(
    task: &ScheduledTask,
    ctx: &Context,
    table: Timetable,
    now: Timestamp,
) -> Result<Turn> {
    let namespace = task.namespace().unwrap_or_default();
    let calendars = gate(ctx, &namespace, &task.spec.calendar_refs).await?;
    let table = table.guarded(calendars);
    let due = schedule::due(task, &table, now);
    let first = (!due.is_empty()).then(|| ctx.precedence.firing());
    let (world, earlier) = if wants_a_look(task, &due) {
        let earlier = earlier(ctx, task).await?;
        let active = usize::from(earlier.is_some());
        let barred = barred(ctx, task).await?;
        (Some(World { active, barred }), earlier)
    } else {
        (None, None)
    };
    let next = schedule::next(task, due, &world.clone().unwrap_or_default(), now);
    if let Some(earlier) = earlier.filter(|_| next.replace) {
        let because = "a later firing of its ScheduledTask replaces it";
        actions::cancel(ctx, &earlier, "replaced", because).await?;
    }
    for &at in &next.start {
        start(ctx, task, at).await?;
    }
    drop(first);
    if schedule::prunes(task, &next) {
        prune(ctx, task).await?;
    }
    Ok(Turn { table, next, world })
}

/// The calendars that a task or a ticket refers to, as they are now.
pub async fn gate(ctx: &Context, namespace: &str, refs: &[LocalRef]) -> Result<Gate> {
    let mut found = Vec::new();
    for of in refs {
        let calendar = ctx.calendar(namespace, &of.name).await;
        let calendar = calendar.map_err(|source| Error::Observe {
            what: format!("ChangeCalendar {}", of.name),
            source,
        })?;
        found.push((of.name.as_str(), calendar));
    }
    let specs = found.iter();
    Ok(Gate::read(specs.map(|(name, found)| {
        let spec = found.as_ref().map(|calendar| &calendar.spec);
        (*name, spec)
    })))
}

/// Rights and earlier runs are looked at when it matters: at a firing, when the spec is new, and until what bars the task is mended.
fn wants_a_look(task: &ScheduledTask, due: &Due) -> bool {
    let Some(status) = &task.status else {
        return true;
    };
    let entitled = find_condition(&status.conditions, "Entitled");
    !due.is_empty()
        || status.observed_generation != task.metadata.generation
        || entitled.is_none_or(|c| c.status == "False")
}

impl Turn {
    fn told(&self) -> Told<'_> {
        Told {
            table: &self.table,
            next: &self.next,
            world: self.world.as_ref(),
        }
    }

    /// Says what did not start for another reason than its date.
    async fn tell(&self, ctx: &Context, task: &ScheduledTask) {
        let dates = [
            "ExcludedDate",
            "NotIncludedDate",
            "DstGap",
            "CalendarClosed",
            "Suspended",
        ];
        let untimely = |reason: &str| !dates.contains(&reason);
        let mut all = self.next.suppressed.iter();
        if let Some(last) = all.rfind(|s| untimely(&s.reason)) {
            let at = self.table.local(last.at.0).strftime("%Y-%m-%d %H:%M:%S %Z");
            let note = format!("the firing of {at} did not start: {}", last.message);
            ctx.events
                .tell(&task.object_ref(&()), true, &last.reason, "Fire", &note)
                .await;
        }
    }

    fn again(&self, task: &ScheduledTask, now: Timestamp) -> Action {
        if task.spec.suspend {
            return Action::await_change();
        }
        let barred = self.world.as_ref().is_some_and(|w| w.barred.is_some());
        if self.next.again.is_none() && !barred {
            return Action::await_change();
        }
        let calm = if barred { BARRED } else { CALM };
        let next = self.next.again.map(|at| at.duration_since(now));
        let next = next.and_then(|wait| Duration::try_from(wait).ok());
        Action::requeue(next.unwrap_or(CALM).clamp(Duration::from_millis(1), calm))
    }
}

/// A turn that failed says so and settles nothing: it is taken again.
fn unsettled(task: &ScheduledTask, error: &Error, now: Timestamp) -> ScheduledTaskStatus {
    let mut status = task.status.clone().unwrap_or_default();
    if !error.is_conflict() {
        let verdict = Verdict::unknown("Ready", error.category(), chain(error));
        let generation = task.metadata.generation;
        set_condition(&mut status.conditions, &verdict, generation, now);
    }
    status
}

/// The latest run, where it has not ended and that matters.
async fn earlier(ctx: &Context, task: &ScheduledTask) -> Result<Option<JobRun>> {
    let last = task.status.as_ref().and_then(|s| s.last_run.as_ref());
    let (Some(name), false) = (last, task.spec.concurrency == Concurrency::Allow) else {
        return Ok(None);
    };
    let run = runs_api(ctx, task).get_opt(name).await;
    let run = run.map_err(observing(format!("JobRun {name}")))?;
    Ok(run.filter(|run| !run.is_finished()))
}

/// Runs that the task created, as the operator alone can say.
async fn runs(ctx: &Context, task: &ScheduledTask) -> Result<Vec<JobRun>> {
    let uid = task.uid().unwrap_or_default();
    let labelled = ListParams::default().labels(&format!("{LABEL_SCHEDULE}={uid}"));
    let runs = runs_api(ctx, task).list(&labelled).await;
    let mut runs = runs.map_err(observing("JobRuns"))?.items;
    runs.retain(|run| is_of(run, &uid));
    Ok(runs)
}

fn is_of(run: &JobRun, uid: &str) -> bool {
    let origin = run.spec.on_behalf_of.first();
    origin.is_some_and(|origin| origin.uid == uid)
}

fn runs_api(ctx: &Context, task: &ScheduledTask) -> Api<JobRun> {
    Api::namespaced(ctx.prompt.clone(), &task.namespace().unwrap_or_default())
}

/// Why a run would be refused: its Job is not there, or one of those who last wrote what it does may not act as its account.
async fn barred(ctx: &Context, task: &ScheduledTask) -> Result<Option<Refusal>> {
    let (namespace, name) = (
        task.namespace().unwrap_or_default(),
        &task.spec.job_ref.name,
    );
    let asked = async {
        let Some(found) = reached::definition(ctx, &namespace, name).await? else {
            let message = format!("spec.jobRef.name: there is no Job {name}; create it");
            return Err(Gap::Refused(Refusal::new("JobNotFound", message)));
        };
        let own = task.spec.requested_by.as_ref();
        let mut writers = vec![Writer::new("ScheduledTask", &task.name_any(), own)];
        writers.extend(found.writers());
        let mut own_values = Reached::default();
        reached::values(ctx, &namespace, &mut own_values, &task.spec.parameter_refs).await?;
        writers.extend(own_values.writers());
        entitled::all(ctx, &namespace, &task.spec.service_account_name, writers).await
    };
    match asked.await {
        Ok(()) => Ok(None),
        Err(Gap::Refused(refusal)) => Ok(Some(refusal)),
        Err(Gap::Failed { what, source }) => Err(Error::Observe { what, source }),
        Err(Gap::Forbidden(why) | Gap::Unseen(_, why)) => Ok(Some(Refusal::new("Forbidden", why))),
    }
}

/// Creates the run of a firing, unless it is there.
async fn start(ctx: &Context, task: &ScheduledTask, at: Timestamp) -> Result<()> {
    let _place = ctx.hands.starting.acquire().await;
    let run = run_of(ctx, task, at);
    let (api, name) = (runs_api(ctx, task), run.name_any());
    match api.create(&PostParams::default(), &run).await {
        Ok(_) => {
            let late = Timestamp::now().duration_since(at);
            ctx.metrics.lateness.observe(late.as_secs_f64());
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get_opt(&name).await;
            let there = there.map_err(observing(format!("JobRun {name}")))?;
            let ours = there.is_none_or(|run| is_of(&run, &task.uid().unwrap_or_default()));
            ours.then_some(()).ok_or(Error::NameTaken { name })
        }
        Err(error) => Err(acting(format!("JobRun {name}"))(error)),
    }
}

fn run_of(ctx: &Context, task: &ScheduledTask, at: Timestamp) -> JobRun {
    let (uid, spec) = (task.uid().unwrap_or_default(), &task.spec);
    JobRun {
        metadata: ObjectMeta {
            name: Some(schedule::run_name(&task.name_any(), &uid, at)),
            namespace: task.namespace(),
            labels: Some([(LABEL_SCHEDULE.to_owned(), uid.clone())].into()),
            finalizers: Some(vec![FINALIZER_RUN.to_owned()]),
            owner_references: task.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: JobRunSpec {
            job_ref: Some(spec.job_ref.clone()),
            parameters: spec.parameters.clone(),
            secret_parameters: spec.secret_parameters.clone(),
            parameter_refs: spec.parameter_refs.clone(),
            on_behalf_of: vec![Origin {
                kind: ScheduledTask::kind(&()).into_owned(),
                name: task.name_any(),
                uid,
                at: Some(Time(at)),
                requested_by: spec.requested_by.clone().unwrap_or_default(),
            }],
            requested_by: Some(ctx.me.clone()),
            ..JobRunSpec::new(&spec.service_account_name)
        },
        status: None,
    }
}

/// Deletes the oldest of the runs that ended, beyond the history that is kept.
async fn prune(ctx: &Context, task: &ScheduledTask) -> Result<()> {
    let mut runs = runs(ctx, task).await?;
    runs.retain(|run| run.is_finished() && run.metadata.deletion_timestamp.is_none());
    runs.sort_by_key(|run| {
        std::cmp::Reverse(run.status.as_ref().and_then(|s| s.finished_at.clone()))
    });
    let (well, badly): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| {
        let conditions = run.status.as_ref().map(|s| &s.conditions);
        conditions.is_some_and(|c| condition_is_true(c, "Complete"))
    });
    let history = &task.spec.history;
    let of =
        |runs: Vec<JobRun>, kept: i32| runs.into_iter().skip(usize::try_from(kept).unwrap_or(0));
    for run in of(well, history.succeeded).chain(of(badly, history.failed)) {
        archives::remove(ctx, &run).await?;
    }
    Ok(())
}

/// Whether the task that a run comes from, if it is still there, has written down the run's firing.
pub async fn knows(ctx: &Context, run: &JobRun) -> Result<bool> {
    let kind = ScheduledTask::kind(&());
    let mut chain = run.spec.on_behalf_of.iter();
    let Some(origin) = chain.find(|origin| origin.kind == kind) else {
        return Ok(true);
    };
    let tasks =
        Api::<ScheduledTask>::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let task = tasks.get_opt(&origin.name).await;
    let task = task.map_err(observing(format!("ScheduledTask {}", origin.name)))?;
    let task = task.filter(|task| {
        task.uid().as_ref() == Some(&origin.uid) && task.metadata.deletion_timestamp.is_none()
    });
    Ok(task.is_none_or(|task| {
        let settled = task.status.and_then(|s| s.settled_until);
        settled.is_some_and(|settled| Some(&settled) >= origin.at.as_ref())
    }))
}
