//! The body of a step as it is planned: contents in place of names, and every template checked.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    ActionStep, DeclaredParameter, FileStep, HttpStep, InlineStep, JobStep, PodStep, ScriptStep,
    Step,
};

use super::{Named, on_hosts};
use crate::{
    Refusal, condition, parameters,
    plan::{Body, ScriptBody, Value},
    template::{self, Known},
};

/// Bytes of a merge patch at most.
const PATCH_BYTES: usize = 16 << 10;

/// The body of a step, or what is wrong with it.
pub fn of(step: &Step, named: &Named<'_>, known: &Known<'_>) -> Result<Body, Refusal> {
    let body = found(step, named, known)?;
    for text in texts(step, &body) {
        template::check(&text.field, &text.text, known)?;
    }
    Ok(body)
}

fn found(step: &Step, named: &Named<'_>, known: &Known<'_>) -> Result<Body, Refusal> {
    let field = |body: &str| format!("steps.{}.{body}", step.name);
    if let Some(script) = &step.script {
        return script_body(step, script, named, known);
    }
    if let Some(inline) = &step.inline {
        return Ok(inline_body(inline, known));
    }
    if let Some(file) = &step.file {
        return Ok(Body::File {
            step: Box::new(file.clone()),
            source: named.files.get(&step.name).cloned(),
        });
    }
    if let Some(exec) = &step.exec {
        return Ok(Body::Exec(exec.clone()));
    }
    if let Some(http) = &step.http {
        return http_body(&field("http.expect"), http, known);
    }
    if let Some(wait) = &step.wait {
        condition::check(&field("wait.until"), &wait.until, &["object"])?;
        return Ok(Body::Wait(wait.clone()));
    }
    if let Some(pause) = &step.pause {
        return Ok(Body::Pause(pause.clone()));
    }
    if let Some(approval) = &step.approval {
        return Ok(Body::Approval(approval.clone()));
    }
    if let Some(job) = &step.job {
        return job_body(&field("job"), job, named, known);
    }
    if let Some(action) = &step.action {
        return action_body(&field("action"), action);
    }
    if let Some(pod) = &step.pod {
        return Ok(pod_body(pod, known));
    }
    let message = format!("steps.{} has no body", step.name);
    Err(Refusal::new("NoBody", message))
}

fn inline_body(inline: &InlineStep, known: &Known<'_>) -> Body {
    Body::Script(ScriptBody {
        interpreter: inline.interpreter,
        content: inline.content.clone(),
        env: values(known, &inline.env),
        ..ScriptBody::default()
    })
}

fn pod_body(pod: &PodStep, known: &Known<'_>) -> Body {
    Body::Pod {
        env: values(known, &pod.env),
        step: PodStep {
            env: BTreeMap::new(),
            ..pod.clone()
        },
    }
}

fn http_body(field: &str, http: &HttpStep, known: &Known<'_>) -> Result<Body, Refusal> {
    let expected = http.expect.headers.values().chain(&http.expect.body);
    for pattern in expected {
        parameters::compile(field, pattern)?;
    }
    Ok(Body::Http {
        headers: values(known, &http.headers),
        step: HttpStep {
            headers: BTreeMap::new(),
            ..http.clone()
        },
    })
}

fn action_body(field: &str, action: &ActionStep) -> Result<Body, Refusal> {
    if let Some(script) = on_hosts::script(action) {
        return Ok(Body::Script(script));
    }
    if let Some(patch) = &action.patch {
        let bytes = serde_json::to_vec(&patch.merge).map_or(usize::MAX, |json| json.len());
        if bytes > PATCH_BYTES {
            let message =
                format!("{field}.patch.merge has {bytes} bytes; the limit is {PATCH_BYTES}");
            return Err(Refusal::new("PatchTooLarge", message));
        }
    }
    Ok(Body::Action(Box::new(action.clone())))
}

/// A template of a step.
#[derive(Clone)]
pub struct Template {
    pub field: String,
    /// Name of the variable that it is the value of.
    pub name: String,
    pub text: String,
}

/// Every template of a step.
pub fn texts(step: &Step, body: &Body) -> Vec<Template> {
    let of = Of { step: &step.name };
    match body {
        Body::Script(script) => of.env(env_field(step), &script.env),
        Body::File { step: file, .. } => of.file(file),
        Body::Exec(exec) => of.list("exec.command", &exec.command),
        Body::Pod { step: pod, env } => [
            of.env("pod.env", env),
            of.list("pod.command", &pod.command),
            of.list("pod.args", &pod.args),
        ]
        .concat(),
        Body::Http { step, headers } => {
            let mut all = of.env("http.headers", headers);
            all.extend(step.body.iter().map(|body| of.one("http.body", body)));
            all.push(of.one("http.url", &step.url));
            all
        }
        Body::Wait(wait) => vec![of.one("wait.object.name", &wait.object.name)],
        Body::Pause(_) | Body::Approval(_) => Vec::new(),
        Body::Job { parameters, .. } => of.env("job.parameters", parameters),
        Body::Action(action) => {
            let mut action = action.clone();
            let texts = action.texts().into_iter();
            texts.map(|(field, text)| of.one(&field, text)).collect()
        }
    }
}

/// Templates of the step of this name.
struct Of<'a> {
    step: &'a str,
}

