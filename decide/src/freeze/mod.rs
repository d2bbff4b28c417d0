//! Freezing: a run, its Job, the Scripts and targets that were found become a plan, or a refusal that says what to change.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    execution::TargetKind,
    v1alpha1::{DeclaredParameter, JobSpec, Selector, Step, WorkloadKind},
};
use jiff::Timestamp;

use crate::{
    Limits, Refusal,
    calls::{self, Contents, Revisions},
    condition,
    graph::{self, Node},
    kept::{self, Held},
    parameters::{self, Values},
    plan::{Body, FileSource, Lane, Plan, PlannedStep, PlannedTarget, SecretSource, Task, VERSION},
    template,
};

mod body;
mod on_hosts;

/// What was looked up for a run.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    pub job_name: &'a str,
    pub job: &'a JobSpec,
    pub account: &'a str,
    pub run: template::Run<'a>,
    pub values: Values,
    pub reached: Contents,
    /// What the job has to be still, where somebody cares.
    pub revision: Option<&'a str>,
    /// Targets of each lane, in the order of `graph::lanes`.
    pub targets: Vec<Vec<PlannedTarget>>,
    pub secrets: BTreeMap<String, SecretSource>,
    /// Objects that hold files, by the step that puts them on hosts.
    pub files: BTreeMap<String, FileSource>,
}

/// The plan, or the first reason why there is none.
pub fn freeze(found: &Findings<'_>, limits: &Limits, now: Timestamp) -> Result<Plan, Refusal> {
    let job = found.job;
    within_limits(job, found, limits)?;
    people_within(job)?;
    graph::order(&job.steps)?;
    let revisions = calls::revisions(found.job_name, job, &found.reached)?;
    still_the_same(found, &revisions)?;
    let (lane_specs, lane_of) = graph::lanes(job)?;
    let nodes = graph::nodes(job);
    let needs: Vec<_> = nodes.iter().map(|node| node.needs.clone()).collect();
    let last: Vec<_> = nodes.iter().map(|node| node.on_failure).collect();
    let stages = graph::stages(&needs, &lane_of, &last);
    let named = Named {
        reached: &found.reached,
        revisions: &revisions,
        files: &found.files,
    };
    let steps =
        (0..nodes.len()).map(|at| planned(found, &named, &nodes, at, (lane_of[at], stages[at])));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let lanes = lane_specs
        .iter()
        .zip(&found.targets)
        .map(|(spec, targets)| lane(spec, targets));
    let plan = Plan {
        version: VERSION,
        cluster: None,
        job: found.job_name.to_owned(),
        revision: revisions.own.clone(),
        writers: BTreeSet::new(),
        account: found.account.to_owned(),
        frozen_at: now,
        sharing: job.sharing,
        strategy: job.strategy.clone(),
        lanes: lanes.collect(),
        steps,
        params: found.values.plain.clone(),
        secrets: found.secrets.clone(),
        read: found.values.read.clone(),
    };
    nodes_are_named(&plan)?;
    values_fit(found, &plan, &nodes)?;
    size_fits(&plan)?;
    Ok(plan)
}

/// A host is drained as the node that it is.
fn nodes_are_named(plan: &Plan) -> Result<(), Refusal> {
    for (index, step) in plan.steps.iter().enumerate() {
        let lane = plan.lane(index);
        let of_nodes = matches!(step.body, Body::Action(_)) && lane.kind == TargetKind::Host;
        if let Some(host) = lane.targets.iter().find(|t| of_nodes && t.node.is_empty()) {
            let message = format!(
                "steps.{}: Host {} names no node; set its spec.nodeName, or target nodes",
                step.name, host.name
            );
            return Err(Refusal::new("NoNode", message));
        }
    }
    Ok(())
}

/// The API server takes objects of up to 1.5 MiB; the plan is the largest part of the one that holds it.
const PLAN_BYTES: usize = 1 << 20;

fn size_fits(plan: &Plan) -> Result<(), Refusal> {
    let bytes = plan.seal().0.to_string().len();
    if bytes <= PLAN_BYTES {
        return Ok(());
    }
    Err(Refusal::new(
        "PlanTooLarge",
        format!(
            "the plan has {bytes} bytes and the limit is {PLAN_BYTES}; use shorter scripts, fewer steps, or fewer targets"
        ),
    ))
}

/// The revision of a job of which a run could be planned: what a Job's Ready condition says.
pub fn check(
    name: &str,
    job: &JobSpec,
    reached: &Contents,
    limits: &Limits,
) -> Result<String, Refusal> {
    parameters_within(job, limits)?;
    people_within(job)?;
    graph::order(&job.steps)?;
    let revisions = calls::revisions(name, job, reached)?;
    graph::lanes(job)?;
    for parameter in &job.parameters {
        if let Some(pattern) = &parameter.pattern {
            parameters::compile(
                &format!("spec.parameters.{}.pattern", parameter.name),
                pattern,
            )?;
        }
    }
    let mut names = Names::default();
    for parameter in &job.parameters {
        let kind = if is_secret(parameter, reached)? {
            &mut names.secret
        } else {
            &mut names.plain
        };
        kind.insert(&parameter.name);
    }
    let nodes = graph::nodes(job);
    let named = Named {
        reached,
        revisions: &revisions,
        files: &BTreeMap::new(),
    };
    (0..nodes.len()).try_for_each(|at| sound(&nodes, at, &named, &names))?;
    Ok(revisions.own)
}

