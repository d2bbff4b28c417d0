//! Freezing: a run, its Job, the Scripts and targets that were found become a plan, or a refusal that says what to change.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    execution::TargetKind,
    v1alpha1::{InlineStep, JobSpec, ParameterSpec, PodStep, ScriptSpec, ScriptStep, Step},
};
use jiff::Timestamp;

use crate::{
    Limits, Refusal, graph,
    parameters::{self, Values},
    plan::{
        Body, Lane, Plan, PlannedStep, PlannedTarget, ScriptBody, SecretSource, Task, VERSION,
        Value,
    },
    template,
};

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
    let order = graph::order(&job.steps)?;
    let (lane_specs, lane_of) = graph::lanes(job)?;
    let needs = positions(&job.steps);
    let stages = graph::stages(&order, &needs, &lane_of);
    let steps = job
        .steps
        .iter()
        .enumerate()
        .map(|(i, step)| planned(found, step, lane_of[i], stages[i], needs[i].clone()));
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
    values_fit(found, &plan)?;
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
    let (secret, plain): (Vec<_>, Vec<_>) = job.parameters.iter().partition(|p| p.sensitive);
    let names =
        |of: Vec<&ParameterSpec>| of.iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>();
    let (plain, secret) = (names(plain), names(secret));
    job.steps
        .iter()
        .try_for_each(|step| body(step, scripts, &plain, &secret).map(|_| ()))
}

fn within_limits(job: &JobSpec, found: &Findings<'_>, limits: &Limits) -> Result<(), Refusal> {
    parameters_within(job, limits)?;
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

fn positions(steps: &[Step]) -> Vec<Vec<usize>> {
    let at = |name: &String| steps.iter().position(|s| &s.name == name);
    steps
        .iter()
        .map(|s| s.needs.iter().filter_map(at).collect())
        .collect()
}

fn lane(spec: &graph::LaneSpec, targets: &[PlannedTarget]) -> Lane {
    let kind = match spec {
        graph::LaneSpec::Hosts(_) => TargetKind::Host,
        graph::LaneSpec::Pods(_) => TargetKind::Pod,
        graph::LaneSpec::Once => TargetKind::None,
    };
    Lane {
        kind,
        targets: targets.to_vec(),
    }
}

fn planned(
    found: &Findings<'_>,
    step: &Step,
    lane: usize,
    stage: usize,
    needs: Vec<usize>,
) -> Result<PlannedStep, Refusal> {
    let plain = found.values.plain.keys().cloned().collect();
    let secret = found.values.secret.keys().cloned().collect();
    Ok(PlannedStep {
        name: step.name.clone(),
        lane,
        stage,
        needs,
        body: body(step, &found.scripts, &plain, &secret)?,
        run_as: step.run_as.clone(),
        timeout: step.timeout,
        delivery_timeout: step.delivery_timeout,
        retries: step.retries,
        backoff: step.backoff,
    })
}

type Scripts = BTreeMap<String, (ScriptSpec, String)>;

fn body(
    step: &Step,
    scripts: &Scripts,
    plain: &BTreeSet<String>,
    secret: &BTreeSet<String>,
) -> Result<Body, Refusal> {
    let names = Names {
        plain: plain.iter().map(String::as_str).collect(),
        secret: secret.iter().map(String::as_str).collect(),
    };
    if let Some(script) = &step.script {
        return script_body(step, script, scripts, &names);
    }
    if let Some(InlineStep {
        interpreter,
        content,
        env,
    }) = &step.inline
    {
        let env = names.values(&format!("steps.{}.inline.env", step.name), env)?;
        return Ok(Body::Script(ScriptBody {
            interpreter: *interpreter,
            content: content.clone(),
            env,
            revision: String::new(),
        }));
    }
    if let Some(exec) = &step.exec {
        names.texts(&format!("steps.{}.exec.command", step.name), &exec.command)?;
        return Ok(Body::Exec(exec.clone()));
    }
    let pod = step
        .pod
        .as_ref()
        .ok_or_else(|| Refusal::new("NoBody", format!("steps.{} has no body", step.name)))?;
    let field = format!("steps.{}.pod", step.name);
    names.texts(&format!("{field}.command"), &pod.command)?;
    names.texts(&format!("{field}.args"), &pod.args)?;
    let env = names.values(&format!("{field}.env"), &pod.env)?;
    Ok(Body::Pod {
        step: PodStep {
            env: BTreeMap::new(),
            ..pod.clone()
        },
        env,
    })
}

fn script_body(
    step: &Step,
    call: &ScriptStep,
    scripts: &Scripts,
    names: &Names<'_>,
) -> Result<Body, Refusal> {
    let field = format!("steps.{}.script", step.name);
    let Some((script, digest)) = scripts.get(&call.name) else {
        return Err(Refusal::new(
            "ScriptNotFound",
            format!(
                "{field}.name: there is no Script {} in this namespace; create it or correct the name",
                call.name
            ),
        ));
    };
    for given in call.parameters.keys() {
        if !script.parameters.iter().any(|p| &p.name == given) {
            let known: Vec<_> = script.parameters.iter().map(|p| p.name.as_str()).collect();
            return Err(Refusal::new(
                "UnknownParameter",
                format!(
                    "{field}.parameters.{given}: Script {} declares no such parameter; it declares {}",
                    call.name,
                    known.join(", ")
                ),
            ));
        }
    }
    let mut env = names.values(&format!("{field}.parameters"), &call.parameters)?;
    for parameter in &script.parameters {
        let field = format!("{field}.parameters.{}", parameter.name);
        match (env.get(&parameter.name), &parameter.default) {
            (Some(Value::Text(_)), _) if parameter.sensitive => {
                return Err(Refusal::new(
                    "SensitiveInPlain",
                    format!(
                        "{field}: the script's parameter is sensitive; pass on a sensitive parameter of the job, whole"
                    ),
                ));
            }
            (None, Some(default)) => {
                env.insert(parameter.name.clone(), Value::Text(default.clone()));
            }
            (None, None) if parameter.required || parameter.sensitive => {
                return Err(Refusal::new(
                    "MissingParameter",
                    format!("{field} is required and has no default; give it a value"),
                ));
            }
            (Some(_), _) | (None, None) => {}
        }
    }
    Ok(Body::Script(ScriptBody {
        interpreter: script.interpreter,
        content: script.content.clone(),
        env,
        revision: digest.clone(),
    }))
}

/// Parameter names that templates of a job can use.
struct Names<'a> {
    plain: BTreeSet<&'a str>,
    secret: BTreeSet<&'a str>,
}