impl Of<'_> {
    fn one(&self, field: &str, text: &str) -> Template {
        Template {
            field: format!("steps.{}.{field}", self.step),
            name: String::new(),
            text: text.to_owned(),
        }
    }

    fn list(&self, field: &str, texts: &[String]) -> Vec<Template> {
        let all = texts.iter().enumerate();
        all.map(|(i, text)| self.one(&format!("{field}[{i}]"), text))
            .collect()
    }

    fn env(&self, field: &str, env: &BTreeMap<String, Value>) -> Vec<Template> {
        let text = |(name, value): (&String, &Value)| match value {
            Value::Text(text) => Some(Template {
                name: name.clone(),
                ..self.one(&format!("{field}.{name}"), text)
            }),
            Value::Secret(_) | Value::Output(_) => None,
        };
        env.iter().filter_map(text).collect()
    }

    fn file(&self, file: &FileStep) -> Vec<Template> {
        let content = file.content.iter().map(|text| ("file.content", text));
        let url = file.url.iter().map(|url| ("file.url.from", &url.from));
        let oci = file.oci.iter();
        let oci = oci.map(|oci| ("file.oci.repository", &oci.repository));
        let all = content.chain(url).chain(oci);
        all.chain([("file.path", &file.path)])
            .map(|(field, text)| self.one(field, text))
            .collect()
    }
}

/// Where people wrote the environment of a script.
fn env_field(step: &Step) -> &'static str {
    if step.script.is_some() {
        "script.parameters"
    } else if step.inline.is_some() {
        "inline.env"
    } else {
        "action"
    }
}

fn script_body(
    step: &Step,
    call: &ScriptStep,
    named: &Named<'_>,
    known: &Known<'_>,
) -> Result<Body, Refusal> {
    let field = format!("steps.{}.script", step.name);
    let Some((script, digest)) = named.reached.scripts.get(&call.name) else {
        return Err(Refusal::new(
            "ScriptNotFound",
            format!(
                "{field}.name: there is no Script {} in this namespace; create it or correct the name",
                call.name
            ),
        ));
    };
    let whose = format!("Script {}", call.name);
    let mut env = passed(&field, &whose, &script.parameters, &call.parameters, known)?;
    let mut accepts = Vec::new();
    for parameter in &script.parameters {
        match (env.get(&parameter.name), &parameter.default) {
            (Some(Value::Text(text)), _) if template::awaits_outputs(text) => {
                accepts.push(parameter.clone());
            }
            (None, Some(default)) => {
                env.insert(parameter.name.clone(), Value::Text(default.clone()));
            }
            _ => {}
        }
    }
    Ok(Body::Script(ScriptBody {
        interpreter: script.interpreter,
        content: script.content.clone(),
        env,
        script: call.name.clone(),
        revision: digest.clone(),
        accepts,
        ..ScriptBody::default()
    }))
}

fn job_body(
    field: &str,
    call: &JobStep,
    named: &Named<'_>,
    known: &Known<'_>,
) -> Result<Body, Refusal> {
    let JobStep { name, parameters } = call;
    let reached = named
        .reached
        .jobs
        .get(name)
        .zip(named.revisions.of.get(name));
    let (written, revision) = reached.expect("a Job that is not there was refused");
    let whose = format!("Job {name}");
    Ok(Body::Job {
        name: name.clone(),
        revision: revision.clone(),
        parameters: passed(field, &whose, &written.job.parameters, parameters, known)?,
    })
}

/// What a step gives to the parameters that its Script or Job declares.
fn passed(
    field: &str,
    whose: &str,
    declared: &[DeclaredParameter],
    given: &BTreeMap<String, String>,
    known: &Known<'_>,
) -> Result<BTreeMap<String, Value>, Refusal> {
    let unknown = given
        .keys()
        .find(|name| !declared.iter().any(|p| p.name == **name));
    if let Some(name) = unknown {
        let all: Vec<_> = declared.iter().map(|p| p.name.as_str()).collect();
        let message = format!(
            "{field}.parameters.{name}: {whose} declares no such parameter; it declares {}",
            all.join(", ")
        );
        return Err(Refusal::new("UnknownParameter", message));
    }
    let given = values(known, given);
    for parameter in declared {
        let field = format!("{field}.parameters.{}", parameter.name);
        match (given.get(&parameter.name), &parameter.default) {
            (Some(Value::Text(_)), _) if parameter.sensitive => {
                let message = format!(
                    "{field}: the parameter of {whose} is sensitive; pass on a sensitive parameter of the job, whole"
                );
                return Err(Refusal::new("SensitiveInPlain", message));
            }
            (None, None) if parameter.is_asked_for() => {
                let message = format!("{field} is required and has no default; give it a value");
                return Err(Refusal::new("MissingParameter", message));
            }
            _ => {}
        }
    }
    Ok(given)
}

/// Values as they are planned: what names a sensitive parameter or output and nothing else is that secret.
fn values(known: &Known<'_>, given: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let value = |(name, text): (&String, &String)| {
        let value = match template::passes_on(text) {
            Some(("params", p)) if known.secrets.contains(p) => Value::Secret(p.to_owned()),
            Some(("outputs", o)) if known.secret_outputs.contains(o) => Value::Output(o.to_owned()),
            _ => Value::Text(text.clone()),
        };
        (name.clone(), value)
    };
    given.iter().map(value).collect()
}