/// Whether the value of a parameter is a secret one, where a run gives none; a Parameter that it comes from has to be there.
fn is_secret(parameter: &DeclaredParameter, reached: &Contents) -> Result<bool, Refusal> {
    let Some(from) = &parameter.from else {
        return Ok(parameter.sensitive);
    };
    let field = format!("spec.parameters.{}.from", parameter.name);
    let kept = kept::fetch(&field, parameter, from, &reached.kept)?;
    Ok(matches!(kept.value, Held::Secret(_)))
}

/// What the steps of a job name.
struct Named<'a> {
    reached: &'a Contents,
    revisions: &'a Revisions,
    files: &'a BTreeMap<String, FileSource>,
}

/// Whoever started the run may have had another content before their eyes.
fn still_the_same(found: &Findings<'_>, now: &Revisions) -> Result<(), Refusal> {
    let changed = found.revision.filter(|expected| *expected != now.own);
    changed.map_or(Ok(()), |expected| {
        let message = format!(
            "spec.jobRevision: Job {}, or what it names, was changed: it is {} now, not {expected}; look at it, and create the run anew",
            found.job_name, now.own
        );
        Err(Refusal::new("JobChanged", message))
    })
}

/// Whether a step can be planned, apart from the values of parameters.
fn sound(
    nodes: &[Node<'_>],
    at: usize,
    named: &Named<'_>,
    names: &Names<'_>,
) -> Result<(), Refusal> {
    let (step, known) = (nodes[at].step, names.of(nodes, at));
    body::of(step, named, &known)?;
    if let Some(when) = &step.when {
        let variables = ["params", "target", "run", "item", "outputs"];
        condition::check(&format!("steps.{}.when", step.name), when, &variables)?;
    }
    for output in &step.outputs {
        let field = format!("steps.{}.outputs.{}", step.name, output.name);
        if let Some(pattern) = &output.pattern {
            parameters::compile(&field, pattern)?;
        }
        if nodes[..at]
            .iter()
            .any(|node| node.step.outputs.iter().any(|o| o.name == output.name))
        {
            let message =
                format!("{field}: another step has an output of this name; give it another");
            return Err(Refusal::new("OutputNotUnique", message));
        }
    }
    let plain = template::Known {
        params: names.plain.clone(),
        ..template::Known::default()
    };
    let field = format!("steps.{}.forEach", step.name);
    step.for_each
        .iter()
        .try_for_each(|item| template::check(&field, item, &plain))
}

/// Parameter names that templates of a job can use.
#[derive(Default)]
struct Names<'a> {
    plain: BTreeSet<&'a str>,
    secret: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    /// What the templates of a node can name: also the outputs of steps before it that are on its own targets, or done once.
    fn of(&self, nodes: &'a [Node<'_>], at: usize) -> template::Known<'a> {
        let (mut left, mut seen) = (vec![at], BTreeSet::new());
        while let Some(node) = left.pop() {
            let needs = nodes[node].needs.iter().copied();
            left.extend(needs.filter(|&need| seen.insert(need)));
        }
        let outputs = seen.into_iter().flat_map(|node| &nodes[node].step.outputs);
        let (secret, plain): (Vec<_>, Vec<_>) = outputs.partition(|output| output.sensitive);
        template::Known {
            params: self.plain.clone(),
            secrets: self.secret.clone(),
            outputs: plain.iter().map(|output| output.name.as_str()).collect(),
            secret_outputs: secret.iter().map(|output| output.name.as_str()).collect(),
            item: nodes[at].item.is_some(),
        }
    }
}

/// Steps of a plan at most, repeated ones each by itself.
const STEPS: usize = 100;

fn within_limits(job: &JobSpec, found: &Findings<'_>, limits: &Limits) -> Result<(), Refusal> {
    parameters_within(job, limits)?;
    let steps = graph::nodes(job).len();
    if steps > STEPS {
        let message = format!(
            "with what forEach repeats the job has {steps} steps and the limit is {STEPS}; give forEach fewer values, or make two jobs of it"
        );
        return Err(Refusal::new("TooManySteps", message));
    }
    let total: usize = found.targets.iter().map(Vec::len).sum();
    if total > limits.targets {
        return Err(Refusal::new(
            "TooManyTargets",
            format!(
                "the run has {total} targets and the limit is {}; split it by selector into {} runs, or raise limits.targets of the installation",
                limits.targets,
                total.div_ceil(limits.targets.max(1))
            ),
        ));
    }
    Ok(())
}

fn parameters_within(job: &JobSpec, limits: &Limits) -> Result<(), Refusal> {
    let count = job.parameters.len();
    if count <= limits.parameters {
        return Ok(());
    }
    Err(Refusal::new(
        "TooManyParameters",
        format!(
            "spec.parameters has {count} entries and the limit is {}; join some, or raise limits.parameters of the installation",
            limits.parameters
        ),
    ))
}

