//! How a plan is frozen: everything is looked up with the rights of the run's account, and the plan is stored before anything has an effect.

use std::{iter, sync::Arc, time::Duration};

use crds::{
    names::{self, LABEL_RUN},
    v1alpha1::{JobRun, JobSpec},
};
use decide::{
    Refusal,
    calls::Contents,
    freeze::{Findings, freeze},
    graph::{self, LaneSpec},
    parameters::{self, Given, Values},
    plan::{Plan, PlannedTarget},
    template,
};
use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};

use super::{
    News, WAITING, again,
    observe::{self, Kept},
};
use crate::{
    context::Context,
    entitled::{self, Writer},
    error::{Error, Result, acting, observing},
    reached::{self, Reached},
    resolve::{Gap, Resolver},
    revisions,
};

/// Turns while a host or a Parameter is looked at for the first time.
const UNSEEN: Duration = Duration::from_millis(500);

/// The plan of a run that has none, as it is stored; or what there is to say, and when to look again.
pub async fn turn(
    ctx: &Arc<Context>,
    run: &JobRun,
    now: Timestamp,
) -> Result<std::result::Result<Kept, (News, Duration)>> {
    let waiting = |reason, message, again| Ok(Err((News::Waiting { reason, message }, again)));
    match look_up(ctx, run, now).await {
        Ok(plan) => store(ctx, run, plan).await.map(Ok),
        Err(Gap::Refused(refusal)) => Ok(Err((News::Refused(refusal), Duration::ZERO))),
        Err(Gap::Forbidden(message)) => {
            let message = format!("{message}; grant it, or cancel the run");
            waiting("AccountForbidden", message, WAITING)
        }
        Err(Gap::Unseen(reason, message)) => waiting(reason, message, UNSEEN),
        Err(Gap::Failed { what, source }) => Err(Error::Observe { what, source }),
    }
}

async fn look_up(ctx: &Context, run: &JobRun, now: Timestamp) -> Result<Plan, Gap> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    if run.spec.requested_by.is_none() {
        return Err(Gap::Refused(Refusal::new(
            "NotStamped",
            "spec.requestedBy is empty: the admission policies of the chart are not in force; install them and create the run anew",
        )));
    }
    let (job_name, job, reached, mut writers) = definition(ctx, run, &namespace).await?;
    let contents = reached.contents();
    let values = values(run, &job, &contents)?;
    graph::order(&job.steps).map_err(Gap::Refused)?;
    let (lanes, _) = graph::lanes(&job).map_err(Gap::Refused)?;
    let account = run.spec.service_account_name.clone();
    let resolver = ctx
        .accounts
        .resolver(&namespace, &account)
        .map_err(|e| Gap::Forbidden(crate::error::chain(&e)))?;
    let targets = targets(ctx, run, &resolver, &lanes, now).await?;
    writers.extend(run.spec.on_behalf_of.iter().map(Writer::behind));
    let asked = run.spec.requested_by.iter();
    let users = asked.chain(writers.iter().filter_map(Writer::by));
    let users = users.map(|by| by.user.clone()).collect();
    entitled::all(ctx, &namespace, &account, writers).await?;
    let found = Findings {
        job_name: &job_name,
        job: &job,
        account: &account,
        run: template::Run {
            name: &name,
            namespace: &namespace,
        },
        secrets: resolver.secrets(&values.secret).await?,
        files: resolver.files(&job).await?,
        values,
        reached: contents,
        revision: run.spec.job_revision.as_deref(),
        targets,
    };
    let mut plan = freeze(&found, &ctx.args.limits(), now).map_err(Gap::Refused)?;
    if run.spec.only_failed_of.is_some() {
        // What a selector finds may be many times what is left of it.
        plan.lanes.iter_mut().for_each(|lane| lane.selector = None);
    }
    let cluster = Some(ctx.cluster.clone());
    Ok(Plan {
        cluster,
        writers: users,
        ..plan
    })
}

