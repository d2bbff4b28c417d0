//! A plan as people and programs read it: targets, order, batches, scripts, and values as they are on each target. Secrets are shown as `***`.

use std::{collections::BTreeMap, fmt::Write as _};

use crds::{
    execution::TargetKind,
    v1alpha1::{
        ActionStep, ApprovalStep, FileStep, HttpStep, Interpreter, JobRunStatus, OnExpiry,
        ParameterRef, PauseStep, RunOn, StepApproval, Strategy, WaitStep,
    },
};
use decide::{
    Refusal,
    plan::{Body, Lane, Plan, PlannedStep, Task, Value, batches, topological},
    template,
};
use jiff::Timestamp;
use serde::Serialize;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A plan with everything rendered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub job: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub service_account_name: String,
    /// Hash of the frozen plan; a preview has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Digest of what the plan does: the same for a preview and for runs that do the same to the same targets.
    pub content_digest: String,
    pub strategy: Strategy,
    pub total_targets: usize,
    pub parameters: BTreeMap<String, String>,
    /// Parameters that values came from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters_read: BTreeMap<String, ParameterRef>,
    pub steps: Vec<ShownStep>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownStep {
    pub name: String,
    pub needs: Vec<String>,
    pub run_on: RunOn,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// It is taken only after the run has failed.
    pub on_failure: bool,
    pub target_kind: TargetKind,
    /// Names of targets, batch by batch.
    pub batches: Vec<Vec<ShownTarget>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    pub timeout: String,
    pub delivery_timeout: String,
    pub retries: i32,
    pub body: ShownBody,
    /// What people have decided on it by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<StepApproval>,
    /// Values, once for all targets on which they are the same.
    pub values: Vec<ShownValues>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownTarget {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    pub uid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ShownBody {
    Script {
        interpreter: Interpreter,
        #[serde(skip_serializing_if = "String::is_empty")]
        revision: String,
        content: String,
    },
    File(Box<FileStep>),
    Exec {
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
    },
    Pod {
        image: String,
    },
    Http(HttpStep),
    Wait(WaitStep),
    Pause(PauseStep),
    Approval(ApprovalStep),
    Job {
        name: String,
        revision: String,
    },
    Action(Box<ActionStep>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShownValues {
    pub targets: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// The plan, rendered for this run.
pub fn show(plan: &Plan, run: template::Run<'_>, notes: Vec<String>) -> Result<Shown, Refusal> {
    let order = topological(&plan.steps).expect("a plan that was frozen or read back has no cycle");
    let steps = order.into_iter().map(|step| shown(plan, run, step));
    Ok(Shown {
        job: plan.job.clone(),
        run: None,
        service_account_name: plan.account.clone(),
        hash: None,
        content_digest: content_digest(plan),
        strategy: plan.strategy.clone(),
        total_targets: plan.total(),
        parameters: plan.params.clone(),
        parameters_read: plan.read.clone(),
        steps: steps.collect::<Result<_, _>>()?,
        notes,
    })
}

impl Shown {
    /// The plan with what a run says that people have decided.
    pub fn with_decisions(mut self, told: &JobRunStatus) -> Self {
        for step in &mut self.steps {
            let told = told.steps.iter().find(|told| told.name == step.name);
            step.decided = told.and_then(|told| told.approval.clone());
        }
        self
    }
}

/// The hash without what differs from run to run: the moment, and the run that stands in for the target of steps without one.
fn content_digest(plan: &Plan) -> String {
    let mut plan = plan.clone();
    plan.frozen_at = Timestamp::UNIX_EPOCH;
    plan.read.clear();
    let without = plan
        .lanes
        .iter_mut()
        .filter(|lane| lane.kind == TargetKind::None);
    without
        .flat_map(|lane| &mut lane.targets)
        .for_each(|target| target.uid.clear());
    plan.seal().1
}

fn shown(plan: &Plan, run: template::Run<'_>, index: usize) -> Result<ShownStep, Refusal> {
    let (step, lane) = (&plan.steps[index], plan.lane(index));
    Ok(ShownStep {
        name: step.name.clone(),
        needs: step
            .needs
            .iter()
            .map(|&n| plan.steps[n].name.clone())
            .collect(),
        run_on: step.run_on,
        when: step.when.clone(),
        on_failure: step.on_failure,
        target_kind: lane.kind,
        batches: in_batches(&plan.strategy, lane),
        run_as: step.run_as.clone(),
        timeout: step.timeout.to_string(),
        delivery_timeout: step.delivery_timeout.to_string(),
        retries: step.retries,
        body: body(&step.body),
        decided: None,
        values: values(plan, run, index)?,
    })
}

fn in_batches(strategy: &Strategy, lane: &Lane) -> Vec<Vec<ShownTarget>> {
    let mut targets = lane.targets.iter().map(|t| ShownTarget {
        name: t.name.clone(),
        address: t.address.clone(),
        uid: t.uid.clone(),
    });
    batches(strategy, lane.targets.len())
        .into_iter()
        .map(|size| targets.by_ref().take(size).collect())
        .collect()
}

fn body(body: &Body) -> ShownBody {
    match body {
        Body::Script(script) => ShownBody::Script {
            interpreter: script.interpreter,
            revision: script.revision.clone(),
            content: script.content.clone(),
        },
        Body::File { step, .. } => ShownBody::File(step.clone()),
        Body::Exec(exec) => ShownBody::Exec {
            container: exec.container.clone(),
        },
        Body::Pod { step, .. } => ShownBody::Pod {
            image: step.image.clone(),
        },
        Body::Http { step, .. } => ShownBody::Http(step.clone()),
        Body::Wait(wait) => ShownBody::Wait(wait.clone()),
        Body::Pause(pause) => ShownBody::Pause(pause.clone()),
        Body::Approval(approval) => ShownBody::Approval(approval.clone()),
        Body::Job { name, revision, .. } => ShownBody::Job {
            name: name.clone(),
            revision: revision.clone(),
        },
        Body::Action(action) => ShownBody::Action(action.clone()),
    }
}

/// Values on every target, joined where they are the same.
fn values(plan: &Plan, run: template::Run<'_>, index: usize) -> Result<Vec<ShownValues>, Refusal> {
    let mut all: Vec<ShownValues> = Vec::new();
    for (target, planned) in plan.lane(index).targets.iter().enumerate() {
        let one = on_target(
            plan,
            run,
            Task {
                step: index,
                target,
            },
        )?;
        match all
            .iter_mut()
            .find(|v| (&v.env, &v.command, &v.args) == (&one.env, &one.command, &one.args))
        {
            Some(same) => same.targets.push(planned.name.clone()),
            None => all.push(ShownValues {
                targets: vec![planned.name.clone()],
                ..one
            }),
        }
    }
    Ok(all)
}

fn on_target(plan: &Plan, run: template::Run<'_>, task: Task) -> Result<ShownValues, Refusal> {
    let step: &PlannedStep = &plan.steps[task.step];
    let none = BTreeMap::new();
    let scope = plan.scope(run, task, &none);
    let render = |text: &String| {
        if template::awaits_outputs(text) {
            // What steps hand on is known only on the way.
            return Ok(text.clone());
        }
        template::render(&format!("steps.{}", step.name), text, &scope)
    };
    let list = |texts: &[String]| texts.iter().map(render).collect::<Result<Vec<_>, _>>();
    let env = |env: &BTreeMap<String, Value>| {
        let value = |(name, value): (&String, &Value)| match value {
            Value::Text(text) => Ok((name.clone(), render(text)?)),
            Value::Secret(parameter) => Ok((name.clone(), masked(plan, parameter))),
            Value::Output(output) => Ok((name.clone(), format!("{MASK} (output {output})"))),
        };
        env.iter().map(value).collect::<Result<BTreeMap<_, _>, _>>()
    };
    let targets = Vec::new();
    Ok(match &step.body {
        Body::Script(script) => ShownValues {
            targets,
            env: env(&script.env)?,
            ..ShownValues::default()
        },
        Body::File { step: file, .. } => ShownValues {
            targets,
            command: vec![render(&file.path)?],
            args: file.content.iter().map(render).collect::<Result<_, _>>()?,
            ..ShownValues::default()
        },
        Body::Exec(exec) => ShownValues {
            targets,
            command: list(&exec.command)?,
            ..ShownValues::default()
        },
        Body::Pod {
            step: pod,
            env: of_pod,
        } => ShownValues {
            targets,
            env: env(of_pod)?,
            command: list(&pod.command)?,
            args: list(&pod.args)?,
        },
        Body::Http {
            step: http,
            headers,
        } => ShownValues {
            targets,
            env: env(headers)?,
            command: vec![word(&http.method), render(&http.url)?],
            args: http.body.iter().map(render).collect::<Result<_, _>>()?,
        },
        Body::Wait(wait) => ShownValues {
            targets,
            command: vec![wait.object.kind.clone(), render(&wait.object.name)?],
            ..ShownValues::default()
        },
        Body::Job { parameters, .. } => ShownValues {
            targets,
            env: env(parameters)?,
            ..ShownValues::default()
        },
        Body::Pause(_) | Body::Approval(_) | Body::Action(_) => ShownValues {
            targets,
            ..ShownValues::default()
        },
    })
}

fn masked(plan: &Plan, parameter: &str) -> String {
    let place = plan
        .secrets
        .get(parameter)
        .map(|s| format!(" (Secret {}, key {})", s.name, s.key));
    format!("{MASK}{}", place.unwrap_or_default())
}

/// The plan for people; `wide` adds addresses and UIDs of targets.
pub fn text(shown: &Shown, wide: bool) -> String {
    let mut out = head(shown);
    for (number, step) in shown.steps.iter().enumerate() {
        let _ = write!(out, "\n{}", step_text(number + 1, step, wide));
    }
    if !shown.notes.is_empty() {
        let _ = write!(
            out,
            "\n{}",
            shown
                .notes
                .iter()
                .map(|n| format!("note: {n}\n"))
                .collect::<String>()
        );
    }
    out
}

fn head(shown: &Shown) -> String {
    let job = if shown.job.is_empty() {
        "written in the run"
    } else {
        &shown.job
    };
    let strategy = &shown.strategy;
    let mut lines = vec![
        ("job", job.to_owned()),
        ("account", shown.service_account_name.clone()),
        ("targets", shown.total_targets.to_string()),
        (
            "strategy",
            format!(
                "at most {} at once; pause between batches {}; more than {} failed targets: {}",
                strategy.max_parallel,
                strategy.pause_between,
                share(strategy),
                word(&strategy.on_threshold)
            ),
        ),
        ("content", shown.content_digest.clone()),
    ];
    match &shown.hash {
        Some(hash) => lines.push(("plan hash", hash.clone())),
        None => lines.push((
            "plan hash",
            "a preview has none; it is made when the run is planned".to_owned(),
        )),
    }
    if let Some(run) = &shown.run {
        lines.insert(0, ("run", run.clone()));
    }
    lines.extend(shown.parameters.iter().map(|(name, value)| {
        (
            "parameter",
            format!("{name}={value}{}", origin(shown, name)),
        )
    }));
    let secret = shown.parameters_read.keys();
    let secret = secret.filter(|name| !shown.parameters.contains_key(*name));
    lines.extend(secret.map(|name| ("parameter", format!("{name}={MASK}{}", origin(shown, name)))));
    lines
        .iter()
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .collect()
}

/// Where a value came from.
fn origin(shown: &Shown, name: &str) -> String {
    let Some(from) = shown.parameters_read.get(name) else {
        return String::new();
    };
    let version = from.version.map(|version| format!(" version {version}"));
    format!(" (Parameter {}{})", from.name, version.unwrap_or_default())
}

fn share(strategy: &Strategy) -> String {
    word(&strategy.max_failures)
}

/// A plain value in the words of the API.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn step_text(number: usize, step: &ShownStep, wide: bool) -> String {
    let after = after(step);
    let user = step
        .run_as
        .as_ref()
        .map(|user| format!(", as user {user}"))
        .unwrap_or_default();
    let mut out = format!(
        "{number}. {}: {}{after}{user}; timeout {}, to be reached within {}, {} retries\n",
        step.name,
        what(&step.body),
        step.timeout,
        step.delivery_timeout,
        step.retries
    );
    if step.target_kind == TargetKind::None {
        out.push_str("   once\n");
    } else if step.batches.is_empty() {
        out.push_str("   no target matches; nothing would be done\n");
    } else {
        for (index, batch) in step.batches.iter().enumerate() {
            let names: Vec<_> = batch.iter().map(|t| target(t, wide)).collect();
            let _ = writeln!(out, "   batch {}: {}", index + 1, names.join(", "));
        }
    }
    if let ShownBody::Approval(approval) = &step.body
        && let Some(message) = &approval.message
    {
        let _ = writeln!(out, "   asks: {message}");
    }
    if let Some(decided) = &step.decided {
        let _ = writeln!(out, "   {}", decided.message);
    }
    step.values
        .iter()
        .for_each(|values| out.push_str(&values_text(values, step.values.len() > 1)));
    if let ShownBody::Script { content, .. } = &step.body {
        content.lines().for_each(|line| {
            let _ = writeln!(out, "   | {line}");
        });
    }
    out
}

/// What has to come before the step.
fn after(step: &ShownStep) -> String {
    let mut out = String::new();
    if !step.needs.is_empty() {
        let _ = write!(out, ", after {}", step.needs.join(", "));
    }
    match step.run_on {
        RunOn::Success => {}
        RunOn::Failure => out.push_str(" where that has failed"),
        RunOn::Always => out.push_str(" whatever became of that"),
    }
    if let Some(when) = &step.when {
        let _ = write!(out, ", when {when}");
    }
    if step.on_failure {
        out.push_str(", once the run has failed");
    }
    out
}

fn what(body: &ShownBody) -> String {
    match body {
        ShownBody::Script {
            interpreter,
            revision,
            ..
        } if revision.is_empty() => format!("inline {}", word(interpreter)),
        ShownBody::Script {
            interpreter,
            revision,
            ..
        } => format!("script {} ({revision})", word(interpreter)),
        ShownBody::File(file) => format!("file {}", file.path),
        ShownBody::Exec { container } => format!(
            "exec in {}",
            container.as_deref().unwrap_or("the first container")
        ),
        ShownBody::Pod { image } => format!("pod of {image}"),
        ShownBody::Http(http) => format!("http {}", word(&http.method)),
        ShownBody::Wait(wait) => format!("wait until {}", wait.until),
        ShownBody::Pause(pause) => format!("pause of {}", pause.duration),
        ShownBody::Approval(approval) => asked(approval),
        ShownBody::Job { name, revision } => format!("job {name} ({revision})"),
        ShownBody::Action(action) => format!("action {}", word(action)),
    }
}

/// Who decides, and until when.
fn asked(approval: &ApprovalStep) -> String {
    let groups =
        (!approval.groups.is_empty()).then(|| format!("members of {}", approval.groups.join(", ")));
    let users = (!approval.users.is_empty()).then(|| approval.users.join(", "));
    let whom: Vec<_> = groups.into_iter().chain(users).collect();
    let whom = if whom.is_empty() {
        "those who may approve the run".to_owned()
    } else {
        whom.join(", and ")
    };
    let otherwise = match approval.on_expiry {
        OnExpiry::Fail => "fails",
        OnExpiry::Continue => "goes on",
    };
    format!(
        "approval by {} of {whom}, within {}, or it {otherwise}",
        approval.approvals, approval.expires_after
    )
}

fn target(target: &ShownTarget, wide: bool) -> String {
    match (wide, target.address.is_empty()) {
        (false, _) => target.name.clone(),
        (true, true) => format!("{} [{}]", target.name, target.uid),
        (true, false) => format!("{} [{}, {}]", target.name, target.address, target.uid),
    }
}

fn values_text(values: &ShownValues, differ: bool) -> String {
    let mut out = String::new();
    if differ {
        let _ = writeln!(out, "   on {}:", values.targets.join(", "));
    }
    for (name, list) in [("command", &values.command), ("args", &values.args)] {
        if !list.is_empty() {
            let _ = writeln!(out, "   {name}: {}", word(list));
        }
    }
    values.env.iter().for_each(|(name, value)| {
        let _ = writeln!(out, "   {name}={value}");
    });
    out
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
