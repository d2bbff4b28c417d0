//! The schema of executions, for `kubectl explain` and clients that are generated.

use axum::Json;
use serde_json::{Map, Value, json};

use crate::object::{API_VERSION, GROUP, KIND, VERSION};

const NAME: &str = "dev.pilothouse.records.v1alpha1.Execution";
const LIST: &str = "dev.pilothouse.records.v1alpha1.ExecutionList";

/// Field, type, meaning.
const FIELDS: &[(&str, &str, &str)] = &[
    ("version", "integer", "Version of this row."),
    (
        "key",
        "object",
        "Identity of the effect: cluster, run (UID), plan (SHA-256), step, target (UID), attempt.",
    ),
    ("namespace", "string", "Namespace of the run."),
    ("namespaceUID", "string", "UID of that namespace."),
    ("run", "string", "Name of the JobRun."),
    (
        "job",
        "string",
        "Name of the Job; absent for an ad-hoc run.",
    ),
    ("step", "string", "Name of the step."),
    ("targetKind", "string", "Host, Pod or None."),
    (
        "target",
        "string",
        "Name of the target; absent when there is none.",
    ),
    ("attempt", "integer", "Attempt, from 1."),
    (
        "state",
        "string",
        "Started, Succeeded, Failed, TimedOut, DeliveryTimedOut, Undeliverable, Cancelled, Unknown or Skipped. All but Started are final.",
    ),
    ("reason", "string", "CamelCase reason of the state."),
    ("message", "string", "A sentence about the state."),
    (
        "exitCode",
        "integer",
        "Exit code, where the program ended by itself.",
    ),
    ("startedAt", "string", "When the effect began."),
    ("finishedAt", "string", "When it was over."),
    (
        "outputBytes",
        "integer",
        "Bytes of output, kept and dropped together.",
    ),
    (
        "droppedBytes",
        "integer",
        "Bytes of output that were not kept.",
    ),
    (
        "via",
        "string",
        "By which way it was done: Journal, Plain, Exec, Pod, Api, Probe or Http.",
    ),
    (
        "outputs",
        "object",
        "Values that the step has handed on, by name.",
    ),
];

/// `/openapi/v2`
pub async fn v2() -> Json<Value> {
    Json(json!({
        "swagger": "2.0",
        "info": {"title": "Pilothouse records", "version": VERSION},
        "paths": {},
        "definitions": schemas("#/definitions/"),
    }))
}

/// `/openapi/v3`
pub async fn v3_index() -> Json<Value> {
    let path = format!("apis/{API_VERSION}");
    let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
    Json(json!({"paths": {path: {"serverRelativeURL": url}}}))
}

/// `/openapi/v3/apis/records.pilothouse.dev/v1alpha1`
pub async fn v3() -> Json<Value> {
    let gvk = json!({"group": GROUP, "version": VERSION, "kind": KIND});
    let get = |action: &str, name: &str, parameters: &[&str]| {
        let content = json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
        let parameter = |name: &&str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
        json!({
            "parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
            "get": {
                "operationId": format!("{action}RecordsExecution{}", parameters.len()),
                "responses": {"200": {"description": "OK", "content": content}},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
            },
        })
    };
    let base = format!("/apis/{API_VERSION}");
    Json(json!({
        "openapi": "3.0.0",
        "info": {"title": "Pilothouse records", "version": VERSION},
        "paths": {
            format!("{base}/executions"): get("list", LIST, &[]),
            format!("{base}/namespaces/{{namespace}}/executions"): get("list", LIST, &["namespace"]),
            format!("{base}/namespaces/{{namespace}}/executions/{{name}}"): get("get", NAME, &["namespace", "name"]),
        },
        "components": {"schemas": schemas("#/components/schemas/")},
    }))
}

fn schemas(prefix: &str) -> Value {
    let fields = FIELDS.iter().map(|(name, kind, description)| {
        (
            (*name).to_owned(),
            json!({"type": kind, "description": description}),
        )
    });
    let text = |description: &str| json!({"type": "string", "description": description});
    let (kind, version) = (
        text("Kind of the object."),
        text("Group and version of the object."),
    );
    let metadata = json!({"type": "object", "description": "Standard metadata. Labels name run, step and target."});
    let execution = json!({
        "type": "object",
        "description": "What is remembered of the execution.",
        "properties": fields.collect::<Map<_, _>>(),
    });
    let identity = |kind: &str| json!([{"group": GROUP, "version": VERSION, "kind": kind}]);
    json!({
        NAME: {
            "type": "object",
            "description": "Execution is one attempt of one step of a JobRun on one target, as the records keep it. Its output is the subresource log.",
            "properties": {"kind": kind, "apiVersion": version, "metadata": metadata, "execution": execution},
            "x-kubernetes-group-version-kind": identity(KIND),
        },
        LIST: {
            "type": "object",
            "description": "ExecutionList is a list of executions.",
            "properties": {
                "kind": kind,
                "apiVersion": version,
                "metadata": metadata,
                "items": {"type": "array", "items": {"$ref": format!("{prefix}{NAME}")}},
            },
            "x-kubernetes-group-version-kind": identity("ExecutionList"),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crds::execution::{Execution, State, TargetKind, VERSION, Via};
    use jiff::Timestamp;

    use super::FIELDS;

    #[test]
    fn the_schema_has_every_field_of_a_row_and_no_other() {
        let full = Execution {
            version: VERSION,
            key: crds::key::EffectKey {
                attempt: 1,
                cluster: "c".into(),
                plan: "p".into(),
                run: "r".into(),
                step: "s".into(),
                target: "t".into(),
            },
            namespace: "n".into(),
            namespace_uid: "u".into(),
            run: "r".into(),
            job: Some("j".into()),
            step: "s".into(),
            target_kind: TargetKind::Host,
            target: "t".into(),
            attempt: 1,
            state: State::Failed,
            reason: Some("R".into()),
            message: Some("m".into()),
            exit_code: Some(1),
            started_at: Some(Timestamp::UNIX_EPOCH),
            finished_at: Some(Timestamp::UNIX_EPOCH),
            output_bytes: 1,
            dropped_bytes: 1,
            outputs: [("o".into(), "v".into())].into(),
            via: Via::Journal,
        };
        let json = serde_json::to_value(full).expect("json");
        let fields: BTreeSet<_> = json
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let schema: BTreeSet<_> = FIELDS.iter().map(|f| f.0).collect();
        assert_eq!(fields, schema);
    }
}