/// The targets of each lane.
async fn targets(
    ctx: &Context,
    run: &JobRun,
    resolver: &Resolver,
    lanes: &[LaneSpec],
    now: Timestamp,
) -> Result<Vec<Vec<PlannedTarget>>, Gap> {
    let uid = run.uid().unwrap_or_default();
    let mut targets = Vec::with_capacity(lanes.len());
    for lane in lanes {
        targets.push(resolver.lane(&uid, lane).await?);
    }
    if let Some(earlier) = &run.spec.only_failed_of {
        again::narrow(ctx, run, earlier, (lanes, &mut targets), now).await?;
    }
    Ok(targets)
}

/// The values of the run's parameters; those of Parameters in a version that is known.
fn values(run: &JobRun, job: &JobSpec, contents: &Contents) -> Result<Values, Gap> {
    let given = Given {
        plain: run.spec.parameters.clone(),
        secret: run.spec.secret_parameters.clone(),
        refs: run.spec.parameter_refs.clone(),
    };
    let values = parameters::resolve(&job.parameters, &given, &contents.kept);
    let values = values.map_err(Gap::Refused)?;
    let mut read = values.read.values();
    let uncounted = read.find(|from| from.version.is_none());
    uncounted.map_or(Ok(()), |from| {
        let message = format!(
            "the latest value of Parameter {} is no version yet; the run goes on when it is",
            from.name
        );
        Err(Gap::Unseen("ParameterNotSeen", message))
    })?;
    Ok(values)
}

/// The job, its name where it is an object, what it reaches, and who wrote them last; a job written in the run is its creator's, who was asked at the door.
async fn definition(
    ctx: &Context,
    run: &JobRun,
    namespace: &str,
) -> Result<(String, JobSpec, Reached, Vec<Writer>), Gap> {
    if let Some(job) = &run.spec.job {
        let mut reached = reached::named(ctx, namespace, job).await?;
        reached::values(ctx, namespace, &mut reached, &run.spec.parameter_refs).await?;
        let writers = reached.writers().collect();
        return Ok((String::new(), JobSpec::clone(job), reached, writers));
    }
    let name = run
        .spec
        .job_ref
        .as_ref()
        .map(|r| r.name.clone())
        .unwrap_or_default();
    let found = reached::definition(ctx, namespace, &name).await?;
    let found = found.ok_or_else(|| Gap::Refused(Refusal::new("JobNotFound", format!("spec.jobRef.name: there is no Job {name} in namespace {namespace}; create it, then create the run anew"))))?;
    let (job, mut reached) = (found.job.spec.clone(), found.reached.clone());
    reached::values(ctx, namespace, &mut reached, &run.spec.parameter_refs).await?;
    let writers = iter::once(Writer::of_job(&found.job)).chain(reached.writers());
    let writers = writers.collect();
    Ok((name, job, reached, writers))
}

/// Stores the plan. One that is there already is kept: it was frozen by a turn that did not get to say so.
async fn store(ctx: &Context, run: &JobRun, plan: Plan) -> Result<Kept> {
    let (name, (sealed, hash)) = (observe::plan_name(run), plan.seal());
    let api: Api<ControllerRevision> =
        Api::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(LABEL_RUN.to_owned(), names::label(&run.name_any()))].into()),
            owner_references: run.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(sealed)),
        revision: 1,
    };
    match api.create(&PostParams::default(), &revision).await {
        Ok(_) => Ok(Kept {
            plan: Arc::new(plan),
            name,
            hash,
        }),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api
                .get(&name)
                .await
                .map_err(observing(format!("ControllerRevision {name}")))?;
            let ours = revisions::is_of(&there, LABEL_RUN, run);
            match there.data.filter(|_| ours) {
                Some(stored) => observe::kept(stored, name),
                None => Err(acting(format!(
                    "ControllerRevision {name}, which belongs to another object"
                ))(kube::Error::Api(status))),
            }
        }
        Err(error) => Err(acting(format!("ControllerRevision {name}"))(error)),
    }
}
