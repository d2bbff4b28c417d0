//! The schemas of executions, archives and the audit, for `kubectl explain` and clients that are generated.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use serde_json::{Map, Value, json};

use crate::{
    archive, audit, checkpoints,
    object::{API_VERSION, GROUP, KIND, RESOURCE, VERSION},
};

/// Before the kind, in the names of schemas.
const PREFIX: &str = "dev.pilothouse.records.v1alpha1.";

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
    (
        "secretUID",
        "string",
        "UID of the Secret that holds the sensitive ones.",
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
    // Clients keep what they have read until this says that it is another.
    let mut content = DefaultHasher::new();
    schemas("").to_string().hash(&mut content);
    let url = format!("/openapi/v3/{path}?hash={:x}", content.finish());
    Json(json!({"paths": {path: {"serverRelativeURL": url}}}))
}

/// `/openapi/v3/apis/records.pilothouse.dev/v1alpha1`
pub async fn v3() -> Json<Value> {
    let mut paths = Map::new();
    let base = format!("/apis/{API_VERSION}");
    let kind = checkpoints::KIND;
    let of_cluster = format!("{base}/{}", checkpoints::RESOURCE);
    let one = operation((kind, "get"), kind, &["name"]);
    let all = operation((kind, "list"), &format!("{kind}List"), &[]);
    paths.insert(format!("{of_cluster}/{{name}}"), one);
    paths.insert(of_cluster, all);
    for (kind, resource) in [
        (KIND, RESOURCE),
        (archive::KIND, archive::RESOURCE),
        (audit::KIND, audit::RESOURCE),
    ] {
        let of_namespace = format!("{base}/namespaces/{{namespace}}/{resource}");
        let mut add = |path, action: &str, of: &str, parameters: &[&str]| {
            paths.insert(path, operation((kind, action), of, parameters));
        };
        let list = format!("{kind}List");
        add(format!("{base}/{resource}"), "list", &list, &[]);
        add(of_namespace.clone(), "list", &list, &["namespace"]);
        add(
            format!("{of_namespace}/{{name}}"),
            "get",
            kind,
            &["namespace", "name"],
        );
    }
    Json(json!({
        "openapi": "3.0.0",
        "info": {"title": "Pilothouse records", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas("#/components/schemas/")},
    }))
}

fn operation((kind, action): (&str, &str), of: &str, parameters: &[&str]) -> Value {
    let reference = format!("#/components/schemas/{PREFIX}{of}");
    let content = json!({"application/json": {"schema": {"$ref": reference}}});
    let parameter = |name: &&str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    json!({
        "parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
        "get": {
            "operationId": format!("{action}Records{kind}{}", parameters.len()),
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": GROUP, "version": VERSION, "kind": kind},
        },
    })
}

fn schemas(prefix: &str) -> Value {
    let mut all = Map::new();
    for (kind, description, properties) in [
        (
            KIND,
            "Execution is one attempt of one step of a JobRun on one target, as the records keep it. Its output is the subresource log.",
            execution(),
        ),
        (
            archive::KIND,
            "Archive is an object that has finished, as the records keep it when the cluster no longer does.",
            archived(),
        ),
        (
            audit::KIND,
            "AuditEntry is one decision in its place in the audit. Its hash is SHA-256 of the bytes of previous and of the canonical JSON of entry.",
            entry(),
        ),
        (
            checkpoints::KIND,
            "AuditCheckpoint is what the store vouches for: that its audit had this hash at this entry. It outlives the entries.",
            checkpoint(),
        ),
    ] {
        let list = format!("{kind}List");
        let items = json!({"type": "array", "items": {"$ref": format!("{prefix}{PREFIX}{kind}")}});
        let of_list = format!("{list} is a list of {kind} objects.");
        all.insert(
            format!("{PREFIX}{list}"),
            schema(&list, &of_list, json!({"items": items})),
        );
        all.insert(
            format!("{PREFIX}{kind}"),
            schema(kind, description, properties),
        );
    }
    all.into()
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "description": description})
}

fn execution() -> Value {
    let fields = FIELDS.iter().map(|(name, kind, description)| {
        (
            (*name).to_owned(),
            json!({"type": kind, "description": description}),
        )
    });
    json!({
        "execution": {
            "type": "object",
            "description": "What is remembered of the execution.",
            "properties": fields.collect::<Map<_, _>>(),
        },
    })
}

fn archived() -> Value {
    json!({
        "outcome": text("One word about how it ended."),
        "finishedAt": text("When it ended."),
        "object": {
            "type": "object",
            "description": "All of the object, as it was when it had ended.",
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}

fn entry() -> Value {
    json!({
        "sequence": number("Place in the audit, from 1."),
        "previous": text("Hash of the entry before; zeros before the first."),
        "hash": text("Hash of this entry, which the next one hangs on."),
        "entry": {
            "type": "object",
            "description": "What was decided: decision, actor, verb, subject, policy, rule, reason, digest and at; by which source it was told, as which of its numbers, and the number that this source had come to before.",
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}

fn checkpoint() -> Value {
    json!({
        "checkpoint": {
            "type": "object",
            "description": "What is vouched for, and the signature.",
            "properties": {
                "sequence": number("Place of the last entry that it covers."),
                "hash": text("Hash of that entry."),
                "at": text("When it was signed."),
                "signature": text("Ed25519 over the canonical JSON of at, hash, kind (AuditCheckpoint) and sequence, in hex."),
            },
        },
        "publicKey": text("Key by which the store signs today, in hex."),
    })
}

fn schema(kind: &str, description: &str, mut properties: Value) -> Value {
    properties["kind"] = text("Kind of the object.");
    properties["apiVersion"] = text("Group and version of the object.");
    properties["metadata"] = json!({"type": "object", "description": "Standard metadata. Labels of an execution name run, step and target."});
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": kind}],
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
            secret_uid: Some("u".into()),
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