impl Names<'_> {
    fn texts(&self, field: &str, texts: &[String]) -> Result<(), Refusal> {
        texts.iter().enumerate().try_for_each(|(i, text)| {
            template::check(&format!("{field}[{i}]"), text, &self.plain, &self.secret)
        })
    }

    fn values(
        &self,
        field: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Value>, Refusal> {
        let value = |(name, text): (&String, &String)| {
            if let Some(secret) = template::passes_on(text).filter(|p| self.secret.contains(p)) {
                return Ok((name.clone(), Value::Secret(secret.to_owned())));
            }
            template::check(&format!("{field}.{name}"), text, &self.plain, &self.secret)?;
            Ok((name.clone(), Value::Text(text.clone())))
        };
        given.iter().map(value).collect()
    }
}

/// Renders every value on every target once, so that what would fail later fails now.
fn values_fit(found: &Findings<'_>, plan: &Plan) -> Result<(), Refusal> {
    for (index, (step, source)) in plan.steps.iter().zip(&found.job.steps).enumerate() {
        let declared = source
            .script
            .as_ref()
            .and_then(|s| found.scripts.get(&s.name))
            .map(|(s, _)| &s.parameters);
        for target in 0..plan.lane(index).targets.len() {
            let task = Task {
                step: index,
                target,
            };
            for (field, name, text) in texts(step) {
                let text = plan.render(found.run, task, &field, text)?;
                let parameter = declared.into_iter().flatten().find(|p| p.name == name);
                parameter.map_or(Ok(()), |p| parameters::accepts(&field, p, &text))?;
            }
        }
    }
    Ok(())
}

/// Every template of a step: its field, the name of its variable where it has one, and its text.
fn texts(step: &PlannedStep) -> Vec<(String, String, &str)> {
    match &step.body {
        Body::Script(script) => env_texts(step, "env", &script.env),
        Body::Exec(exec) => list_texts(step, "exec.command", &exec.command),
        Body::Pod { step: pod, env } => {
            let mut all = env_texts(step, "pod.env", env);
            all.extend(list_texts(step, "pod.command", &pod.command));
            all.extend(list_texts(step, "pod.args", &pod.args));
            all
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
#[path = "freeze_tests.rs"]
mod tests;
