//! The body of a step as it is planned: contents in place of names, and every template checked.

use std::collections::BTreeMap;

use crds::v1alpha1::{ActionStep, HttpStep, PodStep, ScriptStep, Step};
use serde_json::Value as Json;

use super::{Scripts, on_hosts};
use crate::{
    Refusal, condition, parameters,
    plan::{Body, ScriptBody, Value},
    template::{self, Known},
};

/// Bytes of a merge patch at most.
const PATCH_BYTES: usize = 16 << 10;

/// The body of a step, or what is wrong with it.
pub fn of(step: &Step, scripts: &Scripts, known: &Known<'_>) -> Result<Body, Refusal> {
    let field = |body: &str| format!("steps.{}.{body}", step.name);
    if let Some(script) = &step.script {
        return script_body(step, script, scripts, known);
    }
    if let Some(inline) = &step.inline {
        return Ok(Body::Script(ScriptBody {
            interpreter: inline.interpreter,
            content: inline.content.clone(),
            env: values(known, &field("inline.env"), &inline.env)?,
            ..ScriptBody::default()
        }));
    }
    if let Some(exec) = &step.exec {
        texts(known, &field("exec.command"), &exec.command)?;
        return Ok(Body::Exec(exec.clone()));
    }
    if let Some(http) = &step.http {
        return http_body(&field("http"), http, known);
    }
    if let Some(wait) = &step.wait {
        template::check(&field("wait.object.name"), &wait.object.name, known)?;
        condition::check(&field("wait.until"), &wait.until, &["object"])?;
        return Ok(Body::Wait(wait.clone()));
    }
    if let Some(pause) = &step.pause {
        return Ok(Body::Pause(pause.clone()));
    }
    if let Some(action) = &step.action {
        return action_body(&field("action"), action, known);
    }
    let pod = step.pod.as_ref();
    let pod =
        pod.ok_or_else(|| Refusal::new("NoBody", format!("steps.{} has no body", step.name)))?;
    pod_body(&field("pod"), pod, known)
}

fn pod_body(field: &str, pod: &PodStep, known: &Known<'_>) -> Result<Body, Refusal> {
    texts(known, &format!("{field}.command"), &pod.command)?;
    texts(known, &format!("{field}.args"), &pod.args)?;
    let env = values(known, &format!("{field}.env"), &pod.env)?;
    Ok(Body::Pod {
        step: PodStep {
            env: BTreeMap::new(),
            ..pod.clone()
        },
        env,
    })
}

fn http_body(field: &str, http: &HttpStep, known: &Known<'_>) -> Result<Body, Refusal> {
    template::check(&format!("{field}.url"), &http.url, known)?;
    if let Some(body) = &http.body {
        template::check(&format!("{field}.body"), body, known)?;
    }
    let expected = http.expect.headers.values().chain(&http.expect.body);
    for pattern in expected {
        parameters::compile(&format!("{field}.expect"), pattern)?;
    }
    Ok(Body::Http {
        headers: values(known, &format!("{field}.headers"), &http.headers)?,
        step: HttpStep {
            headers: BTreeMap::new(),
            ..http.clone()
        },
    })
}

fn action_body(field: &str, action: &ActionStep, known: &Known<'_>) -> Result<Body, Refusal> {
    if let Some(script) = on_hosts::script(action) {
        for (name, value) in &script.env {
            if let Value::Text(text) = value {
                template::check(&format!("{field}.{name}"), text, known)?;
            }
        }
        return Ok(Body::Script(script));
    }
    for (name, text) in action_texts(action) {
        template::check(&format!("{field}.{name}"), text, known)?;
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

/// Every template of an action on objects, with its field.
pub fn action_texts(action: &ActionStep) -> Vec<(String, &str)> {
    let mut all = Vec::new();
    for (name, of) in [("label", &action.label), ("annotate", &action.annotate)] {
        let set = of.iter().flat_map(|marks| &marks.set);
        all.extend(set.map(|(key, text)| (format!("{name}.set.{key}"), text.as_str())));
    }
    if let Some(patch) = &action.patch {
        for (key, value) in &patch.merge {
            leaves(&format!("patch.merge.{key}"), value, &mut all);
        }
    }
    all
}

/// The texts within a piece of an object.
fn leaves<'a>(field: &str, value: &'a Json, all: &mut Vec<(String, &'a str)>) {
    match value {
        Json::String(text) => all.push((field.to_owned(), text)),
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                leaves(&format!("{field}[{i}]"), item, all);
            }
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                leaves(&format!("{field}.{key}"), value, all);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn script_body(
    step: &Step,
    call: &ScriptStep,
    scripts: &Scripts,
    known: &Known<'_>,
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
    let mut env = values(known, &format!("{field}.parameters"), &call.parameters)?;
    let mut accepts = Vec::new();
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
            (Some(Value::Text(text)), _) if template::awaits_outputs(text) => {
                accepts.push(parameter.clone());
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
        accepts,
        reboots: false,
    }))
}

fn texts(known: &Known<'_>, field: &str, texts: &[String]) -> Result<(), Refusal> {
    let mut all = texts.iter().enumerate();
    all.try_for_each(|(i, text)| template::check(&format!("{field}[{i}]"), text, known))
}

fn values(
    known: &Known<'_>,
    field: &str,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, Refusal> {
    let value = |(name, text): (&String, &String)| {
        if let Some(secret) = template::passes_on(text).filter(|p| known.secrets.contains(p)) {
            return Ok((name.clone(), Value::Secret(secret.to_owned())));
        }
        template::check(&format!("{field}.{name}"), text, known)?;
        Ok((name.clone(), Value::Text(text.clone())))
    };
    given.iter().map(value).collect()
}
