//! Freezing: a run, its Job, the Scripts and targets that were found become a plan, or a refusal that says what to change.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    execution::TargetKind,
    v1alpha1::{JobSpec, ParameterSpec, ScriptSpec, Step, WorkloadKind},
};
use jiff::Timestamp;

use crate::{
    Limits, Refusal, condition,
    graph::{self, Node},
    parameters::{self, Values},
    plan::{Body, Lane, Plan, PlannedStep, PlannedTarget, SecretSource, Task, VERSION, Value},
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
    /// Scripts by name, with their digests.
    pub scripts: BTreeMap<String, (ScriptSpec, String)>,
    /// Targets of each lane, in the order of `graph::lanes`.
    pub targets: Vec<Vec<PlannedTarget>>,
    pub secrets: BTreeMap<String, SecretSource>,
}

/// The plan, or the first reason why there is none.
pub fn freeze(found: &Findings<'_>, limits: &Limits, now: Timestamp) -> Result<Plan, Refusal> {
    let job = found.job;
    within_limits(job, found, limits)?;
    graph::order(&job.steps)?;
    let (lane_specs, lane_of) = graph::lanes(job)?;
    let nodes = graph::nodes(job);
    let needs: Vec<_> = nodes.iter().map(|node| node.needs.clone()).collect();
    let last: Vec<_> = nodes.iter().map(|node| node.on_failure).collect();
    let stages = graph::stages(&needs, &lane_of, &last);
    let steps = (0..nodes.len()).map(|at| planned(found, &nodes, at, (lane_of[at], stages[at])));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let lanes = lane_specs
        .iter()
        .zip(&found.targets)
        .map(|(spec, targets)| lane(spec, targets));
    let plan = Plan {
        version: VERSION,
        cluster: None,
        job: found.job_name.to_owned(),
        account: found.account.to_owned(),
        frozen_at: now,
        sharing: job.sharing,
        strategy: job.strategy.clone(),
        lanes: lanes.collect(),
        steps,
        params: found.values.plain.clone(),
        secrets: found.secrets.clone(),
    };
    values_fit(found, &plan, &nodes)?;
    size_fits(&plan)?;
    Ok(plan)
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

/// Whether any run of this job could be planned: what a Job's Ready condition says.
pub fn check(
    job: &JobSpec,
    scripts: &BTreeMap<String, (ScriptSpec, String)>,
    limits: &Limits,
) -> Result<(), Refusal> {
    parameters_within(job, limits)?;
    graph::order(&job.steps)?;
    graph::lanes(job)?;
    for parameter in &job.parameters {
        if let Some(pattern) = &parameter.pattern {
            parameters::compile(
                &format!("spec.parameters.{}.pattern", parameter.name),
                pattern,
            )?;
        }
    }
    let (secret, plain): (Vec<&ParameterSpec>, Vec<_>) =
        job.parameters.iter().partition(|p| p.sensitive);
    let names = Names {
        plain: plain.into_iter().map(|p| p.name.as_str()).collect(),
        secret: secret.into_iter().map(|p| p.name.as_str()).collect(),
    };
    let nodes = graph::nodes(job);
    (0..nodes.len()).try_for_each(|at| sound(&nodes, at, scripts, &names))
}

/// Whether a step can be planned, apart from the values of parameters.
fn sound(
    nodes: &[Node<'_>],
    at: usize,
    scripts: &Scripts,
    names: &Names<'_>,
) -> Result<(), Refusal> {
    let (step, known) = (nodes[at].step, names.of(nodes, at));
    body::of(step, scripts, &known)?;
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
        template::Known {
            params: self.plain.clone(),
            secrets: self.secret.clone(),
            outputs: outputs.map(|output| output.name.as_str()).collect(),
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
        targets: targets.to_vec(),
    }
}

fn planned(
    found: &Findings<'_>,
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
        body: body::of(step, &found.scripts, &known)?,
        // What an action does to a host is the administrator's to do.
        run_as: step
            .action
            .as_ref()
            .map_or_else(|| step.run_as.clone(), |_| Some("root".to_owned())),
        timeout: step.timeout,
        delivery_timeout: step.delivery_timeout,
        retries: step.retries,
        backoff: step.backoff,
    })
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

type Scripts = BTreeMap<String, (ScriptSpec, String)>;

/// Renders every value on every target once, so that what would fail later fails now.
fn values_fit(found: &Findings<'_>, plan: &Plan, nodes: &[Node<'_>]) -> Result<(), Refusal> {
    let none = BTreeMap::new();
    for (index, (step, node)) in plan.steps.iter().zip(nodes).enumerate() {
        let script = node.step.script.as_ref();
        let declared = script.and_then(|s| found.scripts.get(&s.name));
        let declared = declared.map(|(script, _)| &script.parameters);
        let mut texts = texts(step);
        // What steps hand on is known and judged only on the way.
        texts.retain(|(_, _, text)| !template::awaits_outputs(text));
        for target in 0..plan.lane(index).targets.len() {
            let task = Task {
                step: index,
                target,
            };
            let scope = plan.scope(found.run, task, &none);
            for (field, name, text) in &texts {
                let text = template::render(field, text, &scope)?;
                let parameter = declared.into_iter().flatten().find(|p| p.name == *name);
                parameter.map_or(Ok(()), |p| parameters::accepts(field, p, &text))?;
            }
        }
    }
    Ok(())
}

/// Every template of a step: its field, the name of its variable where it has one, and its text.
fn texts(step: &PlannedStep) -> Vec<(String, String, &str)> {
    let place = |field: &str| format!("steps.{}.{field}", step.name);
    match &step.body {
        Body::Script(script) => env_texts(step, "env", &script.env),
        Body::Exec(exec) => list_texts(step, "exec.command", &exec.command),
        Body::Pod { step: pod, env } => {
            let mut all = env_texts(step, "pod.env", env);
            all.extend(list_texts(step, "pod.command", &pod.command));
            all.extend(list_texts(step, "pod.args", &pod.args));
            all
        }
        Body::Http {
            step: http,
            headers,
        } => {
            let mut all = env_texts(step, "http.headers", headers);
            all.push((place("http.url"), String::new(), &http.url));
            let body = http.body.iter();
            all.extend(body.map(|body| (place("http.body"), String::new(), body.as_str())));
            all
        }
        Body::Wait(wait) => vec![(place("wait.object.name"), String::new(), &wait.object.name)],
        Body::Pause(_) => Vec::new(),
        Body::Action(action) => {
            let texts = body::action_texts(action).into_iter();
            texts
                .map(|(field, text)| (place(&format!("action.{field}")), String::new(), text))
                .collect()
        }
    }
}

fn env_texts<'a>(
    step: &PlannedStep,
    field: &str,
    env: &'a BTreeMap<String, Value>,
) -> Vec<(String, String, &'a str)> {
    let text = |(name, value): (&'a String, &'a Value)| match value {
        Value::Text(text) => Some((
            format!("steps.{}.{field}.{name}", step.name),
            name.clone(),
            text.as_str(),
        )),
        Value::Secret(_) => None,
    };
    env.iter().filter_map(text).collect()
}

fn list_texts<'a>(
    step: &PlannedStep,
    field: &str,
    list: &'a [String],
) -> Vec<(String, String, &'a str)> {
    let text = |(i, text): (usize, &'a String)| {
        (
            format!("steps.{}.{field}[{i}]", step.name),
            String::new(),
            text.as_str(),
        )
    };
    list.iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod tests;