/// People at most whom the steps of a job ask, since the status of a run names each.
const PEOPLE: i32 = 48;

fn people_within(job: &JobSpec) -> Result<(), Refusal> {
    let asked = job.all_steps().filter_map(|step| step.approval.as_ref());
    let people: i32 = asked.map(|approval| approval.approvals).sum();
    if people <= PEOPLE {
        return Ok(());
    }
    let message = format!(
        "the steps of the job ask for {people} approvals and the limit is {PEOPLE}; ask for fewer, or make two jobs of it"
    );
    Err(Refusal::new("TooManyApprovals", message))
}

fn lane(spec: &graph::LaneSpec, targets: &[PlannedTarget]) -> Lane {
    let kind = match spec {
        graph::LaneSpec::Hosts(_) => TargetKind::Host,
        graph::LaneSpec::Pods(_) => TargetKind::Pod,
        graph::LaneSpec::Workloads(of) => match of.kind {
            WorkloadKind::Deployment => TargetKind::Deployment,
            WorkloadKind::StatefulSet => TargetKind::StatefulSet,
            WorkloadKind::DaemonSet => TargetKind::DaemonSet,
        },
        graph::LaneSpec::Nodes(_) => TargetKind::Node,
        graph::LaneSpec::Once => TargetKind::None,
    };
    Lane {
        kind,
        selector: selector(spec),
        targets: targets.to_vec(),
    }
}

/// Hosts alone are read again before they are worked on.
fn selector(spec: &graph::LaneSpec) -> Option<String> {
    let graph::LaneSpec::Hosts(wanted) = spec else {
        return None;
    };
    wanted.selector.as_ref().map(Selector::query)
}

fn planned(
    found: &Findings<'_>,
    named: &Named<'_>,
    nodes: &[Node<'_>],
    at: usize,
    (lane, stage): (usize, usize),
) -> Result<PlannedStep, Refusal> {
    let Node {
        step,
        name,
        item,
        needs,
        on_failure,
    } = &nodes[at];
    let names = Names {
        plain: found.values.plain.keys().map(String::as_str).collect(),
        secret: found.values.secret.keys().map(String::as_str).collect(),
    };
    let known = names.of(nodes, at);
    Ok(PlannedStep {
        name: name.clone(),
        lane,
        stage,
        needs: needs.clone(),
        run_on: step.run_on,
        when: step.when.clone(),
        item: item.map_or(Ok(String::new()), |item| rendered_item(found, step, item))?,
        outputs: step.outputs.clone(),
        continue_on_failure: step.continue_on_failure,
        on_failure: *on_failure,
        body: body::of(step, named, &known)?,
        run_as: run_as(step),
        timeout: step.timeout,
        delivery_timeout: step.delivery_timeout,
        retries: step.retries,
        backoff: step.backoff,
    })
}

/// What an action does to a host is the administrator's to do, and files are too unless somebody says otherwise.
fn run_as(step: &Step) -> Option<String> {
    let by_root = step.action.is_some() || step.file.is_some();
    let root = by_root.then(|| "root".to_owned());
    step.run_as.clone().or(root)
}

/// A value of forEach is the same on every target.
fn rendered_item(found: &Findings<'_>, step: &Step, item: &str) -> Result<String, Refusal> {
    let scope = template::Scope {
        params: &found.values.plain,
        target: template::Target {
            name: "",
            address: "",
        },
        run: found.run,
        item: "",
        outputs: &BTreeMap::new(),
    };
    template::render(&format!("steps.{}.forEach", step.name), item, &scope)
}

/// What the Script or Job of a step declares.
fn declared<'a>(found: &'a Findings<'_>, step: &Step) -> &'a [DeclaredParameter] {
    let script = step.script.as_ref();
    let script = script.and_then(|s| found.reached.scripts.get(&s.name));
    let job = step.job.as_ref();
    let job = job.and_then(|j| found.reached.jobs.get(&j.name));
    let script = script.map(|(script, _)| script.parameters.as_slice());
    script
        .or(job.map(|written| written.job.parameters.as_slice()))
        .unwrap_or_default()
}

/// Renders every value on every target once, so that what would fail later fails now.
fn values_fit(found: &Findings<'_>, plan: &Plan, nodes: &[Node<'_>]) -> Result<(), Refusal> {
    let none = BTreeMap::new();
    for (index, (step, node)) in plan.steps.iter().zip(nodes).enumerate() {
        let declared = declared(found, node.step);
        let mut texts = body::texts(node.step, &step.body);
        // What steps hand on is known and judged only on the way.
        texts.retain(|text| !template::awaits_outputs(&text.text));
        for target in 0..plan.lane(index).targets.len() {
            let task = Task {
                step: index,
                target,
            };
            let scope = plan.scope(found.run, task, &none);
            for of in &texts {
                let text = template::render(&of.field, &of.text, &scope)?;
                let parameter = declared.iter().find(|p| p.name == of.name);
                parameter.map_or(Ok(()), |p| parameters::accepts(&of.field, p, &text))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
